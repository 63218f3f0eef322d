"""Six kills and one fault of each kind; `make faults` does 120 and all. See docs/faults.md.

The message for a store or checkpoint that is cut short is tested for every length in tests/unit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from calm import Calm, run_calmly
from kills import Kill, Tally, make_under_fire
from others import FAULTS, TWINS, Impossible
from place import OUTPUTS, Place

KILLS = {
    "propose_regions": Kill(),
    "cache_features": Kill(),
    "cache_dino": Kill(),
    "reconstruct": Kill(group=True),
    "train_semantics": Kill(refresh=True),
    "render_views": Kill(),
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    return run_calmly(tmp_path_factory.mktemp("faults") / "calm")


@pytest.fixture(scope="module")
def hurt(calm: Calm, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return calm.place.copy(tmp_path_factory.mktemp("faults") / "hurt")


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_kill_costs_time_and_no_result(calm: Calm, hurt: Place, stage: str) -> None:
    chance, tally, kill = random.Random(f"0 {stage}"), Tally(), KILLS[stage]
    # On a busy machine a kill may come too late for the refresh that it was meant for.
    while tally.kills == 0 or (kill.refresh and tally.in_refresh == 0):
        make_under_fire(hurt, stage, [kill], chance, tally)
        assert hurt.digest(stage) == calm.digest[stage]
        assert tally.rounds < 10, tally
    assert bool(tally.of_groups) == kill.group


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault not in TWINS],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_ends_in_a_message_and_no_wrong_result(
    calm: Calm, tmp_path: Path, fault: Callable[[Calm, Path], str]
) -> None:
    try:
        assert fault(calm, tmp_path)
    except Impossible as reason:
        pytest.skip(str(reason))
