"""`python -m ovnerf check` and a dry run come to the same verdict, in the same words."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from scene_folders import write_replica
from scene_formats import write_nerfstudio
from tiny_run import Place

from ovnerf.cli import main
from ovnerf.config.run import override, read_yaml
from ovnerf.storage.provenance import REPOSITORY_ROOT

TRUE_REGIONS = read_yaml(REPOSITORY_ROOT / "config/overlays/true_regions.yaml")
ODD = "-a $(b) 'c' d\"e *?[f] %s #;& é"
"""A folder name that is hard on shells and patterns."""


def scene(name: str, labels: bool = True) -> Callable[[Place], None]:
    """The sheet names one Replica scene folder, which is there."""

    def make(place: Place) -> None:
        folder = write_replica(place.folder / name)
        if not labels:
            for path in (folder / "semantic_300").iterdir():
                path.unlink()
        (place.folder / "sheet.tsv").write_text(f"dataset\tscene\tpath\ntiny\troom\t{name}\n")

    return make


def without_names(place: Place) -> None:
    """The sheet names a scene folder in which nothing lists the classes."""
    write_nerfstudio(place.folder / "room")
    (place.folder / "room/classes.txt").unlink()
    rows = "dataset\tscene\tlayout\tpath\ntiny\troom\tnerfstudio\troom\n"
    (place.folder / "sheet.tsv").write_text(rows)


def sheet(text: str) -> Callable[[Place], None]:
    """The sheet has this text."""
    return lambda place: (place.folder / "sheet.tsv").write_text(text) and None


def as_it_is(place: Place) -> None:
    """One toy room."""


GOOD = [
    ("a toy room", {}, as_it_is, ""),
    ("an odd folder", {"encoders": ["toy"]}, scene(ODD), ""),
    ("results with slashes", {"results": "./out//here/"}, as_it_is, ""),
    ("true regions", TRUE_REGIONS, as_it_is, ""),
    (
        "weights of the table",
        {"cache_dino": {"weights": "weights/dino_vitb8.safetensors"}},
        as_it_is,
        "",
    ),
    (
        "an absent folder",
        {},
        sheet("dataset\tscene\tpath\ntiny\troom\tabsent\n"),
        "absent: no such scene folder, planned without looking inside",
    ),
    ("absent maps", {"encoders": ["fcclip"]}, as_it_is, "no such folder of maps"),
]
BAD = [
    ("an unknown key", {"recnstruct": {}}, as_it_is, "recnstruct: unknown key"),
    ("an unknown encoder", {"encoders": ["mine"]}, as_it_is, "encoders/mine.yaml: no such file"),
    ("an unknown variant", {"variants": ["mine"]}, as_it_is, "variants/mine.yaml: no such file"),
    ("a truth value for a name", {"encoders": [False]}, as_it_is, "put it in quotes"),
    ("absent weights", {"cache_dino": {"weights": "absent.pth"}}, as_it_is,
     "cache_dino: weights: found no file absent.pth"),
    ("an absent store of weights", {"weights_dir": "absent"}, as_it_is,
     "weights_dir: found no folder absent"),
    ("an absent table of weights", {"weights_table": "absent"}, as_it_is, "no such table"),
    ("results for a shell", {"results": "a; touch b"}, as_it_is, "results: found 'a; touch b'"),
    ("results that are a file", {"results": "sheet.tsv"}, as_it_is, "sheet.tsv is a file"),
    ("braces in a folder", {"encoders": ["toy"]}, scene("a{x}b"), "a{x}b: found a brace"),
    ("no labels to simulate from", {}, scene("room", labels=False), "has no label files"),
    ("no class list", {"encoders": ["toy"]}, without_names, "room: the scene has no class list"),
    ("a taken name", {}, sheet("dataset\tscene\ttoy_seed\nlogs\ta\t7\n"), "dataset logs: results"),
    ("one log for two", {}, sheet("dataset\tscene\ttoy_seed\na.b\tc\t7\na\tb.c\t7\n"),
     "a.b/c and a/b.c: found the name a.b.c"),
]  # fmt: skip


def both(place: Place, config: str | None) -> list[tuple[bool, str]]:
    """Whether the dry run and `check` pass, and what each said.

    `check` runs in this process: a new one would import everything once a row.
    """
    dry = place.snakemake("--dry-run", "--quiet", "rules", config=config)
    said = io.StringIO()
    with chdir(place.folder), redirect_stdout(said), redirect_stderr(said):
        code = main(["check", *([config] if config else [])])
    assert code in (0, 2), said.getvalue()
    return [(dry.returncode == 0, dry.stdout), (code == 0, said.getvalue())]


@pytest.mark.parametrize(
    ("changes", "make", "words", "good"),
    [
        pytest.param(*rest, good, id=what)
        for rows, good in ((GOOD, True), (BAD, False))
        for what, *rest in rows
    ],
)
def test_check_and_a_dry_run_agree(
    place: Place, changes: dict, make: Callable[[Place], None], words: str, good: bool
) -> None:
    place.configure(override({}, changes))
    make(place)
    for passes, said in both(place, "config.yaml"):
        assert passes == good, said
        assert words in said and "Traceback" not in said, said
    assert not (place.folder / "results").exists()


def test_both_take_the_demo_outside_the_repository(tmp_path: Path) -> None:
    for passes, said in both(Place(tmp_path), None):
        assert passes, said
