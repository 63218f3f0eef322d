"""LSeg: a ViT with a DPT head that gives every pixel a vector in the space of CLIP's text encoder.

The architecture of "Language-driven semantic segmentation" (ICLR 2022) in its published size:
blocks 6, 12, 18 and 24 of ViT-L/16 (384), readout by projection, DPT fusion with 256 channels and
batch normalisation, 512 channels out at half the image's size; text by CLIP ViT-B/32. Parameters
carry the names of the published checkpoint, which is loaded with every key checked.

An image is encoded whole, its right and bottom edges repeated up to a multiple of 32. The published
evaluation averages overlapping windows of 480 pixels at a long side of 520: one pass is not that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from ovnerf.compute.device import resolve_device
from ovnerf.encoders.openclip import check_prompts
from ovnerf.storage.weight_loading import fill_model, state_dict_of

TEXT_MODEL = "ViT-B-32-quickgelu"
MULTIPLE = 32
MEAN = STD = 0.5
LIGHTNING = ("pytorch_lightning.", "lightning.")
"""Packages whose objects may be named in a checkpoint beside the tensors."""


@dataclass(frozen=True)
class Size:
    """Sizes of the network; the defaults are the published ones."""

    image: int = 384
    patch: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    hooks: tuple[int, int, int, int] = (5, 11, 17, 23)
    stages: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    features: int = 256
    classes: int = 1000
    """Outputs of the ViT's own classifier, which the checkpoint holds and nothing uses."""


class Readout(nn.Module):
    """Class token joined to every patch token, then projected."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, 1 + n, d) -> (b, n, d)."""
        patches = tokens[:, 1:]
        return self.project(torch.cat([patches, tokens[:, :1].expand_as(patches)], -1))


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside the identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        inner = self.bn1(self.conv1(x.relu()))
        return x + self.bn2(self.conv2(inner.relu()))


