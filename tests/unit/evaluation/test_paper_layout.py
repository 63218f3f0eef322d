"""Tables in the paper's layout, from scores small enough to subtract in one's head."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.paper import DEVIATIONS, printed
from ovnerf.evaluation.rows import COLUMNS, row, write_rows
from ovnerf.stages import paper_tables

EVERY = PaperTables()


def score(scene: str, value: float, **cells: object) -> dict:
    identity = {
        **{"dataset": "Replica", "scene": scene, "encoder": "clip", "variant": "ovnerf"},
        **{"seed": 0, "split": "test", "source": "field"},
        **cells,
    }
    return row(identity, "mIoU", value, protocol="per_image")


def written(tmp_path: Path, settings: PaperTables, *rows: dict) -> Path:
    write_rows(tmp_path / "metrics.csv", list(rows), COLUMNS)
    paper_tables.run(metrics=tmp_path / "metrics.csv", out=tmp_path / "tables", settings=settings)
    return tmp_path / "tables"


def page_of(folder: Path, name: str) -> Path:
    return folder / f"paper_{name}.md"


def line_of(page: Path, method: str, setting: str = "CLIP") -> list[str]:
    lines = page.read_text().splitlines()
    start = f"| {setting} | {method} |"
    (line,) = [line for line in lines if line.startswith(start)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_cell_is_ours_the_published_number_and_the_difference(tmp_path: Path) -> None:
    folder = written(tmp_path, EVERY, score("room0", 20.0), score("room0", 24.0, seed=1))
    table = pd.read_csv(folder / "paper_I.csv")
    cell = table.query("scene == 'room0' and setting == 'CLIP' and method == 'OV-NeRF'").iloc[0]
    assert (cell["metric"], cell["ours_mean"], cell["seeds"]) == ("mIoU", 22, 2)
    assert cell["ours_std"] == pytest.approx(8**0.5, abs=1e-5)
    assert cell["difference"] == pytest.approx(22 - 28.029)
    cells = line_of(page_of(folder, "I"), "OV-NeRF")
    assert cells[3] == "22.0 ± 2.8 / 28.0 / -6.0"
    assert cells[4] == "- / 67.3 / -" or cells[4].startswith("- / ")
    assert line_of(page_of(folder, "VI"), "RSR+CSE")[3] == "22.0 ± 2.8 / 28.0 / -6.0"


def test_every_published_number_is_in_a_table_once(tmp_path: Path) -> None:
    folder = written(tmp_path, EVERY, score("room0", 20.0))
    counts = {name: len(pd.read_csv(folder / f"paper_{name}.csv")) for name in EVERY.tables}
    assert counts == printed()["table"].value_counts().to_dict()
    header = (page_of(folder, "II")).read_text().splitlines()
    columns = next(line for line in header if line.startswith("| Encoder"))
    assert columns.count("mIoU") == columns.count("mAcc") == 9


def test_an_average_is_ours_only_when_all_scenes_are_there(tmp_path: Path) -> None:
    scenes = [f"room{i}" for i in range(3)] + [f"office{i}" for i in range(5)]
    some = written(tmp_path / "some", EVERY, *(score(name, 30.0) for name in scenes[:7]))
    assert line_of(page_of(some, "I"), "OV-NeRF")[-2].startswith("- / 27.1 / -")
    whole = written(tmp_path / "all", EVERY, *(score(name, 30.0) for name in scenes))
    assert line_of(page_of(whole, "I"), "OV-NeRF")[-2] == "30.0 / 27.1 / +2.9"


def test_ablations_have_lines_of_their_own(tmp_path: Path) -> None:
    folder = written(tmp_path, EVERY, score("room0", 20.0, variant="t8k"))
    assert line_of(page_of(folder, "VII"), "OV-NeRF; T=8000")[2:4][0] == "`clip/t8k`"
    assert line_of(page_of(folder, "VII"), "OV-NeRF; T=8000")[3].startswith("20.0 / ")
    assert line_of(page_of(folder, "VII"), "OV-NeRF; T=10000")[3].startswith("- / ")


def test_stand_ins_are_never_beside_a_published_number(tmp_path: Path) -> None:
    settings = PaperTables(
        tables=("I", "V"),
        scenes={"replica/room0": "Mini/room0", "replica/room1": "Mini/room1"},
        encoders={"clip": "toy"},
    )
    rows = [score(f"room{i}", 40.0 + i, dataset="Mini", encoder="toy") for i in range(2)]
    folder = written(tmp_path, settings, *rows, score("room0", 99.0))
    table = pd.read_csv(folder / "paper_I.csv")
    assert table["published"].isna().all() and table["difference"].isna().all()
    assert set(table["encoder"]) == {"toy"} and set(table["dataset"]) == {"mini"}
    ours = table.query("variant == 'ovnerf' and metric == 'mIoU'").set_index("scene")["ours_mean"]
    assert ours.to_dict() == {"room0": 40, "room1": 41, "Average": 40.5}
    page = (page_of(folder, "I")).read_text()
    assert "**Stand-ins.**" in page and "`toy` for clip" in page and "28.0" not in page
    assert len(pd.read_csv(folder / "paper_V.csv")) == 0
    assert "has a stand-in.\n" in page_of(folder, "V").read_text()


def test_deviations_are_noted_below_the_table(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(DEVIATIONS, "lerf", "another geometry.")
    folder = written(tmp_path, EVERY, score("room0", 20.0, variant="lerf"))
    assert line_of(page_of(folder, "I"), "LERF [a]")[3].startswith("20.0 / ")
    assert "[a] `lerf`: another geometry." in (page_of(folder, "I")).read_text()
    assert set(pd.read_csv(folder / "paper_I.csv").query("variant == 'lerf'")["note"]) == {
        "another geometry."
    }


def test_what_needs_no_training_stands_below_the_systems_once_it_was_run(tmp_path: Path) -> None:
    folder = written(tmp_path, EVERY, score("room0", 20.0), score("room0", 19.0, variant="lift"))
    assert line_of(page_of(folder, "I"), "lifted, no training")[2:4] == ["`clip/lift`", "19.0"]
    assert "no training" not in page_of(folder, "VI").read_text()
    before = written(tmp_path / "before", EVERY, score("room0", 20.0))
    assert "no training" not in page_of(before, "I").read_text()
