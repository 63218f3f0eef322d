"""Draw what RSR and CSE change in a held-out view, one line per scene, from a finished run.

    python workflow/scripts/draw_before_after.py results/demo/room?/toy --out docs

Writes rsr.png (photo, first labels, labels after RSR, truth) and cse.png (photo, the field of
variant `cse` when self-enhancement begins, the same field at the end, truth); with `--variants`
instead variants.png (photo, the fields of these variants, truth). A scene is named by the folder
of its encoder; it needs true labels and, for the first labels, features of all views
(`cache_features.views: all`, as in the demo). Seed 0. Percentages are accuracy on the labelled
pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from ovnerf.encoders.text import text_bank  # noqa: E402
from ovnerf.evaluation.figures import (  # noqa: E402
    colour_labels,
    draw_legend,
    legend_patches,
    new_figure,
)
from ovnerf.field.rendering import render_labels, view_weights  # noqa: E402
from ovnerf.field.semantic_field import SemanticField, semantics_from_header  # noqa: E402
from ovnerf.labels.void import VOID  # noqa: E402
from ovnerf.storage.splits import frame_indices  # noqa: E402
from ovnerf.storage.stores import Store, open_store, open_truth, read  # noqa: E402
from ovnerf.storage.tensors import load_tensors, strip  # noqa: E402
from ovnerf.training.data import load_photos  # noqa: E402

Panels = dict[str, np.ndarray]
"""Title -> u8 (H, W, 3) picture or u16 (H, W) label map; the last map is the truth."""


def rsr_panels(folder: Path, frames: Store, truth: Store, frame: int) -> Panels:
    """Photo, first labels, labels after RSR, truth."""
    labels = open_store(folder / "labels.zarr", "labels")
    slot = list(labels.attrs["frames"]).index(frame)
    return {
        "photo": read(frames, "rgb", frame),
        "first labels (CLIP)": read(labels, "clip", slot),
        "after RSR": read(labels, "rsr", slot),
        "truth": read(truth, "label", frame),
    }


def cse_panels(folder: Path, frames: Store, truth: Store, frame: int) -> Panels:
    """Photo, labels rendered when self-enhancement begins and at the end, truth."""
    (shared,) = folder.glob("shared-clip-*/seed0/shared")
    tensors, header = load_tensors(shared / "checkpoint.safetensors")
    begin = semantics_from_header(header, strip(tensors, "field.")).eval()
    return {
        "photo": read(frames, "rgb", frame),
        "field before CSE": rendered(begin, folder, frames, frame),
        "field after CSE": rendered(trained(folder, "cse"), folder, frames, frame),
        "truth": read(truth, "label", frame),
    }


def variant_panels(
    folder: Path, frames: Store, truth: Store, frame: int, variants: Sequence[str]
) -> Panels:
    """Photo, labels rendered from the field of each variant, truth."""
    return {
        "photo": read(frames, "rgb", frame),
        **{name: rendered(trained(folder, name), folder, frames, frame) for name in variants},
        "truth": read(truth, "label", frame),
    }


def trained(folder: Path, variant: str) -> SemanticField:
    """The trained field of a variant."""
    tensors, header = load_tensors(folder / variant / "seed0/semantics/field.safetensors")
    return semantics_from_header(header, tensors).eval()


def rendered(field: SemanticField, folder: Path, frames: Store, frame: int) -> np.ndarray:
    """Labels of one frame's view from a field, u16 (H, W)."""
    features = open_store(folder / "features.zarr", "features")
    photos = load_photos(frames, [frame])
    view = view_weights(field.radiance, photos.camera(0))
    text = text_bank(features, "ensemble", False, photos.pose.device)
    label = render_labels(field, view, text, VOID)
    return label.view(photos.size).numpy().astype(np.uint16)


def draw(lines: Sequence[Panels], classes: Sequence[str]) -> Figure:
    """The panels of each scene in a line, with the accuracy of each label map, and a legend."""
    columns = len(lines[0])
    height, width = next(iter(lines[0].values())).shape[:2]
    figure = new_figure(3.0 * columns, (3.0 * height / width + 0.3) * len(lines) + 0.6)
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, panels in zip(axes, lines, strict=True):
        for axis, (title, panel) in zip(line, panels.items(), strict=True):
            axis.set_axis_off()
            is_map = panel.ndim == 2
            axis.imshow(colour_labels(panel, len(classes)) if is_map else panel)
            scored = is_map and title != "truth"
            axis.set_title(title + (accuracy(panel, panels["truth"]) if scored else ""))
    maps = [panel for panels in lines for panel in panels.values() if panel.ndim == 2]
    shown = legend_patches(maps, classes)
    names, patches = [name for name, _ in shown], [patch for _, patch in shown]
    draw_legend(figure, patches, names, loc="outside lower center", ncols=8, fontsize=8)
    return figure


def accuracy(label: np.ndarray, truth: np.ndarray) -> str:
    """Share of labelled pixels that are right, as it stands in a title."""
    return f", {100 * float((label == truth)[truth != VOID].mean()):.0f} % right"


def main(folders: Sequence[Path], view: int, variants: Sequence[str], out: Path) -> None:
    """Write the pictures of held-out view number `view` of each scene to folder `out`."""
    pictures: dict[str, list[Panels]] = {}
    for folder in folders:
        frames = open_store(folder.parent / "frames.zarr", "frames")
        truth = open_truth(folder.parent / "truth.zarr", frames)
        scene = folder, frames, truth, frame_indices(frames, "test")[view]
        if variants:
            pictures.setdefault("variants", []).append(variant_panels(*scene, variants))
        else:
            pictures.setdefault("rsr", []).append(rsr_panels(*scene))
            pictures.setdefault("cse", []).append(cse_panels(*scene))
    for name, lines in pictures.items():
        figure = draw(lines, list(frames.attrs["classes"]))
        figure.savefig(out / f"{name}.png", dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--view", type=int, default=0, help="number of the held-out view")
    parser.add_argument("--variants", nargs="+", default=[], help="draw these beside each other")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    main(options.folders, options.view, options.variants, options.out)
