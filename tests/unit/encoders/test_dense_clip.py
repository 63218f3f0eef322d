"""Dense CLIP: the two last blocks against plain loops, windows, and the store's cells."""

import math

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from ovnerf.config.features import CacheFeatures, DenseClip
from ovnerf.encoders.dense_clip import (
    DenseClipEncoder,
    check_architecture,
    gaussian_prior,
    neighbour_block,
    proxy_block,
    value_block,
    window_starts,
)
from ovnerf.encoders.windows import write_windows
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import open_store, read

CPU = torch.device("cpu")
VISION = {"image_size": 32, "layers": 3, "width": 24, "head_width": 8, "patch_size": 8}
TEXT = {"width": 16, "heads": 2, "layers": 1}


class TinyClip:
    """What the dense encoder takes from an `OpenClipEncoder`, with seeded random weights."""

    def __init__(self, **vision):
        torch.manual_seed(0)
        self.model = open_clip.CLIP(12, {**VISION, **vision}, TEXT).eval().requires_grad_(False)
        self.device, self.interpolation, self.size = CPU, "bicubic", (32, 32)
        self.mean = self.std = torch.full((3, 1, 1), 0.5)

    def encode_text(self, prompts):
        return self.model.encode_text(open_clip.tokenize(prompts))


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain_neighbour(block, tokens, rows, columns, sigma):
    """NACLIP's last block, head by head and token by token, in double precision."""
    attention, width = block.attn, tokens.shape[-1]
    normal = block.ln_1(tokens)
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    key = normal @ weight[width : 2 * width].T + bias[width : 2 * width]
    value = normal @ weight[2 * width :].T + bias[2 * width :]
    size = width // attention.num_heads
    place = [None] + [(row, column) for row in range(rows) for column in range(columns)]
    joined = torch.zeros_like(tokens)
    for batch in range(len(tokens)):
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            for i, here in enumerate(place):
                logits = []
                for j, there in enumerate(place):
                    logit = float(key[batch, i, part] @ key[batch, j, part]) / math.sqrt(size)
                    if here and there:
                        away = (here[0] - there[0]) ** 2 + (here[1] - there[1]) ** 2
                        logit += math.exp(-away / (2 * sigma**2))
                    logits.append(logit)
                share = np.exp(logits) / np.exp(logits).sum()
                for j, weight_of in enumerate(share):
                    joined[batch, i, part] += weight_of * value[batch, j, part]
    return joined @ attention.out_proj.weight.T + attention.out_proj.bias


def random_block() -> ResidualAttentionBlock:
    torch.manual_seed(1)
    block = ResidualAttentionBlock(12, 3).double().requires_grad_(False)
    for tensor in block.parameters():
        tensor.normal_()
    return block


def test_neighbour_block_against_loops():
    block = random_block()
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    found = neighbour_block(block, tokens, gaussian_prior(2, 3, 0.8))
    torch.testing.assert_close(found, plain_neighbour(block, tokens, 2, 3, 0.8), rtol=0, atol=1e-5)


def test_value_block_is_attention_where_each_token_sees_itself_only():
    block = random_block()
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    apart = torch.full((7, 7), -torch.inf, dtype=torch.float64).fill_diagonal_(0)
    torch.testing.assert_close(value_block(block, tokens), block(tokens, attn_mask=apart))


def plain_proxy(block, tokens, proxy):
    """ProxyCLIP's last block token by token, where both networks have the same grid."""
    width = tokens.shape[-1]
    weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    value = block.ln_1(tokens)[:, 1:] @ weight.T + bias
    joined = torch.zeros_like(value)
    for batch, places in enumerate(proxy.flatten(1, 2)):
        cosine = [[float(a @ b / a.norm() / b.norm()) for b in places] for a in places]
        mean = sum(map(sum, cosine)) / len(places) ** 2
        for i, row in enumerate(cosine):
            logits = [3.0 * (each - 1.2 * mean) for each in row]
            shares = [math.exp(x) if x >= 0 or j == i else 0.0 for j, x in enumerate(logits)]
            for j, share in enumerate(shares):
                joined[batch, i] += share / sum(shares) * value[batch, j]
    return joined @ block.attn.out_proj.weight.T + block.attn.out_proj.bias


def test_proxy_block_against_loops():
    block = random_block()
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    proxy = torch.randn(2, 2, 3, 5, dtype=torch.float64) + 0.4
    found = proxy_block(block, tokens, (2, 3), proxy)
    torch.testing.assert_close(found, plain_proxy(block, tokens, proxy), rtol=0, atol=1e-8)


def test_proxy_block_mixes_within_an_object_and_on_the_proxy_s_grid():
    """Two objects, left and right, whose DINO tokens are orthogonal; values 0 and 1 by patch."""
    block = ResidualAttentionBlock(2, 1).requires_grad_(False)
    block.ln_1, block.attn.out_proj = torch.nn.Identity(), torch.nn.Identity()
    block.attn.in_proj_weight.zero_()
    block.attn.in_proj_weight[4:] = torch.eye(2)
    block.attn.in_proj_bias.zero_()
    tokens = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [1.0, 1.0]]])  # class, left, right
    left, right = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    proxy = torch.stack([left, left, right, right])[None, None]  # twice as fine: 1 x 4
    found = proxy_block(block, tokens, (1, 2), proxy)[0, :, 0]
    # Bilinear values 0, 1/4, 3/4, 1; each object's mean.
    torch.testing.assert_close(found, torch.tensor([0.125, 0.125, 0.875, 0.875]))
    flat = proxy_block(block, tokens, (1, 2), torch.ones(1, 1, 4, 2))[0, :, 0]
    torch.testing.assert_close(flat, torch.tensor([0.0, 0.25, 0.75, 1.0]))


