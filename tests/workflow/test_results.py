"""What a finished run leaves behind."""

from __future__ import annotations

import csv
import json
import runpy

import numpy as np
import pytest
from tiny_run import Place

from ovnerf.runtime.memory import ASKING, CHECKED
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import MADE_BY, open_store, open_truth, read, verify

VARIANTS = {"baseline", "rsr", "cse", "ovnerf"}


@pytest.fixture(scope="module")
def metrics(finished: Place) -> list[dict[str, str]]:
    with (finished.folder / "results/tables/metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def aggregates(rows: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    """Rows of whole runs that match."""
    wanted = {"frame": "", "class": "", **wanted}
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_the_long_table_has_the_agreed_columns(metrics: list[dict[str, str]]) -> None:
    columns = "dataset scene encoder variant seed protocol split source frame class metric value"
    assert list(metrics[0]) == columns.split()


def test_every_variant_is_scored_once_by_both_protocols(metrics: list[dict[str, str]]) -> None:
    for protocol in ("per_image", "pooled"):
        for metric in ("mIoU", "accuracy"):
            rows = aggregates(metrics, source="field", protocol=protocol, metric=metric)
            assert sorted(row["variant"] for row in rows) == sorted(VARIANTS)
            assert {row["split"] for row in rows} == {"test"}
            assert all(0 <= float(row["value"]) <= 100 for row in rows)


def test_label_maps_are_scored_once_without_variant(metrics: list[dict[str, str]]) -> None:
    sources = ("clip", "rsr", "rsr_truth")
    for source in (*sources, *(f"{name}_covered" for name in sources)):
        (row,) = aggregates(
            metrics, source=source, split="train", protocol="pooled", metric="accuracy"
        )
        assert (row["variant"], row["seed"], row["encoder"]) == ("", "", "simulated")


def test_reconstruction_is_scored_once_for_all(metrics: list[dict[str, str]]) -> None:
    (row,) = aggregates(metrics, source="radiance", metric="PSNR")
    assert (row["encoder"], row["variant"], row["seed"], row["protocol"]) == ("", "", "", "")


def test_every_store_is_whole_and_nothing_unfinished_is_left(finished: Place) -> None:
    stores = sorted((finished.folder / "results").rglob("*.zarr"))
    assert {path.stem for path in stores} == set(MADE_BY) - {"fused", "points"}  # not asked for
    for path in stores:
        verify(open_store(path, path.stem))
    leftovers = [
        path
        for path in (finished.folder / "results").rglob("*")
        if ".partial" in path.name or path.name.endswith(".tmp")
    ]
    assert not leftovers


def test_every_job_ends_with_its_line_in_the_log(finished: Place) -> None:
    logs = sorted((finished.folder / "results/logs").rglob("*.log"))
    assert len(logs) == len(list((finished.folder / "results/benchmarks").rglob("*.tsv")))
    for log in logs:
        closing = json.loads(log.read_text().splitlines()[-1])
        assert closing["stage"] == log.parent.name
        assert closing["peak_memory_mb"] < 4000


def test_the_report_holds_figures_and_tables(finished: Place) -> None:
    done = finished.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout
    page = (finished.folder / "report.html").read_text()
    for name in (
        "class_iou.png",
        "training.png",
        "components.csv",
        "per_class.csv",
        "time_and_memory",
    ):
        assert name in page, name


def test_every_job_is_in_the_table_of_runs(finished: Place) -> None:
    with (finished.folder / "results/tables/runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    results = finished.folder / "results"
    logs = [path for path in results.glob("logs/*/*.log") if path.parent.name != "summarise_runs"]
    assert len(rows) == len(logs)
    for row in rows:
        assert len(row["digest"]) in (16, 64) and float(row["job_seconds"]) > float(row["seconds"])
        assert 10 < float(row["peak_memory_mb"]) < float(row["expected_memory_mb"] or 4000)
    assert {row["rule"] for row in rows if row["expected_memory_mb"]} == {*CHECKED} - {
        "cache_features_part",
        *ASKING,
    }
    (run,) = [row for row in rows if row["rule"] == "train_semantics" and row["variant"] == "cse"]
    assert (run["dataset"], run["scene"], run["encoder"], run["seed"]) == (
        *("tiny", "room", "simulated"),
        "0",
    )
    assert (run["unit"], run["done"]) == ("it", "30") and float(run["rate"]) > 0


def test_variants_are_drawn_beside_each_other_as_they_were_rendered(finished: Place) -> None:
    path = REPOSITORY_ROOT / "workflow" / "scripts" / "draw_before_after.py"
    script = runpy.run_path(str(path))
    (views,) = (finished.folder / "results").glob("*/*/simulated/ovnerf/seed0/views.zarr")
    folder = views.parents[2]
    frames = open_store(folder.parent / "frames.zarr", "frames")
    truth = open_truth(folder.parent / "truth.zarr", frames)
    frame = frame_indices(frames, "test")[0]
    panels = script["variant_panels"](folder, frames, truth, frame, ["rsr", "ovnerf"])
    assert list(panels) == ["photo", "rsr", "ovnerf", "truth"]
    np.testing.assert_array_equal(panels["ovnerf"], read(open_store(views, "views"), "label", 0))
    assert script["accuracy"](np.array([1, 0, 2]), np.array([1, 1, 65535])) == ", 50 % right"
