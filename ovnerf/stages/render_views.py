"""Render the held-out views at full size: colour, depth, opacity and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.asking.rendered import label_map, predictor
from ovnerf.compute.device import resolve_device
from ovnerf.config.views import RenderViews
from ovnerf.encoders.text import text_bank
from ovnerf.field.field import RadianceField, radiance_from_header
from ovnerf.field.rendering import (
    ViewWeights,
    render_rgb,
    surface_distance,
    to_uint8,
    view_weights,
)
from ovnerf.field.semantic_field import semantics_from_header
from ovnerf.geometry.camera import Camera
from ovnerf.runtime import notices
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read
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
    fields = field.radiance, radiance_field
    test = frame_indices(scene, "test")
    photos = load_photos(scene, test).to(device)
    classes = len(feature_store.attrs["classes"])
    text = text_bank(feature_store, settings.text_bank, settings.blank_prompt, device)
    metres = 1 / similarity(scene).scale
    compared = settings.prediction == "relevancy"
    canonical = read(feature_store, "text_canonical") if compared else None
    predict = predictor(field, text, canonical, settings)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "render_views", disable=None, unit="view"):
            camera = photos.camera(slot)
            view = view_weights(field.radiance, camera)
            labels = {
                name: label_map(part, classes, photos.size, settings)
                for name, part in predict(view)
            }
            yield slot, appearance(fields, camera, view, photos.size, metres) | labels

    inputs = {"frames": scene.attrs["digest"], "semantics": header["digest"]}
    write_by_frame(
        out,
        "views",
        len(test),
        produce,
        {
            "frames": test,
            "classes": list(feature_store.attrs["classes"]),
            # Of which field it shows what, for `export`.
            "semantics": header["digest"],
            "settings": settings.model_dump(mode="json"),
        },
        result_digest("render_views", settings, inputs),
    )
    opacity = read(open_store(out, "views"), "opacity") if test else np.zeros(0)
    empty = float((opacity == 0).mean()) if test else 0.0
    return {
        "views": len(test),
        "rays_without_samples": round(empty, 4),
        **notices.warning_entry(notices.empty_rays(empty, "rays of the rendered views")),
    }


def appearance(
    fields: tuple[RadianceField, RadianceField],
    camera: Camera,
    view: ViewWeights,
    size: tuple[int, int],
    metres: float,
) -> dict[str, np.ndarray]:
    """Colours of a view by the field and by that before the semantic stage, depth and opacity.

    Args:
        fields: both have the densities, and so the weights, that `view` was rendered with.
        metres: of a unit of the field.
    """
    rgb, before = (to_uint8(render_rgb(field, view), *size) for field in fields)
    depth = surface_distance(camera, view) * metres
    return {
        "rgb": rgb.cpu().numpy(),
        "rgb_radiance": before.cpu().numpy(),
        "depth": depth.view(size).cpu().numpy().astype(np.float32),
        "opacity": view.opacity().view(size).cpu().numpy().astype(np.float16),
    }
