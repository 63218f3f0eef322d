"""What the workflow would do, read from dry runs: entry points, targets, configs, bad input."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tiny_run import TOY_SHEET, Place, planned_jobs

from ovnerf.cli import stage_parser
from ovnerf.config.frames import MakeRoom
from ovnerf.config.run import override, read_yaml
from ovnerf.stages.make_room import run as make_room
from ovnerf.storage.provenance import REPOSITORY_ROOT

ENTRY_POINTS = ["Snakefile", "workflow/Snakefile"]
WHOLE = Counter(
    make_room=1,
    sample_frames=1,
    read_truth=1,
    propose_regions=1,
    cache_features=1,
    cache_dino=1,
    rank_regions=1,
    score_labels=1,
    reconstruct=1,
    render_depth=1,
    score_agreement=1,
    train_shared=2,
    train_semantics=4,
    render_views=4,
    evaluate=4,
    draw_figures=1,
    aggregate=1,
    summarise_runs=1,
)


@pytest.mark.parametrize("snakefile", ENTRY_POINTS)
def test_both_entry_points_plan_the_same_from_any_directory(place: Place, snakefile: str) -> None:
    done = place.snakemake("--dry-run", snakefile=snakefile)
    assert planned_jobs(done.stdout) == WHOLE
    assert "profiles/default" in done.stdout


@pytest.mark.parametrize("snakefile", ENTRY_POINTS)
def test_the_demo_runs_without_a_config_from_any_directory(place: Place, snakefile: str) -> None:
    planned = place.planned(config=None, snakefile=snakefile)
    assert planned["make_room"] == 2 and planned["train_semantics"] == 8


def test_the_bare_command_in_the_repository_runs_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert planned_jobs(done.stdout + done.stderr)["aggregate"] == 1
    assert "profiles/default" in done.stderr


def test_the_catalogs_test_folder_plans_every_rule(tmp_path: Path) -> None:
    """Its config, and not the demo's, is read: it lies where a working directory has its own."""
    folder = tmp_path / ".test"
    shutil.copytree(REPOSITORY_ROOT / ".test" / "config", folder / "config")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--directory", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert planned_jobs(done.stdout + done.stderr) == WHOLE


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ("tables", WHOLE + Counter(tables=1) - Counter(draw_figures=1, summarise_runs=1)),
        (
            "figures",
            WHOLE
            + Counter(figures=1)
            - Counter(aggregate=1, summarise_runs=1, render_depth=1, score_agreement=1),
        ),
        ("results/tiny/room7/frames.zarr", Counter(make_room=1, sample_frames=1)),
        (
            "results/tiny/room7/radiance",
            Counter(make_room=1, sample_frames=1, reconstruct=1),
        ),
        ("results/tables/metrics.csv", WHOLE - Counter(draw_figures=1, summarise_runs=1)),
    ],
)
def test_a_target_makes_itself_and_nothing_else(
    place: Place, target: str, rules: Counter[str]
) -> None:
    assert place.planned(target) == rules


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tiny/room8/frames.zarr", "sheet.tsv: found no scene tiny/room8"),
        ("tiny/room8/simulated/rsr/seed0/metrics.csv", "sheet.tsv: found no scene tiny/room8"),
        ("tiny/room7/simulated/lift/seed0/points.zarr", "No rule to produce results/tiny/room7"),
    ],
)
def test_a_target_that_cannot_be_is_named(place: Place, target: str, said: str) -> None:
    """A scene of another dataset, and the field of `lift`, which trains none."""
    other = "other\troom8\t8\t12\t64\t48\n"
    (place.folder / "sheet.tsv").write_text(TOY_SHEET + other)
    place.configure({})
    done = place.snakemake("--dry-run", f"results/{target}")
    assert done.returncode and said in done.stdout and "KeyError" not in done.stdout, done.stdout


def test_what_is_lifted_is_scored_without_a_training(place: Place) -> None:
    planned = place.planned("results/tiny/room7/simulated/lift/seed0/metrics.csv")
    assert planned["lift"] == planned["evaluate"] == 1
    assert not planned["train_semantics"] and not planned["render_views"]


def test_fused_labels_are_made_for_variants_that_ask_for_them_and_no_others(place: Place) -> None:
    place.configure({"variants": ["ovnerf", "consensus"]})
    planned = place.planned()
    assert planned["render_depth"] == planned["fuse_labels"] == 1
    links = edges(place)
    assert {after for before, after in links if before == "fuse_labels"} == {
        *("train_shared", "train_semantics", "score_labels", "score_agreement"),
    }
    assert below("render_depth", links) == below("fuse_labels", links) | {"fuse_labels"}


