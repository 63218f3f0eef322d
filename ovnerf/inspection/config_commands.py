"""`python -m ovnerf check` and `plan`: what is asked of configs, not stages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from ovnerf.config.run import laid_over, scene_settings
from ovnerf.inspection.plan import Plan, make_plan, shipped
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import list_scene

CHECK, PLAN = "check", "plan"
ON_CONFIGS = {
    CHECK: """\
Says what a dry run would refuse or warn of, in seconds and without running anything: settings,
scene sheet, class lists, cameras, names of files. Prints one JSON line with the config's name and
its scenes; warnings go to standard error. Exit code 2 and one message where a run would be refused.

    python -m ovnerf check config/mine.yaml
    python -m ovnerf check config/config.yaml config/overlays/judge_rooms.yaml""",
    PLAN: """\
Says what a config would cost on this machine, without running anything: hours, memory and disk of
each rule, hours until the last job ends, and which changes would save most. Estimates, within a
factor of two or so. The first time, two small programs are timed for some seconds.

    python -m ovnerf plan config/laptop.yaml""",
}
"""What is asked of configs, not stages: command -> its help."""
DEMO = "config/config.yaml"


def check_config(paths: Sequence[str]) -> dict[str, list[str]]:
    """Config -> its scenes; without a config the demo's, as Snakemake does.

    What stops nothing is a warning on standard error. UserError for whatever a dry run refuses, and
    for nothing else: what `sample_frames` will refuse inside a file is a warning, too.

    Args:
        paths: files that are laid over each other, the last on top.
    """
    data, where = laid_over(paths or [shipped(DEMO)])
    plan = make_plan(data, where)
    for text in (*plan.warnings, *camera_warnings(plan)):
        print(f"warning: {text}", file=sys.stderr)
    return {where: ["/".join(scene) for scene in plan.scenes]}


def print_plan(paths: Sequence[str]) -> None:
    """Hours, memory and disk by rule on this machine, and what would make them less.

    The machine's speed is measured the first time, for some seconds.

    Args:
        paths: as of `check_config`.
    """
    # It brings PyTorch, which other commands need not wait for.
    from ovnerf.inspection.forecast import lines_of

    print("\n".join(lines_of([shipped(path) for path in paths or [DEMO]])))


def read_config_names(command: str, arguments: Sequence[str]) -> list[str]:
    """The files that `check` and `plan` are asked for; its help says what the command does."""
    parser = argparse.ArgumentParser(
        prog=f"python -m ovnerf {command}",
        description=ON_CONFIGS[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "configs",
        nargs="*",
        metavar="CONFIG",
        help=f"a YAML file; {DEMO} where none is named. Several are laid over each other, the last "
        "on top, as by `snakemake --configfile FIRST SECOND`",
    )
    return parser.parse_args(arguments).configs


def camera_warnings(plan: Plan) -> Iterator[str]:
    """What a person should know about the cameras of the scenes whose folders are there."""
    # It brings OpenCV, which other commands need not wait for.
    from ovnerf.scenes.frames import scene_warnings

    for key, scene in plan.scenes.items():
        if not scene.path or not plan.files[key].images:
            continue
        wanted = scene_settings(plan.config.sample_frames, scene)
        listing = list_scene(scene.path, wanted.layout, wanted.frames, wanted.classes)
        try:
            yield from (f"{scene.path}: {text}" for text in scene_warnings(listing))
        except UserError as error:
            yield f"sample_frames will refuse {scene.path}: {error}"
