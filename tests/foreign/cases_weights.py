"""Numbers that are NaN, infinite or too large: in weights, features, fields and settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import table
import torch
import zarr
from features_fixtures import CLASSES, FRAMES, HEIGHT, WIDTH, write_regions, write_tiny_scene
from field_fixtures import radiance_field
from safetensors.torch import load_file, save_file

from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store, read, write_store
from ovnerf.storage.tensors import METADATA, content_digest, module_tensors

TOY = REPOSITORY_ROOT / "ovnerf/toy"
NAN, INFINITY = float("nan"), float("inf")
RECONSTRUCT = {
    "iterations": 24,
    "batch_rays": 64,
    "voxels_start": 1000,
    "voxels_end": 1000,
    "upsample_at": [],
    "head_width": 8,
    "density_ranks": [2, 1, 1],
    "appearance_ranks": [4, 2, 2],
    "appearance_width": 5,
}
Change = Callable[[torch.Tensor], torch.Tensor]


def put(value: float) -> Change:
    """Sets the first number of a tensor."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed.view(-1)[0] = value
        return changed

    return change


def stage_arguments(folder: Path, stage: str, settings: dict) -> table.Arguments:
    frames, out = folder / "frames.zarr", folder / "out"
    return [stage, "--frames", frames, "--out", out, "--settings", json.dumps(settings)]


def encoder_with(stage: str, name: str, change: Change) -> Callable[[Path], table.Arguments]:
    """A stage whose toy weights have one tensor changed."""

    def make(folder: Path) -> table.Arguments:
        write_tiny_scene(folder)
        kind = {"cache_features": "clip", "cache_dino": "dino", "propose_regions": "sam"}[stage]
        weights = folder / f"{kind}.safetensors"
        tensors = load_file(TOY / f"weights/{kind}.safetensors")
        save_file({**tensors, name: change(tensors[name].float())}, weights)
        model = str(TOY / "models/toy-clip.json")
        settings = {
            "cache_features": {
                "encoder": {"kind": "openclip", "model": model, "weights": str(weights)}
            },
            "cache_dino": {"model": "toy", "weights": str(weights)},
            "propose_regions": {"architecture": "toy", "weights": str(weights)},
        }[stage]
        return stage_arguments(folder, stage, settings)

    return make


def feature_maps(
    pixels: np.ndarray | None = None, text: np.ndarray | None = None
) -> Callable[[Path], table.Arguments]:
    """Feature maps (2, 6, 8); `pixels` stands for that of frame 5, `text` for the text vectors."""

    def make(folder: Path) -> table.Arguments:
        write_tiny_scene(folder)
        maps = folder / "maps"
        maps.mkdir()
        names = [f"{index:03d}" for index in range(FRAMES)]
        for name in names:
            np.save(maps / f"{name}.npy", np.ones((2, 6, 8), dtype="f4"))
        if pixels is not None:
            np.save(maps / "005.npy", pixels)
        vectors = np.array([[1.0, 0], [0, 1], [1, 1]]) if text is None else text
        np.save(maps / "text.npy", vectors)
        files = {name: f"{name}.npy" for name in names}
        manifest = {"kind": "features", "classes": CLASSES, "text": "text.npy", "files": files}
        (maps / "manifest.json").write_text(json.dumps(manifest))
        encoder = {"kind": "precomputed", "folder": str(maps), "cell": 8}
        return stage_arguments(folder, "cache_features", {"encoder": encoder})

    return make


def one_pixel(value: float, dtype: str = "f4") -> np.ndarray:
    """A feature map (2, 6, 8) of ones in which one number differs."""
    pixels = np.ones((2, 6, 8), dtype=dtype)
    pixels[1, 2, 3] = value
    return pixels


def simulated(noise: str) -> Callable[[Path], table.Arguments]:
    def make(folder: Path) -> table.Arguments:
        _, truth = write_tiny_scene(folder)
        settings = "{encoder: {kind: simulated, noise: " + noise + "}}"
        (folder / "settings.yaml").write_text(settings)
        common = stage_arguments(folder, "cache_features", {})[:-1]
        return [*common, folder / "settings.yaml", "--truth", truth]

    return make


