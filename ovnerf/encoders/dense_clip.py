"""Dense CLIP: a vector per patch from one forward pass a frame, by another last attention.

CLIP's ViT is trained on its class token alone. Its last block mixes patches from all over the
image, so its patch tokens say little about their own place. Three published changes of the last
block, which need no training, put each patch's vector in the space of CLIP's text:

* `value` (MaskCLIP, ECCV 2022): no mixing at all, each patch keeps its own value vector;
* `neighbour` (NACLIP, WACV 2025): patches with similar keys are mixed, near ones more than far
  ones; the block's residual connection and its MLP are left out;
* `proxy` (ProxyCLIP, ECCV 2024): patches that are alike to DINO are mixed, on DINO's finer grid;
  residual connection and MLP are left out, too.

Formulas and sources: docs/method.md#dense-clip. A frame is resized and covered by windows of the
model's own image size that overlap by half, so position codes are used as they were trained and
never interpolated. All windows of a frame go through the network together.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, linear, normalize, scaled_dot_product_attention

from ovnerf.encoders import dino
from ovnerf.encoders.crops import KERNELS, resize_windows
from ovnerf.encoders.openclip import OpenClipEncoder
from ovnerf.runtime.errors import UserError

Attention = Literal["value", "neighbour", "proxy"]
SHIFT, SHARPNESS = 1.2, 3.0
"""ProxyCLIP's beta and gamma."""


def queries_keys_values(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three projections (b, t, d) of a block's normalised tokens."""
    attention = block.attn
    joined = linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = joined.chunk(3, -1)
    return query, key, value


def value_block(block: Any, tokens: Tensor) -> Tensor:
    """The last block with each token's own value in place of attention (MaskCLIP).

    Args:
        block: open_clip's `ResidualAttentionBlock`. tokens: (b, t, d), its input.

    Returns:
        (b, t, d). Residual connections and MLP are kept, as in the authors' code for ViTs.
    """
    value = queries_keys_values(block, tokens)[2]
    tokens = tokens + block.ls_1(block.attn.out_proj(value))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def neighbour_block(block: Any, tokens: Tensor, prior: Tensor) -> Tensor:
    """The last block with key-key attention that prefers near patches (NACLIP).

    Args:
        block: open_clip's `ResidualAttentionBlock`. tokens: (b, t, d), its input.
        prior: (t, t), added to the attention's logits (`gaussian_prior`).

    Returns:
        (b, t, d), without the block's residual connections and MLP.
    """
    heads = block.attn.num_heads
    _, key, value = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in queries_keys_values(block, tokens)
    )
    mixed = scaled_dot_product_attention(key, key, value, attn_mask=prior.to(key.dtype))
    return block.attn.out_proj(mixed.transpose(1, 2).flatten(2))


def proxy_block(block: Any, tokens: Tensor, grid: tuple[int, int], proxy: Tensor) -> Tensor:
    """The last block with attention between places that are alike to another network (ProxyCLIP).

    Args:
        block: open_clip's `ResidualAttentionBlock`. tokens: (b, 1 + t, d), its input, class first.
        grid: rows and columns of the t patches.
        proxy: (b, rows, columns, k), the other network's tokens of the same windows.

    Returns:
        (b, rows * columns, d) on the proxy's grid, without residual connections and MLP.
    """
    value = queries_keys_values(block, tokens)[2][:, 1:].transpose(1, 2).unflatten(-1, grid)
    value = interpolate(value, proxy.shape[1:3], mode="bilinear", align_corners=False)
    unit = normalize(proxy.flatten(1, 2), dim=-1).to(value.dtype)
    alike = unit @ unit.transpose(1, 2)
    logits = SHARPNESS * (alike - SHIFT * alike.mean((1, 2), keepdim=True))
    # Each place sees itself, also where all are so alike that the shift leaves nothing.
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    seen = logits.masked_fill((logits < 0) & ~itself, -torch.inf)
    return block.attn.out_proj(seen.softmax(-1) @ value.flatten(2).transpose(1, 2))


def gaussian_prior(rows: int, columns: int, sigma: float) -> Tensor:
    """What NACLIP adds to the attention's logits: exp(-|p - q|^2 / (2 sigma^2)) for patches p, q.

    Args:
        sigma: standard deviation in patches.

    Returns:
        f32 (1 + rows * columns,) squared. Nothing is added where the class token, the first one,
        attends or is attended to.
    """
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    squared = (place[:, None] - place).square().sum(-1)
    prior = torch.zeros(1 + len(place), 1 + len(place))
    prior[1:, 1:] = torch.exp(-squared / (2 * sigma**2))
    return prior


