"""DINO tokens against a hook on the last block."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from ovnerf.encoders.dino import MEAN, STD, DinoEncoder, build_dino
from ovnerf.runtime.errors import UserError


def tiny_vit():
    """A ViT with 8x8 patches, random weights and a final norm that changes its input."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=3,
        num_heads=3,
        num_classes=0,
        dynamic_img_size=True,
    )
    torch.nn.init.constant_(model.norm.bias, 5.0)
    return model


def hooked_tokens(model, images):
    """Patch tokens of the last block, caught by a hook during an ordinary forward pass."""
    caught = []
    handle = model.blocks[-1].register_forward_hook(lambda *item: caught.append(item[2]))
    shape = (1, 3, 1, 1)
    with torch.no_grad():
        model((images - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape))
    handle.remove()
    return caught[0][:, 1:]


def test_tokens_are_the_last_blocks_patch_outputs():
    model = tiny_vit()
    images = torch.rand(2, 3, 40, 48)
    found = DinoEncoder(model, torch.device("cpu")).tokens(images)
    assert found.shape == (2, 5, 6, 24)
    torch.testing.assert_close(found.flatten(1, 2), hooked_tokens(model, images))


def test_odd_sizes_repeat_the_edge():
    model = tiny_vit()
    encoder = DinoEncoder(model, torch.device("cpu"))
    images = torch.rand(1, 3, 35, 46)
    rows = torch.cat([images, images[:, :, -1:].expand(-1, -1, 5, -1)], 2)
    padded = torch.cat([rows, rows[..., -1:].expand(-1, -1, -1, 2)], 3)
    torch.testing.assert_close(encoder.tokens(images), encoder.tokens(padded))


def test_loading_a_timm_dino(tmp_path):
    name = "vit_small_patch8_224.dino"
    model = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    path = tmp_path / "dino.safetensors"
    save_file({key: value.half() for key, value in model.state_dict().items()}, path)
    encoder = DinoEncoder.load(name, path, torch.device("cpu"))
    images = torch.rand(1, 3, 16, 24)
    found = encoder.tokens(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.flatten(1, 2), hooked_tokens(model.eval(), images), atol=0.02, rtol=0.02
    )


def test_the_toy_architecture_through_the_same_path():
    model = build_dino("toy")
    images = torch.rand(1, 3, 40, 56)
    found = DinoEncoder(model, torch.device("cpu")).tokens(images)
    assert found.shape[:3] == (1, 5, 7)
    torch.testing.assert_close(found.flatten(1, 2), hooked_tokens(model, images))


def test_models_without_8x8_patches_are_refused():
    with pytest.raises(UserError, match="expected 8x8"):
        build_dino("vit_small_patch16_224.dino")
    with pytest.raises(UserError, match="knows no model 'vit_odd'"):
        build_dino("vit_odd")
