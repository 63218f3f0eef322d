"""How well class names are found in held-out views: by the field, and by what it was trained on.

    python -m benchmarks.query_quality results/demo/room0/toy/ovnerf/seed0 ...
    python -m benchmarks.query_quality RUN --truth OTHER/truth.zarr

Every class of the scene's true labels is asked for by its name, in three ways, with the same
negatives: of the field's language vectors; of the training views' CLIP features, averaged in space
(`lifted`; nothing is trained); of the held-out view's own CLIP features (`view`; only where the
store has them, `cache_features: {views: all}`). A CLIP feature is the mean over the scales of a
pixel's windows. `--truth` gives labels with more classes than the run was trained with: those are
`unlisted` words, which no label of the training said.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ovnerf.asking.asker import Asker
from ovnerf.asking.relevancy import relevancy
from ovnerf.asking.run import Run, open_run
from ovnerf.asking.scores import Row, score_rows
from ovnerf.asking.targets import targets_of_truth
from ovnerf.config.lift import Lift
from ovnerf.config.phrases import Phrase
from ovnerf.encoders.pyramid import PyramidFeatures
from ovnerf.field.lifting import Lifted
from ovnerf.field.rendering import view_weights
from ovnerf.geometry.camera import Camera
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import open_store
from ovnerf.training.semantic_data import labelled_photos

PROTOCOLS = ("pixel_ap", "lerf_loc", "existence_auc")
Features = Callable[[int], np.ndarray]
"""Unit features f32 (H W, D) of a frame."""


def pixel_features(pyramid: PyramidFeatures, frame: int) -> torch.Tensor:
    """Mean over the scales of a frame's features, unit length, f32 (H W, D)."""
    row, column = torch.meshgrid(
        torch.arange(pyramid.height), torch.arange(pyramid.width), indexing="ij"
    )
    slot = torch.full((row.numel(),), pyramid.frames.index(frame))
    found = pyramid.lookup(slot, column.flatten(), row.flatten()).mean(1)
    return functional.normalize(found, dim=-1)


def camera(run: Run, frame: int) -> Camera:
    """The camera of a frame."""
    return run.description.camera(run.description.pose[frame])


def lifted_features(run: Run, pyramid: PyramidFeatures, seed: int = 0) -> Features:
    """Features of the labelled training views, averaged in the cells of a grid and rendered."""
    settings, field = Lift(), run.field.radiance
    train = run.description.training_frames
    lifted = Lifted(field.box, settings.voxels, pyramid.channels)
    for photo in labelled_photos(len(train), settings.view_fraction, seed).tolist():
        view = view_weights(field, camera(run, train[photo]))
        lifted.add(view, pixel_features(pyramid, train[photo]))

    def of(frame: int) -> np.ndarray:
        found = lifted.render(view_weights(field, camera(run, frame)))
        return functional.normalize(found, dim=-1).numpy()

    return of


def maps_of(asker: Asker, phrases: list[Phrase], features: np.ndarray) -> list[np.ndarray]:
    """Relevancy f32 (H, W) of each phrase at unit features f32 (H W, D)."""
    size = asker.description.height, asker.description.width

    def most_like(words: tuple[str, ...]) -> np.ndarray:
        return (np.stack([asker.vectors[word] for word in words]) @ features.T).max(0)

    return [
        relevancy(most_like(phrase.synonyms), most_like(asker.negatives(phrase))).reshape(size)
        for phrase in phrases
    ]


def ways(
    run: Run, phrases: list[Phrase]
) -> Iterator[tuple[str, Callable[[int], list[np.ndarray]]]]:
    """Name of a way to ask -> maps of all phrases in a frame."""
    names, held_out = run.description.names, run.description.held_out_frames
    yield "field", lambda frame: run.asker.view_scores(phrases, run.render_frame(names[frame]))
    if run.files.features is None:
        raise UserError(f"{run.files.folder}: found no features.zarr above it")
    pyramid = PyramidFeatures(open_store(run.files.features, "features"))
    lifted = lifted_features(run, pyramid)
    yield "lifted", lambda frame: maps_of(run.asker, phrases, lifted(frame))
    if set(held_out) <= set(pyramid.frames):
        yield (
            "view",
            lambda frame: maps_of(run.asker, phrases, pixel_features(pyramid, frame).numpy()),
        )


def scores(run: Run, truth: Path) -> Iterator[tuple[str, str, int, list[Row]]]:
    """Way to ask, which words, how many of them, and their rows."""
    classes = open_store(truth, "truth").attrs["classes"]
    targets = targets_of_truth(truth, run.description)
    phrases = [Phrase((name,)) for name in classes]
    names = run.description.names
    for way, maps in ways(run, phrases):
        found = {names[frame]: maps(frame) for frame in run.description.held_out_frames}
        for words, listed in (("listed", True), ("unlisted", False)):
            chosen = [
                number
                for number, name in enumerate(classes)
                if (name in run.description.classes) is listed
            ]
            if chosen:
                some = {frame: [one[number] for number in chosen] for frame, one in found.items()}
                asked = [phrases[number] for number in chosen]
                yield way, words, len(chosen), score_rows(asked, targets, some)


def line(name: str, way: str, words: str, count: int, rows: list[Row]) -> str:
    """A row of the table: means over the phrases, `-` where a protocol gives none."""
    mean = {row["protocol"]: f"{row['value']:.1f}" for row in rows if not row["phrase"]}
    cells = (name, way, words, count, *(mean.get(protocol, "-") for protocol in PROTOCOLS))
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table; `--out` keeps every row."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.query_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, nargs="+", help="folder of a run")
    parser.add_argument("--truth", type=Path, help="`truth.zarr` of the scene, with more classes")
    parser.add_argument("--out", type=Path, help="CSV of every phrase's scores")
    arguments = parser.parse_args()
    print(f"| run | asked | words | classes | {' | '.join(PROTOCOLS)} |\n|{'---|' * 7}")
    kept: list[dict[str, object]] = []
    for folder in arguments.run:
        run = open_run(folder)
        truth = arguments.truth or run.files.truth
        if truth is None:
            raise SystemExit(f"{folder}: found no truth.zarr above it; name one by --truth")
        name = "/".join(folder.absolute().parts[-5:])
        for way, words, count, rows in scores(run, truth):
            print(line(name, way, words, count, rows), flush=True)
            kept += [{"run": name, "asked": way, "words": words, **row} for row in rows]
    if arguments.out:
        with arguments.out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(kept[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)


if __name__ == "__main__":
    main()
