"""Settings of which scenes, encoders and variants go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ovnerf.config.base import Name, Strict
from ovnerf.runtime.errors import UserError


class RunGroup(Strict):
    """Runs of some scenes: every encoder of the group with every variant of it."""

    datasets: tuple[Name, ...] = ()
    """All scenes of these datasets of the sheet."""
    scenes: tuple[str, ...] = ()
    """Single scenes, as `dataset/scene`. Without `datasets` and `scenes`: all of the sheet."""
    encoders: tuple[Name, ...] = Field(min_length=1)
    """Names of files in config/encoders."""
    variants: tuple[Name, ...] = Field(min_length=1)
    """Names of files in config/variants."""

    def covers(self, dataset: str, scene: str, encoder: str, variant: str) -> bool:
        """Whether a run is one of this group."""
        here = not (self.datasets or self.scenes) or (
            dataset in self.datasets or f"{dataset}/{scene}" in self.scenes
        )
        return here and encoder in self.encoders and variant in self.variants


def with_unions(data: Mapping[str, Any], groups: list[RunGroup], where: str) -> dict[str, Any]:
    """A config with all encoders and variants that its groups name, each once, as listed first.

    Raises:
        UserError: the config lists encoders or variants itself, which would be overruled.
    """
    for key in ("encoders", "variants"):
        if key in data:
            raise UserError(
                f"{where}: found both `runs` and `{key}`, expected one of them",
                f"groups under `runs` name their own; leave `{key}` out",
            )
    unions = {
        key: list(dict.fromkeys(name for group in groups for name in getattr(group, key)))
        for key in ("encoders", "variants")
    }
    return {**data, **unions}
