"""`python -m benchmarks.capture SCENE`: a scene with known poses as a video, and what `capture`
makes of it: share of the frames with a pose, error of the poses after the best similarity, seconds.
With `--psnr` also how well a field that is trained on what was captured shows the held-out views,
one that is trained on the captured images with the scene's own poses, and one on the scene's own
images and poses: all at 160x120, with one seed and the schedule of `config/example_replica.yaml`.
The first two differ by what the estimated poses and lens cost, the last two by what the video's
compression does.

    python -m benchmarks.capture data/livingroom --layout replica --frames 71 --psnr
    python -m benchmarks.capture data/office --layout scannet --photos
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.transform import SimilarityTransform

from benchmarks.peer_runs import render_views, train_ours, view_of_ours
from benchmarks.peer_tensorf import SCHEDULE, VARIANTS, image_scores
from ovnerf.asking.camera_files import pinhole_scene
from ovnerf.config.frames import Layout, SampleFrames
from ovnerf.scenes.frames import reader_of
from ovnerf.scenes.layouts import list_scene
from ovnerf.scenes.listing import Listing
from ovnerf.stages import sample_frames
from ovnerf.storage.photos import read_rgb
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read

RATE = 10.0
"""Frames of the video per second."""


def write_video(path: Path, images: list[Path]) -> None:
    """The images as an MPEG-4 video."""
    height, width = read_rgb(images[0]).shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (width, height))
    for image in images:
        writer.write(np.ascontiguousarray(read_rgb(image)[..., ::-1]))
    writer.release()


def write_photos(folder: Path, images: list[Path]) -> None:
    """Copies of the images, named by their position."""
    folder.mkdir()
    for number, image in enumerate(images):
        shutil.copy(image, folder / f"frame_{number:06d}{image.suffix}")


def number_of(name: str) -> int:
    """Which frame of the source a captured image is."""
    return int(Path(name).stem.removeprefix("frame_"))


def compare(scene: Path, true: np.ndarray) -> list[str]:
    """How the poses of a captured scene agree with the true ones of its frames, by number."""
    listing = list_scene(scene, "colmap", None, "")
    pose = reader_of(listing).poses(listing)
    numbers = [number_of(str(name)) for name in listing.numbers]
    wanted = true[numbers]
    good = np.isfinite(pose).all((1, 2)) & np.isfinite(wanted).all((1, 2))
    pose, wanted = pose[good], wanted[good]
    nearest = SimilarityTransform.from_estimate(pose[:, :3, 3], wanted[:, :3, 3])
    scale, turn = nearest.scale, nearest.params[:3, :3] / nearest.scale
    away = np.linalg.norm(wanted[:, :3, 3] - nearest(pose[:, :3, 3]), axis=1)
    between = np.swapaxes(wanted[:, :3, :3], 1, 2) @ turn @ pose[:, :3, :3]
    angle = np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1))
    path = np.linalg.norm(np.diff(wanted[:, :3, 3], axis=0), axis=1).sum()
    up = np.degrees(np.arccos(np.clip((turn @ (0, 0, 1))[2], -1, 1)))
    return [
        f"poses: {len(pose)} of {len(true)} frames",
        f"position: {1000 * np.sqrt((away**2).mean()):.1f} mm RMSE, {1000 * away.max():.1f} mm "
        f"at most, over a path of {path:.2f} m",
        f"direction: {np.degrees(np.sqrt((angle**2).mean())):.3f} degrees RMSE",
        f"up: {up:.2f} degrees from the true vertical (where the scene's z axis is that)",
        f"one unit of the capture is {scale:.3f} m",
    ]


def with_true_poses(captured: Path, listing: Listing, true: np.ndarray) -> None:
    """Write `transforms.json` beside captured images: their true poses, and the scene's camera."""
    images = sorted((captured / "images").iterdir())
    height, width = read_rgb(images[0]).shape[:2]
    matrix = reader_of(listing).intrinsics(listing, width, height)
    files = [f"images/{image.name}" for image in images]
    poses = true[[number_of(file) for file in files]]
    content = pinhole_scene(files, poses, matrix, width, height)
    (captured / "transforms.json").write_text(json.dumps(content), encoding="utf-8")


def held_out_psnr(scene: Path, layout: Layout, frames: int | None, store: Path) -> float:
    """Mean PSNR, dB, of the held-out views of a field trained on a scene's poses.

    `store` is where its sampled frames are written.
    """
    # A captured folder names no classes, and a list is asked for; none of it matters here.
    classes = "scannet_20"
    settings = SampleFrames(layout=layout, frames=frames, width=160, height=120, classes=classes)
    sample_frames.run(folder=scene, out=store, settings=settings)
    sampled = open_store(store, "frames")
    device, schedule = torch.device("cpu"), SCHEDULE.model_copy(update=VARIANTS["per_voxel"])
    view = view_of_ours(train_ours(sampled, schedule, device))
    views, _ = render_views(sampled, view, device, time.process_time)
    photos = read(sampled, "rgb", frame_indices(sampled, "test"))
    return image_scores(views["rgb"], photos)["psnr"]


def source_of(listing: Listing, folder: Path, photos: bool) -> Path:
    """The scene's images as a video or as a folder of photos."""
    source = folder / ("photos" if photos else "video.mp4")
    (write_photos if photos else write_video)(source, list(listing.images))
    return source


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--layout", default="replica")
    parser.add_argument("--frames", type=int, help="sampled uniformly; all by default")
    parser.add_argument("--photos", action="store_true", help="a folder instead of a video")
    parser.add_argument("--settings", default="{}", help="of capture, as JSON")
    parser.add_argument("--keep", type=Path, help="where the captured scene is left")
    parser.add_argument("--psnr", action="store_true", help="train three fields (minutes each)")
    options = parser.parse_args()
    listing = list_scene(options.scene, options.layout, options.frames, "")
    true = reader_of(listing).poses(listing)
    with tempfile.TemporaryDirectory() as name:
        source = source_of(listing, Path(name), options.photos)
        out = options.keep or Path(name) / "scene"
        command = [sys.executable, "-m", "ovnerf", "capture", str(source), str(out)]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, "--settings", options.settings], stdout=subprocess.PIPE, text=True
        )
        seconds = time.perf_counter() - begin
        print(done.stdout)
        if done.returncode:
            sys.exit(done.returncode)
        peak = json.loads(done.stdout.splitlines()[-1])["peak_memory_mb"]
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        print("\n".join(compare(out, true)))
        print(f"{seconds:.0f} s, {used:.0f} of them computing, one thread; {peak} MB at most")
        if options.psnr:
            whole = options.scene, options.layout, options.frames
            found = held_out_psnr(out, "colmap", None, Path(name) / "found.zarr")
            with_true_poses(out, listing, true)
            posed = held_out_psnr(out, "nerfstudio", None, Path(name) / "posed.zarr")
            known = held_out_psnr(*whole, Path(name) / "true.zarr")
            print(
                f"held-out views: {found:.2f} dB from the capture, {posed:.2f} with its images and "
                f"the scene's poses, {known:.2f} from the scene"
            )


if __name__ == "__main__":
    main()
