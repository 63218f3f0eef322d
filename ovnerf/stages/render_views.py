"""Render the held-out views at full size: colour, depth, opacity and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ovnerf.compute.device import resolve_device
from ovnerf.config.views import RenderViews
from ovnerf.encoders.text import text_bank
from ovnerf.field.field import SemanticField, radiance_from_header, semantics_from_header
from ovnerf.field.heads import ScaleHead
from ovnerf.field.relevancy_rendering import render_relevancy
from ovnerf.field.rendering import (
    ViewWeights,
    render_labels,
    render_rgb,
    surface_distance,
    to_uint8,
    view_weights,
)
from ovnerf.labels.patches import without_small_patches
from ovnerf.labels.void import VOID
from ovnerf.runtime import notices
from ovnerf.runtime.errors import UserError
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, read
from ovnerf.storage.tensors import load_tensors, strip
from ovnerf.training.data import load_photos, similarity


def run(
    *,
    frames: Path,
    features: Path,
    radiance: Path,
    semantics: Path,
    out: Path,
    settings: RenderViews,
) -> dict[str, object]:
    """Write a `views` store; `rgb_radiance` is the colour before the semantic stage."""
    device = resolve_device()
    scene, feature_store = open_store(frames, "frames"), open_store(features, "features")
    tensors, header = load_tensors(semantics / "field.safetensors")
    field = semantics_from_header(header, tensors).to(device).eval()
    before, before_header = load_tensors(radiance / "field.safetensors")
    radiance_field = radiance_from_header(before_header, strip(before, "radiance.")).to(device)
    test = frame_indices(scene, "test")
    photos = load_photos(scene, test).to(device)
    classes = len(feature_store.attrs["classes"])
    text = text_bank(feature_store, settings.text_bank, settings.blank_prompt, device)
    metres = 1 / similarity(scene).scale
    height, width = photos.size
    least_patch = settings.least_patch * height * width

    predict = predictor(field, text, feature_store, settings)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "render_views", disable=None, unit="view"):
            camera = photos.camera(slot)
            view = view_weights(field.radiance, camera)
            labels = {
                name: part.where(part < classes, VOID).view(height, width).cpu().numpy()
                for name, part in predict(view)
            }
            rgb = to_uint8(render_rgb(field.radiance, view), height, width)
            rgb_before = to_uint8(render_rgb(radiance_field, view), height, width)
            depth = (surface_distance(camera, view) * metres).view(height, width)
            opacity = view.opacity().view(height, width)
            arrays = {
                "rgb": rgb.cpu().numpy(),
                "rgb_radiance": rgb_before.cpu().numpy(),
                "depth": depth.cpu().numpy().astype(np.float32),
                "opacity": opacity.cpu().numpy().astype(np.float16),
                **{
                    name: without_small_patches(label.astype(np.uint16), least_patch)
                    for name, label in labels.items()
                },
            }
            yield slot, arrays

    inputs = {"frames": scene.attrs["digest"], "semantics": header["digest"]}
    write_by_frame(
        out,
        "views",
        len(test),
        produce,
        {"frames": test, "classes": list(feature_store.attrs["classes"])},
        result_digest("render_views", settings, inputs),
    )
    opacity = read(open_store(out, "views"), "opacity") if test else np.zeros(0)
    empty = float((opacity == 0).mean()) if test else 0.0
    return {
        "views": len(test),
        "rays_without_samples": round(empty, 4),
        **notices.warning_entry(notices.empty_rays(empty, "rays of the rendered views")),
    }


def predictor(
    field: SemanticField, text: Tensor, features: Store, settings: RenderViews
) -> Callable[[ViewWeights], Iterator[tuple[str, Tensor]]]:
    """From a view to its label maps i64 (r,), by the names of their arrays.

    Raises:
        UserError: relevancy is asked of a head without scales.
    """
    if settings.prediction == "cosine":
        return lambda view: iter([("label", render_labels(field, view, text, VOID))])
    if not isinstance(field.clip, ScaleHead):
        raise UserError(
            "render_views.prediction: found `relevancy` for a semantic head without scales",
            "train it with `train_semantics.scale_knots`, or use `cosine`",
        )
    phrases = torch.from_numpy(read(features, "text_canonical")).to(text)
    sigmas = torch.linspace(0, settings.max_scale, settings.query_scales).to(text)

    def both(view: ViewWeights) -> Iterator[tuple[str, Tensor]]:
        found = render_relevancy(field, view, text, phrases, sigmas, VOID)
        yield from zip(("label", "label_cosine"), found, strict=True)

    return both
