from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovnerf.config.features import CacheFeatures
from ovnerf.config.field import Reconstruct
from ovnerf.config.frames import MakeRoom, SampleFrames
from ovnerf.config.run import (
    Scene,
    cache_features_settings,
    override,
    read_config,
    read_row,
    read_scenes,
    read_yaml,
    scene_settings,
    shared_settings,
    variant_settings,
)
from ovnerf.config.semantics import Cse, Dino, TrainSemantics
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT

CONFIGS = sorted((REPOSITORY_ROOT / "config").glob("*.yaml"))
MINIMAL = {"scenes": "sheet.tsv"}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_are_complete(path: Path) -> None:
    checked = read_config(read_yaml(path), path.name)
    folder = REPOSITORY_ROOT / "config"
    assert read_scenes(REPOSITORY_ROOT / checked.scenes)
    for name in checked.encoders:
        assert cache_features_settings(checked, folder / f"encoders/{name}.yaml").encoder
    for name in checked.variants:
        variant_settings(checked, folder / f"variants/{name}.yaml")


def test_every_variant_goes_with_a_fitted_start() -> None:
    """Those whose head cannot be fitted, or that have no labels to fit, start at random."""
    config = read_config({**MINIMAL, "train_semantics": {"head_start": "fitted", "joint_start": 0}})
    starts = {
        path.stem: variant_settings(config, path)[0].head_start
        for path in (REPOSITORY_ROOT / "config/variants").glob("*.yaml")
    }
    at_random = {name for name, start in starts.items() if start == "random"}
    assert at_random == {"3dovs", "3dovs_nofda", "dff", "fcclip", "language", "lerf"}


def test_the_four_variants_are_the_two_switches() -> None:
    checked = read_config(MINIMAL)
    switches = {}
    for name in checked.variants:
        path = REPOSITORY_ROOT / f"config/variants/{name}.yaml"
        train, _ = variant_settings(checked, path)
        switches[name] = (train.labels, train.cse.enabled)
    assert switches == {
        "baseline": ("clip", False),
        "rsr": ("rsr", False),
        "cse": ("clip", True),
        "ovnerf": ("rsr", True),
    }


