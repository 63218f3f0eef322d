"""Draw the pseudo labels of a training at each refresh of CSE (paper Fig. 3 and 4).

The training runs once more, from iteration T to its last refresh, because trainings keep their
latest labels only (docs/asking.md#refreshes). Files in the folder: `training_views.png`, and
`novel_views.png` where there are novel views.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ovnerf.config.labels import RankRegions
from ovnerf.config.refresh_figures import DrawRefreshes
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.evaluation.csv_files import read_train_log
from ovnerf.evaluation.figures import save
from ovnerf.evaluation.refresh_figures import label_rows
from ovnerf.runtime.errors import UserError
from ovnerf.storage.by_frame import begin_partial
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.tensors import load_tensors
from ovnerf.training.assemble import CHECKPOINT, SemanticInputs
from ovnerf.training.continued import continued
from ovnerf.training.loop import run_with_checkpoints
from ovnerf.training.pseudo_labels import PseudoLabels
from ovnerf.training.replay import Replay, label_maps

LOSSES_AGREE = 1e-4
"""Losses of the same training differ by less than this share, rounding of the log included."""


def run(
    *,
    frames: Path,
    features: Path,
    dino: Path,
    labels: Path,
    regions: Path,
    radiance: Path,
    shared: Path,
    semantics: Path,
    out: Path,
    settings: TrainSemantics,
    region_settings: ProposeRegions,
    rank_settings: RankRegions,
    figure_settings: DrawRefreshes,
    fused: Path | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 5.0,
) -> dict[str, object]:
    """Write the figures to folder `out`; resumes after a kill.

    Args:
        semantics: folder of the training, whose losses are compared with those of the replay.
        settings: of the training, like the other inputs; `figure_settings` are of the figures.
    """
    refuse_without_refreshes(settings)
    trained = read_train_log(semantics / "train.csv")  # refused now, not after the replay
    start = load_tensors(shared / CHECKPOINT)[1]["digest"]
    digest = result_digest(
        "draw_refreshes",
        settings,
        {"shared": start},
        regions=region_settings.model_dump(mode="json"),
        seed=seed,
        views=figure_settings.views,
    )
    paths = {"frames": frames, "features": features, "dino": dino}
    paths |= {"labels": labels, "radiance": radiance}
    inputs, training = continued(
        paths, shared, regions, settings, region_settings, rank_settings, fused, seed
    )
    pseudo = training.pseudo_labels
    assert pseudo is not None  # CSE is on
    kept = out.with_name(out.name + ".partial")
    begin_partial(kept, digest)
    slots = spread_evenly(range(len(training.data.labelled)), figure_settings.views)
    novel = spread_evenly(range(len(pseudo.novel)), figure_settings.views)
    replay = Replay(training, slots, novel, kept)
    checkpoint = kept / "checkpoint.safetensors"
    end = replay.refreshes[-1] + 1
    run_with_checkpoints(replay, end, checkpoint, digest, checkpoint_minutes, "draw_refreshes")
    with listed_folder(out, "draw_refreshes") as folder:
        draw(folder, replay, pseudo, inputs)
    shutil.rmtree(kept)
    return {
        "refreshes": len(replay.refreshes),
        "views": len(slots),
        "novel_views": len(novel),
        **other_losses(pd.DataFrame(training.rows), trained),
    }


def refuse_without_refreshes(settings: TrainSemantics) -> None:
    """UserError for a training that never refreshes a label."""
    if not settings.cse.enabled:
        raise UserError(
            "draw_refreshes: found `cse.enabled: false`, so this training never refreshes a label",
            "name a variant with CSE",
        )
    if round(settings.cse.start * settings.iterations) >= settings.iterations:
        raise UserError(
            f"draw_refreshes: CSE starts after the last of {settings.iterations} iterations, so "
            "this training never refreshes a label",
            "name a variant with a lower `cse.start`",
        )


def draw(folder: Path, replay: Replay, pseudo: PseudoLabels, inputs: SemanticInputs) -> None:
    """Write the figures of a finished replay."""
    data, slots = replay.training.data, replay.slots
    classes, frames = list(inputs.features.attrs["classes"]), inputs.frames.attrs["names"]
    photos = data.photos.rgb[data.labelled[slots]].cpu().numpy()
    moments = [f"iteration {iteration}" for iteration in replay.refreshes]
    names = [frames[data.pyramid.frames[slot]] for slot in slots]
    maps = [label_maps(data.label, slots), *replay.labels("label")]
    columns = ["photo", "first labels", *moments]
    figure = label_rows(by_view(names, [photos, *maps]), columns, classes, "training views")
    save(figure, folder / "training_views.png")
    if replay.novel:
        names = [pseudo.novel[view][0] for view in replay.novel]
        rows = by_view(names, [renders(pseudo, replay.novel), *replay.labels("novel")])
        figure = label_rows(rows, ["render", *moments], classes, "novel views")
        save(figure, folder / "novel_views.png")


def by_view(names: Sequence[str], columns: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The panels of each view, from columns (views, H, W[, 3])."""
    return dict(zip(names, map(list, zip(*columns, strict=True)), strict=True))


def renders(pseudo: PseudoLabels, views: Sequence[int]) -> np.ndarray:
    """Colours of novel views u8 (views, H, W, 3), on which their regions are proposed."""
    return np.stack([pseudo.novel_image(*pseudo.novel[view][:2]) for view in views])


def other_losses(replayed: pd.DataFrame, trained: pd.DataFrame) -> dict[str, str]:
    """The entry `warning` where the logged losses of replay and training differ; else empty."""
    both = replayed.merge(trained, on="iteration", suffixes=("", " trained"))
    pairs = [(name, f"{name} trained") for name in replayed if f"{name} trained" in both]
    for name, other in pairs:
        if not np.allclose(both[name], both[other], rtol=LOSSES_AGREE, atol=1e-9, equal_nan=True):
            return {
                "warning": f"`{name}` is not that of train.csv: these are the labels of a "
                "training like this one, on another machine or with another version"
            }
    return {}
