"""Configs and sheets: names and paths that some tool on the way would read as its own language.

Every row asks `check`; tests/workflow/test_check_and_dry_run.py shows that a dry run says the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import table
import yaml
from scene_folders import write_replica

TOY = "dataset\tscene\ttoy_seed\ntiny\troom\t7\n"
HEAD = "dataset\tscene\tpath\n"


def config(
    changes: dict | str | None = None, sheet: str = TOY, folders: tuple[str, ...] = ()
) -> Callable[[Path], table.Arguments]:
    """A config with these changes (or of this text), a sheet, and Replica scenes of these names."""

    def make(folder: Path) -> table.Arguments:
        (folder / "sheet.tsv").write_text(sheet.replace("@", str(folder)))
        for name in folders:
            write_replica(folder / name)
        path = folder / "config.yaml"
        settings = {"scenes": str(folder / "sheet.tsv"), "encoders": ["toy"]}
        if isinstance(changes, str):
            path.write_text(f"scenes: {settings['scenes']}\n{changes}")
        else:
            path.write_text(yaml.safe_dump({**settings, **(changes or {})}))
        return ["check", path]

    return make


def encoder(text: str) -> Callable[[Path], table.Arguments]:
    """`cache_features` with `precomputed` maps in a folder that is written like this."""
    settings = json.dumps({"encoder": {"kind": "precomputed", "folder": text}})
    return lambda folder: [
        *("cache_features", "--frames", folder / "frames.zarr", "--out", folder / "features.zarr"),
        *("--settings", settings),
    ]


def nothing(folder: Path) -> None:
    """What was said is all there is to check."""


CASES: list[table.Case] = [
    table.Refused(
        "a scene folder with braces",
        config(sheet=HEAD + "d\ts\t@/a{x}b\n", folders=("a{x}b",)),
        ("{folder}/a{{x}}b: found a brace in a path",),
    ),
    table.Read(
        "a scene folder with blanks, quotes, dollars and patterns",
        config(
            sheet=HEAD + "d\ts\t@/-a $(b) 'c' d\"e *?[f] %s #;&\n",
            folders=("-a $(b) 'c' d\"e *?[f] %s #;&",),
        ),
        nothing,
        ('["d/s"]',),
    ),
    table.Refused(
        "a cell in quotes",
        config(sheet=HEAD + 'd\ts\t"my room"\n'),
        ('sheet.tsv, row 2: path: found "my room", expected it without quotes',),
    ),
    table.Read(
        "a cell that begins with a quote swallows nothing",
        config(sheet=HEAD + 'd\ta\t"absent\nd\tb\tabsent"\n'),
        nothing,
        ('["d/a", "d/b"]', 'warning: "absent: no such scene folder'),
    ),
    table.Refused(
        "a row below comments is named by its line",
        config(sheet="# mine\n\n" + HEAD + "# more\nd\ta b\tx\n"),
        ("sheet.tsv, row 5: scene: String should match pattern",),
    ),
    table.Refused(
        "a column twice",
        config(sheet="dataset\tscene\tpath\tpath\nd\ts\tx\ty\n"),
        ("sheet.tsv: found the column 'path' twice, expected each once",),
    ),
    table.Refused(
        "a control character in a cell",
        config(sheet=HEAD + "d\ts\ta\x07b\n"),
        ("sheet.tsv, row 2: path: found 'a\\x07b'",),
    ),
    table.Read(
        "names that YAML and tables would take for numbers and truth values",
        config(sheet="dataset\tscene\ttoy_seed\nno\t1e3\t7\non\t007\t7\nNA\ttrue\t7\n"),
        nothing,
        ('["no/1e3", "on/007", "NA/true"]',),
    ),
    table.Refused(
        "an encoder that YAML reads as a truth value",
        config("encoders: [no]\n"),
        ("encoders.0: Input should be a valid string; YAML reads it", "in quotes (found False)"),
    ),
    table.Refused(
        "an encoder that YAML reads as a number",
        config("encoders: [7]\n"),
        ("encoders.0: Input should be a valid string", "(found 7)"),
    ),
    table.Refused(
        "a dataset called like the folder of the tables",
        config(sheet="dataset\tscene\ttoy_seed\ntables\troom\t7\n"),
        ("sheet.tsv, row 2: dataset: Value error, dataset tables: results have a file or folder",),
    ),
    table.Refused(
        "an encoder called like a result",
        config({"encoders": ["radiance"]}),
        ("encoder radiance: results have a file or folder of this name",),
    ),
    table.Refused(
        "a variant called like a shared part",
        config({"variants": ["shared-x"]}),
        ("variant shared-x: results have a file or folder of this name",),
    ),
    table.Refused(
        "two scenes whose logs would have one name",
        config(sheet="dataset\tscene\ttoy_seed\na.b\tc\t7\na\tb.c\t8\n"),
        ("a.b/c and a/b.c: found the name a.b.c for the logs of both",),
    ),
    table.Refused(
        "results with a brace", config({"results": "out{x}"}), ("results: found 'out{{x}}'",)
    ),
    table.Refused(
        "results in the home folder by its short name",
        config({"results": "~/out"}),
        ("results: found '~/out'",),
    ),
    table.Refused("results are the working directory", config({"results": "./"}), ("found './'",)),
    table.Refused(
        "a name longer than the file system takes",
        config(sheet=HEAD + f"d\ts\t{'a' * 300}\n"),
        ("File name too long", "config.yaml names it"),
    ),
    table.Refused(
        "an unknown encoder",
        config({"encoders": ["mine"]}),
        ("config/encoders/mine.yaml: no such",),
    ),
    table.Refused(
        "weights that are nowhere",
        config({"cache_dino": {"model": "toy", "weights": "absent.pth"}}),
        (
            "cache_dino: weights: found no file absent.pth",
            "config/weights.tsv has no row for it",
        ),
    ),
    table.Refused(
        "maps whose folder is a pattern of more than dataset and scene",
        encoder("maps/{dataset}/{0.__class__}"),
        ("only `{{dataset}}` and `{{scene}}` may stand in braces",),
    ),
]