def test_defaults_are_the_papers_sizes() -> None:
    checked = read_config(MINIMAL)
    train = checked.train_semantics
    assert checked.reconstruct.iterations == 30_000
    assert train.iterations == 15_000
    assert round(train.iterations * train.cse.start) == 10_000
    assert round(train.iterations * train.cse.every) == 1_000
    assert checked.propose_regions.architecture == "vit_h"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reconstrct": {}}, "reconstrct: unknown key"),
        ({"reconstruct": {"iteration": 3}}, "reconstruct.iteration: unknown key"),
        ({"reconstruct": {"iterations": "many"}}, "reconstruct.iterations: Input should be"),
        ({"reconstruct": {"iterations": 0}}, "(found 0)"),
        ({"reconstruct": 3}, "reconstruct: Input should be"),
        ({"seeds": []}, "seeds: Tuple should have at least 1 item"),
        ({"seeds": [0, 0]}, "seeds: an entry is listed twice"),
        ({"reconstruct": {"seeds": [4, 4]}}, "reconstruct.seeds: an entry is listed twice"),
        ({"encoders": ["radiance-seed3"]}, "encoder radiance-seed3: results have a file"),
        ({"variants": ["rsr", "rsr"]}, "variants: an entry is listed twice"),
        ({"fuse_points": {"variants": ["other"]}}, "other is not among `variants`"),
        ({"export": {"variants": ["other"]}}, "export.variants: other is not among `variants`"),
        ({"export": {"products": ["film"]}}, "export.products.0: Input should be 'cloud', "),
        ({"query": {"variants": ["rsr"]}}, "query: give both `phrases` and `variants`"),
        (
            {"query": {"variants": ["rsr"], "phrases": ["table", "lamp |"]}},
            "query.phrases: phrase 2: found 'lamp |' with nothing before or after a sign",
        ),
        (
            {"query": {"variants": ["rsr"], "phrases": ["a; b", "B; a"]}},
            "query.phrases: phrase 2: found the phrase 'B; a' again, after query.phrases: phrase 1",
        ),
        (
            {"query": {"variants": ["rsr"], "phrases": ["a", "a | b"], "mode": "softmax"}},
            "phrase 'a | b': found the same words in 'a'",
        ),
        (
            {"draw_query": {"variants": ["rsr"], "phrases": [" "]}},
            "draw_query.phrases: phrase 1: found an empty phrase",
        ),
        ({"export": {"video_phrase": "| wall"}}, "export.video_phrase: found only negatives"),
        ({"export": {"products": ["cloud", "video"]}}, "export.products: found video, which needs"),
        ({"query": {"negatives": ["object", " "]}}, "query.negatives: Value error, word 2: found"),
        ({"query": {"negatives": []}}, "query.negatives: Tuple should have at least 1 item"),
        ({"encoders": ["../toy"]}, "encoders.0: String should match pattern"),
        ({"device": "gpu"}, "device: Input should be 'auto', 'cpu' or 'cuda' (found 'gpu')"),
        (
            {"cache_features": {"encoder": {"kind": "simulated"}}},
            "name the encoder under `encoders`",
        ),
        ({"scenes": None}, "scenes: Input should be a valid string"),
    ],
)
def test_a_bad_config_is_one_message_with_the_key(change: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_config({**MINIMAL, **change}, "my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert said in str(caught.value)
    assert "config/README.md" in caught.value.hint


def test_what_is_wrong_between_sections_is_told_without_the_whole_config() -> None:
    with pytest.raises(UserError) as caught:
        read_config({**MINIMAL, "variants": ["rsr", "rsr"]}, "my.yaml")
    assert caught.value.message == (
        "my.yaml: Value error, variants: an entry is listed twice in ['rsr', 'rsr']"
    )
    with pytest.raises(UserError) as caught:
        read_row({"dataset": "d", "scene": "s"}, "sheet.tsv, row 2")
    assert "row 2: (row): Value error, give either path" in caught.value.message
    assert "(found {'dataset': 'd', 'scene': 's'})" in caught.value.message


def test_every_bad_key_is_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        read_config({"a": 1, "b": 2})
    assert [line.split(": ")[1] for line in caught.value.message.splitlines()] == [
        "scenes",
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset\tscene\ttoy_seed\n", "has no rows"),
        ("dataset\tscene\ttoy_seed\nd\ts\t1\nd\ts\t2\n", "scene d/s appears 2 times"),
        ("dataset\tscene\ttoy_seed\nd\ts\t1\nD\tt\t2\n", "datasets: found d and D"),
        ("dataset\tscene\ttoy_seed\nd\ts\t1\nd\tS\t2\n", "scenes: found d/s and d/S"),
        ("dataset\tscene\ttoy_seed\nd\ts\tx\n", "row 2: toy_seed: Input should be a valid"),
        ("dataset\tscene\nd\ts\n", "give either path or toy_seed"),
        ("dataset\tscene\tpath\ttoy_seed\nd\ts\tp\t1\n", "give either path or toy_seed"),
        ("dataset\tscene\tpth\nd\ts\tp\n", "pth: unknown key"),
        ("dataset\tscene\tpath\nd\ta/b\tp\n", "scene: String should match pattern"),
        ("dataset\tscene\tpath\nd\ts\tp\tq\n", "found 4 cells, expected 3"),
        ("dataset\tscene\tpath\tlayout\nd\ts\tp\tfolders\n", "layout: Input should be 'replica'"),
    ],
)
def test_a_bad_sheet_is_one_message_with_the_row(tmp_path: Path, text: str, said: str) -> None:
    sheet = write(tmp_path / "sheet.tsv", text)
    with pytest.raises(UserError, match=str(sheet)) as caught:
        read_scenes(sheet)
    assert said in str(caught.value)


def test_a_sheet_may_hold_comments_and_empty_cells(tmp_path: Path) -> None:
    text = "# mine\ndataset\tscene\tpath\tframes\n\nd\ta\troom\t\nd\tb\troom\t20\n"
    first, second = read_scenes(write(tmp_path / "sheet.tsv", text))
    assert (first.frames, second.frames) == (None, 20)


def test_an_empty_cell_leaves_the_config_alone_and_a_filled_one_wins() -> None:
    section = SampleFrames(layout="semantic_nerf", frames=30, width=320, height=240)
    row = Scene(dataset="d", scene="s", path="p", frames=20)
    merged = scene_settings(section, row)
    assert (merged.layout, merged.frames, merged.width) == ("semantic_nerf", 20, 320)


def test_a_toy_room_takes_seed_and_size_from_the_sheet() -> None:
    row = Scene(dataset="d", scene="s", toy_seed=7, frames=12, width=64, height=48)
    merged = scene_settings(MakeRoom(), row)
    assert (merged.seed, merged.frames, merged.width, merged.height) == (7, 12, 64, 48)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rank_regions: {order: generator}", "rank_regions: unknown key"),
        ("train_semantics: {cse: {strat: 1}}", "cse.strat: unknown key"),
        ("train_semantics: {labels: best}", "labels: Input should be 'clip', 'rsr' or 'fused'"),
        ("train_semantics: 3", "train_semantics: Input should be a valid dictionary"),
        ("- rsr", "expected a mapping, found list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_variant_is_one_message_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "mine.yaml", text)
    with pytest.raises(UserError, match=str(path)) as caught:
        variant_settings(read_config(MINIMAL), path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: openclip\nmodel: ViT-B-16", "encoder.openclip.weights: Field required"),
        ("kind: segmenter", "does not match any of the expected tags"),
        ("kind: simulated\nnoise: -1", "noise: Input should be greater than or equal to 0"),
        ("kind: simulated\nblur: 1", "blur: unknown key"),
    ],
)
def test_a_bad_encoder_is_one_message_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "mine.yaml", text)
    with pytest.raises(UserError, match=str(path)) as caught:
        cache_features_settings(read_config(MINIMAL), path)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_yaml, read_scenes):
        with pytest.raises(UserError, match="absent"):
            read(tmp_path / "absent")


