"""Write a trained field's points, mesh, labels and cameras for other programs.

    python -m ovnerf export RUN --out exported
    python -m ovnerf export RUN --out exported --settings '{"products": ["cloud", "mesh"]}'
    python -m ovnerf export RUN --out film --path camera_path.json \\
        --settings '{"products": ["video"], "video_shows": ["colour", "relevancy"],
                     "video_phrase": "table"}'

RUN is the folder of a finished run, like results/demo/room0/toy/ovnerf/seed0. Everything is in the
world frame and unit of the input (docs/asking.md#export). The points of the run are made first
where `points.zarr` is not there. `--path` is a camera path, as the viewer or nerfstudio writes it,
that `video.mp4` follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from ovnerf.asking.camera_files import transforms_json, write_photos
from ovnerf.asking.camera_path import read_camera_path
from ovnerf.asking.cloud_files import classes_json, write_cloud, write_features
from ovnerf.asking.description import Description
from ovnerf.asking.label_files import LabelMaps, coco_json, write_labels
from ovnerf.asking.looks import Look
from ovnerf.asking.mesh import make_mesh, write_mesh_glb, write_mesh_ply
from ovnerf.asking.report import json_text
from ovnerf.asking.run import Run, open_run
from ovnerf.asking.video import require_views, write_video
from ovnerf.config.export import Export, Product
from ovnerf.config.phrases import parse_phrase
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage.listed import listed_folder

CLOUD = "cloud.ply"


def run(run: Path, *, out: Path, settings: Export, path: Path | None = None) -> dict[str, object]:
    """Write the products to a folder; returns which, and how much of each."""
    opened = open_run(run)
    products = wanted_products(opened.description, settings, path)
    summary: dict[str, object] = {"products": list(products)}
    with listed_folder(out, "export") as folder:
        write_json(folder / "classes.json", classes_json(opened.description))
        if "cloud" in products:
            write_cloud(folder / CLOUD, opened.description, opened.points)
            summary["points"] = len(opened.points)
        if "features" in products:
            write_features(folder, opened.description, opened.points)
        if "cameras" in products:
            cloud = CLOUD if "cloud" in products else None
            summary |= export_cameras(opened, folder, cloud)
        if "labels" in products:
            summary["label_views"] = export_labels(opened, folder, settings)
        if "mesh" in products:
            summary["triangles"] = export_mesh(opened, folder, settings)
        if "video" in products and path is not None:
            summary["video_frames"] = export_video(opened, folder, settings, path)
    return summary


def wanted_products(
    description: Description, settings: Export, path: Path | None
) -> tuple[Product, ...]:
    """The products of the settings, or all that the scene allows.

    Raises:
        UserError: a product that is asked for is not possible, or there is a camera path that none
            of them follows.
    """
    impossible: dict[Product, tuple[str, str]] = {}
    if description.warped:
        impossible["mesh"] = (
            "a forward-facing scene (`box: ndc`), whose field lives in warped space; expected one "
            "whose cameras go around",
            "take `cloud` instead, or read the scene with another `box`",
        )
    if settings.views == "held_out" and not description.held_out_frames:
        impossible["labels"] = ("no held-out view, expected one", "set `views` to `all`")
    if path is None:
        impossible["video"] = ("no --path, expected a camera path", "give one: --path FILE")
    for product in settings.products:
        if product in impossible:
            found, hint = impossible[product]
            raise UserError(f"{description.source}: {product}: found {found}", hint)
    every: tuple[Product, ...] = get_args(Product)
    wanted = settings.products or every
    if path is not None and "video" not in wanted:
        raise UserError(
            f"--path: found {path} with the products {', '.join(wanted)}, expected `video` among "
            "them",
            "add `video` to `products`, or leave --path out",
        )
    return tuple(name for name in every if name in wanted and name not in impossible)


def export_cameras(opened: Run, folder: Path, cloud: str | None) -> dict[str, object]:
    """Write `transforms.json`, and its photos where the run's frames are there."""
    description = opened.description
    write_json(folder / "transforms.json", transforms_json(description, cloud))
    if opened.files.frames is None:
        warning = "transforms.json names photos that are not there: found no frames.zarr of the run"
        return {"cameras": len(description.names), "photos": 0, "warning": warning}
    write_photos(folder, description, opened.files.frames)
    return {"cameras": len(description.names), "photos": len(description.names)}


def export_labels(opened: Run, folder: Path, settings: Export) -> int:
    """Write the labels of the views of the settings (`LabelMaps`); returns how many."""
    description = opened.description
    held_out = settings.views == "held_out"
    frames = description.held_out_frames if held_out else range(len(description.names))
    labels, maps = LabelMaps(opened), {}
    progress.begin("export labels", "frames", len(frames), 0)
    for frame in frames:
        name = description.names[frame]
        maps[name] = labels.of(frame)
        write_labels(folder, name, maps[name], len(description.classes))
        progress.advance()
        if progress.stop_wanted():
            raise Stopped("export labels: stopped as asked; run it again to begin anew")
    write_json(folder / "coco.json", coco_json(maps, description))
    return len(maps)


def export_mesh(opened: Run, folder: Path, settings: Export) -> int:
    """Write `mesh.ply` and `mesh.glb`; returns the number of triangles."""
    mesh = make_mesh(opened.field, opened.description, opened.points, settings)
    write_mesh_ply(folder / "mesh.ply", opened.description, mesh)
    write_mesh_glb(folder / "mesh.glb", mesh)
    return len(mesh.face)


def export_video(opened: Run, folder: Path, settings: Export, source: Path) -> int:
    """Write `video.mp4` along the path in the file `source`; returns how many frames it has."""
    phrase = None
    if "relevancy" in settings.video_shows:
        phrase = parse_phrase(settings.video_phrase, "export.video_phrase")
    looks = [Look(output, phrase, opened.settings.threshold) for output in settings.video_shows]
    path = read_camera_path(source)
    require_views(opened, path, source)
    return write_video(folder / "video.mp4", opened, path, looks)


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write a JSON file."""
    path.write_text(json_text(content), encoding="utf-8")
