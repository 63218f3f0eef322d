"""Where CLIP, regions and the field see a phrase: maps worked out by hand, and the stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from asking_fixtures import CLASSES, DESCRIPTION, HEIGHT, TEXT, WIDTH, write_field, write_run
from PIL import Image

from ovnerf.asking.asker import Asker
from ovnerf.asking.evidence import clip_relevancy, map_figure, region_means
from ovnerf.asking.points import open_points
from ovnerf.cli import main
from ovnerf.config.phrases import Phrase
from ovnerf.config.query import Query
from ovnerf.regions.runlength import encode_all
from ovnerf.storage.stores import open_store, write_store

NAN = float("nan")
FRAMES = [1, 3]
"""Of the four, those with features and regions."""


def write_evidence(scene: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """Features of frames 1 and 3, two windows each, and one region over the left half."""
    # The left window is like `wall`, the right one like `table`; the last row has no window.
    embedding = np.stack([TEXT[[0, 1]], TEXT[[1, 0]]]).astype(np.float16)
    half, last = WIDTH // 2, HEIGHT - 1
    box = np.array([[[0, 0, half, last], [half, 0, WIDTH, last]]] * 2, dtype=np.int16)
    text = {"text_bare": TEXT, "text_ensemble": TEXT, "text_blank": np.zeros_like(TEXT[0])}
    attributes = {"frames": FRAMES, "shape": list(size), "classes": CLASSES}
    arrays = {"embedding": embedding, "box": box, "scale": np.zeros(2, np.uint8), **text}
    write_store(scene / "toy/features.zarr", "features", arrays, attributes, "features")
    masks = np.zeros((1, *size), dtype=bool)
    masks[0, :, : size[1] // 2] = True
    coded = encode_all(masks)
    runs, sizes = coded["runs"], coded["run_bytes"]
    ragged = {
        "runs": np.tile(runs, 2),
        "runs_offset": np.array([0, len(runs), 2 * len(runs)]),
        "run_bytes": np.tile(sizes, 2),
        "run_bytes_offset": np.array([0, 1, 2]),
    }
    attributes = {"frames": FRAMES, "shape": list(size)}
    write_store(scene / "regions.zarr", "regions", ragged, attributes, "regions")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with points, in the layout of results."""
    scene = tmp_path_factory.mktemp("results") / "demo/room"
    folder = write_run(scene)
    write_evidence(scene)
    return folder


def test_clip_sees_a_phrase_in_the_windows_that_are_like_it(made: Path) -> None:
    points = open_points(made / "points.zarr", DESCRIPTION)
    asker = Asker(DESCRIPTION, points, Query())
    features = open_store(made.parents[1] / "features.zarr", "features")
    found = clip_relevancy(asker, Phrase(("wall",)), features, 1)
    cosine = TEXT @ TEXT.T
    left, right = (
        1 / (1 + np.exp(-10 * (cosine[0, like] - max(cosine[1, like], cosine[2, like]))))
        for like in (1, 0)
    )
    np.testing.assert_allclose(found[:-1, : WIDTH // 2], left, atol=2e-3)
    np.testing.assert_allclose(found[:-1, WIDTH // 2 :], right, atol=2e-3)
    assert left < 0.5 < right and np.isnan(found[-1]).all()


def test_a_region_has_the_mean_of_its_known_pixels_and_the_last_one_wins() -> None:
    score = np.array([[0.1, 0.3, NAN, 0.8, 0.6, NAN]], dtype=np.float32)
    masks = np.array([[[1, 1, 1, 0, 0, 0]], [[0, 0, 1, 1, 0, 0]], [[0, 0, 0, 0, 0, 1]]], dtype=bool)
    expected = [[0.2, 0.2, 0.8, 0.8, NAN, NAN]]
    np.testing.assert_allclose(region_means(score, masks), expected, rtol=1e-6)


def test_all_maps_of_a_figure_have_one_scale() -> None:
    photo = np.zeros((2, 3, 3), np.uint8)
    low, high = np.full((2, 3), 0.2, np.float32), np.full((2, 3), 0.9, np.float32)
    low[0, 0] = NAN
    figure = map_figure({"a": [photo, low], "b": [photo, high]}, ("render", "field"), "$x$")
    images = [axis.images[0] for axis in figure.axes[:4]]
    assert [(image.norm.vmin, image.norm.vmax) for image in images[1::2]] == [
        (pytest.approx(0.2), pytest.approx(0.9))
    ] * 2
    assert figure.get_suptitle() == "$x$"
    nothing = np.full((2, 3), NAN, np.float32)
    assert map_figure({"a": [photo, nothing]}, ("render", "field"), "none").axes


def test_a_figure_per_phrase(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "maps"
    assert main(["draw_query", str(made), "table", "wall; lamp", "--out", str(out)]) == 0
    assert {one.name for one in out.glob("[!.]*")} == {"table.png", "wall-lamp.png"}
    closing = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (closing["figures"], closing["views"]) == (2, 2)
    colours = np.unique(np.asarray(Image.open(out / "table.png")).reshape(-1, 4), axis=0)
    assert len(colours) > 50


@pytest.mark.parametrize(
    ("arguments", "size", "told"),
    [
        ([], (HEIGHT, WIDTH), "draw_query: found no phrase"),
        (["elephant"], (HEIGHT, WIDTH), "phrase 'elephant': the encoder"),
        (["table"], (HEIGHT - 1, WIDTH), "made from frames of another size"),
        (["table"], None, "found no features.zarr of the run"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    size: tuple[int, int] | None,
    told: str,
) -> None:
    folder = tmp_path / "room/toy/ovnerf/seed0"
    write_field(folder / "semantics")
    if size is not None:
        write_evidence(tmp_path / "room", size)
    out = tmp_path / "maps"
    assert main(["draw_query", str(folder), *arguments, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("error:") == 1
    assert not out.exists() and not list(tmp_path.glob(".maps.*.tmp"))