def test_a_shared_forgets_what_cse_reads_after_its_start_and_nothing_else() -> None:
    cse = Cse(enabled=True, start=0.5, novel_views=3)
    settings = TrainSemantics(iterations=9, cse=cse)
    shared = shared_settings(settings)
    unused = Cse(enabled=False, start=0.5)
    assert shared == TrainSemantics(iterations=9, cse=unused)
    assert settings.cse == cse


maps = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)
mappings = st.dictionaries(st.sampled_from("abc"), maps)


def leaves(data: dict) -> set[tuple]:
    """Paths to values that are not maps."""
    found = set()
    for key, value in data.items():
        inner = leaves(value) if isinstance(value, dict) else {()}
        found |= {(key, *path) for path in inner}
    return found


def at(data: object, path: tuple) -> object:
    for key in path:
        data = data[key]  # type: ignore[index]
    return data


@given(mappings, mappings)
def test_override_keeps_the_base_except_where_changes_speak(base: dict, changes: dict) -> None:
    before = yaml.safe_dump([base, changes])
    merged = override(base, changes)
    assert all(at(merged, path) == at(changes, path) for path in leaves(changes))
    assert leaves(merged) <= leaves(base) | leaves(changes)
    assert override(base, {}) == base
    assert yaml.safe_dump([base, changes]) == before


def test_settings_survive_their_own_json() -> None:
    settings = TrainSemantics(iterations=7, dino=Dino(crops=1))
    text = settings.model_dump_json()
    assert TrainSemantics.model_validate_json(text) == settings


@pytest.mark.parametrize(
    ("model", "changes", "where"),
    [
        (MakeRoom, {"seed": -1}, "seed"),
        (CacheFeatures, {"seed": -1}, "seed"),
        (CacheFeatures, {"scales": []}, "scales"),
        (Reconstruct, {"step_ratio": 0}, "step_ratio"),
        (Reconstruct, {"density_ranks": [-1, 4, 4]}, "density_ranks"),
        (Reconstruct, {"appearance_ranks": [0, 0, 0]}, "appearance_ranks"),
        (Reconstruct, {"learning_rate_head": -1}, "learning_rate_head"),
        (TrainSemantics, {"logit_temperature": 0}, "logit_temperature"),
        (TrainSemantics, {"label_weight": -1}, "label_weight"),
        (
            TrainSemantics,
            {"label_weight": 0, "feature_weight": 0, "dino": {"crops": 0}},
            "no loss for the semantic head",
        ),
    ],
)
def test_numbers_that_no_stage_could_use_are_refused(model, changes, where):
    model.model_validate({})
    with pytest.raises(ValidationError, match=where):
        model.model_validate(changes)
