"""Wide tables from a long table small enough to average in one's head."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from ovnerf.evaluation.csv_files import read_train_log
from ovnerf.evaluation.paper import published
from ovnerf.evaluation.rows import COLUMNS, row, write_rows
from ovnerf.runtime.errors import UserError
from ovnerf.stages import aggregate

FIELD = {"dataset": "Replica", "scene": "room0", "encoder": "clip", "split": "test"}


def field_rows(seed: int, miou: float) -> list[dict]:
    identity = {**FIELD, "variant": "ovnerf", "seed": seed, "source": "field"}
    shared = {"dataset": "Replica", "scene": "room0", "split": "test", "source": "radiance"}
    return [
        row(identity, "mIoU", miou, protocol="per_image"),
        row(identity, "mIoU", miou + 1, protocol="pooled"),
        row(identity, "mIoU", 99.0, protocol="per_image", frame="rgb_0"),
        row(identity, "IoU", miou - 1, protocol="pooled", **{"class": "wall"}),
        row(identity, "PSNR", 30.0),
        row(shared, "PSNR", 31.0),
    ]


def tables(tmp_path: Path, *groups: list[dict]) -> Path:
    paths = []
    for number, rows in enumerate(groups):
        paths.append(tmp_path / f"{number}.csv")
        write_rows(paths[-1], rows, COLUMNS)
    aggregate.run(metrics=paths, out=tmp_path / "tables")
    return tmp_path / "tables"


def test_means_over_seeds(tmp_path):
    labels = {**FIELD, "split": "train", "source": "clip"}
    first = row(labels, "mIoU", 10.0, protocol="pooled")
    folder = tables(tmp_path, field_rows(0, 20.0), field_rows(1, 24.0), [first])
    wide = pd.read_csv(folder / "components.csv").set_index("source")
    assert wide.loc["field", "per_image_mIoU_mean"] == 22
    assert wide.loc["field", "per_image_mIoU_std"] == pytest.approx(8**0.5, abs=1e-5)
    assert wide.loc["field", "pooled_mIoU_mean"] == 23
    assert wide.loc["field", "seeds"] == 2
    assert wide.loc["clip", "pooled_mIoU_mean"] == 10
    assert pd.isna(wide.loc["clip", "pooled_mIoU_std"])
    classes = pd.read_csv(folder / "per_class.csv")
    assert classes[["class", "pooled_IoU_mean", "seeds"]].values.tolist() == [["wall", 21, 2]]
    quality = pd.read_csv(folder / "image_quality.csv").set_index("source")
    assert quality.loc["radiance", "PSNR_mean"] == 31
    assert quality.loc["field", "seeds"] == 2


def test_shared_rows_are_kept_once_and_order_of_files_does_not_matter(tmp_path):
    groups = [field_rows(0, 20.0), field_rows(1, 24.0)]
    first = tables(tmp_path, *groups) / "metrics.csv"
    text = first.read_text()
    assert text.count("radiance") == 1
    assert tables(tmp_path, *groups[::-1]).joinpath("metrics.csv").read_text() == text


def test_published_numbers_stand_beside_ours(tmp_path):
    folder = tables(tmp_path, field_rows(0, 20.0))
    paper = pd.read_csv(folder / "paper.csv")
    paper = paper[paper["scene"] == "room0"].set_index("table")
    # Table I, room0, CLIP, OV-NeRF: 28.029. Tables VI to VIII repeat it as the full model.
    assert paper.loc["I", "paper"] == 28.029
    assert paper.loc["I", "difference"] == pytest.approx(-8.029)
    assert set(paper.index) == {"I", "VI", "VII", "VIII"}
    assert "28.03" in (folder / "summary.md").read_text()


def scores(scene: str, value: float, **cells: str | int) -> list[dict]:
    identity = {**FIELD, "variant": "ovnerf", "seed": 0, "source": "field", "scene": scene, **cells}
    return [row(identity, "mIoU", value, protocol="per_image")]


REPLICA = ("room0", "room1", "room2", "office0", "office1", "office2", "office3", "office4")


def test_our_average_stands_beside_the_published_one_when_all_scenes_are_there(tmp_path):
    # Scenes score 10 to 17 with seed 0 and 4 more with seed 1: averages 13.5 and 17.5.
    groups = [
        scores(scene, 10.0 + number + 4 * seed, seed=seed)
        for number, scene in enumerate(REPLICA)
        for seed in (0, 1)
    ]
    paper = pd.read_csv(tables(tmp_path, *groups) / "paper.csv")
    average = paper[paper["scene"] == "Average"].set_index("table")
    assert list(average.index) == ["I"]
    # Table I, CLIP, OV-NeRF, average: 27.146.
    assert average.loc["I", "paper"] == 27.146
    assert average.loc["I", "ours_mean"] == 15.5
    assert average.loc["I", "ours_std"] == pytest.approx(8**0.5, abs=1e-5)
    assert average.loc["I", "seeds"] == 2
    assert average.loc["I", "difference"] == pytest.approx(15.5 - 27.146)


def test_an_average_without_all_of_its_scenes_is_empty(tmp_path):
    folder = tables(tmp_path, *(scores(scene, 10.0) for scene in REPLICA[:-1]))
    paper = pd.read_csv(folder / "paper.csv")
    average = paper[paper["scene"] == "Average"]
    assert average["table"].tolist() == ["I"]
    assert average[["ours_mean", "ours_std", "seeds", "difference"]].isna().all(axis=None)
    cells = next(
        line.split("|")[1:-1]
        for line in (folder / "summary.md").read_text().splitlines()
        if "| Average |" in line
    )
    assert [cell.strip() for cell in cells[-4:]] == ["", "", "", ""]


def test_a_seed_without_all_scenes_is_not_averaged(tmp_path):
    groups = [scores(scene, 10.0) for scene in REPLICA]
    more = scores("room0", 99.0, seed=1)
    paper = pd.read_csv(tables(tmp_path, *groups, more) / "paper.csv")
    average = paper[paper["scene"] == "Average"]
    assert average[["ours_mean", "seeds"]].values.tolist() == [[10.0, 1.0]]


def test_fcclip_alone_is_a_variant_of_its_own(tmp_path):
    fcclip = {"encoder": "fcclip", "variant": "fcclip"}
    paper = pd.read_csv(tables(tmp_path, scores("room0", 40.0, **fcclip)) / "paper.csv")
    # Table II, room0, FC-CLIP: 36.322 mIoU.
    single = paper[paper["scene"] == "room0"]
    assert single[["table", "paper"]].values.tolist() == [["II", 36.322]]


def full_metrics(variants: Sequence[str]) -> list[dict]:
    """A score of every scene, encoder and metric of the paper for some variants."""
    single = published().query("scene != 'Average'")
    return [
        row(
            {**FIELD, "source": "field", "seed": 0, "dataset": dataset, "scene": scene}
            | {"encoder": encoder, "variant": variant},
            metric,
            50.0,
            protocol="multi_label" if dataset == "3dovs" else "per_image",
        )
        for dataset, scene in sorted(set(zip(single["dataset"], single["scene"], strict=True)))
        for encoder in ("clip", "openclip", "lseg", "fcclip")
        for variant in variants
        for metric in ("mIoU", "accuracy")
    ]


def test_how_many_published_numbers_a_full_run_joins(tmp_path):
    """All 426 when every variant is run, 182 when only `baseline`, `rsr`, `cse` and `ovnerf` are:
    `lerf` and `3dovs` have 140, `dff` 28, `fcclip` 28, `cse_unranked` 8, other T and N 40."""
    everything = tables(tmp_path, full_metrics(sorted(set(published()["variant"]))))
    assert pd.read_csv(everything / "paper.csv")["ours_mean"].count() == 426
    shipped = tables(tmp_path, full_metrics(("baseline", "rsr", "cse", "ovnerf")))
    assert pd.read_csv(shipped / "paper.csv")["ours_mean"].count() == 182


def test_3dovs_scenes_stand_beside_the_paper_by_their_own_protocol(tmp_path):
    bed = {**FIELD, "dataset": "3dovs", "scene": "bed", "split": "seen"}
    bed |= {"variant": "ovnerf", "seed": 0, "source": "field"}
    rows = [
        row(bed, "mIoU", 50.0, protocol="per_image"),
        row(bed, "mIoU", 90.0, protocol="multi_label"),
    ]
    paper = pd.read_csv(tables(tmp_path, rows) / "paper.csv").set_index("scene")
    assert paper.loc["bed", "table"] == "V"
    assert paper.loc["bed", "difference"] == pytest.approx(90 - 94.2)


def test_views_that_were_trained_on_do_not_stand_beside_scores_of_held_out_ones(tmp_path):
    rows = [
        {**item, "split": "seen"} if item["source"] == "field" else item
        for item in field_rows(0, 20.0)
    ]
    folder = tables(tmp_path, rows)
    assert len(pd.read_csv(folder / "paper.csv")) == 0
    assert "of the paper with held-out views in this run" in (folder / "summary.md").read_text()


def test_nothing_published_leaves_a_header(tmp_path):
    rows = [{**item, "dataset": "demo"} for item in field_rows(0, 20.0)]
    folder = tables(tmp_path, rows)
    assert len(pd.read_csv(folder / "paper.csv")) == 0


def test_label_scores_alone_make_tables(tmp_path):
    labels = {**FIELD, "split": "train", "source": "clip"}
    folder = tables(tmp_path, [row(labels, "mIoU", 10.0, protocol="pooled")])
    assert len(pd.read_csv(folder / "image_quality.csv")) == 0
    assert len(pd.read_csv(folder / "components.csv")) == 1


def test_every_published_number_has_our_names():
    table = published()
    assert len(table) == 426
    assert table.notna().all(axis=None)


def test_mixed_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="two different values"):
        tables(tmp_path, field_rows(0, 20.0), field_rows(0, 21.0))


def test_other_tables_of_the_folder_stay(tmp_path):
    (tmp_path / "tables/mine").mkdir(parents=True)
    for name in ("runs.csv", "paper_1.csv", "mine/notes.txt", "metrics.csv"):
        (tmp_path / "tables" / name).write_text("before")
    made = tables(tmp_path, field_rows(0, 20.0))
    for name in ("runs.csv", "paper_1.csv", "mine/notes.txt"):
        assert (made / name).read_text() == "before"
    assert len(pd.read_csv(made / "metrics.csv")) == 6


def test_foreign_file_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other\.csv: found columns a, b"):
        aggregate.run(metrics=[tmp_path / "other.csv"], out=tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


GOOD = ",".join(COLUMNS) + "\n" + "," * (len(COLUMNS) - 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "m.csv: no such file"),
        ("", "m.csv: not a CSV file with a header"),
        ('"a', "m.csv: not a CSV file with a header"),
        (f"{GOOD}1.5\n{GOOD.partition(chr(10))[2]}abc\n", "m.csv, line 3: found 'abc' as `value`"),
        (f"{GOOD}\n{GOOD.partition(chr(10))[2]}1.5\n", "m.csv, line 2: found '' as `value`"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        aggregate.run(metrics=[tmp_path / "m.csv"], out=tmp_path / "tables")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "train.csv: no such file"),
        ("", "train.csv: not a CSV file with a header"),
        ("step,loss\n0,1\n", "train.csv: found columns step, loss, expected `iteration`"),
        ("iteration,loss\n0,1\n1,x\n", "train.csv, line 3: found 'x' as `loss`"),
        ("iteration,loss\n0,\n1,x\n", "train.csv, line 3: found 'x' as `loss`"),
    ],
)
def test_a_damaged_training_log_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        read_train_log(tmp_path / "train.csv")


def test_a_training_log_may_have_gaps(tmp_path):
    (tmp_path / "train.csv").write_text("iteration,loss,late\n0,1.5,\n1,inf,2\n")
    table = read_train_log(tmp_path / "train.csv")
    assert table["loss"].tolist() == [1.5, float("inf")]
    assert table["late"].isna().tolist() == [True, False]
