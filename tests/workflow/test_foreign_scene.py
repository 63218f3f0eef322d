"""A scene that is not in our own layout, without labels, with maps that another program made."""

from __future__ import annotations

import json

import numpy as np
import scene_formats
from PIL import Image
from scene_folders import CLASSES, label
from tiny_run import Place

from ovnerf.labels.void import VOID
from ovnerf.storage.stores import open_store, read


def test_a_recording_and_precomputed_maps_reach_ranked_labels(place: Place) -> None:
    scene_formats.write_sens(place.folder / "office", lost=(7,))
    (place.folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
    (place.folder / "sheet.tsv").write_text(
        "dataset\tscene\tlayout\tpath\tclasses\ntiny\toffice\tscannet\toffice\tnames.txt\n"
    )
    maps = place.folder / "maps/tiny/office"
    maps.mkdir(parents=True)
    for index in range(12):
        Image.fromarray(label(index)).save(maps / f"{index}.png")
    files = {str(index): f"{index}.png" for index in range(12)}
    manifest = {"kind": "labels", "classes": ["void", *CLASSES], "void": 0, "files": files}
    (maps / "manifest.json").write_text(json.dumps(manifest))
    encoders = place.folder / "config/encoders"
    encoders.mkdir(parents=True)
    text = "kind: precomputed\nfolder: maps/{dataset}/{scene}\ncell: 2\n"
    (encoders / "mine.yaml").write_text(text)
    place.configure({"encoders": ["mine"], "cache_features": {"parts": 3}})
    planned = place.planned()
    assert planned["evaluate"] == 4
    assert "read_truth" not in planned and "score_labels" not in planned
    done = place.snakemake("results/tiny/office/mine/labels.zarr")
    assert done.returncode == 0, done.stdout
    frames = open_store(place.folder / "results/tiny/office/frames.zarr", "frames")
    (dropped,) = frames.attrs["dropped"]
    assert dropped["name"] == "7"
    assert frames.attrs["classes"] == list(CLASSES)
    labels = open_store(place.folder / "results/tiny/office/mine/labels.zarr", "labels")
    found = read(labels, "clip")
    names = [frames.attrs["names"][index] for index in labels.attrs["frames"]]
    wanted = np.stack([label(int(name)).astype(int) - 1 for name in names])
    assert np.array_equal(found, np.where(wanted < 0, VOID, wanted))
    before = place.planned("results/tiny/office/mine/labels.zarr")
    assert not before
    Image.fromarray(label(0)).save(maps / "3.png")
    assert place.planned("results/tiny/office/mine/labels.zarr")["cache_features"] == 1
