"""A finished run is idle; a change reruns exactly the rules below it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from tiny_run import Place

from ovnerf.storage.provenance import REPOSITORY_ROOT

SUMMARIES = {"draw_figures": 1, "aggregate": 1, "summarise_runs": 1}
SCORES = {"evaluate": 4, **SUMMARIES}
RENDERS = {"render_views": 4, **SCORES}
TRAINING = {"train_shared": 2, "train_semantics": 4, **RENDERS}
LABELS = {"rank_regions": 1, "score_labels": 1, "score_agreement": 1, **TRAINING}
FRAMES = {
    **{"sample_frames": 1, "read_truth": 1, "propose_regions": 1, "cache_dino": 1},
    **{"cache_features": 1, "reconstruct": 1, "render_depth": 1, **LABELS},
}
HALF = {"train_semantics": 2, "render_views": 2, "evaluate": 2, **SUMMARIES}


def test_a_second_run_does_nothing(finished: Place) -> None:
    assert finished.planned() == Counter()


@pytest.mark.parametrize(
    ("section", "changes", "rerun"),
    [
        ("sample_frames", {"test_every": 6}, FRAMES),
        ("propose_regions", {"points_per_side": 5}, {"propose_regions": 1, **LABELS}),
        ("cache_features", {"seed": 1}, {"cache_features": 1, **LABELS}),
        ("rank_regions", {"order": "descending_area"}, LABELS),
        (
            "reconstruct",
            {"iterations": 41},
            {"reconstruct": 1, "render_depth": 1, "score_agreement": 1, **TRAINING},
        ),
        ("train_semantics", {"iterations": 31}, TRAINING),
        ("train_semantics", {"cse": {"novel_views": 3}}, HALF),
        ("render_views", {"text_bank": "bare"}, RENDERS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_reruns_its_rule_and_what_lies_below(
    finished: Place, section: str, changes: dict, rerun: dict[str, int]
) -> None:
    assert finished.planned_after({section: changes}) == Counter(rerun)


def test_another_cadence_of_checkpoints_changes_nothing(finished: Place) -> None:
    assert finished.planned_after({"checkpoint_minutes": 0.5}) == Counter()


def test_another_seed_adds_its_runs_and_leaves_the_first_alone(finished: Place) -> None:
    assert finished.planned_after({"seeds": [0, 1]}) == Counter(TRAINING)


def test_a_variant_less_only_redraws_the_summaries(finished: Place) -> None:
    planned = finished.planned_after({"variants": ["baseline", "ovnerf"]})
    assert planned == Counter(SUMMARIES)


@contextmanager
def edited(path: Path) -> Iterator[None]:
    """One pixel of an image changed, and put back."""
    before = path.read_bytes()
    with Image.open(path) as image:
        image.putpixel((0, 0), image.getpixel((1, 1)) if image.mode != "L" else 1)
        image.save(path)
    assert path.read_bytes() != before
    try:
        yield
    finally:
        path.write_bytes(before)


def test_an_edited_image_reruns_everything_read_from_it(finished: Place) -> None:
    with edited(next((finished.folder / "room" / "rgb_300").iterdir())):
        assert finished.planned() == Counter(FRAMES)


def test_an_edited_label_reruns_no_frames_no_regions_and_no_radiance(finished: Place) -> None:
    with edited(next((finished.folder / "room" / "semantic_300").iterdir())):
        # `simulated` embeddings are made from truth; for a real encoder see test_plan.py.
        assert finished.planned() == Counter({"read_truth": 1, "cache_features": 1, **LABELS})


def test_a_touched_file_reruns_nothing(finished: Place) -> None:
    for path in (finished.folder / "room").rglob("*.*"):
        os.utime(path)
    assert finished.planned() == Counter()


def test_another_published_number_makes_the_tables_again(finished: Place, tmp_path: Path) -> None:
    """In a clone, whose weights are other files than this one's: only `aggregate` is looked at."""
    for name in ("ovnerf", "workflow", "config"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY_ROOT / name, tmp_path / name, ignore=skipped)
    asked = ("--allowed-rules", "aggregate", "--", "results/tables/metrics.csv")
    snakefile = str(tmp_path / "workflow" / "Snakefile")
    assert finished.planned(*asked, snakefile=snakefile) == Counter()
    published = tmp_path / "ovnerf" / "evaluation" / "paper_tables.csv"
    published.write_text(published.read_text().replace(",7.615\n", ",7.616\n", 1))
    assert finished.planned(*asked, snakefile=snakefile) == Counter({"aggregate": 1})


def test_a_room_is_made_again_in_its_folder(place: Place) -> None:
    """Snakemake deletes `room.json` before, and nothing else of the room."""
    room = "results/tiny/room7/room/room.json"
    for _ in range(2):
        done = place.snakemake("--forcerun", room, "--", room)
        assert done.returncode == 0, done.stdout
    assert len(list((place.folder / room).parent.joinpath("rgb_300").iterdir())) == 12
