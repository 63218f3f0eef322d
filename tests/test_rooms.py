"""The package's folders ("rooms"): what each may import, and what an edit in each reruns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovnerf.storage.provenance import REPOSITORY_ROOT, RESULT_NEUTRAL, imported_modules

PACKAGE = REPOSITORY_ROOT / "ovnerf"
ROOMS = {
    "runtime": set(),
    "config": {"storage"},
    "labels": {"storage"},
    "geometry": set(),
    "compute": set(),
    "storage": set(),
    "toy": {"config", "labels", "storage"},
    "capture": {"config", "storage"},
    "scenes": {"config", "labels", "geometry", "storage"},
    "regions": {"config", "labels", "compute", "storage"},
    "encoders": {"config", "labels", "geometry", "compute", "storage"},
    "field": {"geometry", "compute"},
    "training": {
        *("config", "labels", "geometry", "compute", "storage"),
        *("regions", "encoders", "field"),
    },
    "evaluation": {"config", "labels", "storage"},
    "asking": {
        *("config", "labels", "geometry", "compute", "storage"),
        *("scenes", "encoders", "field", "evaluation"),
    },
    "viewing": {"config", "geometry", "evaluation", "asking"},
    "inspection": {
        *("config", "labels", "geometry", "storage"),
        *("capture", "scenes", "evaluation"),
    },
}
"""What the modules of each room may import besides their own room and `runtime`."""
COST_MODEL = {"runtime.job", "runtime.memory_formulas", "runtime.memory"}
"""Modules of `runtime` that read sizes of settings and stores."""
SIZES = {"config", "storage"}
"""Where those are."""
PLANS = {
    f"inspection.{name}" for name in ("jobs", "model_sizes", "projection", "machine", "forecast")
}
"""Say what jobs will cost; no stage imports them."""

TRAININGS = {"train_shared", "train_semantics", "draw_refreshes"}
"""Stages that train the semantic branch."""
STAGES_OF_THE_FIELD = {
    "lift",
    *("reconstruct", "render_depth", "render_views"),
    *("fuse_points", "query", "draw_query", "export", "write_page", "view"),
    *TRAININGS,
}
ASKING = {"query", "draw_query", "export", "write_page", "view"}
STAGES_OF_PAIRS = {"fuse_labels", "score_agreement", "evaluate"}
EDITS = {
    # file edited: the stages whose results are made again
    "runtime/progress.py": set(),
    "runtime/memory.py": set(),
    "runtime/memory_formulas.py": set(),
    "runtime/cost_constants.py": set(),
    "inspection/jobs.py": set(),
    "inspection/model_sizes.py": set(),
    "runtime/errors.py": set(),
    "config/run.py": set(),
    "config/views.py": {"render_views", "export"},
    "config/points.py": ASKING | {"fuse_points"},
    "config/query.py": ASKING,
    "config/export.py": {"export"},
    "config/query_figures.py": {"draw_query"},
    "config/refresh_figures.py": {"draw_refreshes"},
    "training/replay.py": {"draw_refreshes"},
    "training/novel_regions.py": {"train_semantics", "draw_refreshes"},
    "evaluation/refresh_figures.py": {"draw_refreshes"},
    "config/page.py": {"write_page"},
    "config/viewing.py": {"view"},
    "viewing/desk.py": {"view"},
    "asking/scene_page.py": {"write_page", "view"},
    "asking/voxels.py": ASKING | {"fuse_points"},
    "asking/relevancy.py": ASKING,
    "config/paper.py": {"paper_tables", "draw_paper"},
    "config/groups.py": set(),
    "config/lift.py": {"lift"},
    "field/relevancy_rendering.py": {"render_views", "export"},
    "evaluation/paper_layout.py": {"paper_tables"},
    "evaluation/differences.py": {"paper_tables", "compare"},
    "asking/volume.py": {"export"},
    "config/capture.py": {"capture"},
    "capture/upright.py": {"capture"},
    "config/field.py": {"reconstruct"},
    "config/frames.py": {"make_room", "sample_frames", "read_truth"},
    "config/semantics.py": TRAININGS,
    "inspection/sheet.py": {"inspect"},
    "evaluation/metrics.py": {
        *("evaluate", "score_labels", "score_agreement", "aggregate", "draw_figures"),
        *("paper_tables", "compare"),
    },
    "field/sampling.py": STAGES_OF_THE_FIELD,
    "field/compiled.py": {*STAGES_OF_THE_FIELD, *STAGES_OF_PAIRS},
    "field/lookups.py": STAGES_OF_THE_FIELD,
    "field/marching.py": STAGES_OF_THE_FIELD,
    "field/lanes.py": STAGES_OF_THE_FIELD,
    "field/decoding.py": STAGES_OF_THE_FIELD,
    "field/stretches.py": STAGES_OF_THE_FIELD,
    "field/covisibility.py": {
        *("lift", "render_depth", "reconstruct", "render_views"),
        *TRAININGS,
        *STAGES_OF_PAIRS,
    },
    "evaluation/agreement.py": {"score_agreement", "evaluate"},
    "labels/agreement.py": STAGES_OF_PAIRS,
    "labels/fusing.py": {"fuse_labels"},
    "labels/patches.py": {"render_views", "export"},
    "training/pseudo_labels.py": TRAININGS,
    "training/reconstruct.py": {"reconstruct"},
    "labels/rsr.py": {"rank_regions", "fuse_labels", "score_labels", *TRAININGS},
}


def modules(room: str) -> Iterator[tuple[str, Path]]:
    """Names and files of a room's modules."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a module imports, wherever in it the import stands."""
    found = imported_modules(path.read_text(encoding="utf-8"), "ovnerf")
    return {name.split(".")[1] for name in found if name.startswith("ovnerf.") and "." in name}