def window_starts(length: int, window: int) -> list[int]:
    """First patches of windows that overlap by half; the last one ends at the image's edge.

    >>> window_starts(28, 14), window_starts(30, 14), window_starts(14, 14)
    ([0, 7, 14], [0, 7, 14, 16], [0])
    """
    return [*range(0, length - window, max(1, window // 2)), length - window]


class DenseClipEncoder:
    """An open_clip ViT with local weights whose last block is one of the three above."""

    def __init__(
        self,
        clip: OpenClipEncoder,
        attention: Attention = "neighbour",
        sigma: float = 5.0,
        side: int = 336,
        batch: int = 256,
        proxy: dino.DinoEncoder | None = None,
    ) -> None:
        """Take a loaded model.

        Args:
            sigma: standard deviation of the neighbourhood in patches (`neighbour` only).
            side: frames are resized so that their shorter side has about so many pixels.
            batch: windows that go through the network at once.
            proxy: what says which places are alike (`proxy` only).

        Raises:
            UserError: the model is not CLIP's plain ViT, `side` is less than its image size, or
                its patches are not made of whole ones of the proxy.
        """
        self.clip, self.visual = clip, clip.model.visual
        self.attention, self.side, self.batch = attention, side, batch
        check_architecture(self.visual)
        if side < max(clip.size):
            raise UserError(
                f"encoder.side: found {side}, expected at least {max(clip.size)}, the image size "
                "of the model"
            )
        self.patch = self.visual.patch_size[0]
        self.grid = self.visual.grid_size
        rows, columns = self.grid
        self.prior = gaussian_prior(rows, columns, sigma).to(clip.device)
        self.encode_text = clip.encode_text
        self.proxy = proxy
        self.finer = finer_than(self.patch) if attention == "proxy" else 1

    def patches(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of a frame of this size, at least one window's."""
        scale = self.side / min(height, width) / self.patch
        rows, columns = (round(length * scale) for length in (height, width))
        return max(rows, self.grid[0]), max(columns, self.grid[1])

    def encode_windows(self, pixels: Tensor) -> Tensor:
        """Unit vectors f32 (b, rows * columns, D) of normalised windows (b, 3, h, w).

        Rows and columns are those of the window's patches, `finer` times as many for a proxy.
        """
        found = self.visual.forward_intermediates(
            pixels,
            indices=[len(self.visual.transformer.resblocks) - 2],
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        prefix, grid = found["image_intermediates_prefix"][0], found["image_intermediates"][0]
        tokens, block = torch.cat([prefix, grid], 1), self.visual.transformer.resblocks[-1]
        if self.attention == "value":
            tokens = value_block(block, tokens)[:, 1:]
        elif self.attention == "neighbour":
            tokens = neighbour_block(block, tokens, self.prior)[:, 1:]
        else:
            assert self.proxy is not None
            alike = self.proxy.tokens(pixels * self.clip.std + self.clip.mean)
            tokens = proxy_block(block, tokens, self.grid, alike)
        return normalize((self.visual.ln_post(tokens) @ self.visual.proj).float(), dim=-1)

    @torch.inference_mode()
    def features(self, image: np.ndarray) -> Tensor:
        """Patch features of one image: means of the unit vectors of the windows that cover them.

        The cosine of such a mean with a text vector is, up to its length, the mean of the windows'
        cosines, which is how the published evaluations join windows.

        Args:
            image: u8 (H, W, 3).

        Returns:
            f32 (D, rows, columns) on the model's device; the grid covers the whole image.
        """
        rows, columns = self.patches(*image.shape[:2])
        pixels = self.resized(image, rows * self.patch, columns * self.patch)
        tall, wide = self.grid
        corners = [
            (row, column)
            for row in window_starts(rows, tall)
            for column in window_starts(columns, wide)
        ]
        unit = self.patch
        windows = torch.stack(
            [
                pixels[:, y * unit : (y + tall) * unit, x * unit : (x + wide) * unit]
                for y, x in corners
            ]
        )
        device = self.clip.device.type
        with torch.autocast(device, torch.float16, enabled=device == "cuda"):
            found = torch.cat([self.encode_windows(part) for part in windows.split(self.batch)])
        finer = self.finer
        found = found.unflatten(1, (tall * finer, wide * finer))
        total = found.new_zeros(rows * finer, columns * finer, found.shape[-1])
        count = found.new_zeros(rows * finer, columns * finer, 1)
        for (y, x), window in zip(corners, found, strict=True):
            down = slice(y * finer, (y + tall) * finer)
            across = slice(x * finer, (x + wide) * finer)
            total[down, across] += window
            count[down, across] += 1
        return (total / count).permute(2, 0, 1)

    def resized(self, image: np.ndarray, height: int, width: int) -> Tensor:
        """The whole image at this size, normalised as the model wants it: f32 (3, h, w)."""
        source = torch.from_numpy(image).to(self.clip.device).permute(2, 0, 1)
        whole = torch.tensor([[0, 0, image.shape[1], image.shape[0]]], device=source.device)
        kernel = KERNELS[self.clip.interpolation]
        pixels = resize_windows(source, whole, (height, width), False, kernel)[0]
        return pixels.div_(255).sub_(self.clip.mean).div_(self.clip.std)


def finer_than(patch: int) -> int:
    """How many patches of DINO lie along a side of one of CLIP's; UserError for no whole number."""
    if patch % dino.PATCH:
        raise UserError(
            f"encoder.attention: proxy: found a model with patches of {patch} pixels, expected a "
            f"multiple of DINO's {dino.PATCH}",
            "ViT-B-16 has such, ViT-L-14 has not; `neighbour` takes both",
        )
    return patch // dino.PATCH


def check_architecture(visual: Any) -> None:
    """UserError when the image half of a model is not CLIP's ViT with plain attention blocks."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    plain = isinstance(visual, VisionTransformer) and visual.pool_type == "tok"
    if plain and visual.attn_pool is None and len(visual.transformer.resblocks) > 1:
        patch = visual.patch_size
        if isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock) and (
            patch[0] == patch[1]
        ):
            return
    raise UserError(
        f"encoder.model: found an image encoder {type(visual).__name__} that is not CLIP's ViT "
        "with a class token, expected one such as ViT-B-16",
        "use kind `openclip` for this model",
    )
