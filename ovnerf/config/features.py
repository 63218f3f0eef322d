"""Settings of the encoders and of the stages that cache their features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ovnerf.config.base import Fraction, Positive, Seed, Strict


class OpenClip(Strict):
    """Any open_clip model, the toy one included."""

    kind: Literal["openclip"]
    """Always `openclip`."""
    model: str
    """open_clip model name, or a path to a model config JSON."""
    weights: str
    """Weight file (safetensors, or a state dict loadable with weights_only)."""


class Simulated(Strict):
    """Window embeddings made from ground truth, for studying RSR and CSE under known noise."""

    kind: Literal["simulated"]
    """Always `simulated`."""
    width: Positive = 64
    """Embedding dimension D."""
    text_cosine: Fraction = 0.7
    """Mean pairwise cosine of the class vectors (CLIP text embeddings are about this close)."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise per window, relative to the unit embedding's norm."""
    confusion: Fraction = 0.0
    """Probability that a class's embedding is another class's. It does not average out over the
    windows of a view."""
    confused_in: Literal["each_view", "all_views"] = "each_view"
    """Whether every view confuses classes of its own, which averages out over views, or all views
    the same ones, as of an encoder that does not know a thing."""
    seed: Seed = 0
    """Seed of class vectors, noise and confusion."""
    cell: Positive | None = None
    """Features of touching squares of so many pixels, as a dense encoder gives, instead of the
    pyramid's windows."""
    label_map: bool = False
    """With `cell`: the class of the greatest cosine in each cell is the first label of its pixels,
    as of a segmentation network."""

    @model_validator(mode="after")
    def label_maps_have_cells(self) -> Simulated:
        if self.label_map and self.cell is None:
            raise ValueError("`label_map` needs `cell`")
        return self


class DenseClip(Strict):
    """CLIP's ViT with another last attention: a vector per patch in one pass over a frame."""

    kind: Literal["dense_clip"]
    """Always `dense_clip`."""
    model: str
    """open_clip name of a CLIP ViT, or a path to a model config JSON."""
    weights: str
    """Weight file, as for `openclip`."""
    attention: Literal["value", "neighbour", "proxy"] = "neighbour"
    """The last block: each patch's own value (MaskCLIP); attention between patches with similar
    keys that prefers near ones (NACLIP); or between places that are alike to DINO (ProxyCLIP)."""
    proxy_model: str = "vit_small_patch8_224.dino"
    """timm name of the DINO of `proxy`, or `toy`."""
    proxy_weights: str = ""
    """Its weight file; needed by `proxy`, read by nothing else."""
    sigma: float = Field(default=5.0, gt=0)
    """How far `neighbour` prefers near patches: standard deviation in patches."""
    side: Positive = 336
    """Frames are resized so that their shorter side has so many pixels, then covered by windows of
    the model's image size that overlap by half."""
    cell: Positive = 8
    """Features are stored as means of squares of so many pixels."""

    @model_validator(mode="after")
    def proxy_has_weights(self) -> DenseClip:
        if (self.attention == "proxy") != bool(self.proxy_weights):
            raise ValueError("give `proxy_weights` with `attention: proxy`, and only then")
        return self


class LSeg(Strict):
    """LSeg: a ViT with a DPT head whose pixels live in the space of CLIP text."""

    kind: Literal["lseg"]
    """Always `lseg`."""
    weights: str
    """The published checkpoint, or its state dict as safetensors."""
    cell: Positive = 8
    """Features are stored as means of squares of so many pixels."""


class Precomputed(Strict):
    """Label maps or feature maps made elsewhere (FC-CLIP, for example), one per frame."""

    kind: Literal["precomputed"]
    """Always `precomputed`."""
    folder: str
    """Folder of the maps and their `manifest.json`; `{dataset}` and `{scene}` are filled in."""
    cell: Positive = 8
    """Features are stored as means of squares of so many pixels. Label maps are stored at pixel
    size as well, and are the first labels as they are."""

    @field_validator("folder")
    @classmethod
    def no_other_braces(cls, folder: str) -> str:
        rest = folder.replace("{dataset}", "").replace("{scene}", "")
        if "{" in rest or "}" in rest:
            raise ValueError("only `{dataset}` and `{scene}` may stand in braces")
        return folder


def cell_of(encoder: OpenClip | Simulated | DenseClip | LSeg | Precomputed | None) -> int | None:
    """Side of the cells that an encoder gives a feature for; None of one with windows."""
    if isinstance(encoder, (Simulated, DenseClip, LSeg, Precomputed)):
        return encoder.cell
    return None


Encoder = Annotated[
    OpenClip | Simulated | DenseClip | LSeg | Precomputed, Field(discriminator="kind")
]


class CacheFeatures(Strict):
    """CLIP pyramid, stored as window embeddings and boxes (docs/method.md#clip-pyramid)."""

    encoder: Encoder | None = None
    """Filled in from config/encoders/<name>.yaml."""
    views: Literal["train", "all"] = "train"
    """`all` also embeds test views (used for scoring label maps only); the `simulated` encoder
    embeds training views alone."""
    scales: tuple[Positive, ...] = Field(default=(5, 7, 10), min_length=1)
    """Window side of scale k is floor(min(H, W) / k)."""
    stride: Fraction = 0.25
    """Stride as a fraction of the window side; at least 1 pixel."""
    jitter: Fraction = 0.25
    """Each side of a window moves outward by up to this fraction of its side."""
    seed: Seed = 0
    """Seed of the window jitter."""
    batch: Positive = 256
    """Windows encoded at once; memory, not results."""
    parts: Positive = 1
    """Jobs that share a scene's frames, for several GPUs; does not change the result."""


class CacheDino(Strict):
    """DINO patch tokens of whole images (docs/method.md#dino-tokens; see `dino.mode`)."""

    model: str = "vit_base_patch8_224.dino"
    """timm model name, or `toy`."""
    weights: str = "weights/dino_vitb8.safetensors"
    """Weight file."""
    stride: Literal[8] = 8
    """Patch side in pixels; only 8 is implemented."""