def test_runs_train_on_several_fields_in_turn(place: Place) -> None:
    place.configure({"seeds": [0, 1, 2], "reconstruct": {"seeds": [5, 6]}, "variants": ["rsr"]})
    done = place.snakemake("--dry-run", "--printshellcmds")
    planned = planned_jobs(done.stdout)
    assert (planned["reconstruct"], planned["render_depth"], planned["evaluate"]) == (2, 1, 3)
    pairs = re.findall(r"--radiance \S+/radiance(\S*) --semantics \S+/seed(\d)/", done.stdout)
    assert sorted(pairs) == [("-seed5", "0"), ("-seed5", "2"), ("-seed6", "1")]
    scored = re.findall(r"--seed (\d) --radiance-seed (\d)", done.stdout)
    assert sorted(scored) == [("0", "5"), ("1", "6"), ("2", "5")]


def test_no_part_of_the_demo_leaks_into_another_config(place: Place) -> None:
    (place.folder / "config.yaml").write_text("scenes: sheet.tsv\nencoders: [simulated]\n")
    for name in ("sam_vit_h_4b8939.pth", "dino_vitb8.safetensors"):
        (place.folder / "weights").mkdir(exist_ok=True)
        (place.folder / "weights" / name).touch()
    done = place.snakemake("--dry-run", "--printshellcmds")
    assert planned_jobs(done.stdout) == WHOLE
    jobs = done.stdout.partition("Building DAG of jobs")[2]
    assert "demo" not in jobs and "room0" not in jobs
    assert '"iterations":30000' in done.stdout and '"iterations":15000' in done.stdout


def test_command_line_settings_lie_over_the_demo(place: Place) -> None:
    planned = place.planned("--config", "seeds=[0, 1]", config=None)
    assert planned["make_room"] == 2 and planned["train_semantics"] == 16


def test_every_command_is_one_that_its_stage_takes(place: Place) -> None:
    done = place.snakemake("--dry-run", "--printshellcmds")
    commands = re.findall(r"python -m ovnerf (\w+) (.*) 2>&1 \| tee (\S+)", done.stdout)
    assert Counter(stage for stage, _, _ in commands) == WHOLE
    for stage, arguments, log in commands:
        parser, _ = stage_parser(stage, importlib.import_module(f"ovnerf.stages.{stage}"))
        parser.parse_args(shlex.split(arguments))
        assert f"/{stage}/" in log


def test_what_is_asked_is_planned_for_the_named_variants(place: Place) -> None:
    place.configure({"fuse_points": {"variants": ["rsr", "ovnerf"]}})
    assert place.planned() == WHOLE + Counter(fuse_points=2)
    phrase = "lamp; 'light' | {wall}, $HOME"
    place.configure({"query": {"phrases": [phrase], "variants": ["rsr"]}})
    done = place.snakemake("--dry-run", "--printshellcmds")
    assert planned_jobs(done.stdout) == WHOLE + Counter(fuse_points=1, query=1)
    (command,) = re.findall(r"python -m ovnerf query (.*) 2>&1", done.stdout)
    words = shlex.split(command)
    assert words[0] == "results/tiny/room7/simulated/rsr/seed0"
    assert json.loads(words[words.index("--settings") + 1])["phrases"] == [phrase]


def test_files_for_other_programs_are_planned_for_the_named_variants(place: Place) -> None:
    place.configure({"export": {"variants": ["ovnerf"], "products": ["mesh"]}})
    assert place.planned() == WHOLE + Counter(fuse_points=1, export=1)
    place.configure({"draw_query": {"variants": ["ovnerf"], "phrases": ["wall"]}})
    assert place.planned() == WHOLE + Counter(fuse_points=1, draw_query=1)
    place.configure({"draw_refreshes": {"variants": ["ovnerf"]}})
    assert place.planned() == WHOLE + Counter(draw_refreshes=1)
    place.configure({"write_page": {"variants": ["rsr"]}})
    assert place.planned() == WHOLE + Counter(fuse_points=1, write_page=1)


