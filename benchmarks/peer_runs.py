"""One training and its held-out views, by ovnerf or by a TensoRF checkout; a process for each.

`python -m benchmarks.peer_runs JOB.json` is called by `benchmarks.peer_tensorf`. Both sides read
the same frames store, so that rays, colours and the box are the same to the last bit, and write the
same file: `rgb` u8 (views, H, W, 3) and `depth` f32 (views, H, W), metres along the optical axis.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovnerf.config.field import Reconstruct
from ovnerf.field.rendering import render_rgb, to_uint8, view_weights
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store
from ovnerf.training.data import Photos, load_photos, scene_box, similarity
from ovnerf.training.reconstruct import Reconstruction

FAR = 2.5
"""Rays enter the box no farther from the camera than this, scene units (`FieldShape.far`)."""
View = Callable[[Photos, int], tuple[Tensor, Tensor]]


def train_ours(store: Store, settings: Reconstruct, device: torch.device) -> Reconstruction:
    """ovnerf's training from beginning to end."""
    photos = load_photos(store, frame_indices(store, "train"))
    run = Reconstruction(photos, scene_box(store), settings, device)
    while run.iteration < settings.iterations:
        run.step()
    return run


def view_of_ours(run: Reconstruction) -> View:
    """How one view is rendered: colours f32 (r, 3) and mean distances f32 (r,)."""

    def view(photos: Photos, photo: int) -> tuple[Tensor, Tensor]:
        weights = view_weights(run.field, photos.camera(photo))
        return render_rgb(run.field, weights), weights.expected_distance()

    return view


class Silent:
    """Stands in for TensorBoard's writer: takes every call and does nothing."""

    def __init__(self, *_: Any) -> None: ...

    def add_scalar(self, *_: Any, **__: Any) -> None:
        """One number of the log."""


def stand_in(name: str, **contents: Any) -> None:
    """Put a module with these contents where `import name` finds it."""
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def import_tensorf(checkout: Path) -> ModuleType:
    """The checkout's `train` module.

    TensorBoard, kornia and plyfile serve its logs, its own readers and its meshes, none of which is
    used here; empty modules take their places, so that nothing need be installed.
    """
    stand_in("torch.utils.tensorboard", SummaryWriter=Silent)
    stand_in("kornia", create_meshgrid=None)
    stand_in("plyfile")
    sys.path.insert(0, str(checkout))
    return importlib.import_module("train")


def tensorf_options(settings: Reconstruct, folder: Path) -> list[str]:
    """The command line of TensoRF's `train.py` for the same work."""
    pairs: list[tuple[str, Any]] = [
        ("dataset_name", "own_data"),
        ("basedir", folder),
        ("expname", "field"),
        ("n_iters", settings.iterations),
        ("batch_size", settings.batch_rays),
        ("N_voxel_init", settings.voxels_start),
        ("N_voxel_final", settings.voxels_end),
        ("lr_init", settings.learning_rate_grid),
        ("lr_basis", settings.learning_rate_head),
        ("lr_decay_target_ratio", settings.learning_rate_decay),
        ("TV_weight_density", settings.tv_density),
        ("TV_weight_app", settings.tv_appearance),
        ("data_dim_color", settings.appearance_width),
        ("featureC", settings.head_width),
        ("shadingMode", "MLP_Fea"),
        ("view_pe", settings.view_pe),
        ("fea_pe", settings.fea_pe),
        ("fea2denseAct", "relu"),
        ("step_ratio", settings.step_ratio),
        ("distance_scale", settings.distance_scale),
        ("rm_weight_mask_thre", settings.weight_threshold),
        ("N_vis", 0),
    ]
    lists = [
        ("upsamp_list", settings.upsample_at),
        ("update_AlphaMask_list", settings.occupancy_at),
    ]
    pairs += [
        (name, round(share * settings.iterations)) for name, shares in lists for share in shares
    ]
    pairs += [("n_lamb_sigma", rank) for rank in settings.density_ranks]
    pairs += [("n_lamb_sh", rank) for rank in settings.appearance_ranks]
    return [part for name, value in pairs for part in (f"--{name}", str(value))]


def tensorf_dataset(store: Store, near: float) -> Callable[..., SimpleNamespace]:
    """What TensoRF calls a dataset: rays f32 (n, 7) and colours f32 (n, 3) of the training frames.

    A ray is its origin, its unit direction and a 0: to the depth of a ray that meets nothing
    TensoRF adds its last number.
    """
    photos = load_photos(store, frame_indices(store, "train"))
    grid = torch.meshgrid(*(torch.arange(n) for n in (len(photos), *photos.size)), indexing="ij")
    pixels = [part.flatten() for part in grid]
    rays = torch.cat([*photos.rays(*pixels), torch.zeros(len(pixels[0]), 1)], -1)
    data = SimpleNamespace(
        white_bg=False,
        near_far=[near, FAR],
        scene_bbox=scene_box(store),
        all_rays=rays,
        all_rgbs=photos.colours(*pixels),
    )
    return lambda *_, **__: data


