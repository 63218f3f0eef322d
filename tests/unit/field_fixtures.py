"""Small seeded fields that the field's tests share."""

from dataclasses import replace

import torch

from ovnerf.field.field import FieldShape, RadianceField
from ovnerf.field.occupancy import OccupancyGrid
from ovnerf.field.semantic_field import SemanticField

SHAPE = FieldShape(
    resolution=(20, 18, 16),
    density_ranks=(4, 2, 2),
    appearance_ranks=(6, 3, 3),
    appearance_width=9,
    head_width=16,
    step_ratio=0.5,
    distance_scale=25.0,
    weight_threshold=1e-4,
    near=0.05,
)


WIDE = replace(SHAPE, density_ranks=(8, 9, 2), appearance_ranks=(16, 11, 3))
"""Ranks that the compiled loops take eight at a time, with some left over."""


def radiance_field(
    contrast: float = 5.0, colour_per: str = "sample", shape: FieldShape = SHAPE
) -> RadianceField:
    """A random field whose grids are `contrast` times the initial ones: hazy and opaque parts."""
    torch.manual_seed(0)
    box = torch.tensor([[-1.5, -1.4, -1.2], [1.5, 1.4, 1.2]])
    field = RadianceField(
        replace(shape, colour_per=colour_per), box, torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        for grid in (field.density, field.appearance):
            for parameter in grid.parameters():
                parameter.mul_(contrast)
    return field


def with_holes(field: RadianceField) -> RadianceField:
    """The same field with two thirds of its cells marked empty, in blobs."""
    random = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(2)) > 0.66
    x, y, z = field.density.resolution
    cells = random.repeat_interleave(4, 0).repeat_interleave(5, 1).repeat_interleave(4, 2)
    field.occupancy = OccupancyGrid(cells[: x - 1, : y - 1, : z - 1], field.step_cells())
    return field


def semantic_field(radiance: RadianceField, width: int = 16) -> SemanticField:
    """Three scales, a CLIP head of the given width."""
    return SemanticField(radiance, (4, 2, 2), 3, width, 32, torch.Generator().manual_seed(3))


def rays(count: int, seed: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Origins inside and outside the box, unit directions, jitter."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.randn(count, 3, generator=generator)
    direction = torch.randn(count, 3, generator=generator)
    direction = torch.nn.functional.normalize(direction, dim=-1)
    return origin, direction, torch.rand(count, generator=generator)


def relative_gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other|."""
    return float((one - other).norm() / other.norm().clamp_min(1e-12))
