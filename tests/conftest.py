"""How `make test` spreads tests over its workers (pytest-xdist); no test is a race against time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

WORKFLOW = "tests/workflow"
SLOW = (
    "tests/cluster",
    "tests/faults",
    "tests/tools",
    "tests/unit/test_benchmarks.py",
    "tests/unit/training/test_runs.py",
    WORKFLOW,
)
"""Folders and modules that run whole workflows or trainings; `make test-fast` leaves them out."""

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class Together(LoadScopeScheduling):
    """A module's tests share a worker, and all of `tests/workflow` does: they read one run."""

    def _split_scope(self, nodeid: str) -> str:
        return WORKFLOW if nodeid.startswith(WORKFLOW) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """See `Together`; whatever `--dist` says."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, and begin with the long: what is left at the end is small.

    So no worker waits for another.
    """
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: "tests/unit" in item.nodeid)
