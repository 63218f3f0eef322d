"""How far points may be off, and what the last adjustment does with those that are."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from ovnerf.capture.colmap import quiet
from ovnerf.capture.mapping import error_limit, refine


def centres(model: pycolmap.Reconstruction) -> np.ndarray:
    """Places of the cameras f64 (n, 3) from their middle, in units of their mean distance to it."""
    place = np.array([model.images[key].projection_center() for key in sorted(model.images)])
    place -= place.mean(0)
    return place / np.linalg.norm(place, axis=1).mean()


def away(model: pycolmap.Reconstruction, true: np.ndarray) -> float:
    """Root mean square distance of the cameras from true ones, after the best rotation."""
    _, distance = Rotation.align_vectors(true, centres(model))
    return float(distance / np.sqrt(len(true)))


def spoilt_model() -> tuple[pycolmap.Reconstruction, np.ndarray]:
    """Eight photos whose features have noise of 0.1 pixels, and 15 % of them are 1.3 pixels off.

    Returns:
        The model as COLMAP adjusts it, and where its cameras truly are.
    """
    quiet()
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 8, 200
    options.camera_width, options.camera_height = 320, 240
    options.camera_params = [280.0, 160.0, 120.0, 0.0]
    model = pycolmap.synthesize_dataset(options)
    true, random = centres(model), np.random.default_rng(0)
    for image in model.images.values():
        for point in image.points2D:
            wrong = np.array([1.2, 0.6]) if random.random() < 0.15 else 0.0
            point.xy = point.xy + random.normal(0, 0.1, 2) + wrong
    usual = pycolmap.BundleAdjustmentOptions()
    usual.print_summary = False
    pycolmap.bundle_adjustment(model, usual)
    model.update_point_3d_errors()
    return model, true


def test_points_that_fit_badly_bend_the_poses_less_after_the_last_adjustment(
    capfd: pytest.CaptureFixture[str],
):
    model, true = spoilt_model()
    before, error = away(model, true), model.compute_mean_reprojection_error()
    capfd.readouterr()
    refine(model)
    assert capfd.readouterr() == ("", "")  # COLMAP's own log would fill a stage's
    assert before > 5e-4
    assert away(model, true) < before / 2
    # The report's number is that of the refined model.
    assert model.compute_mean_reprojection_error() != error


@pytest.mark.parametrize(
    ("width", "height", "pixels"),
    [(320, 240, 1.5), (640, 480, 1.6), (1600, 1200, 4.0), (1080, 1920, 4.8)],
)
def test_points_may_be_off_by_a_share_of_the_longer_side(width: int, height: int, pixels: float):
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_RADIAL", 500.0, width, height)
    assert error_limit([camera]) == pytest.approx(pixels)
