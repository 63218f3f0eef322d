"""Groups of runs: which scenes, encoders and variants go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnerf.config.run import override, read_config, read_yaml, variant_settings
from ovnerf.evaluation.paper import ENCODERS
from ovnerf.evaluation.paper_figures import figures_of
from ovnerf.inspection.jobs import shared_id
from ovnerf.inspection.misuse import PRINTED_ENCODERS
from ovnerf.inspection.plan import Plan, make_plan
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT

SHEET = "dataset\tscene\tpath\none\ta\tx\none\tb\tx\ntwo\ta\tx\n"
LISTED = {"encoders": ["clip"], "variants": ["rsr"]}


def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *groups: dict) -> Plan:
    monkeypatch.chdir(tmp_path)
    Path("sheet.tsv").write_text(SHEET)
    return make_plan({"scenes": "sheet.tsv", "runs": list(groups)})


def test_runs_are_the_union_of_the_groups_in_the_sheets_order(tmp_path, monkeypatch) -> None:
    plan = plan_of(
        tmp_path,
        monkeypatch,
        {"scenes": ["two/a"], "encoders": ["clip"], "variants": ["rsr", "ovnerf"]},
        {"datasets": ["one"], "encoders": ["openclip"], "variants": ["ovnerf"]},
        {"encoders": ["clip"], "variants": ["ovnerf"]},
    )
    assert plan.runs == (
        ("one", "a", "clip", "ovnerf"),
        ("one", "a", "openclip", "ovnerf"),
        ("one", "b", "clip", "ovnerf"),
        ("one", "b", "openclip", "ovnerf"),
        ("two", "a", "clip", "rsr"),
        ("two", "a", "clip", "ovnerf"),
    )
    assert plan.config.encoders == ("clip", "openclip")
    assert plan.config.variants == ("rsr", "ovnerf")
    assert plan.variants_of("two", "a", "clip") == ("rsr", "ovnerf")
    assert plan.variants_of("two", "a", "openclip") == ()
    assert len(plan.encoded) == 5


def test_without_groups_every_variant_meets_every_encoder_of_every_scene(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sheet.tsv").write_text(SHEET)
    plan = make_plan(
        {"scenes": "sheet.tsv", "encoders": ["clip", "openclip"], "variants": ["rsr", "cse"]}
    )
    assert len(plan.runs) == 3 * 2 * 2
    assert plan.runs[:3] == (
        ("one", "a", "clip", "rsr"),
        ("one", "a", "clip", "cse"),
        ("one", "a", "openclip", "rsr"),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": [LISTED], "encoders": ["clip"]}, "found both `runs` and `encoders`"),
        ({"runs": [{**LISTED, "encoders": []}]}, "my.yaml: runs.0: encoders: Tuple should have"),
        ({"runs": [{**LISTED, "scene": "a"}]}, "my.yaml: runs.0: scene: unknown key"),
        ({"runs": [LISTED], "export": {"variants": ["cse"]}}, "cse is not among `variants`"),
        ({"runs": "all"}, "my.yaml: runs: Input should be a valid tuple"),
    ],
)
def test_a_bad_group_is_one_message(change: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_config({"scenes": "sheet.tsv", **change}, "my.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"datasets": ["three"]}, "runs.0.datasets: three is not in sheet.tsv"),
        ({"scenes": ["one/c"]}, "runs.0.scenes: one/c is not in sheet.tsv"),
    ],
)
def test_a_group_of_unknown_scenes_is_refused(tmp_path, monkeypatch, where, said) -> None:
    with pytest.raises(UserError, match=said):
        plan_of(tmp_path, monkeypatch, {**LISTED, **where})


def test_the_ablations_begin_and_refresh_at_the_printed_iterations() -> None:
    config = read_config({"scenes": "sheet.tsv"})
    steps = {}
    for path in (REPOSITORY_ROOT / "config/variants").glob("*.yaml"):
        train, _ = variant_settings(config, path)
        start, every = (
            round(part * train.iterations) for part in (train.cse.start, train.cse.every)
        )
        steps[path.stem] = start, every
    assert steps["ovnerf"] == steps["cse_unranked"] == steps["no_novel"] == (10_000, 1000)
    assert steps["t8k"] == (8000, 1000) and steps["t12k"] == (12_000, 1000)
    named = ("n500", "n2500", "n5000")
    assert [steps[name] for name in named] == [(10_000, 500), (10_000, 2500), (10_000, 5000)]


def test_the_papers_tables_are_planned_and_ablations_share_their_trunks(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY_ROOT)
    plan = make_plan(read_yaml("config/paper.yaml"))
    assert len(plan.encoded) == 54
    names = {name: shared_id(train) for name, (train, _) in plan.variants.items()}
    same = ("ovnerf", "rsr", "cse_unranked", "n500", "n2500", "n5000", "no_novel")
    assert len({names[name] for name in same}) == 1
    assert len({names[name] for name in ("ovnerf", "t8k", "t12k")}) == 3
    trunks = {(*run[:3], names[run[3]]) for run in plan.runs}
    assert (len(plan.runs), len(trunks)) == (176, 150)


def test_the_papers_figures_have_their_runs(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY_ROOT)
    plan = make_plan(read_yaml("config/paper.yaml"))
    outdoors = read_yaml("config/mipnerf360.yaml") | read_yaml("config/overlays/figure_7.yaml")
    runs = [*plan.runs, *make_plan(outdoors).runs]
    found = {
        scene: set(figures_of([run[2:] for run in runs if run[1] == scene], {}))
        for scene in ("room0", "scene0494_00", "bed", "garden")
    }
    assert found["room0"] == found["scene0494_00"] == {"systems", "parts", "novel_views"}
    assert found["bed"] == found["garden"] == {"systems"}


def test_the_judges_are_six_rooms_beside_the_demos(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY_ROOT)
    demo = read_yaml("config/config.yaml")
    plan = make_plan(override(demo, read_yaml("config/overlays/judge_rooms.yaml")))
    assert len(plan.runs) == 6 * 3 and plan.config.propose_regions.architecture == "superpixels"
    tuned = {scene.toy_seed for scene in make_plan(demo).scenes.values()}
    assert tuned == {0, 1} and not tuned & {scene.toy_seed for scene in plan.scenes.values()}


def test_a_system_is_refused_on_features_that_it_cannot_learn_from(tmp_path, monkeypatch) -> None:
    group = {"encoders": ["clip"], "variants": ["rsr", "fcclip"]}
    with pytest.raises(UserError, match="encoder clip with variant fcclip: found kind openclip"):
        plan_of(tmp_path, monkeypatch, group)
    group["variants"] = ["dff"]
    with pytest.raises(UserError, match="clip with variant dff: found kind openclip, expected an"):
        plan_of(tmp_path, monkeypatch, group)
    lerf = {"encoders": ["fcclip"], "variants": ["lerf"]}
    with pytest.raises(
        UserError, match="fcclip with variant lerf: found kind precomputed, which has one"
    ):
        plan_of(tmp_path, monkeypatch, lerf)
    plan = plan_of(tmp_path, monkeypatch, {"encoders": ["fcclip"], "variants": ["fcclip"]})
    assert len(plan.runs) == 3


@pytest.mark.parametrize(
    "change", [{"joint_start": 0.5, "cse": {"enabled": False}}, {"joint_start": 1}]
)
def test_a_volume_of_its_own_trains_alone(change: dict) -> None:
    changed = {"feature_volume": "own", **change}
    with pytest.raises(UserError, match="own` needs `joint_start: 1`"):
        read_config({"scenes": "sheet.tsv", "train_semantics": changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"feature_target": "random_scale"}, "and `scale_knots` go together"),
        ({"scale_knots": [0, 1]}, "and `scale_knots` go together"),
        ({"feature_target": "random_scale", "scale_knots": [1, 0]}, "two or more, ascending"),
        ({"feature_target": "random_scale", "scale_knots": [0, 1]}, "know of no scale"),
        ({"dino_feature_weight": 1}, "needs `feature_volume: own`"),
        ({"feature_volume": "own", "head_start": "fitted"}, "needs `head_start: random`"),
    ],
)
def test_settings_of_a_head_with_scales_belong_together(changed: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_config({"scenes": "sheet.tsv", "train_semantics": changed})


def test_the_rehearsal_has_every_table_and_the_papers_schedules(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY_ROOT)
    plan = make_plan(read_yaml("config/paper_small.yaml"))
    without = [run for run in plan.runs if run[3] != "3dovs_nofda"]
    names = {name: shared_id(train) for name, (train, _) in plan.variants.items()}
    assert (len(plan.encoded), len(without), len(plan.runs)) == (13, 69, 76)
    assert len({(*run[:3], names[run[3]]) for run in without}) == 45
    steps = {
        name: [round(part * train.iterations) for part in (train.cse.start, train.cse.every)]
        for name, (train, _) in plan.variants.items()
    }
    assert [steps[name][0] for name in ("t8k", "ovnerf", "t12k")] == [320, 400, 480]
    numbers = ("n500", "ovnerf", "n2500", "n5000")
    assert [steps[name][1] for name in numbers] == [20, 40, 100, 200]


@pytest.mark.parametrize(
    ("scenes", "encoders", "said"),
    [
        ({"replica/room0": "one/a"}, {}, "give both `scenes` and `encoders`"),
        ({}, {"clip": "clip"}, "give both `scenes` and `encoders`"),
        ({"replica/room_0": "one/a"}, {"clip": "clip"}, "tables have no replica/room_0"),
        ({"replica/room0": "one/a"}, {"CLIP": "clip"}, "tables have no CLIP"),
        (
            {"replica/room0": "one/a", "replica/room1": "two/a"},
            {"clip": "clip"},
            "found stand-ins of one and two for replica",
        ),
    ],
)
def test_stand_ins_that_would_leave_a_table_empty_are_refused(
    tmp_path, monkeypatch, scenes: dict, encoders: dict, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sheet.tsv").write_text(SHEET)
    tables = {"scenes": scenes, "encoders": encoders}
    with pytest.raises(UserError, match=said):
        make_plan({"scenes": "sheet.tsv", "paper_tables": tables, **LISTED})


@pytest.mark.parametrize("write", [True, False])
def test_stand_ins_that_are_not_of_the_run_are_warned_of(tmp_path, monkeypatch, write) -> None:
    """No more than that: an overlay that runs a part of a config cannot take its stand-ins away."""
    monkeypatch.chdir(tmp_path)
    Path("sheet.tsv").write_text(SHEET)
    stand_ins = {"scenes": {"replica/room0": "one/c"}, "encoders": {"clip": "clip", "lseg": "toy"}}
    plan = make_plan(
        {"scenes": "sheet.tsv", "paper_tables": {"write": write, **stand_ins}, **LISTED}
    )
    assert [line for line in plan.warnings if "paper_tables" in line] == write * [
        "paper_tables.scenes: one/c for replica/room0 is not of this run",
        "paper_tables.encoders: toy for lseg is not of this run",
    ]


def test_stand_ins_may_take_every_encoder_that_the_paper_prints() -> None:
    assert set(PRINTED_ENCODERS) == set(ENCODERS.values())