def edges(place: Place) -> set[tuple[str, str]]:
    """(rule, rule that reads its output) of the whole plan."""
    done = place.snakemake("--dag")
    assert done.returncode == 0, done.stdout
    label = dict(re.findall(r'(\d+)\[label = "(\w+)', done.stdout))
    return {(label[a], label[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)}


def below(rule: str, links: set[tuple[str, str]]) -> set[str]:
    """Rules that run after a rule because of it."""
    direct = {after for before, after in links if before == rule}
    return direct.union(*(below(after, links) for after in direct)) - {"all"}


def test_with_a_real_encoder_truth_is_read_by_scores_and_figures_only(place: Place) -> None:
    place.configure({"encoders": ["toy"]})
    links = edges(place)
    scores = {"score_labels", "evaluate", "draw_figures", "aggregate", "summarise_runs"}
    assert below("read_truth", links) == scores
    assert "train_semantics" in below("cache_features", links)


def test_true_regions_come_from_truth_and_mark_their_tables(place: Place) -> None:
    overlay = REPOSITORY_ROOT / "config/overlays/true_regions.yaml"
    changes = override(read_yaml(overlay), {"propose_regions": {"weights": "absent"}})
    place.configure(changes)
    assert ("read_truth", "propose_regions") in edges(place)
    place.configure({**changes, "encoders": ["simulated"]})
    refused(place, "encoder simulated: found propose_regions.architecture truth")
    place.configure({**changes, "train_semantics": {"cse": {"novel_views": 2}}})
    refused(place, "train_semantics.cse.novel_views: found 2", "expected 0")


@pytest.fixture
def room(place: Place) -> Path:
    """A scene folder of 12 frames that the sheet names."""
    folder = place.folder / "room"
    folder.mkdir()
    make_room(out=folder / "room.json", settings=MakeRoom(seed=7, frames=12, width=64, height=48))
    (place.folder / "sheet.tsv").write_text("dataset\tscene\tpath\ntiny\troom\troom\n")
    return folder


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_scene_without_labels_is_trained_and_rendered_but_not_scored(
    place: Place, room: Path
) -> None:
    empty(room / "semantic_300")
    place.configure({"encoders": ["toy"]})
    planned = place.planned()
    assert not {"read_truth", "score_labels"} & set(planned)
    assert planned["evaluate"] == planned["draw_figures"] * 4 == 4


def refused(place: Place, *said: str) -> None:
    """Snakemake stops before any job with this message and no traceback."""
    done = place.snakemake("--dry-run")
    assert done.returncode == 1
    for words in said:
        assert words in done.stdout, done.stdout
    assert "Traceback" not in done.stdout
    assert not (place.folder / "results").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recnstruct": {}}, "config: recnstruct: unknown key"),
        ({"reconstruct": {"iterations": "many"}}, "config: reconstruct.iterations: Input should"),
        ({"results": "a; touch b"}, "config: results: found 'a; touch b'"),
        ({"variants": ["mine"]}, "config/variants/mine.yaml: no such file"),
        ({"encoders": ["mine"]}, "config/encoders/mine.yaml: no such file"),
        ({"scenes": "absent.tsv"}, "absent.tsv: no such scene sheet"),
    ],
)
def test_a_bad_config_is_one_message(place: Place, changes: dict, said: str) -> None:
    place.configure(changes)
    refused(place, said)


def test_a_sheet_with_a_scene_twice_is_one_message(place: Place) -> None:
    sheet = place.folder / "sheet.tsv"
    sheet.write_text(sheet.read_text() + "tiny\troom7\t8\t12\t64\t48\n")
    refused(place, "sheet.tsv: scene tiny/room7 appears 2 times, expected once")


def test_a_simulated_encoder_may_not_look_like_a_real_one(place: Place) -> None:
    folder = place.folder / "config" / "encoders"
    folder.mkdir(parents=True)
    (folder / "clip.yaml").write_text("kind: simulated\n")
    place.configure({"encoders": ["clip"]})
    refused(place, "encoder clip: found kind simulated")


def test_a_bad_folder_is_one_message(place: Place, room: Path) -> None:
    pose = next((room / "pose_300").iterdir())
    pose.rename(place.folder / pose.name)
    refused(place, "no pose for")
    (place.folder / pose.name).rename(pose)
    empty(room / "semantic_300")
    refused(place, "encoder simulated: scene tiny/room has no label files")


def test_an_absent_folder_is_planned_with_a_warning_and_fails_in_its_job(place: Place) -> None:
    (place.folder / "sheet.tsv").write_text("dataset\tscene\tpath\ntiny\troom\tabsent\n")
    done = place.snakemake("--dry-run")
    assert planned_jobs(done.stdout) == WHOLE - Counter(make_room=1)
    assert "absent: no such scene folder, planned without looking inside" in done.stdout
    done = place.snakemake("results/tiny/room/frames.zarr")
    assert done.returncode == 1
    assert "error: absent: no such scene folder" in done.stdout
    assert "hint: expected a Replica scene (github.com/facebookresearch" in done.stdout
    assert "docs/datasets.md says where each dataset comes from" in done.stdout
    assert not (place.folder / "results/tiny/room/frames.zarr").exists()