class Fusion(nn.Module):
    """A coarser path joined with a stage's features, then doubled in size."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)

    def forward(self, path: Tensor, stage: Tensor | None = None) -> Tensor:
        """(b, f, h, w) -> (b, f, 2h, 2w)."""
        if stage is not None:
            path = path + self.resConfUnit1(stage)
        path = self.resConfUnit2(path)
        path = interpolate(path, scale_factor=2, mode="bilinear", align_corners=True)
        return self.out_conv(path)


class Backbone(nn.Module):
    """A ViT and the four maps made of its tokens, at strides 4, 8, 16 and 32."""

    def __init__(self, size: Size) -> None:
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        self.size = size
        self.model = VisionTransformer(
            img_size=size.image,
            patch_size=size.patch,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            num_classes=size.classes,
        )
        wide = size.width
        resize: tuple[list[nn.Module], ...] = (
            [nn.ConvTranspose2d(size.stages[0], size.stages[0], 4, 4)],
            [nn.ConvTranspose2d(size.stages[1], size.stages[1], 2, 2)],
            [],
            [nn.Conv2d(size.stages[3], size.stages[3], 3, 2, 1)],
        )
        for number, channels in enumerate(size.stages, start=1):
            # Two places hold reshaping steps in the published network, which have no parameters.
            steps = [Readout(wide), nn.Identity(), nn.Identity(), nn.Conv2d(wide, channels, 1)]
            steps += resize[number - 1]
            self.add_module(f"act_postprocess{number}", nn.Sequential(*steps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(b, 3, h, w) -> four maps; h and w are multiples of 32."""
        rows, columns = (side // self.size.patch for side in image.shape[-2:])
        vit = self.model
        assert vit.cls_token is not None
        tokens = vit.patch_embed.proj(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([vit.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        tokens = tokens + self.positions(rows, columns)
        kept = {}
        for index, block in enumerate(vit.blocks):
            tokens = block(tokens)
            kept[index] = tokens
        maps = []
        for number, hook in enumerate(self.size.hooks, start=1):
            readout, *steps = getattr(self, f"act_postprocess{number}")
            grid = readout(kept[hook]).transpose(1, 2).unflatten(2, (rows, columns))
            for step in steps:
                grid = step(grid)
            maps.append(grid)
        return maps

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position codes (1, 1 + rows * columns, d), resized bilinearly."""
        codes = self.model.pos_embed
        assert codes is not None
        side = self.size.image // self.size.patch
        grid = codes[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        grid = interpolate(grid, (rows, columns), mode="bilinear", align_corners=False)
        return torch.cat([codes[:, :1], grid.flatten(2).transpose(1, 2)], 1)


class LSegNet(nn.Module):
    """The whole network; `clip_pretrained` is the text encoder (an open_clip model)."""

    def __init__(self, size: Size, clip: nn.Module, text_width: int) -> None:
        super().__init__()
        self.clip_pretrained: Any = clip
        self.pretrained = Backbone(size)
        self.scratch: Any = nn.Module()
        for number, channels in enumerate(size.stages, start=1):
            conv = nn.Conv2d(channels, size.features, 3, padding=1, bias=False)
            self.scratch.add_module(f"layer{number}_rn", conv)
            self.scratch.add_module(f"refinenet{number}", Fusion(size.features))
        self.scratch.add_module("head1", nn.Conv2d(size.features, text_width, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) normalised -> (b, D, h / 2, w / 2)."""
        stages = self.pretrained(image)
        path = None
        for number in (4, 3, 2, 1):
            stage = getattr(self.scratch, f"layer{number}_rn")(stages[number - 1])
            fusion = getattr(self.scratch, f"refinenet{number}")
            path = fusion(stage) if path is None else fusion(path, stage)
        return self.scratch.head1(path)


def build_lseg() -> LSegNet:
    """The published size, without weights."""
    import open_clip

    settings = open_clip.get_model_config(TEXT_MODEL)
    return LSegNet(Size(), open_clip.CLIP(**settings), settings["embed_dim"])


def load_lseg(net: LSegNet, path: Path) -> None:
    """Fill the network from the published checkpoint or its state dict, every key checked.

    The checkpoint is a training framework's file: tensors named `net.<parameter>` among other
    things. It is read without running code from it; foreign objects in it become plain maps.

    Raises:
        UserError: unreadable, names or shapes differ, or a number is not finite.
    """
    fill_model(
        net,
        {name.removeprefix("net."): item for name, item in read_checkpoint(path).items()},
        path,
        "not the weights of LSeg with ViT-L/16",
        "expected demo_e200.ckpt, or its state dict",
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Named tensors of a training framework's checkpoint, nothing in it executed."""
    if path.suffix == ".safetensors":
        return state_dict_of(path)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        names = []  # not a zip archive; the reader below says what is wrong
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (dict, name) for name in names if name.startswith(LIGHTNING)
    ]
    with torch.serialization.safe_globals(allowed):
        return state_dict_of(path)


class LSegEncoder:
    """LSeg with local weights, in evaluation mode."""

    def __init__(
        self,
        net: LSegNet,
        tokenizer: Callable[[list[str]], Tensor],
        device: torch.device | None = None,
    ) -> None:
        """Take a network and the tokenizer of its text encoder."""
        self.device = device or resolve_device()
        self.net = net.eval().requires_grad_(False).to(self.device)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, weights: Path, device: torch.device | None = None) -> LSegEncoder:
        """The published network with the weights of a file; UserError when they do not fit."""
        import open_clip

        net = build_lseg()
        load_lseg(net, weights)
        return cls(net, open_clip.get_tokenizer(TEXT_MODEL), device)

    @torch.inference_mode()
    def features(self, image: np.ndarray) -> Tensor:
        """Pixel features of one image.

        Args:
            image: u8 (H, W, 3).

        Returns:
            f32 (D, ceil(H / 2), ceil(W / 2)) unit vectors on the model's device.
        """
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255
        pixels = (pixels - MEAN) / STD
        padded = pad(pixels, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        found = self.net(padded)[0, :, : (height + 1) // 2, : (width + 1) // 2]
        return nn.functional.normalize(found, dim=0)

    @torch.inference_mode()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Raw text embeddings f32 (p, D) on the CPU; UserError for a prompt that is too long."""
        check_prompts(self.tokenizer, prompts)
        tokens = self.tokenizer(prompts).to(self.device)
        return self.net.clip_pretrained.encode_text(tokens).float().cpu()
