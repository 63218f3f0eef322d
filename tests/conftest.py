"""How `make test` spreads tests over its two workers (pytest-xdist)."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests share a worker, and so do all that read the workflow's one finished run.

    The long ones begin: what is left at the end is small, and no worker waits for another.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        shared = "finished" if "finished" in fixtures else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=lambda item: "tests/unit" in item.nodeid)