PARTS_OF_ARRAYS: list[Any] = [
    np.empty(0).__reduce__()[0],
    np.ndarray,
    np.dtype,
    np.dtypes.UInt8DType,
]
"""What PyTorch needs to know to read a u8 array of numpy's."""


def train_tensorf(
    train: ModuleType, store: Store, settings: Reconstruct, device: torch.device, folder: Path
) -> Any:
    """TensoRF's own `reconstruction`, then the field that it saved, on the same device."""
    opt = importlib.import_module("opt")
    train.dataset_dict["own_data"] = tensorf_dataset(store, settings.near_scene)
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)
    train.reconstruction(opt.config_parser(tensorf_options(settings, folder)))
    # Beside tensors its file holds one array, the packed occupancy.
    with torch.serialization.safe_globals(PARTS_OF_ARRAYS):
        saved = torch.load(folder / "field" / "field.th", weights_only=True)
    field = train.TensorVMSplit(**{**saved["kwargs"], "device": device})
    field.load(saved)
    return field


def view_of_tensorf(train: ModuleType, field: Any, device: torch.device) -> View:
    """How one view is rendered: by its renderer in chunks of 4096 rays, as in its `evaluation`.

    Its depth is a sum of weight x distance. To make it the mean that ovnerf's is, the weights are
    noted where it computes them.
    """
    base = importlib.import_module("models.tensorBase")
    compute = base.raw2alpha
    opacity: list[Tensor] = []

    def noting(sigma: Tensor, distance: Tensor) -> Any:
        found = compute(sigma, distance)
        opacity.append(found[1].sum(-1))
        return found

    vars(base)["raw2alpha"] = noting

    @torch.no_grad()
    def view(photos: Photos, photo: int) -> tuple[Tensor, Tensor]:
        opacity.clear()
        origin, direction = photos.camera(photo).rays()
        rays = torch.cat([origin, direction, torch.zeros_like(origin[:, :1])], -1)
        found = train.renderer(rays, field, chunk=4096, N_samples=-1, white_bg=False, device=device)
        return found[0].clamp(0, 1), found[2] / torch.cat(opacity).clamp_min(1e-6)

    return view


def render_views(
    store: Store, view: View, device: torch.device, clock: Callable[[], float]
) -> tuple[dict[str, np.ndarray], float]:
    """Images and depths of all held-out views, and the seconds of one (`clock`)."""
    photos = load_photos(store, frame_indices(store, "test")).to(device)
    height, width = photos.size
    images, depths, spent = [], [], 0.0
    for photo in range(len(photos)):
        begin = clock()
        rgb, distance = (part.cpu() for part in view(photos, photo))
        spent += clock() - begin
        camera = photos.camera(photo)
        along = (camera.rays()[1] @ camera.pose[:3, 2]).cpu()
        images.append(to_uint8(rgb, height, width).numpy())
        depths.append((distance * along / similarity(store).scale).view(height, width).numpy())
    return {"rgb": np.stack(images), "depth": np.stack(depths)}, spent / len(photos)


def peak_mb(device: torch.device) -> float:
    """The most memory this process has had so far: of the card, or of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Do one job; writes its costs as JSON, and its views."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    settings = Reconstruct.model_validate(job["settings"])
    device = torch.device(job["device"])
    # On a card the host waits, which is no work of a CPU: there, seconds are those of the wall.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    store, folder = open_store(Path(job["frames"]), "frames"), Path(job["folder"])
    # Imported and compiled before the clock starts.
    train = import_tensorf(Path(job["checkout"])) if job["side"] == "tensorf" else None
    if train is None:
        train_ours(store, settings.model_copy(update={"iterations": 1}), device)
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if train is None:
        view = view_of_ours(train_ours(store, settings, device))
    else:
        field = train_tensorf(train, store, settings, device, folder)
        view = view_of_tensorf(train, field, device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    after, end = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    peak = peak_mb(device)
    views, seconds = render_views(store, view, device, clock)
    np.savez(folder / "views.npz", allow_pickle=False, **views)
    costs = {
        "user_s": after.ru_utime - before.ru_utime,
        "system_s": after.ru_stime - before.ru_stime,
        "wall_s": end - begin,
        "view_s": seconds,
        "peak_mb": peak,
    }
    (folder / "costs.json").write_text(json.dumps(costs) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
