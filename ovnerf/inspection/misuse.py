"""Encoders, regions and variants that are not to be used together: refused with a sentence."""

from __future__ import annotations

from typing import Any

from ovnerf.config.features import Precomputed, Simulated, cell_of
from ovnerf.config.semantics import TrainSemantics
from ovnerf.runtime.errors import UserError

GROUPS = "groups under `runs` say which encoders and variants go together"


def refuse_misuse(encoder: str, kind: str, scene: tuple[str, str], labelled: bool) -> None:
    """UserError where simulated embeddings cannot be made or could pass for a real encoder's."""
    if kind == "simulated" and not labelled:
        raise UserError(
            f"encoder {encoder}: scene {'/'.join(scene)} has no label files",
            "the simulated encoder makes embeddings from ground truth; use another encoder",
        )
    if (kind == "simulated") != encoder.startswith("simulated"):
        raise UserError(
            f"encoder {encoder}: found kind {kind}",
            "names that begin with `simulated` are for that kind and no other: tables show them",
        )


def refuse_unmarked_truth(
    regions: str, encoder: str, scene: tuple[str, str], labelled: bool
) -> None:
    """UserError where true regions cannot be made or could pass for SAM's."""
    if regions == "truth" and not labelled:
        raise UserError(
            f"propose_regions.architecture: truth: scene {'/'.join(scene)} has no label files",
            "true regions are cut from them; `superpixels` needs neither labels nor weights",
        )
    if (regions == "truth") != encoder.endswith("_true_regions"):
        raise UserError(
            f"encoder {encoder}: found propose_regions.architecture {regions}",
            "encoder names that end with `_true_regions` go with `architecture: truth` and no "
            "other: tables show them",
        )


def refuse_meaningless(name: str, encoder: Any, variant: str, train: TrainSemantics) -> None:
    """UserError where a compared system cannot be trained on an encoder's features."""
    if train.feature_target == "cells" and cell_of(encoder) is None:
        raise UserError(
            f"encoder {name} with variant {variant}: found kind {encoder.kind}, expected an "
            "encoder with a feature per pixel (`dense_clip`, `lseg`, `precomputed`)",
            f"{variant} has `feature_target: cells`; {GROUPS}",
        )
    if train.feature_target == "random_scale" and cell_of(encoder) is not None:
        raise UserError(
            f"encoder {name} with variant {variant}: found kind {encoder.kind}, which has one "
            "scale, expected a pyramid (`openclip` or `simulated`)",
            f"{variant} has `feature_target: random_scale`; {GROUPS}",
        )
    simulated = isinstance(encoder, Simulated) and encoder.label_map
    if variant == "fcclip" and not (simulated or isinstance(encoder, Precomputed)):
        raise UserError(
            f"encoder {name} with variant {variant}: found kind {encoder.kind}, expected label "
            "maps made elsewhere (kind `precomputed`)",
            f"{variant} distils label maps; {GROUPS}",
        )
