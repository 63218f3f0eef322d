"""open_clip models: same crops as its own transform, same embeddings, clear refusals."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from ovnerf.config.features import OpenClip
from ovnerf.encoders.openclip import (
    OpenClipEncoder,
    check_activation,
    preprocessing,
    uses_quick_gelu,
)
from ovnerf.encoders.text import text_banks
from ovnerf.encoders.windows import encoder_files
from ovnerf.runtime.errors import UserError

BOXES = np.array([[0, 0, 40, 33], [5, 2, 23, 60], [50, 10, 96, 72], [7, 7, 16, 20]])


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A CLIP with random weights: (settings, open_clip's own model and transform)."""
    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    model_file = folder / "ovnerf-test-clip.json"
    model_file.write_text(json.dumps(config))
    open_clip.add_model_config(model_file)
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ovnerf-test-clip")
    torch.save(model.state_dict(), folder / "weights.pt")
    return (model_file, folder / "weights.pt"), model.eval(), transform


@pytest.fixture(scope="module")
def image():
    """A smooth u8 image with some texture, (72, 96, 3)."""
    y, x = np.mgrid[:72, :96]
    waves = np.stack([np.sin(x / 9 + y / 7), np.cos(x / 5), np.sin(y / 4)], -1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def test_crops_match_open_clips_own_transform(tiny_clip, image):
    files, _, transform = tiny_clip
    encoder = OpenClipEncoder(*files, torch.device("cpu"))
    found = encoder.prepare(torch.from_numpy(image).permute(2, 0, 1), BOXES)
    for crop, (x0, y0, x1, y1) in zip(found, BOXES, strict=True):
        own = transform(Image.fromarray(image[y0:y1, x0:x1]))
        torch.testing.assert_close(crop, own, rtol=0, atol=1e-6)


def test_embeddings_match_the_model_and_are_not_normalised(tiny_clip, image):
    files, model, transform = tiny_clip
    encoder = OpenClipEncoder(*files, torch.device("cpu"))
    (found,) = encoder.encode_crops([image], [BOXES], batch=3)
    crops = torch.stack(
        [transform(Image.fromarray(image[y0:y1, x0:x1])) for x0, y0, x1, y1 in BOXES]
    )
    with torch.no_grad():
        own = model.encode_image(crops)
    cosine = torch.nn.functional.cosine_similarity(found, own)
    assert cosine.min() > 0.999
    torch.testing.assert_close(found.norm(dim=1), own.norm(dim=1), rtol=0.02, atol=0)


def test_text_banks(tiny_clip):
    files, model, _ = tiny_clip
    encoder = OpenClipEncoder(*files, torch.device("cpu"))
    banks = text_banks(["wall", "table"], encoder.encode_text)
    with torch.no_grad():
        own = model.encode_text(open_clip.tokenize(["wall", "table", " "]), normalize=True)
    np.testing.assert_allclose(banks.bare, own[:2].numpy(), atol=1e-5)
    np.testing.assert_allclose(banks.blank, own[2].numpy(), atol=1e-5)
    assert banks.ensemble.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(banks.ensemble, axis=1), 1, atol=1e-5)
    assert np.abs(banks.ensemble - banks.bare).max() > 1e-3


