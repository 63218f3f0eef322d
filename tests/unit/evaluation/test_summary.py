"""The page that people read first, from scores small enough to average in one's head."""

from pathlib import Path

from ovnerf.evaluation.rows import COLUMNS, row, write_rows
from ovnerf.stages import aggregate

WHERE = {"dataset": "demo", "scene": "room0", "encoder": "toy", "split": "test"}
SHARED = {"dataset": "demo", "scene": "room0", "split": "test", "source": "radiance"}


def field(variant: str, seed: int, miou: float, **cells: str) -> list[dict]:
    identity = {**WHERE, "variant": variant, "seed": seed, "source": "field", **cells}
    return [
        row(identity, "mIoU", miou, protocol="pooled"),
        row(identity, "mIoU", 99.0, protocol="per_image"),
        row(identity, "accuracy", miou + 20, protocol="pooled"),
        row(identity, "PSNR", 30.0),
        row(identity, "PSNR", 12.0, frame="rgb_0"),
    ]


def page(tmp_path: Path, rows: list[dict], about: str = "") -> list[str]:
    """The lines of summary.md."""
    write_rows(tmp_path / "rows.csv", rows, COLUMNS)
    aggregate.run(metrics=[tmp_path / "rows.csv"], out=tmp_path / "tables", about=about)
    return (tmp_path / "tables/summary.md").read_text(encoding="utf-8").splitlines()


def table_below(lines: list[str], heading: str) -> list[str]:
    begin = lines.index(heading) + 2
    return lines[begin : lines.index("", begin)]


def test_a_line_per_variant_and_a_column_per_scene(tmp_path):
    rows = [row({**WHERE, "source": "clip"}, "mIoU", 41.0, protocol="pooled")]
    rows += field("ovnerf", 0, 50.0) + field("ovnerf", 1, 54.0) + field("baseline", 0, 43.0)
    rows += [*field("ovnerf", 0, 60.0, scene="room1"), row(SHARED, "PSNR", 31.0)]
    lines = page(tmp_path, rows)
    # 50 and 54: mean 52, sample deviation the root of 8.
    assert table_below(lines, "**mIoU, percent (protocol `pooled`)**") == [
        "|  | room0 | room1 |",
        "| --- | --- | --- |",
        "| first labels (`clip`) | 41.0 |  |",
        "| field, `baseline` | 43.0 |  |",
        "| field, `ovnerf` | 52.0 ± 2.8 | 60.0 |",
    ]
    assert table_below(lines, "**PSNR, dB**") == [
        "|  | room0 | room1 |",
        "| --- | --- | --- |",
        "| radiance field, before semantics | 31.0 |  |",
        "| field, `baseline` | 30.0 |  |",
        "| field, `ovnerf` | 30.0 ± 0.0 | 30.0 |",
    ]
    assert "99.0" not in "\n".join(lines)


def test_agreement_of_label_maps_and_fields_is_one_table(tmp_path):
    maps = {**WHERE, "split": "train", "source": "clip"}
    whole = {**WHERE, "variant": "rsr", "seed": 0, "source": "field"}
    rows = [row(maps, "agreement", 70.0), row(maps, "mIoU", 33.0, protocol="pooled")]
    lines = page(tmp_path, [*rows, row(whole, "agreement", 95.0)])
    heading = "**Agreement between views, percent (label maps: of training views)**"
    assert table_below(lines, heading) == [
        "|  | room0 |",
        "| --- | --- |",
        "| first labels (`clip`) | 70.0 |",
        "| field, `rsr` | 95.0 |",
    ]
    assert "33.0" not in "\n".join(lines)


def test_the_caption_says_of_what_the_numbers_are(tmp_path):
    rows = field("ovnerf", 0, 50.0) + field("ovnerf", 10, 54.0) + field("ovnerf", 2, 54.0)
    lines = page(tmp_path, rows, "Regions: `toy`. Iterations: 12 of the reconstruction.")
    assert lines[2:5] == [
        "## Encoder `toy`",
        "",
        "Held-out views (split `test`); mean ± sample standard deviation over seeds 0, 2, 10. "
        "Regions: `toy`. Iterations: 12 of the reconstruction.",
    ]


def test_training_views_are_marked_and_rows_of_split_train_stay_out(tmp_path):
    rows = field("ovnerf", 0, 50.0, split="seen") + field("ovnerf", 0, 60.0, dataset="other")
    rows += [row({**WHERE, "split": "train", "source": "clip"}, "mIoU", 7.0, protocol="pooled")]
    assert table_below(page(tmp_path, rows), "**mIoU, percent (protocol `pooled`)**") == [
        "|  | demo/room0 (seen) | other/room0 |",
        "| --- | --- | --- |",
        "| field, `ovnerf` | 50.0 | 60.0 |",
    ]


def test_encoders_are_apart_and_simulated_ones_are_explained(tmp_path):
    rows = field("ovnerf", 0, 50.0) + field("ovnerf", 0, 60.0, encoder="simulated_x")
    lines = page(tmp_path, rows)
    assert [line for line in lines if line.startswith("## Encoder")] == [
        "## Encoder `simulated_x`",
        "## Encoder `toy`",
    ]
    assert any("from ground truth plus noise" in line for line in lines)


def test_an_encoders_tables_have_its_own_scenes(tmp_path):
    """Groups under `runs` give each scene its encoders; reconstructions are of none."""
    rows = field("ovnerf", 0, 50.0) + field("ovnerf", 0, 60.0, encoder="clip", scene="room1")
    rows += [row({**SHARED, "scene": f"room{number}"}, "PSNR", 31.0) for number in range(2)]
    lines = page(tmp_path, rows)
    of_clip, of_toy = (lines.index(f"## Encoder `{name}`") for name in ("clip", "toy"))
    headers = [
        [line for line in part if line.startswith("|  |")]
        for part in (lines[of_clip:of_toy], lines[of_toy:])
    ]
    assert headers == [3 * ["|  | room1 |"], 3 * ["|  | room0 |"]]


def test_names_do_not_break_the_table(tmp_path):
    lines = page(tmp_path, field("a|b", 0, 50.0, scene="x|y"))
    assert "| field, `a\\|b` | 50.0 |" in lines
    assert "|  | x\\|y |" in lines


def test_a_run_without_a_scored_view_says_so(tmp_path):
    rows = [row({**WHERE, "split": "train", "source": "clip"}, "mIoU", 7.0, protocol="pooled")]
    lines = page(tmp_path, rows)
    assert "No scored view." in lines
    assert "No scene, encoder and variant of the paper with held-out views in this run." in lines
