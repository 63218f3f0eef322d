"""The shipped toy weights: size, strict loading through the real libraries, floors on a sample."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors import safe_open
from segment_anything import SamPredictor

from ovnerf.toy import MODELS, WEIGHTS
from ovnerf.toy.rooms import FIRST_TRAINING_SEED
from tools.toy_models import measure
from tools.toy_models.clip import NAME, build_toy_clip, text_bank
from tools.toy_models.data import (
    DEMO_SEEDS,
    TRAINING_SEEDS,
    UNSEEN_SEEDS,
    VIEWS_PER_ROOM,
    Views,
    load_views,
)
from tools.toy_models.dino import build_toy_dino
from tools.toy_models.sam import EVERY_MASK, build_toy_sam

pytestmark = pytest.mark.slow

NAMES = ("clip", "sam", "dino")


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    """Four views of each room of the cards, which no model was trained on."""
    return load_views(tmp_path_factory.mktemp("views"), UNSEEN_SEEDS, frames=4)


def test_demo_and_measuring_rooms_were_not_trained_on() -> None:
    assert min(TRAINING_SEEDS) >= FIRST_TRAINING_SEED == 1000
    assert max(*DEMO_SEEDS, *UNSEEN_SEEDS) < FIRST_TRAINING_SEED
    assert not set(DEMO_SEEDS) & set(UNSEEN_SEEDS)


def test_weights_fit_the_budget_and_are_binary16() -> None:
    files = [WEIGHTS / f"{name}.safetensors" for name in NAMES]
    assert sum(file.stat().st_size for file in files) < 16e6
    for file in files:
        with safe_open(file, "pt") as content:
            types = {content.get_slice(key).get_dtype() for key in content.keys()}  # noqa: SIM118
        assert types <= {"F16", "I64"}, file
    assert all((WEIGHTS / f"{name}.md").is_file() for name in NAMES)


def test_clip_loads_strictly_through_open_clip() -> None:
    open_clip.add_model_config(MODELS)
    weights = WEIGHTS / "clip.safetensors"
    model, _, preprocess = open_clip.create_model_and_transforms(NAME, pretrained=str(weights))
    with safe_open(weights, "pt") as content:
        assert set(content.keys()) == set(model.state_dict())
        stored = content.get_tensor("visual.conv1.weight").float()
    torch.testing.assert_close(model.visual.conv1.weight.detach(), stored)
    assert sum(parameter.numel() for parameter in model.visual.parameters()) <= 1_000_000
    assert "size=32" in str(preprocess) and "bicubic" in str(preprocess)


def test_clip_is_useful_but_imperfect(views: Views) -> None:
    model = build_toy_clip(WEIGHTS / "clip.safetensors").eval()
    assert text_bank(model).shape == (15, 64)
    accuracy = measure.crop_accuracy(model, views, 10)["crop_top1"]
    assert 52 <= accuracy <= 88  # the card's number is 55..85 on a larger sample


def test_sam_finds_instances_with_the_unmodified_generator(views: Views) -> None:
    sam = build_toy_sam(WEIGHTS / "sam.safetensors")
    report = measure.instance_overlaps(sam, views, range(0, 16, 3), EVERY_MASK)
    assert report["mean_best_iou"] >= 0.75


def test_sam_predictor_works(views: Views) -> None:
    predictor = SamPredictor(build_toy_sam(WEIGHTS / "sam.safetensors"))
    predictor.set_image(views.rgb[0])
    masks, scores, _ = predictor.predict(np.array([[80.0, 110.0]]), np.array([1]))
    assert masks.shape == (3, 120, 160) and scores.shape == (3,)
    assert masks[:, 110, 80].any()


def test_dino_tokens_beat_raw_patches(views: Views) -> None:
    model = build_toy_dino(WEIGHTS / "dino.safetensors")
    report = measure.patch_comparison(model, views, range(0, 48, 2), range(1, 48, 2))
    assert report["points_above_raw"] >= 10


def test_dino_takes_any_multiple_of_eight() -> None:
    model = build_toy_dino(WEIGHTS / "dino.safetensors")
    tokens = model.forward_features(torch.zeros(1, 3, 120, 160))
    assert tokens.shape == (1, 1 + 15 * 20, 96)


def test_best_overlap_by_hand() -> None:
    instance = np.zeros((4, 4), np.uint16)
    instance[:2] = 1
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0] = True  # 4 of 8 pixels: IoU 1/2
    masks[1, :3] = True  # 8 of 12: IoU 2/3
    assert measure.best_overlaps(masks, instance).tolist() == pytest.approx([2 / 3])
    assert measure.best_overlaps(masks[:0], instance).tolist() == [0]


def test_cached_views_are_used_again(tmp_path: Path) -> None:
    first = load_views(tmp_path, [950], frames=1)
    stamp = next(tmp_path.iterdir()).stat().st_mtime_ns
    again = load_views(tmp_path, [950], frames=1)
    assert next(tmp_path.iterdir()).stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.rgb, again.rgb)
    assert VIEWS_PER_ROOM > 1
