"""Camera poses and points from matches: COLMAP's incremental mapping, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pycolmap
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ovnerf.capture.colmap import database, photo_name, threads
from ovnerf.config.capture import Capture
from ovnerf.runtime import progress

HOMOGRAPHIES = (
    pycolmap.TwoViewGeometryConfiguration.PLANAR,
    pycolmap.TwoViewGeometryConfiguration.PANORAMIC,
    pycolmap.TwoViewGeometryConfiguration.PLANAR_OR_PANORAMIC,
)
"""Pairs that show no depth: one plane, or a camera that only turned."""
GEOMETRIES = (
    *HOMOGRAPHIES,
    pycolmap.TwoViewGeometryConfiguration.CALIBRATED,
    pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED,
)
LINK = 30
"""Matches that tie two photos together."""
ERROR, LEAST_ERROR = 0.0025, 1.5
"""How far a point may lie from where a photo shows it: as a share of the photo's longer side, and
at least so many pixels. COLMAP's own limit is 4 pixels, whatever the size."""
ROBUST = 0.5
"""Residuals beyond this share of the mean one count ever less in the last adjustment."""
ANGLED = 2000
"""Points whose angles are measured, at most."""


@dataclass(frozen=True)
class Graph:
    """Which photos match.

    Attributes:
        groups: names of the photos that are tied together, the largest group first.
        links: how many pairs are tied.
        flat: share of them that shows no depth.
    """

    groups: list[list[str]]
    links: int
    flat: float


def match_graph(path: Path) -> Graph:
    """The graph of a database's verified pairs."""
    with database(path) as opened:
        photos = sorted(opened.read_all_images(), key=lambda image: image.name)
        numbers, geometries = opened.read_two_view_geometries()
    position = {image.image_id: at for at, image in enumerate(photos)}
    ties, flat = [], 0
    for number, found in zip(numbers, geometries, strict=True):
        kind = pycolmap.TwoViewGeometryConfiguration(found.config)
        if kind in GEOMETRIES and len(found.inlier_matches) >= LINK:
            one, other = pycolmap.pair_id_to_image_pair(number)
            ties.append((position[one], position[other]))
            flat += kind in HOMOGRAPHIES
    groups = grouped([photo_name(image.name) for image in photos], ties)
    return Graph(groups, len(ties), flat / len(ties) if ties else 0.0)


def grouped(names: Sequence[str], ties: Sequence[tuple[int, int]]) -> list[list[str]]:
    """The names by connected component, the largest first, each in order."""
    rows, columns = np.array(ties, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(graph, directed=False)
    groups = [
        [name for name, own in zip(names, label, strict=True) if own == number]
        for number in range(label.max() + 1)
    ]
    return sorted(groups, key=len, reverse=True)


def map_photos(
    path: Path, images: Path, out: Path, settings: Capture
) -> list[pycolmap.Reconstruction]:
    """The models that COLMAP finds, the one with the most photos first; perhaps none."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = threads(), settings.seed
    options.min_model_size = 3
    with database(path) as opened:
        progress.begin("capture: poses", "photos", opened.num_images())
        limit = error_limit(opened.read_all_cameras())
    options.mapper.filter_max_reproj_error = limit
    options.triangulation.merge_max_reproj_error = limit
    options.triangulation.complete_max_reproj_error = limit
    out.mkdir(exist_ok=True)
    # Two photos begin a model.
    found = pycolmap.incremental_mapping(
        path,
        images,
        out,
        options,
        initial_image_pair_callback=lambda: progress.advance(2),
        next_image_callback=progress.advance,
    )
    for model in found.values():
        for image in model.images.values():
            image.name = photo_name(image.name)
    return sorted(found.values(), key=lambda model: -model.num_reg_images())


def refine(model: pycolmap.Reconstruction) -> None:
    """Adjust all poses, points and the camera once more, with what fits badly counting little.

    COLMAP's own adjustment squares every residual, so that points that do not stay in one place
    (where one edge passes before another) bend the poses. Here the loss is Cauchy's.
    """
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = ROBUST * model.compute_mean_reprojection_error()
    options.ceres.solver_options.num_threads = threads()
    what = pycolmap.BundleAdjustmentConfig()
    for image in model.reg_image_ids():
        what.add_image(image)
    what.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # `pycolmap.bundle_adjustment` is the same, but logs what `quiet` forbids.
    pycolmap.create_default_bundle_adjuster(options, what, model).solve()
    model.update_point_3d_errors()


def error_limit(cameras: Sequence[pycolmap.Camera]) -> float:
    """Largest reprojection error of a point, in pixels, for photos by these cameras."""
    side = max(max(camera.width, camera.height) for camera in cameras)
    return max(ERROR * side, LEAST_ERROR)


def registered_names(model: pycolmap.Reconstruction) -> list[str]:
    """Names of the photos that have a pose, sorted."""
    return sorted(image.name for image in model.images.values() if image.has_pose)


def median_angle(model: pycolmap.Reconstruction) -> float:
    """Median over points of the largest angle in degrees between two rays that see a point."""
    centres = {
        key: image.projection_center() for key, image in model.images.items() if image.has_pose
    }
    points = list(model.points3D.values())
    angles = []
    for point in points[:: max(1, len(points) // ANGLED)]:
        seen = np.array([centres[element.image_id] for element in point.track.elements])
        rays = point.xyz - seen
        unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        angles.append(np.degrees(np.arccos(np.clip((unit @ unit.T).min(), -1, 1))))
    return float(np.median(angles)) if angles else 0.0


def viewing_depths(model: pycolmap.Reconstruction) -> np.ndarray:
    """Distances of points from the cameras that see them, along the optical axes."""
    depths = []
    for image in model.images.values():
        if image.has_pose:
            numbers = (each.point3D_id for each in image.get_observation_points2D())
            seen = np.array([model.points3D[number].xyz for number in numbers]).reshape(-1, 3)
            matrix = image.cam_from_world().matrix()
            depths.append(seen @ matrix[2, :3] + matrix[2, 3])
    return np.fromiter(chain.from_iterable(depths), float)
