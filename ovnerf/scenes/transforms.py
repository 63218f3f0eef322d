"""Which keys of a `transforms.json` are read, which are harmless, and which are refused by name.

The file has many dialects (nerfstudio, instant-ngp, Blender's synthetic scenes, SDFStudio). A key
that would change pixels or rays and is not read must not be passed over: its scene would come out
wrong. Standard library only: the Snakefile asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.runtime.errors import UserError

MODELS = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2", "k3"),
}
"""Values of `camera_model` that are read, and the distortion that each may have."""
DISTORTION = MODELS["OPENCV"]
READ = frozenset(
    ("frames", "file_path", "transform_matrix", "camera_model", "fl_x", "fl_y", "cx", "cy", "w")
) | {"h", "camera_angle_x", "camera_angle_y", *DISTORTION}
HARMLESS = frozenset(
    # Where other tools put the scene, how they light, show or split it: no pixel and no ray.
    (
        *("aabb", "aabb_scale", "offset", "render_aabb", "scale", "up"),
        *("orientation_override", "auto_scale_poses_factor"),
        # Depth, normals and points, which are not read from any layout.
        *("mono_depth_path", "mono_normal_path", "sensor_depth_path"),
        *("depth_file_path", "depth_unit_scale_factor", "enable_depth_loading", "depth_path"),
        *("integer_depth_scale", "normal_file_path", "ply_file_path", "sparse_pc_file_path"),
        # How a frame was made.
        *("bluriness", "sharpness", "colmap_im_id", "colmap_image_id", "name", "rotation"),
        *("timestamp", "timestamps", "image_id", "camera_id", "camera_name"),
    )
)
NOTED = {
    "applied_scale": "is in the poses already, whose units it changed",
    "applied_transform": "is in the poses already",
    "train_filenames": "the settings choose held-out frames",
    "val_filenames": "the settings choose held-out frames",
    "test_filenames": "the settings choose held-out frames",
    "time": "the scene is taken to stand still",
}
"""Keys that a person may expect to matter, and why they do not."""
LENS = "undistort the photos to a pinhole camera first"
MASK = "no pixel can be left out: paint the photos, or remove the key to use every pixel"
MOTION = "every photo has one pose here; remove the key if the camera stood still for each"
ALPHA = "convert the photos to what the key makes of them, then remove it"
AXES = "convert the poses to camera-to-world with OpenGL axes, then remove the key"
REFUSED = {
    **dict.fromkeys(("is_fisheye", "fisheye_crop_radius", "distortion_params"), LENS),
    **dict.fromkeys(("k4", "k5", "k6", "s1", "s2", "s3", "s4", "tau_x", "tau_y"), LENS),
    **dict.fromkeys((f"ftheta_p{number}" for number in range(5)), LENS),
    **dict.fromkeys(("latlong", "equirectangular", "is_equirectangular", "orthographic"), LENS),
    **dict.fromkeys(("mask_path", "mask_file_path", "mask", "masks"), MASK),
    **dict.fromkeys(("foreground_mask", "mask_color"), MASK),
    **dict.fromkeys(("rolling_shutter", "transform_matrix_start", "transform_matrix_end"), MOTION),
    **dict.fromkeys(("white_transparent", "black_transparent", "fix_premult", "sharpen"), ALPHA),
    **dict.fromkeys(("from_na", "from_mitsuba", "enable_ray_loading"), AXES),
}
"""Keys that would change pixels or rays, and what to do about each."""


def key_notes(index: Path, content: dict[str, Any]) -> list[str]:
    """One line about the keys that are not read and not known to be harmless; none without them.

    Raises:
        UserError: a key is set that would change pixels or rays.
    """
    frames = content["frames"]
    refuse_keys(str(index), content)
    for frame in frames:
        refuse_keys(f"{index}, frame {frame['file_path']}", frame)
    keys = dict.fromkeys(key for part in (content, *frames) for key in part)
    unread = [key for key in keys if key not in READ | HARMLESS | REFUSED.keys()]
    named = [f"{key} ({NOTED.get(key, 'unknown')})" for key in unread]
    return [f"{index.name}: not read: {', '.join(named)}"] if named else []


def refuse_keys(where: str, values: dict[str, Any]) -> None:
    """UserError for the first key that is set and would change pixels or rays."""
    for key, hint in REFUSED.items():
        if is_set(values.get(key)):
            raise UserError(
                f"{where}: found {key} {str(values[key])[:60]}, which would change pixels or rays "
                "and is not read, expected none",
                hint,
            )
    model = str(values.get("camera_model") or "OPENCV")
    if model not in MODELS:
        raise UserError(
            f"{where}: found camera_model {model}, expected one of {', '.join(MODELS)}", LENS
        )


def is_set(value: Any) -> bool:
    """Whether a value is more than false, zero, empty or a list of such."""
    return any(map(is_set, value)) if isinstance(value, list) else bool(value)
