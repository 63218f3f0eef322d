"""Settings of the stages that make and read scenes."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import Positive, Seed, Strict

Layout = Literal["replica", "semantic_nerf", "nice_slam", "scannet", "llff", "colmap", "nerfstudio"]


class MakeRoom(Strict):
    """A procedural toy room (`ovnerf/toy/rooms.py`), written in the Replica layout."""

    seed: Seed = 0
    """Which room. Demo rooms use seeds below 1000; toy models are trained on seeds from 1000."""
    frames: Positive = 40
    """Views on the camera path."""
    width: Positive = 160
    """Image width in pixels."""
    height: Positive = 120
    """Image height in pixels."""
    supersampling: Positive = 2
    """Rays per pixel side; colour is their mean, the label that of the pixel centre."""


class SampleFrames(Strict):
    """Which frames of a posed video are used, at which size, and where the scene box lies."""

    layout: Layout = "replica"
    """Folder layout of the scene; docs/conventions.md draws two, docs/datasets.md the others."""
    frames: Positive | None = None
    """Uniformly sampled count; all frames when empty."""
    width: Positive | None = None
    """Target size in pixels; the native size when empty. Intrinsics follow."""
    height: Positive | None = None
    """Given together with `width`."""
    test_every: Positive = 10
    """Frame i is held out when i mod test_every == 0 (docs/method.md#data)."""
    held_out: Literal["every_nth", "labelled", "none"] = "every_nth"
    """`labelled`: the views that have ground truth are held out and no other. `none`: they are
    scored, and trained on as all others are, which is the published split of 3DOVS scenes."""
    classes: str = ""
    """Class names: a list of the package (`replica_51`, `scannet_20`, `nyu_40`), or a text file
    with one name a line. The scene's own list when empty. Ground truth of other names is void."""
    box: Literal["triangulated", "as_shipped", "ndc"] = "triangulated"
    """Scene box. `triangulated`: robust bounds of image features triangulated over the training
    frames. `as_shipped`: the cube of +-1.5 around the world origin after dividing translations by
    their largest training component (docs/method.md#pose-scale). `ndc`: rays are warped into
    normalised device coordinates, for captures that look one way (layout `llff`;
    docs/method.md#ndc)."""


class ReadTruth(Strict):
    """Ground-truth labels of the sampled frames (for scoring, and for the `simulated` encoder)."""

    layout: Layout = "replica"
    """Folder layout of the scene."""
    classes: str = ""
    """As in `sample_frames`, and the same there."""