def test_every_room_is_listed() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*ROOMS, "stages"}


def test_few_modules_lie_outside_the_rooms() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py", "cli.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_point_one_way(room: str) -> None:
    for name, path in modules(room):
        allowed = {room, "runtime", *ROOMS[room], *(SIZES if name in COST_MODEL else ())}
        assert rooms_imported(path) <= allowed, name


def test_the_order_of_rooms_has_no_circle() -> None:
    settled: set[str] = set()
    while len(settled) < len(ROOMS):
        ready = {room for room, below in ROOMS.items() if below <= settled} - settled
        assert ready, set(ROOMS) - settled
        settled |= ready


def test_no_result_comes_out_of_a_room_that_counts_as_neutral() -> None:
    """Library modules take from `runtime` what reports, refuses and waits, never a number."""
    taken = {
        name
        for room in (*ROOMS, "stages")
        if room != "runtime"
        for module, path in modules(room)
        if module not in PLANS
        for name in imported_modules(path.read_text(encoding="utf-8"), "ovnerf")
        if name.startswith(RESULT_NEUTRAL) and name.count(".") > 1
    }
    leaves = {name.rpartition(".")[2] for name in taken}
    assert leaves <= {
        *("errors", "progress", "prefetch", "memory", "notices", "lock"),  # modules
        *("allocator", "give_back_freed_memory"),  # memory, not what is in it
        *("UserError", "Stopped"),
        "hold_lock",  # waits
        "prefetch",  # the same items in the same order
        # words about a result
        *("log", "warn", "warning_entry", "empty_rays", "views_without_regions"),
        "features_on_host",  # where arrays lie, which no value depends on
    }


DIGESTS_AFTER_EDITS = """
import json, sys
from pathlib import Path
from ovnerf.cli import stage_names
from ovnerf.storage import provenance

# Sources are parsed once for all edits: read_source remembers by text here, not by path alone. What
# a stage imports stays the same.
parse, parsed = provenance.read_source.__wrapped__, {}

def read_source(path):
    key = path, path.read_text(encoding="utf-8")
    if key not in parsed:
        parsed[key] = parse(path)
    return parsed[key]

provenance.read_source = read_source

def digests():
    provenance.code_digest.cache_clear()
    return {name: provenance.code_digest(name) for name in stage_names()}

found = {"": digests()}
for file in sys.argv[1:]:
    path = Path("ovnerf", file)
    source = path.read_text(encoding="utf-8")
    path.write_text(source + "\\nEDITED = 1\\n", encoding="utf-8")
    found[file] = digests()
    path.write_text(source, encoding="utf-8")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Edited file ("" for none) -> stage -> digest of its code, in a copy of the package."""
    folder = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(PACKAGE, folder / "ovnerf", ignore=skipped)
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS_AFTER_EDITS, *EDITS],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_reruns_what_depends_on_it_and_nothing_else(
    file: str, digests: dict[str, dict[str, str]]
) -> None:
    before, after = digests[""], digests[file]
    assert {stage for stage in before if before[stage] != after[stage]} == EDITS[file]
