"""CLIP models through open_clip: window crops and prompts to embeddings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovnerf.compute.device import resolve_device
from ovnerf.encoders.crops import KERNELS, resize_windows
from ovnerf.runtime.errors import UserError
from ovnerf.storage.weight_loading import load_weights

CROPS_AT_ONCE = {"cpu": 16, "cuda": 256}
"""Windows prepared at once: few stay in a CPU's cache, many keep a GPU busy."""


def model_name(model: str | Path) -> str:
    """open_clip's name of a model; the config JSON at a path is registered under its stem."""
    import open_clip

    if isinstance(model, Path):
        open_clip.add_model_config(model)
        return model.stem
    if model not in open_clip.list_models():
        raise UserError(
            f"encoder.model: open_clip knows no model {model!r}",
            "`python -c 'import open_clip; print(open_clip.list_models())'` lists the names",
        )
    return model


def uses_quick_gelu(model: nn.Module) -> bool:
    """Whether a model's blocks have OpenAI's approximate activation."""
    from open_clip.transformer import QuickGELU

    return any(isinstance(module, QuickGELU) for module in model.modules())


def check_activation(model: nn.Module, name: str, weights: Path) -> None:
    """Refuse weights in an architecture with another activation than they were trained with.

    OpenAI trained with QuickGELU; open_clip's plain architectures use GELU, and loading a local
    file into the wrong one gives silently wrong embeddings. Files are known by the tag of
    published weights in their name (`openai`, `laion2b_s34b_b88k`, ...), others are not checked.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    plain = name.removesuffix("-quickgelu")
    named = [tag for tag in list_pretrained_tags_by_model(plain) if tag in weights.name.lower()]
    wanted = {bool(get_pretrained_cfg(plain, tag).get("quick_gelu")) for tag in named}
    if "openai" in weights.name.lower():
        wanted = {True}
    if wanted and uses_quick_gelu(model) not in wanted:
        other = plain if name != plain else f"{plain}-quickgelu"
        raise UserError(
            f"encoder.model: {name} with weights {weights.name}, which were trained with another "
            f"activation, expected {other}",
            f"set `model: {other}`",
        )


def check_prompts(tokenizer: Any, prompts: list[str]) -> None:
    """Refuse prompts that the model's context would cut (open_clip cuts them silently)."""
    if not hasattr(tokenizer, "encode") or not getattr(tokenizer, "context_length", None):
        return
    for prompt in prompts:
        tokens = len(tokenizer.encode(prompt)) + 2
        if tokens > tokenizer.context_length:
            raise UserError(
                f"class list: found a prompt of {tokens} tokens, expected at most "
                f"{tokenizer.context_length}: {prompt[:60]!r}...",
                "shorten the class name",
            )


def preprocessing(name: str, weights: Path) -> dict[str, Any]:
    """How images are prepared for these weights, as open_clip publishes it for the architecture.

    Empty (open_clip's default, CLIP's own) for architectures without published weights.

    Raises:
        UserError: published weights of this architecture differ, and the file name holds none of
            their tags.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    keys = ("mean", "std", "interpolation", "resize_mode")
    published = {}
    for tag in list_pretrained_tags_by_model(name):
        found = get_pretrained_cfg(name, tag)
        published[tag] = {key: found[key] for key in keys if key in found}
    named = [found for tag, found in published.items() if tag in weights.name.lower()]
    choices = named or list(published.values()) or [{}]
    if any(choice != choices[0] for choice in choices):
        raise UserError(
            f"encoder.weights: published weights of {name} want differently prepared "
            f"images, and {weights.name} does not say which they are",
            f"put one of these tags in the file name: {', '.join(published)}",
        )
    return choices[0]


@contextmanager
def quiet_open_clip() -> Iterator[None]:
    """Hide open_clip's warning that weights are random: they are loaded right after."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class OpenClipEncoder:
    """An open_clip model with local weights, in evaluation mode."""

    def __init__(
        self, model: str | Path, weights: Path, device: torch.device | None = None
    ) -> None:
        """Load the model.

        Args:
            model: open_clip's name of it, or the path of a config JSON in open_clip's format.
            weights: file of its weights.

        Raises:
            UserError: unknown model, weights of another architecture, or a preprocessing that is
                not resize and centre crop.
        """
        import open_clip

        self.device = device or resolve_device()
        name = model_name(model)
        prepare = preprocessing(name, weights)
        with quiet_open_clip():
            network = open_clip.create_model(name, load_weights=False, force_preprocess_cfg=prepare)
        check_activation(network, name, weights)
        load_weights(network, weights, "encoder.model")
        self.model = network.eval().requires_grad_(False).to(self.device)
        self.tokenizer = open_clip.get_tokenizer(name)
        config = self.model.visual.preprocess_cfg
        self.resize_mode, self.interpolation = config["resize_mode"], config["interpolation"]
        size = config["size"]
        self.size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        square = self.size[0] == self.size[1]
        if self.interpolation not in KERNELS or not (
            self.resize_mode == "squash" or (self.resize_mode == "shortest" and square)
        ):
            raise UserError(
                f"encoder.model: {name} prepares images by {self.resize_mode!r} to {self.size} "
                f"with {self.interpolation!r}, expected 'shortest' to a square or 'squash'"
            )
        self.mean = torch.tensor(config["mean"], device=self.device)[:, None, None]
        self.std = torch.tensor(config["std"], device=self.device)[:, None, None]

    def prepare(self, image: Tensor, box: np.ndarray) -> Tensor:
        """Crop, resize and normalise as the model's own preprocessing says.

        Args:
            image: u8 (3, H, W). box: (b, 4) x0, y0, x1, y1, exclusive ends.

        Returns:
            f32 (b, 3, h, w) on the model's device.
        """
        crop, kernel = self.resize_mode == "shortest", KERNELS[self.interpolation]
        boxes = torch.from_numpy(box.astype(np.int64)).to(image.device)
        parts = boxes.split(CROPS_AT_ONCE.get(image.device.type, 64))
        crops = torch.cat([resize_windows(image, part, self.size, crop, kernel) for part in parts])
        return crops.div_(255).sub_(self.mean).div_(self.std)

    @torch.inference_mode()
    def encode_crops(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], batch: int = 256
    ) -> list[Tensor]:
        """Raw (un-normalised) embeddings of windows of some images, batched across them.

        Args:
            images: u8 (H, W, 3) each. boxes: per image (W, 4) x0, y0, x1, y1, exclusive ends.
            batch: windows that go through the network at once.

        Returns:
            Per image f32 (W, D) on the CPU.
        """
        pixels = [torch.from_numpy(image).to(self.device).permute(2, 0, 1) for image in images]
        counts = [len(box) for box in boxes]
        owner, every = np.repeat(np.arange(len(images)), counts), np.concatenate(boxes)
        half = self.device.type == "cuda"  # stores keep binary16; CPUs gain nothing by it
        parts = []
        for first in range(0, len(every), batch):
            of, box = owner[first : first + batch], every[first : first + batch]
            crops = torch.cat([self.prepare(pixels[i], box[of == i]) for i in np.unique(of)])
            with torch.autocast(self.device.type, torch.float16, enabled=half):
                parts.append(self.model.encode_image(crops))
        return list(torch.cat(parts).float().cpu().split(counts))

    @torch.inference_mode()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Raw text embeddings f32 (p, D) on the CPU; UserError for a prompt that is too long."""
        check_prompts(self.tokenizer, prompts)
        return self.model.encode_text(self.tokenizer(prompts).to(self.device)).float().cpu()
