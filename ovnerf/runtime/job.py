"""A job as the cost model sees it: its rule, its settings and the sizes of what it works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ovnerf.config.regions import ProposeRegions

Parts = dict[str, float]
"""Bytes by what they are for."""


@dataclass(frozen=True)
class Job:
    """What a job's cost depends on; each formula reads the sizes that concern its rule.

    Attributes:
        rule: name of its rule.
        settings: the rule's section of the config; None where it has none.
        regions: settings of `propose_regions`, for a training that proposes regions itself.
        frames, height, width: of the scene's frames store.
        held_out: how many of the frames are rendered and scored.
        photo_pixels: pixels of one photo in the scene's folder.
        classes: number of class names.
        windows: windows or cells of one frame that the encoder makes a vector for.
        embeddings: numbers in the features store.
        tokens: numbers in the DINO store.
        weights: bytes of the weight file of the network that it runs.
        radiance, semantics: bytes of the files of the two fields.
        rows: rows of scores that it puts together.
        gathers: whether it only joins what the jobs of its parts made.
    """

    rule: str
    settings: Any = None
    regions: ProposeRegions | None = None
    frames: int = 0
    height: int = 0
    width: int = 0
    held_out: int = 0
    photo_pixels: int = 0
    classes: int = 0
    windows: int = 0
    embeddings: float = 0
    tokens: float = 0
    weights: int = 0
    radiance: float = 0
    semantics: float = 0
    rows: int = 0
    gathers: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.height * self.width
