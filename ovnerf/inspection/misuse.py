"""Encoders, regions and variants that are not to be used together: refused with a sentence."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ovnerf.config.features import Precomputed, Simulated, cell_of
from ovnerf.config.paper import PaperTables
from ovnerf.config.semantics import TrainSemantics
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import PACKAGE_ROOT

PRINTED_ENCODERS = ("clip", "openclip", "lseg", "fcclip")
"""The paper's encoders by our names, which stand-ins may take the places of."""
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


def refuse_unknown_places(settings: PaperTables) -> None:
    """UserError for a stand-in that takes no place of the paper's tables."""
    table = PACKAGE_ROOT / "evaluation" / "paper_tables.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    printed = {f"{row['dataset'].lower()}/{row['scene']}" for row in rows}
    places = sorted(place for place in printed if not place.endswith("/Average"))
    for kind, given, known in (
        ("scenes", settings.scenes, places),
        ("encoders", settings.encoders, PRINTED_ENCODERS),
    ):
        for place in given:
            if place not in known:
                raise UserError(
                    f"paper_tables.{kind}: the paper's tables have no {place}",
                    f"they have {', '.join(known)}",
                )


def absent_stand_ins(
    settings: PaperTables, scenes: Iterable[tuple[str, str]], encoders: Collection[str]
) -> Iterator[str]:
    """A warning for each stand-in that is not of the run, so that its cells stay empty.

    Args:
        scenes: datasets and scenes of the sheet. encoders: names of those of the config.
    """
    of_run = {"scenes": {"/".join(key) for key in scenes}, "encoders": set(encoders)}
    for kind, given in (("scenes", settings.scenes), ("encoders", settings.encoders)):
        for place, stand_in in given.items():
            if stand_in not in of_run[kind]:
                yield f"paper_tables.{kind}: {stand_in} for {place} is not of this run"
