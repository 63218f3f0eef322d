"""How many jobs run at a time: never two on one card, as many as there are cores without one, and
never an effect on a result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_run import Place, most_at_once, results_of

ON_A_CARD = {
    *("propose_regions", "cache_features", "cache_dino", "reconstruct"),
    *("render_depth", "train_shared", "train_semantics", "render_views"),
}
UPSTREAM = ["regions.zarr", "dino.zarr", "radiance", "simulated/features.zarr"]


def test_results_are_the_same_with_one_core_and_with_two(finished: Place, tmp_path: Path) -> None:
    alone = Place(tmp_path)
    alone.take_scene(finished)
    alone.configure({})
    done = alone.snakemake(cores=1)
    assert done.returncode == 0, done.stdout
    assert most_at_once(done.stdout, ON_A_CARD) == 1
    # All of them: scores and training curves in CSV, stores, checkpoints' fields, pictures.
    expected = results_of(finished)
    assert len([name for name in expected if name.endswith(".csv")]) >= 15
    assert results_of(alone) == expected


def test_a_machine_without_a_card_uses_all_its_cores(finished: Place) -> None:
    assert most_at_once((finished.folder / "printed.txt").read_text(), ON_A_CARD) == 2


@pytest.fixture
def with_card(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The card is pretended: jobs still compute on the CPU, since torch does not find it."""
    tool = place.folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    place.configure({"device": "auto"})
    return place


def test_resources_on_the_command_line_that_forget_the_card_are_noticed(with_card: Place) -> None:
    room = "results/tiny/room7/room/room.json"
    done = with_card.snakemake("--resources", "mem_mb=9000", "--", room)
    assert done.returncode == 0 and done.stdout.count("`gpu` is not counted") == 1, done.stdout


def test_one_card_never_holds_two_jobs(with_card: Place) -> None:
    done = with_card.snakemake(*(f"results/tiny/room7/{name}" for name in UPSTREAM))
    assert done.returncode == 0, done.stdout
    assert "`gpu` is not counted" not in done.stdout
    assert most_at_once(done.stdout, ON_A_CARD) == 1
    # Every other rule may run beside the one on the card.
    assert most_at_once(done.stdout, {*ON_A_CARD, "read_truth"}) == 2
