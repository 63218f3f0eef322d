from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ovnerf import cli
from ovnerf.config.labels import RankRegions
from ovnerf.config.regions import ProposeRegions
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage import places
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import MADE_BY


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A stage `probe` that notes what it was called with; the note is returned."""
    seen: dict = {}
    module = types.ModuleType("ovnerf.stages.probe")
    module.__doc__ = "Probe what arrives.\n\nMore."

    def run(
        *,
        frames: Path,
        out: Path,
        settings: RankRegions,
        region_settings: ProposeRegions,
        views: list[Path],
        truth: Path | None = None,
        seed: int = 0,
    ) -> dict:
        """Note the arguments."""
        seen.update(locals())
        seen.pop("seen", None)
        if frames.name == "bad":
            raise UserError("bad: found this, expected that", "do so")
        if frames.name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if frames.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", "results/x")
        if frames.name == "stop":
            raise Stopped("probe: stopped as asked; iteration 3 is kept")
        if frames.name == "bug":
            raise ZeroDivisionError("a bug")
        return {"count": 3}

    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovnerf.stages.probe", module)
    monkeypatch.setattr(cli, "stage_names", lambda: ["probe"])
    monkeypatch.setattr(cli, "set_up_compute", lambda *compute: seen.update(compute=compute))
    monkeypatch.setattr(cli, "set_up_torch", lambda threads: None)
    return seen


def call(frames: str = "frames.zarr", *more: str) -> int:
    return cli.main(["probe", "--frames", frames, "--out", "o", "--views", "a", "b", *more])


def test_options_follow_the_signature(stage: dict, capsys: pytest.CaptureFixture) -> None:
    settings = ["--settings", '{"order": "descending_area"}']
    regions = ["--region-settings", '{"architecture": "toy"}']
    assert call("f", *settings, *regions, "--seed", "4", "--device", "cpu") == 0
    assert stage["frames"] == Path("f")
    assert stage["views"] == [Path("a"), Path("b")]
    assert stage["truth"] is None
    assert stage["seed"] == 4
    assert stage["settings"] == RankRegions(order="descending_area")
    assert stage["region_settings"] == ProposeRegions(architecture="toy")
    assert stage["compute"] == ("cpu", 1)
    closing = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert closing["stage"] == "probe" and closing["count"] == 3
    assert closing["seconds"] >= 0 and closing["peak_memory_mb"] > 10


def test_settings_may_be_a_file_or_left_out(stage: dict, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("blank_prompt: true\n")
    assert call("f", "--settings", str(path)) == 0
    assert stage["settings"].blank_prompt
    assert call() == 0
    assert stage["settings"] == RankRegions()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--settings", '{"ordr": 1}'], "error: --settings: ordr: unknown key"),
        (["--settings", '{"order": 1}'], "error: --settings: order: Input should be"),
        (["--settings", "{"], "error: --settings: not valid JSON"),
        (["--settings", "absent.yaml"], "error: absent.yaml: no such file"),
        (["--region-settings", '{"x": 1}'], "error: --region-settings: x: unknown key"),
    ],
)
def test_bad_settings_exit_2_with_one_message(
    stage: dict, capsys: pytest.CaptureFixture, more: list[str], said: str
) -> None:
    assert call("f", *more) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert "Traceback" not in captured.err and captured.out == ""


def test_bad_input_exits_2_with_message_and_hint(
    stage: dict, capsys: pytest.CaptureFixture
) -> None:
    assert call("bad") == 2
    assert capsys.readouterr().err == "error: bad: found this, expected that\n  hint: do so\n"


@pytest.mark.parametrize(
    ("frames", "code", "said"),
    [
        ("full", 74, "error: {out}: No space left on device\n  hint: free some space;"),
        ("locked", 74, "error: results/x: Permission denied\n  hint: mend the permissions"),
        ("stop", 75, "probe: stopped as asked; iteration 3 is kept\n  hint: run it again"),
    ],
)
def test_disk_trouble_and_preemption_have_codes_of_their_own(
    stage: dict, capsys: pytest.CaptureFixture, frames: str, code: int, said: str, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    assert call(frames, "--out", str(out)) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(said.format(out=out)) and "Traceback" not in captured.err
    assert captured.out == "" and list(tmp_path.iterdir()) == []


def test_the_closing_line_says_how_fast_and_what(
    stage: dict, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*, out: Path) -> dict:
        progress.begin("probe", "it", 6, 4)
        progress.advance(2)
        out.write_text("abc")
        return {"frames": 2}

    monkeypatch.setattr(sys.modules["ovnerf.stages.probe"], "run", run)
    assert cli.main(["probe", "--out", str(tmp_path / "o")]) == 0
    closing = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (closing["unit"], closing["done"], closing["went_on_at"]) == ("it", 6, 4)
    assert closing["rate"] > 0
    assert closing["digest"] == hashlib.sha256(b"abc").hexdigest()[:16]
    assert closing["out"] == str(tmp_path / "o")


@pytest.mark.parametrize(
    ("stage_name", "out", "said"),
    [
        ("sample_frames", "mine", "mine: found thesis.txt, not made by an earlier run"),
        ("query", "mine", "mine: found thesis.txt, not made by an earlier run"),
        ("export", "file.txt", "file.txt: found a file, expected a folder"),
        ("capture", "file.txt", "file.txt: found a file, expected a folder"),
        ("reconstruct", "file.txt/deep/er", "found a file at file.txt, expected a folder"),
        ("draw_paper", ".", "found the folder that this command runs in"),
        ("capture", "mine/..", "found the folder that this command runs in"),
        ("evaluate", "mine", "mine: found a folder, expected a file"),
        ("make_room", ".", "found a folder, expected a file"),
        ("aggregate", "file.txt", "file.txt: found a file, expected a folder"),
        ("paper_tables", "/", "/: found the root of all folders"),
    ],
)
def test_a_place_for_the_result_is_refused_before_the_work(
    stage: dict,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage_name: str,
    out: str,
    said: str,
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    (tmp_path / "file.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    probe = sys.modules["ovnerf.stages.probe"]
    monkeypatch.setitem(sys.modules, f"ovnerf.stages.{stage_name}", probe)
    monkeypatch.setattr(cli, "stage_names", lambda: [stage_name])
    assert cli.main([stage_name, "--frames", "f", "--views", "v", "--out", out]) == 2
    assert said in capsys.readouterr().err
    assert "frames" not in stage  # it was not called
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.txt", "mine", "thesis.txt"]
    assert (tmp_path / "file.txt").read_text() == (tmp_path / "mine/thesis.txt").read_text()


def test_single_files_may_go_into_the_folder_one_is_in(
    stage: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    probe = sys.modules["ovnerf.stages.probe"]
    monkeypatch.setitem(sys.modules, "ovnerf.stages.aggregate", probe)
    monkeypatch.setattr(cli, "stage_names", lambda: ["aggregate"])
    assert cli.main(["aggregate", "--frames", "f", "--views", "v", "--out", "."]) == 0
    assert stage["out"] == tmp_path / "here"


def test_what_a_stage_writes_is_what_its_rule_says() -> None:
    """A folder that is replaced, as `directory(...)` in the rule, or files."""
    rules = "".join(path.read_text() for path in (REPOSITORY_ROOT / "workflow/rules").glob("*.smk"))
    blocks = {block.partition(":")[0]: block for block in re.split(r"(?m)^rule ", rules)[1:]}
    folders = {name for name, block in blocks.items() if re.search(r"\bdirectory\(", block)}
    assert len(folders) > 15
    assert folders == set(blocks) - places.FILE_RESULTS - places.FILES_IN_A_FOLDER
    kinds = {
        name: found.keywords["kind"]
        for name in folders - {"capture"}
        if "kind" in (found := places.strangers_of(name)).keywords  # type: ignore[attr-defined]
    }
    stores = {name for name in folders if re.search(r'\.zarr"\)', blocks[name])}
    assert set(kinds) == stores and set(kinds.values()) == set(MADE_BY)


def test_a_bug_keeps_its_traceback(stage: dict) -> None:
    with pytest.raises(ZeroDivisionError):
        call("bug")


@pytest.mark.parametrize(
    "arguments", [["probe"], ["probe", "--nonsense"], ["probe", "--fram", "x"]]
)
def test_bad_options_exit_2(stage: dict, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("threads", "said"),
    [
        ("0", "argument --threads: found 0, expected 1 or more"),
        ("-2", "argument --threads: found -2, expected 1 or more"),
        ("many", "argument --threads: invalid positive value: 'many'"),
    ],
)
def test_threads_are_one_or_more(
    stage: dict, capsys: pytest.CaptureFixture, threads: str, said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        call("f", "--threads", threads)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert call("f", "--threads", "3") == 0 and stage["compute"] == ("auto", 3)


def test_an_unknown_stage_exits_2_and_lists_the_known(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["no_such"]) == 2
    assert "sample_frames" in capsys.readouterr().err


def test_the_help_of_a_stage_explains_every_setting(
    stage: dict, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["probe", "--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert "Probe what arrives." in said
    for name in (*RankRegions.model_fields, *ProposeRegions.model_fields):
        assert re.search(rf"\n  {name}( = |:\n)", said), name


@pytest.mark.parametrize("command", ["check", "plan"])
def test_what_is_asked_of_configs_has_its_help(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert f"python -m ovnerf {command} config/" in said
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--confg"])
    assert caught.value.code == 2
    assert "--confg" in capsys.readouterr().err


def test_stages_without_networks_do_not_import_torch() -> None:
    """It takes a second of every job."""
    program = (
        "import importlib, sys; from ovnerf.runtime.memory import check_memory\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(f'ovnerf.stages.{name}'); check_memory(name, {})\n"
        "assert 'torch' not in sys.modules"
    )
    without = {"make_room", "sample_frames", "read_truth", "score_labels", "evaluate"}
    without |= {"score_agreement", "paper_tables", "compare", "draw_paper"}
    without |= {"aggregate", "draw_figures", "summarise_runs", "inspect", "verify", "fetch_weights"}
    assert without < set(cli.stage_names())
    environment = {**os.environ, "OVNERF_DEVICE": "auto"}
    subprocess.run([sys.executable, "-c", program, *without], env=environment, check=True)


def test_the_overview_lists_every_stage_without_importing_it() -> None:
    program = (
        "import sys; from ovnerf.cli import main; code = main(['--help']); "
        "assert not {'torch', 'zarr'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for name in cli.stage_names():
        assert f"\n  {name} " in done.stdout


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "ovnerf", "sample_frames", "--folder", "absent", "--out", "o"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: absent: no such scene folder")
    assert "Traceback" not in done.stderr


def test_only_arguments_that_are_required_are_told_to_be_missing(
    capsys: pytest.CaptureFixture,
) -> None:
    """`query` and `draw_query` can take phrases from elsewhere."""
    for stage, missing in (("query", "RUN"), ("draw_query", "--out"), ("view", "RUN")):
        with pytest.raises(SystemExit):
            cli.main([stage])
        (line,) = (one for one in capsys.readouterr().err.splitlines() if "required" in one)
        assert line.endswith(f"the following arguments are required: {missing}")
