"""The semantic branch: a radiance field with CLIP head and scale selection.

Density is frozen while semantics train, the CLIP head is affine and compositing is linear, so a
ray is reduced once to u = [X; a]: X the composited 27 appearance channels, a the summed weights.
Everything 512-dimensional happens per ray, or not at all (docs/method.md#algebra).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ovnerf.field.compositing import composite
from ovnerf.field.feature_volume import FeatureVolume
from ovnerf.field.field import RadianceField, radiance_from_header
from ovnerf.field.heads import ClipHead, ScaleHead
from ovnerf.field.sampling import Samples
from ovnerf.field.vm import VectorMatrixGrid

if TYPE_CHECKING:
    from jaxtyping import Float32


class SemanticField(nn.Module):
    """A radiance field with CLIP head and scale-selection grid (docs/method.md#semantic-branch).

    Args:
        radiance: trained field; its density never changes here.
        scale_selection_ranks: ranks of the scale-selection grid.
        scales: number of pyramid scales K.
        width: CLIP dimension D. head_width: hidden width of the head.
        generator: draws the selection grid, and the head's own.
        own_ranks, token_width: of a `FeatureVolume`; None and 0 where the head reads appearance.
        scale_knots: of a `ScaleHead`; empty for a head without scale.
    """

    def __init__(
        self,
        radiance: RadianceField,
        scale_selection_ranks: Sequence[int],
        scales: int,
        width: int,
        head_width: int,
        generator: torch.Generator,
        own_ranks: Sequence[int] | None = None,
        scale_knots: Sequence[float] = (),
        token_width: int = 0,
    ) -> None:
        super().__init__()
        self.radiance = radiance
        self.sizes: dict[str, Any] = {
            "scale_selection_ranks": tuple(scale_selection_ranks),
            "scales": scales,
            "width": width,
            "head_width": head_width,
        }
        head = radiance.shape.appearance_width, head_width, width
        self.clip = ScaleHead(*head, scale_knots) if scale_knots else ClipHead(*head)
        resolution = radiance.density.resolution
        self.scale_selection = VectorMatrixGrid(resolution, scale_selection_ranks, generator)
        self.scale_selection_basis = nn.Linear(sum(scale_selection_ranks), scales)
        self.own: FeatureVolume | None = None
        if own_ranks is not None:
            self.sizes |= {"own_ranks": tuple(own_ranks), "token_width": token_width}
            self.own = FeatureVolume(resolution, own_ranks, head[0], token_width, generator)
        self.sizes |= {"scale_knots": tuple(scale_knots)} if scale_knots else {}

    def ray_features(
        self, samples: Samples, weight: Float32[Tensor, " s"]
    ) -> Float32[Tensor, "r width"]:
        """u = [X; a] per ray, f32 (r, 28) (docs/method.md#affine-head).

        X is of the head's own volume where it has one, else of the appearance.
        """
        if self.own is not None:
            return self.own.ray_features(self.own.products(samples, weight))
        return self.radiance.ray_features(samples, weight)

    def scale_weights(
        self, samples: Samples, weight: Float32[Tensor, " s"]
    ) -> Float32[Tensor, "r K"]:
        """s(r): softmax of the composited sigmoids (docs/method.md#scale-selection)."""
        vote = torch.sigmoid(
            self.scale_selection_basis(self.scale_selection.features(samples.point))
        )
        return composite(weight, vote, samples.offset, samples.ray).softmax(-1)

    def header(self) -> dict[str, Any]:
        """JSON-able description from which `semantics_from_header` rebuilds the module."""
        return {**self.radiance.header(), "semantics": self.sizes}


def semantics_from_header(header: dict[str, Any], tensors: dict[str, Tensor]) -> SemanticField:
    """A semantic field with the stored tensors (keys as in its state dict)."""
    prefix = "radiance."
    radiance = radiance_from_header(
        header,
        {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)},
    )
    field = SemanticField(radiance, **header["semantics"], generator=torch.Generator())
    field.load_state_dict(tensors)
    return field
