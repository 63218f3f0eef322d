"""How tests are spread over workers (pytest-xdist), and that shapes are checked while they run."""

from __future__ import annotations

import builtins
import re

import jaxtyping
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

WORKFLOW = "tests/workflow"
READERS = re.compile(
    rf"{WORKFLOW}/test_(asking|cores|cost|python_page|reruns|results|slurm|viewer)\.py"
)
"""Modules that read the session's one finished run."""
SLOW = (
    "tests/faults",
    "tests/test_rooms.py::test_an_edit_reruns_what_depends_on_it_and_nothing_else",
    "tests/tools",
    "tests/unit/capture/test_capturing.py",
    "tests/unit/field/test_native.py::test_without_a_writable_cache",
    "tests/unit/inspection/test_overview.py::test_real_photos",
    "tests/unit/regions/test_runlength.py::test_a_view_of_150_regions",
    "tests/unit/scenes/test_box.py::test_real_scenes_lie_inside",
    "tests/unit/scenes/test_box.py::test_textured_room",
    "tests/unit/storage/test_parts.py::test_parts_make_the_same_bytes",
    "tests/unit/test_benchmarks.py",
    "tests/unit/test_capture_benchmark.py",
    "tests/unit/test_cli.py::test_stages_without_networks_do_not_import_torch",
    "tests/unit/training/test_runs.py",
    "tests/unit/training/test_systems.py",
    WORKFLOW,
)
"""Folders, modules and tests that run whole workflows, captures or trainings, read whole scenes, or
take seconds for another reason; `make test-fast` leaves them out."""

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SHAPED = [
    *(f"ovnerf.field.{name}" for name in ("compositing", "field", "heads", "occupancy")),
    *(f"ovnerf.field.{name}" for name in ("native", "reference", "rendering", "sampling", "vm")),
    "ovnerf.field.surface",
    *(f"ovnerf.geometry.{name}" for name in ("camera", "rays", "similarity")),
]
"""Modules whose annotated shapes and dtypes are checked at every call in tests. Not those of
compiled loops: numba could not compile what checks them."""
ANNOTATIONS = ("Bool", "Float", "Float32", "Float64", "Int64", "Shaped", "UInt8")

# These modules import the annotations for type checkers only, so that no stage has to load
# jaxtyping; here their names must lead somewhere.
for annotation in ANNOTATIONS:
    setattr(builtins, annotation, getattr(jaxtyping, annotation))
jaxtyping.install_import_hook(SHAPED, "beartype.beartype")


class Together(LoadScopeScheduling):
    """A module's tests share a worker, and so do all that read the one finished run."""

    def _split_scope(self, nodeid: str) -> str:
        return WORKFLOW if READERS.match(nodeid) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """See `Together`; whatever `--dist` says."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, and begin with the longest chain: what is left at the end is small.

    So no worker waits for another.
    """
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (not READERS.match(item.nodeid), "tests/unit" in item.nodeid))