def test_ensemble_normalises_before_and_after_the_mean(monkeypatch):
    monkeypatch.setattr("ovnerf.encoders.text.prompts", lambda name, bank: [name] * 2)
    rows = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    banks = text_banks(["any"], lambda prompts: rows[: len(prompts)])
    np.testing.assert_allclose(banks.ensemble, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


def test_missing_and_foreign_weights_are_refused(tiny_clip, tmp_path):
    model_file, weights = tiny_clip[0]
    with pytest.raises(UserError, match=r"encoder.weights: no file nowhere\.pt"):
        encoder_files(OpenClip(kind="openclip", model=str(model_file), weights="nowhere.pt"))
    foreign = tmp_path / "foreign.pt"
    torch.save({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(UserError, match="weights of another architecture"):
        OpenClipEncoder(model_file, foreign)
    foreign.write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a readable weight file"):
        OpenClipEncoder(model_file, foreign)
    with pytest.raises(UserError, match="knows no model 'ViT-Z'"):
        OpenClipEncoder("ViT-Z", weights)


def test_pickled_code_is_never_run(tiny_clip, tmp_path):
    model_file, _ = tiny_clip[0]
    path = tmp_path / "whole_model.pt"
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(UserError, match="not a readable weight file"):
        OpenClipEncoder(model_file, path)


def architecture(name):
    """A published architecture without memory for its weights."""
    with torch.device("meta"):
        return open_clip.CLIP(**open_clip.get_model_config(name))


def test_weights_and_activation_belong_together(tmp_path):
    plain, quick = architecture("ViT-B-16"), architecture("ViT-B-16-quickgelu")
    assert (uses_quick_gelu(plain), uses_quick_gelu(quick)) == (False, True)
    kinds = [type(block.mlp.gelu).__name__ for block in quick.visual.transformer.resblocks]
    assert kinds == ["QuickGELU"] * 12
    openai = tmp_path / "vit_b_16.openai.safetensors"
    laion = tmp_path / "vit_b_16_laion2b_s34b_b88k.safetensors"
    with pytest.raises(UserError, match="another activation, expected ViT-B-16-quickgelu"):
        check_activation(plain, "ViT-B-16", openai)
    with pytest.raises(UserError, match=r"another activation, expected ViT-B-16\n"):
        check_activation(quick, "ViT-B-16-quickgelu", laion)
    check_activation(quick, "ViT-B-16-quickgelu", openai)
    check_activation(plain, "ViT-B-16", laion)
    check_activation(plain, "ViT-B-16", tmp_path / "mine.safetensors")


def test_the_two_activations_differ():
    # x * sigmoid(1.702 x) at 1 is 0.8458, GELU is 0.8413: embeddings would be silently off.
    block = architecture("ViT-B-16-quickgelu").visual.transformer.resblocks[0].mlp.gelu
    assert block(torch.ones(1)).item() == pytest.approx(0.84579, abs=1e-5)
    assert torch.nn.GELU()(torch.ones(1)).item() == pytest.approx(0.84134, abs=1e-5)


def test_prompts_longer_than_the_context_are_refused(tiny_clip):
    encoder = OpenClipEncoder(*tiny_clip[0], torch.device("cpu"))
    assert encoder.encode_text(["chair " * 70]).shape == (1, 16)
    with pytest.raises(UserError, match="found a prompt of 102 tokens, expected at most 77"):
        encoder.encode_text(["wall", "chair " * 100])


def test_preprocessing_follows_the_published_weights(tmp_path):
    clip = open_clip.OPENAI_DATASET_MEAN
    assert preprocessing("ViT-B-16", tmp_path / "any.safetensors")["mean"] == clip
    siglip = preprocessing("ViT-B-16-SigLIP", tmp_path / "any.safetensors")
    assert siglip["mean"] == (0.5, 0.5, 0.5)
    assert siglip["resize_mode"] == "squash"
    tagged = tmp_path / "ViT-L-14.laion2b_s32b_b82k.safetensors"
    assert preprocessing("ViT-L-14", tagged)["mean"] == (0.5, 0.5, 0.5)
    assert preprocessing("ViT-L-14", tmp_path / "openai.pt")["mean"] == clip
    with pytest.raises(UserError, match="does not say which they are"):
        preprocessing("ViT-L-14", tmp_path / "ViT-L-14.safetensors")
    assert preprocessing("toy-clip", tmp_path / "clip.safetensors") == {}


def test_windows_are_batched_across_images(tiny_clip, image):
    encoder = OpenClipEncoder(*tiny_clip[0], torch.device("cpu"))
    images, boxes = [image, image[::-1].copy(), image], [BOXES[:1], BOXES, BOXES[2:]]
    seen = []
    forward = encoder.model.encode_image
    encoder.model.encode_image = lambda crops: seen.append(len(crops)) or forward(crops)
    together = encoder.encode_crops(images, boxes, batch=3)
    assert seen == [3, 3, 1]
    for one, box, found in zip(images, boxes, together, strict=True):
        torch.testing.assert_close(found, encoder.encode_crops([one], [box])[0])
