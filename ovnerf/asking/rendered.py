"""Label maps of rendered views, by the settings of `render_views`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ovnerf.config.views import RenderViews
from ovnerf.field.heads import ScaleHead
from ovnerf.field.relevancy_rendering import render_relevancy
from ovnerf.field.rendering import ViewWeights, render_labels
from ovnerf.field.semantic_field import SemanticField
from ovnerf.labels.patches import without_small_patches
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError


def predictor(
    field: SemanticField, text: Tensor, canonical: np.ndarray | None, settings: RenderViews
) -> Callable[[ViewWeights], Iterator[tuple[str, Tensor]]]:
    """From a view to its label maps i64 (r,), by the names of their arrays in a `views` store.

    Args:
        text: unit vectors f32 (C, D) of the classes; a blank prompt's may come last.
        canonical: f32 (P, D), the phrases that relevancy compares with; not needed for cosines.

    Raises:
        UserError: relevancy is asked of a head without scales.
    """
    if settings.prediction == "cosine":
        return lambda view: iter([("label", render_labels(field, view, text, VOID))])
    if not isinstance(field.clip, ScaleHead):
        raise UserError(
            "render_views.prediction: found `relevancy` for a semantic head without scales",
            "train it with `train_semantics.scale_knots`, or use `cosine`",
        )
    assert canonical is not None
    phrases = torch.from_numpy(canonical).to(text)
    sigmas = torch.linspace(0, settings.max_scale, settings.query_scales).to(text)

    def both(view: ViewWeights) -> Iterator[tuple[str, Tensor]]:
        found = render_relevancy(field, view, text, phrases, sigmas, VOID)
        yield from zip(("label", "label_cosine"), found, strict=True)

    return both


def label_map(
    label: Tensor, classes: int, size: tuple[int, int], settings: RenderViews
) -> np.ndarray:
    """The map u16 (H, W) of a view's labels i64 (r,), without small patches.

    Args:
        classes: C; what is not below, as a blank prompt's C, is void.
        size: (height, width).
    """
    found = label.where(label < classes, VOID).view(*size).cpu().numpy().astype(np.uint16)
    return without_small_patches(found, settings.least_patch * size[0] * size[1])
