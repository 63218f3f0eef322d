"""Settings of what is written of a trained field for other programs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovnerf.config.base import Fraction, Name, Strict

Product = Literal["cloud", "features", "cameras", "labels", "mesh", "video"]


class Export(Strict):
    """Files of a trained field for other programs (docs/asking.md#export)."""

    products: tuple[Product, ...] = ()
    """What is written; when empty, all that the scene allows: a forward-facing scene has no mesh, a
    run without held-out views no labels of them, and without a camera path there is no video. The
    workflow has no camera path, so `video` is for the command alone."""
    variants: tuple[Name, ...] = ()
    """Variants of which `all` writes them, for every scene, encoder and seed; none when empty."""
    views: Literal["held_out", "all"] = "held_out"
    """Frames whose labels are written."""
    video_shows: tuple[Literal["colour", "depth", "opacity", "labels", "relevancy"], ...] = Field(
        default=("colour", "labels"), min_length=1
    )
    """What a frame of the video shows, side by side."""
    video_phrase: str = ""
    """What `relevancy` in the video is of, in the notation of docs/asking.md."""
    mesh_cell: float | None = Field(default=None, gt=0)
    """Side of a cell of the mesh's grid in the unit of the poses; when empty that of the points'
    voxels, or as much larger as a grid of 16 million cells needs."""
    min_component: Fraction = 0.01
    """Connected parts of the mesh with a smaller share of its area are left out."""
