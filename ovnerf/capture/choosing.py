"""The photos of a capture: which shots are kept, which are dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ovnerf.capture.quality import flaw, repeated, sharpest_of_intervals
from ovnerf.capture.shots import Look, Shot
from ovnerf.config.capture import Capture
from ovnerf.runtime.errors import UserError

MINIMUM = 8
"""Fewer photos give no room."""
SAME_ZOOM = 0.02
"""Focal lengths may differ by this share."""
NOT_SHARPEST = "not the sharpest of its moment"
SAME_VIEW = "same view as the one before"
OTHER_SIZE, OTHER_ZOOM, UNREADABLE = "other size or orientation", "other zoom", "unreadable"
ADVICE = {
    "dark": "film by daylight or with the lamps on",
    "blurred": "move the camera more slowly, with more light, and let it focus",
    "empty": "film things, not bare walls: step back until furniture and corners are in view",
    SAME_VIEW: "walk while you film: the camera stands still",
    OTHER_SIZE: "hold the camera one way for all photos",
    OTHER_ZOOM: "keep one zoom for all photos",
    UNREADABLE: "copy the files again; PNG and JPEG are read",
}
"""What to do where a reason is why too few photos are left."""


@dataclass(frozen=True)
class Choice:
    """What is kept of a capture.

    Attributes:
        shots: the photos that are kept, in order.
        dropped: (name, reason) of the others.
        focal: their focal length over the longer side by EXIF; None where nothing says it.
    """

    shots: list[Shot]
    dropped: list[tuple[str, str]]
    focal: float | None

    def counts(self) -> dict[str, int]:
        """How many were dropped for each reason, the most frequent first."""
        return dict(Counter(reason for _, reason in self.dropped).most_common())


def choose(source: str, look: Look, settings: Capture) -> Choice:
    """Drop what is useless or repeated.

    Args:
        source: how messages call the capture.

    Raises:
        UserError: too few photos are left, with the reason and what to film again.
    """
    shots = look.shots
    dropped = [(name, UNREADABLE) for name, _ in look.unreadable]
    flaws = [flaw(shot.measures, settings.max_blur) for shot in shots]
    if look.seconds:
        shots, flaws = sharpest(shots, flaws, settings.frames, dropped)
    else:
        shots, flaws = one_camera(shots, flaws, dropped)
    good = [shot for shot, found in zip(shots, flaws, strict=True) if not found]
    dropped += [(shot.name, found) for shot, found in zip(shots, flaws, strict=True) if found]
    same = repeated([shot.measures.thumb for shot in good], settings.min_motion)
    kept = [shot for shot, again in zip(good, same, strict=True) if not again]
    dropped += [(shot.name, SAME_VIEW) for shot, again in zip(good, same, strict=True) if again]
    choice = Choice(kept, dropped, common_focal(kept))
    refuse_few(source, choice)
    return choice


def sharpest(
    shots: Sequence[Shot], flaws: Sequence[str], count: int, dropped: list[tuple[str, str]]
) -> tuple[list[Shot], list[str]]:
    """The sharpest shot of each interval, one without a flaw where there is any."""
    # A shot with a flaw loses against every one without.
    worth = [
        shot.measures.sharpness - (1e12 if found else 0)
        for shot, found in zip(shots, flaws, strict=True)
    ]
    best = sharpest_of_intervals([shot.second for shot in shots], worth, count)
    chosen = set(best)
    dropped += [(shot.name, NOT_SHARPEST) for at, shot in enumerate(shots) if at not in chosen]
    return [shots[at] for at in best], [flaws[at] for at in best]


def one_camera(
    shots: Sequence[Shot], flaws: Sequence[str], dropped: list[tuple[str, str]]
) -> tuple[list[Shot], list[str]]:
    """The shots of the most frequent size and zoom: all photos of a scene share one camera."""
    size = Counter(shot.size for shot in shots).most_common(1)[0][0]
    focal = common_focal([shot for shot in shots if shot.size == size])
    kept, kept_flaws = [], []
    for shot, found in zip(shots, flaws, strict=True):
        zoomed = focal and shot.focal and abs(shot.focal / focal - 1) > SAME_ZOOM
        if shot.size != size or zoomed:
            dropped.append((shot.name, OTHER_SIZE if shot.size != size else OTHER_ZOOM))
            continue
        kept.append(shot)
        kept_flaws.append(found)
    return kept, kept_flaws


def common_focal(shots: Sequence[Shot]) -> float | None:
    """The median focal length of the shots whose EXIF says it; None without any."""
    known = [shot.focal for shot in shots if shot.focal]
    return median(known) if known else None


def refuse_few(source: str, choice: Choice) -> None:
    """UserError where too few photos are left."""
    if len(choice.shots) >= MINIMUM:
        return
    counts = {reason: n for reason, n in choice.counts().items() if reason in ADVICE}
    listed = ", ".join(f"{number} {reason}" for reason, number in counts.items())
    advice = ADVICE[next(iter(counts))] if counts else "film longer: walk through the whole room"
    raise UserError(
        f"{source}: found {len(choice.shots)} usable photos{f' ({listed})' if listed else ''}, "
        f"expected at least {MINIMUM} from different places",
        advice,
    )
