"""Training: a killed run ends as one that was not; weights are plain binary16 tensors."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tools.toy_models import train_clip, train_dino, train_sam, training
from tools.toy_models.data import TRAINING_SEEDS


def train(path: Path) -> dict[str, Tensor]:
    """Fit a line in twelve steps; the state after the last."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))

    def step(iteration: int) -> Tensor:
        rng = np.random.default_rng([0, iteration])
        points = torch.from_numpy(rng.normal(size=(8, 3))).float()
        return (model(points)[:, 0] - points[:, 0]).square().mean()

    training.run_training(model, step, iterations=12, peak_rate=1e-2, checkpoint=path)
    return model.state_dict()


def kill_after_first_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the next checkpoint the last thing that happens."""
    real = training.save_checkpoint

    def save_and_die(path: Path, content) -> None:
        real(path, content)
        monkeypatch.setattr(training, "save_checkpoint", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_checkpoint", save_and_die)


def test_a_killed_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    whole = train(tmp_path / "whole.pt")
    kill_after_first_checkpoint(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts.pt")
    assert (tmp_path / "parts.pt").is_file()
    parts = train(tmp_path / "parts.pt")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_length_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tmp_path / "a.pt")
    torch.save({"iterations": 11, "next": 3}, tmp_path / "b.pt")
    found = train(tmp_path / "b.pt")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_dino_script_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole script, because its state has a teacher and a centre besides the student."""
    monkeypatch.setattr(train_dino, "TRAINING_SEEDS", TRAINING_SEEDS[:1])
    monkeypatch.setattr(train_dino, "IMAGES", 2)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 1)

    def run(out: Path) -> bytes:
        options = ["--cache", str(tmp_path / "views"), "--out", str(out), "--iterations", "2"]
        monkeypatch.setattr(sys, "argv", ["train", *options])
        train_dino.main()
        return out.read_bytes()

    whole = run(tmp_path / "whole.safetensors")
    kill_after_first_checkpoint(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts.safetensors")
    assert run(tmp_path / "parts.safetensors") == whole


def test_learning_rate_warms_up_and_decays() -> None:
    rates = [training.learning_rate(k, 100, 1.0) for k in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)


def test_saved_weights_are_binary16(tmp_path: Path) -> None:
    training.save_weights(nn.Linear(2, 3), tmp_path / "a.safetensors")
    assert {tensor.dtype for tensor in load_file(tmp_path / "a.safetensors").values()} == {
        torch.float16
    }


def test_contrastive_loss_prefers_the_right_captions() -> None:
    class Fixed(nn.Module):
        """Embeds a crop as its mean colour and a caption as the one-hot of its first token."""

        logit_scale = torch.tensor(3.0)

        def encode_image(self, crops: Tensor) -> Tensor:
            return crops.mean((2, 3)) - crops.mean((1, 2, 3))[:, None]

        def encode_text(self, tokens: Tensor) -> Tensor:
            return torch.eye(3)[tokens[:, 0]]

    crops = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    for channel in range(3):
        crops[channel, channel] = 255
    tokens = torch.arange(3).view(1, 3, 1)
    right = train_clip.contrastive_loss(Fixed(), crops, torch.tensor([0, 1, 2]), tokens)
    wrong = train_clip.contrastive_loss(Fixed(), crops, torch.tensor([1, 2, 0]), tokens)
    assert right < 0.1 < wrong


def test_mask_losses_by_hand() -> None:
    target = torch.zeros(1, 1, 2, 4)
    target[..., :2] = 1
    logits = torch.full((1, 2, 2, 4), -20.0)
    logits[:, 0, :, :2] = 20  # exact
    logits[:, 1, :, 1:3] = 20  # half of it, as much again beside it
    loss, iou = train_sam.mask_losses(logits, target)
    assert iou.tolist() == [[1.0, pytest.approx(1 / 3)]]
    assert loss[0, 0] < 1e-3 < loss[0, 1]


def test_prompt_points_lie_on_large_enough_instances() -> None:
    instance = np.zeros((20, 20), np.uint16)
    instance[:10, :10] = 1
    instance[15, 15] = 2
    points = train_sam.draw_points(instance, 9, np.random.default_rng(0))
    assert points.shape == (9, 2)
    assert (instance[points[:, 1], points[:, 0]] == 1).all()


def test_common_points_name_the_same_place_in_both_crops() -> None:
    rng = np.random.default_rng(0)
    boxes = train_dino.crop_boxes(torch.zeros(5, 2), 2, (72.0, 118.0), (120, 160), rng)
    points = train_dino.common_points(boxes, 7, rng)
    assert points.abs().max() <= 1 + 1e-5
    places = points * boxes[:, :, None, 2:] + boxes[:, :, None, :2]
    torch.testing.assert_close(places[:, 0], places[:, 1])


def test_crops_show_their_box() -> None:
    image = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    boxes = torch.tensor([[[0.5, 0.0, 0.5, 1.0], [0.5, 0.0, -0.5, 1.0]]])
    right, mirrored = train_dino.cut(image, boxes, 8)
    torch.testing.assert_close(right[0, 0], torch.arange(8.0, 16.0))
    torch.testing.assert_close(mirrored, right.flip(-1))


def test_balanced_targets_use_every_prototype_equally() -> None:
    torch.manual_seed(0)
    target = train_dino.balanced(torch.rand(4, 64, 8), rounds=10)
    torch.testing.assert_close(target.sum(-1), torch.ones(4, 64))
    torch.testing.assert_close(
        target.flatten(0, 1).mean(0), torch.full((8,), 1 / 8), atol=0.01, rtol=0
    )
