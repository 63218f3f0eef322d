"""Settings of the stage that makes a scene folder from a video or from photos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovnerf.config.base import Count, Fraction, Positive, PositiveNumber, Strict

Place = tuple[str, float, float]
"""Name of a photo of the scene folder, column and row in pixels."""


class KnownDistance(Strict):
    """One measured distance, which gives the scene its metres."""

    first: Place
    """`[photo, column, row]`: where one end is seen, in pixels from the upper left corner. The
    photo is one of those that were kept, by its name in `images/`."""
    second: Place
    """The other end, in the same photo or in another."""
    metres: PositiveNumber
    """The distance between the two."""


class Capture(Strict):
    """Camera poses of a video or of a folder of photos (docs/capturing.md)."""

    frames: Positive = 150
    """A video is cut into so many intervals of equal time; the sharpest frame of each is taken.
    Photos are all taken."""
    longest_side: Positive = 1600
    """Frames and photos with a longer side are reduced to it, in pixels."""
    max_blur: Fraction = 0.8
    """Photos that keep more than this share of their edges when they are blurred are dropped: they
    were blurred before (docs/capturing.md#what-is-dropped)."""
    min_motion: Fraction = 0.004
    """A photo whose content moved less than this share of the width since the photo before is
    dropped."""
    camera: Literal["SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"] = "SIMPLE_RADIAL"
    """COLMAP's camera model; all photos share one camera."""
    features: Positive = 4096
    """SIFT features of a photo at most; where it has fewer than half, faint ones count, too."""
    exhaustive_up_to: Positive = 60
    """Up to so many photos (not frames of a video) are all matched with each other."""
    overlap: Positive = 10
    """Otherwise each is matched with so many that follow it, and with some farther on."""
    loops: Count = 5
    """And with so many others that look most alike, so that a walk that comes back is closed."""
    min_registered: Fraction = 0.6
    """A capture of which a smaller share of the photos finds its place is refused."""
    seed: int = Field(default=0, ge=0)
    """Seed of what COLMAP draws at random."""
    distance: KnownDistance | None = None
    """One known distance. Without it the scene is as large as a room whose surfaces are two metres
    from the camera (median), and no length of it is in metres."""
