"""What `make demo` says at its end, from a table small enough to average in one's head."""

import sys
from pathlib import Path

from ovnerf.evaluation.rows import COLUMNS, row, write_rows
from ovnerf.storage.provenance import REPOSITORY_ROOT

sys.path.append(str(REPOSITORY_ROOT / "workflow" / "scripts"))

from demo_ending import ending


def field(scene: str, variant: str, seed: int, miou: float) -> list[dict]:
    identity = {"dataset": "demo", "scene": scene, "encoder": "toy", "split": "test"}
    identity |= {"variant": variant, "seed": seed, "source": "field"}
    return [
        row(identity, "mIoU", miou, protocol="pooled"),
        row(identity, "mIoU", 1.0, protocol="per_image"),
        row(identity, "mIoU", 2.0, protocol="pooled", frame="rgb_0"),
        row(identity, "accuracy", miou + 30, protocol="pooled"),
        row({**identity, "source": "clip"}, "mIoU", 3.0, protocol="pooled"),
    ]


def test_eight_lines(tmp_path: Path) -> None:
    rows = field("room0", "baseline", 0, 40.0) + field("room0", "ovnerf", 0, 50.0)
    rows += field("room0", "ovnerf", 1, 53.0) + field("room1", "baseline", 0, 41.0)
    rows += field("room1", "rsr", 0, 99.0)
    write_rows(tmp_path / "tables/metrics.csv", rows, COLUMNS)
    figures = tmp_path / "demo/room0/toy/figures"
    figures.mkdir(parents=True)
    for name in ("training.png", "view_rgb_010.png", "view_rgb_000.png"):
        (figures / name).touch()
    run = tmp_path / "demo/room0/toy/ovnerf/seed0"
    (run / "points.zarr").mkdir(parents=True)
    assert ending(tmp_path) == [
        "mIoU, percent:      room0 40.0 -> 51.5, room1 41.0 -> -"
        "   (CLIP labels alone -> with RSR and CSE)",
        "accuracy, percent:  room0 70.0 -> 81.5, room1 71.0 -> -   (held-out views)",
        f"all scores:         {tmp_path}/tables/summary.md",
        f"a picture to open:  {figures}/view_rgb_000.png",
        f'ask the field:      .venv/bin/python -m ovnerf query {run} "table"',
        f"look at it:         .venv/bin/python -m ovnerf view {run}",
        "a report:           .venv/bin/snakemake --report report.html",
        "your own photos:    docs/tutorial.md",
    ]