def stored_features(folder: Path) -> table.Arguments:
    """A `features` store of an earlier version, which let NaN pass."""
    frames, _ = write_tiny_scene(folder)
    clip, regions = folder / "features.zarr", folder / "regions.zarr"
    text = np.eye(3, 4, dtype="f4")
    write_store(
        clip,
        "features",
        {
            "embedding": np.ones((1, 1, 4), dtype="f2"),
            "box": np.array([[[0, 0, WIDTH, HEIGHT]]], dtype="i2"),
            "scale": np.zeros(1, dtype="u1"),
            "text_ensemble": text,
            "text_bare": text,
            "text_blank": text[0],
        },
        {"frames": [1], "classes": CLASSES, "shape": [HEIGHT, WIDTH]},
        "clip",
    )
    zarr.open_group(str(clip))["embedding"][0, 0, 2] = NAN
    write_regions(regions, {1: np.ones((1, HEIGHT, WIDTH), dtype=bool)})
    named = ["--frames", frames, "--features", clip, "--regions", regions, "--out", folder / "out"]
    return ["rank_regions", *named]


def save_unchecked(path: Path, tensors: dict[str, torch.Tensor], header: dict) -> None:
    """A field or checkpoint as an earlier version wrote it, whatever its numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = json.dumps(header)
    said = {"header": stated, "content": content_digest(tensors, stated)}
    save_file(tensors, path, {METADATA: json.dumps(said)})


def poisoned_field() -> tuple[dict[str, torch.Tensor], dict]:
    """A radiance field whose first density plane holds one NaN."""
    field = radiance_field()
    with torch.no_grad():
        field.density.planes[0][3, 1] = NAN
    return module_tensors(field, "radiance."), {**field.header(), "digest": "d"}


def field_to_render(folder: Path) -> table.Arguments:
    frames, _ = write_tiny_scene(folder)
    write_store(folder / "features.zarr", "features", {}, {"classes": CLASSES}, "clip")
    for name in ("radiance", "semantics"):
        save_unchecked(folder / name / "field.safetensors", *poisoned_field())
    named = [part for name in ("radiance", "semantics") for part in (f"--{name}", folder / name)]
    out = ["--out", folder / "views.zarr"]
    return [
        "render_views",
        "--frames",
        frames,
        "--features",
        folder / "features.zarr",
        *named,
        *out,
    ]


def checkpoint_to_resume(folder: Path) -> table.Arguments:
    write_tiny_scene(folder)
    tensors, header = poisoned_field()
    save_unchecked(folder / "out.partial.safetensors", tensors, header)
    return stage_arguments(folder, "reconstruct", RECONSTRUCT)


def diverging(rate: str) -> Callable[[Path], table.Arguments]:
    """A reconstruction with one learning rate far too high."""

    def make(folder: Path) -> table.Arguments:
        write_tiny_scene(folder)
        return stage_arguments(folder, "reconstruct", {**RECONSTRUCT, rate: 1e30})

    return make


def strange_rate(folder: Path) -> table.Arguments:
    write_tiny_scene(folder)
    (folder / "settings.yaml").write_text("learning_rate_grid: .inf")
    return [*stage_arguments(folder, "reconstruct", {})[:-1], folder / "settings.yaml"]


def text_of_large_maps(folder: Path) -> None:
    group = open_store(folder / "out", "features")
    np.testing.assert_allclose(read(group, "text_bare"), [[0.6, 0.8], [0, 1], [1, 0]], rtol=1e-6)
    assert (read(group, "embedding") == 1).all()


def no_region_is_fine(folder: Path) -> None:
    assert read(open_store(folder / "out", "regions"), "score").shape == (0,)


def no_region(folder: Path) -> table.Arguments:
    """SAM whose thresholds let no mask pass."""
    write_tiny_scene(folder)
    weights = str(TOY / "weights/sam.safetensors")
    settings = {"architecture": "toy", "weights": weights, "points_per_side": 1}
    return stage_arguments(folder, "propose_regions", {**settings, "pred_iou_thresh": 100.0})


PLANE = "radiance.density.planes.0: found 1 of 1440 numbers that are NaN or infinite"
TOO_LARGE = "numbers beyond 65504"
CASES: list[table.Case] = [
    table.Refused(
        "one NaN in CLIP weights",
        encoder_with("cache_features", "visual.proj", put(NAN)),
        ("{folder}/clip.safetensors: visual.proj: found 1 of", "NaN", "get it again"),
    ),
    table.Refused(
        "CLIP weights that 32 bits cannot hold",
        encoder_with("cache_features", "text_projection", lambda part: put(1e300)(part.double())),
        ("{folder}/clip.safetensors: text_projection: found 1 of", "infinite"),
    ),
    table.Refused(
        "one NaN in DINO weights",
        encoder_with("cache_dino", "blocks.2.mlp.fc2.bias", put(NAN)),
        ("{folder}/dino.safetensors: blocks.2.mlp.fc2.bias: found 1 of 96", "get it again"),
    ),
    table.Refused(
        "one infinity in SAM weights",
        encoder_with("propose_regions", "image_encoder.patch_embed.proj.bias", put(-INFINITY)),
        ("{folder}/sam.safetensors: image_encoder.patch_embed.proj.bias: found 1 of 128",),
    ),
    table.Refused(
        "CLIP embeddings that 16 bits cannot hold",
        encoder_with("cache_features", "visual.proj", lambda part: part * 1e8),
        ("{folder}/clip.safetensors: embeddings of frame 001: found", TOO_LARGE),
    ),
    table.Refused(
        "CLIP text vectors that are not numbers",
        encoder_with("cache_features", "text_projection", lambda part: torch.full_like(part, 3e38)),
        ("{folder}/clip.safetensors: text_ensemble: found", "NaN"),
    ),
    table.Refused(
        "DINO tokens that 16 bits cannot hold",
        encoder_with("cache_dino", "blocks.5.mlp.fc2.bias", put(1e5)),
        # 6 x 8 tokens a frame, one channel of each.
        ("{folder}/dino.safetensors: tokens of frame 001: found 48 of 4608", TOO_LARGE),
    ),
    table.Refused(
        "one NaN in a feature map",
        feature_maps(one_pixel(NAN)),
        ("{folder}/maps/005.npy: feature map: found 1 of 96 numbers that are NaN",),
    ),
    table.Refused(
        "a feature map that 16 bits cannot hold",
        feature_maps(one_pixel(70_000.0)),
        ("{folder}/maps/005.npy: feature map: found 1 of 96", TOO_LARGE),
    ),
    table.Refused(
        "a feature map that 32 bits cannot hold",
        feature_maps(one_pixel(-1e200, "f8")),
        ("{folder}/maps/005.npy: feature map: found 1 of 96", TOO_LARGE),
    ),
    table.Refused(
        "one NaN in precomputed text vectors",
        feature_maps(text=np.array([[1, 0], [NAN, 1], [1, 1]])),
        ("{folder}/maps/text.npy: text vectors: found 1 of 6 numbers that are NaN",),
    ),
    table.Refused(
        "precomputed text vectors too long to have a length",
        feature_maps(text=np.array([[1, 0], [1e200, 1], [1, 1]])),
        ("{folder}/maps/text.npy: found a text vector of no direction",),
    ),
    table.Read(
        "precomputed text vectors whose squares 32 bits cannot hold",
        feature_maps(text=np.array([[3e30, 4e30], [0, 1e-30], [2, 0]], dtype="f4")),
        text_of_large_maps,
    ),
    table.Refused(
        "noise beyond 16 bits in the simulated encoder",
        simulated("1.0e+9"),
        ("cache_features.encoder: embeddings of frame 001: found", TOO_LARGE),
    ),
    table.Refused(
        "a setting that is not a number",
        simulated(".nan"),
        ("settings.yaml", "noise", "finite number"),
    ),
    table.Refused("an infinite setting", strange_rate, ("learning_rate_grid", "finite number")),
    table.Refused(
        "one NaN in a store of features",
        stored_features,
        ("{folder}/features.zarr: array 'embedding': found 1 of 4", "rerun cache_features"),
    ),
    table.Refused(
        "one NaN in the density of a radiance field",
        field_to_render,
        ("{folder}/semantics/field.safetensors", PLANE, "rerun the rule that makes it"),
    ),
    table.Refused(
        "one NaN in a checkpoint",
        checkpoint_to_resume,
        ("{folder}/out.partial.safetensors", PLANE, "delete it"),
    ),
    table.Refused(
        "a learning rate that makes the loss NaN",
        diverging("learning_rate_head"),
        ("reconstruct: found a loss that is NaN or infinite by iteration", "learning rates"),
    ),
    table.Refused(
        "a learning rate that makes the grids NaN, which then count as empty space",
        diverging("learning_rate_grid"),
        ("NaN or infinite", "lower", "learning rates"),
    ),
    table.Read(
        "SAM that finds nothing in any view",
        no_region,
        no_region_is_fine,
        ('"regions": 0', '"warning": "no region found in any of the 10 views"'),
    ),
]