def test_the_benchmark_is_planned_without_data_and_weights(place: Place) -> None:
    config = str(REPOSITORY_ROOT / "config/benchmark.yaml")
    done = place.snakemake("--dry-run", "--quiet", "rules", config=config)
    scenes, encoders, variants = 18, 4, 4
    of_scene, of_encoder = (
        ("sample_frames", "read_truth", "propose_regions", "cache_dino"),
        (*("cache_features", "rank_regions", "score_labels", "score_agreement", "draw_figures"),),
    )
    runs = scenes * encoders * variants
    assert planned_jobs(done.stdout) == Counter(
        dict.fromkeys((*of_scene, "reconstruct", "render_depth"), scenes)
        | dict.fromkeys(of_encoder, scenes * encoders)
        | dict.fromkeys(("train_semantics", "render_views", "evaluate"), runs)
        | {"train_shared": runs // 2, "fetch_weights": 5, "aggregate": 1, "summarise_runs": 1}
    )
    assert done.stdout.count("no such scene folder") == scenes


def test_groups_plan_their_own_runs_and_the_papers_tables(place: Place) -> None:
    config = yaml.safe_load((place.folder / "config.yaml").read_text())
    (encoder,) = config.pop("encoders")
    config.pop("variants")
    group = {"datasets": ["tiny"], "encoders": [encoder], "variants": ["rsr", "t12k", "n500"]}
    config |= {"runs": [group], "paper_tables": {"write": True}}
    config |= {"lift": {"write": True}}
    (place.folder / "config.yaml").write_text(yaml.safe_dump(config))
    fewer = dict.fromkeys(("train_semantics", "render_views", "evaluate"), 1)
    assert place.planned() == WHOLE - Counter(fewer) + Counter(
        paper_tables=1, draw_paper=1, lift=1, evaluate=1
    )


def test_a_scenes_windows_may_be_spread_over_jobs(place: Place) -> None:
    name = place.configure({"cache_features": {"parts": 3}}, "parts.yaml")
    done = place.snakemake("--dry-run", "--printshellcmds", config=name)
    assert planned_jobs(done.stdout) == WHOLE + Counter(cache_features_part=3)
    commands = re.findall(r"python -m ovnerf cache_features\w* (.*) 2>&1", done.stdout)
    assert [re.findall(r"--part (\d)", command) for command in sorted(commands)[1:]] == [
        ["0"],
        ["1"],
        ["2"],
    ]
    whole = next(command for command in commands if "--parts" in command)
    assert [f"feature-parts/{part}.zarr" in whole for part in range(3)] == [True] * 3


def test_a_sheets_cells_reach_their_rules(place: Place) -> None:
    row = "tiny\tbed\tllff\tabsent\tnone\tndc\t0.25\n"
    head = "dataset\tscene\tlayout\tpath\theld_out\tbox\tview_fraction\n"
    (place.folder / "sheet.tsv").write_text(head + row)
    done = place.snakemake("--dry-run", "--printshellcmds")
    commands = re.findall(r"python -m ovnerf (\w+) .*?--settings '(.*?)'", done.stdout)
    found = {stage: json.loads(text) for stage, text in commands}
    assert (found["sample_frames"]["held_out"], found["sample_frames"]["box"]) == ("none", "ndc")
    for stage in ("train_shared", "train_semantics"):
        assert found[stage]["view_fraction"] == 0.25


def test_weights_are_fetched_from_a_folder_and_kept(place: Place) -> None:
    (place.folder / "store").mkdir()
    (place.folder / "store/mine.bin").write_bytes(b"weights")
    header = "file\tarchitecture\turl\tsha256\tlicence\tsource"
    (place.folder / "weights.tsv").write_text(f"{header}\nweights/mine.bin\tany\t\t\tMIT\tpage\n")
    place.configure({"weights_table": "weights.tsv"})
    done = place.snakemake("weights/mine.bin")
    assert done.returncode == 1
    assert "get it from page, put it there as mine.bin" in done.stdout
    place.configure({"weights_table": "weights.tsv", "weights_dir": "store"})
    done = place.snakemake("weights/mine.bin")
    assert done.returncode == 0, done.stdout
    assert (place.folder / "weights/mine.bin").read_bytes() == b"weights"
    assert "Nothing to be done" in place.snakemake("weights/mine.bin").stdout


def test_bad_input_inside_a_file_stops_its_job_and_leaves_nothing(place: Place, room: Path) -> None:
    image = sorted((room / "rgb_300").iterdir())[3]
    image.write_bytes(b"not an image")
    done = place.snakemake("results/tiny/room/frames.zarr")
    assert done.returncode == 1
    assert f"error: room/rgb_300/{image.name}" in done.stdout
    assert "Traceback" not in done.stdout
    assert not list((place.folder / "results").rglob("*zarr*"))