class FinerProxy:
    """Stands for DINO: the mean colour of each 8 x 8 patch."""

    def tokens(self, images):
        assert images.min() >= 0 and images.max() <= 1
        return torch.nn.functional.avg_pool2d(images, 8).permute(0, 2, 3, 1)


def test_features_of_a_proxy_lie_on_its_grid():
    encoder = DenseClipEncoder(TinyClip(patch_size=16), "proxy", side=32, proxy=FinerProxy())
    grey = np.clip(photo(32, 48), 20, 235)  # bicubic resizing overshoots
    assert encoder.features(grey).shape == (12, 4, 6)
    with pytest.raises(UserError, match="patches of 4 pixels"):
        DenseClipEncoder(TinyClip(patch_size=4), "proxy", side=32, proxy=FinerProxy())


def test_a_proxy_needs_its_weights():
    for more in ({"attention": "proxy"}, {"proxy_weights": "dino.safetensors"}):
        with pytest.raises(ValueError, match="give `proxy_weights`"):
            DenseClip(kind="dense_clip", model="ViT-B-16", weights="none", **more)


def test_neighbour_block_by_hand():
    """Equal keys: the shares are those of exp(prior) alone."""
    block = ResidualAttentionBlock(2, 1).requires_grad_(False)
    block.ln_1, block.attn.out_proj = torch.nn.Identity(), torch.nn.Identity()
    block.attn.in_proj_weight.zero_()
    block.attn.in_proj_weight[4:] = torch.eye(2)
    block.attn.in_proj_bias.zero_()
    tokens = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])  # class, left patch, right patch
    # sigma^2 = 1 / (2 ln 2) makes the neighbour's prior exp(-ln 2) = 1/2; its own is 1.
    prior = gaussian_prior(1, 2, 1 / math.sqrt(2 * math.log(2)))
    torch.testing.assert_close(prior, torch.tensor([[0, 0, 0], [0, 1, 0.5], [0, 0.5, 1.0]]))
    found = neighbour_block(block, tokens, prior)[0]
    whole = 1 + math.e + math.sqrt(math.e)
    own, other = math.e / whole, math.sqrt(math.e) / whole
    wanted = torch.tensor([[1 / 3, 1 / 3], [own, other], [other, own]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("attention", ["value", "neighbour"])
def test_one_window_against_the_model_run_by_hand(attention):
    clip = TinyClip()
    visual = clip.model.visual
    image = photo(32, 32)
    found = DenseClipEncoder(clip, attention, sigma=1.5, side=32).features(image)
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    tokens = visual.conv1(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), tokens], 1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)
    *first, last = visual.transformer.resblocks
    for block in first:
        tokens = block(tokens)
    if attention == "neighbour":
        tokens = plain_neighbour(last, tokens, 4, 4, 1.5)
    else:
        tokens = value_block(last, tokens)
    wanted = visual.ln_post(tokens)[0, 1:] @ visual.proj
    wanted = wanted / wanted.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found, wanted.T.reshape(12, 4, 4), rtol=0, atol=1e-5)


def test_overlapping_windows_are_averaged():
    encoder = DenseClipEncoder(TinyClip(), side=32, batch=2)
    image = photo(32, 56)
    found = encoder.features(image)
    assert found.shape == (12, 4, 7)
    assert window_starts(7, 4) == [0, 2, 3]
    left, middle, right = (encoder.features(image[:, 8 * x : 8 * x + 32]) for x in (0, 2, 3))
    torch.testing.assert_close(found[:, :, :2], left[:, :, :2])
    torch.testing.assert_close(found[:, :, 2], (left[:, :, 2] + middle[:, :, 0]) / 2)
    three = left[:, :, 3] + middle[:, :, 1] + right[:, :, 0]
    torch.testing.assert_close(found[:, :, 3], three / 3)
    torch.testing.assert_close(found[:, :, 6], right[:, :, 3])


def test_frames_are_resized_to_whole_patches():
    encoder = DenseClipEncoder(TinyClip(), side=48)
    assert encoder.patches(480, 640) == (6, 8)
    assert encoder.patches(640, 480) == (8, 6)
    assert encoder.patches(100, 133) == (6, 8)
    assert encoder.features(photo(100, 133)).shape == (12, 6, 8)


def test_models_and_sides_that_do_not_fit():
    with pytest.raises(UserError, match=r"encoder\.side: found 31, expected at least 32"):
        DenseClipEncoder(TinyClip(), side=31)
    with pytest.raises(UserError, match="that is not CLIP's ViT"):
        DenseClipEncoder(TinyClip(pool_type="avg"), side=32)
    with pytest.raises(UserError, match="found an image encoder Linear that is not CLIP's ViT"):
        check_architecture(torch.nn.Linear(1, 1))


def test_the_store_has_touching_cells(tmp_path, tiny_scene):
    encoder = DenseClip(
        kind="dense_clip",
        model="ovnerf/toy/models/toy-clip.json",
        weights="ovnerf/toy/weights/clip.safetensors",
        side=48,
        cell=6,
    )
    out = tmp_path / "features.zarr"
    write_windows(tiny_scene[0], out, CacheFeatures(encoder=encoder), None)
    store = open_store(out, "features")
    height, width = store.attrs["shape"]
    box = read(store, "box")[0]
    assert len(box) == -(-height // 6) * -(-width // 6)
    np.testing.assert_array_equal(box[:2], [[0, 0, 6, 6], [6, 0, 12, 6]])
    assert set(store.attrs["encoder_files"]) == {"weights", "model"}
    norm = np.linalg.norm(read(store, "embedding").astype(np.float32), axis=-1)
    assert norm.min() > 0.3 and norm.max() < 1.001
