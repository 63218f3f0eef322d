"""The scene box: which part of the world the field covers, from posed photos alone (no depth).

`triangulated`: SIFT features of training frames are matched between frames that look the same way
and triangulated with the known poses. Walls without texture carry no features, so bounds of the
points themselves would cut them; instead every training view is covered with a coarse grid of
rays, each ray takes its depth from the plane through the nearest triangulated features of its
image, and the bounds are robust percentiles of where these rays end, plus a margin. All training
cameras lie inside.

`as_shipped`: the cube of +-1.5 around the world origin after division by the largest component of
a training camera centre (docs/method.md#pose-scale).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ovnerf.geometry.similarity import Similarity
from ovnerf.runtime.errors import UserError

HALF_SIDE = 1.5
"""Longest half side of the box in scene units."""
MAXIMUM_FRAMES = 100
"""At most so many training frames, spread evenly, are matched."""
MAXIMUM_FEATURES = 2000
NEIGHBOURS = 6
MAXIMUM_VIEW_ANGLE = np.radians(50.0)
MINIMUM_PARALLAX = np.radians(2.0)
RATIO = 0.85
REPROJECTION_PIXELS = 0.5
MINIMUM_POINTS = 200
AGREEING_PIXELS = 2.0
"""A match fits the poses when the point that it gives is seen this near to it in both photos."""
AGREEING_SHARE_OF_WIDTH = 1 / 320
"""The same for photos wider than 640 pixels, where poses of trackers are off by more pixels."""
MINIMUM_AGREEMENT = 0.1
"""Share of matches that fit the poses, below which the poses or the focal length are doubted.

Of 30 views each, right poses had 0.84 (a made room), 0.69 (a simulator) and 0.20 (a HoloLens);
other axes, the inverse direction or twice the focal length left 0.00 to 0.14, mostly 0.01.
"""
USUAL_METRES = (0.3, 100.0)
"""Longest side of a scene box in metres, outside which it is mentioned: a desk, a hall."""
MINIMUM_MATCHES = 100
"""From fewer matches nothing is said about the poses."""
GRID = (12, 16)
"""Rows and columns of the rays that stand for a view."""
NEAREST_FEATURES = 12
"""Features a ray takes its depth from; views with fewer are left out."""
RIDGE = 1e-3
"""Keeps the local plane level where its features lie on a line (unit-depth coordinates squared)."""
PERCENTILE = 0.5
MARGIN = 0.05
"""Added on each side, as a fraction of the axis's extent."""
CAMERA_MARGIN = 0.02
"""Distance of a camera from the box wall, as a fraction of the longest extent."""

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """Axis-aligned bounds in the unit of the poses and how they were found.

    Attributes:
        low, high: f64 (3,).
        similarity: world -> scene; the box is centred at 0 there.
        rule: which rule gave the bounds.
        points: how many triangulated points stand behind them.
        warning: what a person should know, empty when all is well.
        warped: corners in warped coordinates, where the scene is forward-facing (cameras.Ndc).
    """

    low: np.ndarray
    high: np.ndarray
    similarity: Similarity
    rule: str
    points: int = 0
    warning: str = ""
    warped: tuple[Corner, Corner] | None = None

    def in_scene(self) -> list[list[float]]:
        """[[low], [high]] in scene units, warped where the scene is."""
        if self.warped:
            return [list(corner) for corner in self.warped]
        centre = np.array(self.similarity.centre)
        return [
            (self.similarity.scale * (corner - centre)).tolist() for corner in (self.low, self.high)
        ]


@dataclass(frozen=True)
class Features:
    """Features of one image: points at unit depth f64 (k, 2), unit descriptors f32 (k, 128)."""

    local: np.ndarray
    descriptor: np.ndarray


@dataclass(frozen=True)
class Triangulation:
    """What the matches between posed photos give.

    Attributes:
        seen: per view the world points f64 (k, 3) of its matches; each point is in two views.
        judged: how many matches have rays that differ enough in direction (MINIMUM_PARALLAX) to
            tell whether the poses are right.
        agreeing: how many of those fit the poses, within AGREEING_PIXELS.
    """

    seen: list[np.ndarray]
    judged: int
    agreeing: int

    @property
    def count(self) -> int:
        """How many points there are."""
        return sum(map(len, self.seen)) // 2

    def doubt(self) -> str:
        """A warning where too few matches fit the poses; else, or where too few are known, ""."""
        if self.judged < MINIMUM_MATCHES or self.agreeing >= MINIMUM_AGREEMENT * self.judged:
            return ""
        return (
            f"only {100 * self.agreeing / self.judged:.0f} % of the matches between photos fit the "
            "poses: check their axes (OpenCV or OpenGL), direction (camera-to-world), order and "
            "the focal length"
        )


def triangulated(images: Iterable[np.ndarray], intrinsics: np.ndarray, pose: np.ndarray) -> Box:
    """Box of the space that posed photos see.

    Args:
        images: u8 (H, W, 3) training photos at their own size, one by one.
        intrinsics: f64 (3, 3) at that size.
        pose: f64 (n, 4, 4) camera-to-world of the same photos.

    Returns:
        The triangulated box; when there are fewer than MINIMUM_POINTS points, the box around the
        cameras, with a warning. It also warns where the matches contradict the poses.
    """
    chosen = set(spread(len(pose), MAXIMUM_FRAMES))
    features, size = [], (0, 0)
    for index, image in enumerate(images):
        if index in chosen:
            features.append(find_features(image, intrinsics))
            size = image.shape[:2]
    used, tolerance = pose[sorted(chosen)], REPROJECTION_PIXELS / intrinsics[0, 0]
    found = points_by_view(features, used, tolerance, agreeing_within(intrinsics, size))
    return box_of(found, used, ray_grid(intrinsics, size), pose[:, :3, 3])


def agreeing_within(intrinsics: np.ndarray, size: tuple[int, int]) -> float:
    """How far from its match a point may be seen to fit the poses, at unit depth.

    Args:
        size: (height, width) of the photos that `intrinsics` (3, 3) are for.
    """
    pixels = max(AGREEING_PIXELS, AGREEING_SHARE_OF_WIDTH * size[1])
    return pixels / float(intrinsics[0, 0])


def box_of(
    found: Triangulation,
    pose: np.ndarray,
    grid: np.ndarray,
    centres: np.ndarray,
    needed: int = MINIMUM_POINTS,
) -> Box:
    """The box of triangulated points, with a warning where it is not to be trusted.

    Args:
        pose: f64 (n, 4, 4) camera-to-world of the views that were matched.
        grid: rays of a view, as `ray_grid` gives them.
        centres: f64 (m, 3) of all cameras, which lie inside.
        needed: with fewer points the box is the one around the cameras.
    """
    count, warnings = found.count, [found.doubt()]
    ends = ray_ends(found.seen, pose, grid)
    if count < needed or not len(ends):
        low, high = around_cameras(centres)
        warnings.append(
            f"only {count} feature points could be triangulated (expected {needed}); the "
            "scene box is a guess from camera positions"
        )
        return centred_box(low, high, "cameras", count, joined(warnings))
    low, high = np.percentile(ends, [PERCENTILE, 100 - PERCENTILE], axis=0)
    margin = MARGIN * (high - low)
    low, high = include(low - margin, high + margin, centres)
    return centred_box(low, high, "triangulated", count, joined(warnings))


def unit_warning(box: Box) -> str:
    """A warning where a box that should be in metres is of no usual size; else ""."""
    longest = float(f"{(box.high - box.low).max():.3g}")
    if USUAL_METRES[0] <= longest <= USUAL_METRES[1]:
        return ""
    return (
        f"the longest side of the scene box is {longest:g} m, expected {USUAL_METRES[0]:g} to "
        f"{USUAL_METRES[1]:g} m: are the poses in millimetres, or in another unit?"
    )


def joined(warnings: Iterable[str]) -> str:
    """The warnings that are not empty, as one."""
    return "; ".join(filter(None, warnings))


def as_shipped(pose: np.ndarray) -> Box:
    """The published code's cube; one factor for all splits, from training poses f64 (n, 4, 4).

    Raises:
        UserError: every camera stands in the world's origin, so there is nothing to divide by.
    """
    largest = float(np.abs(pose[:, :3, 3]).max())
    if largest == 0:
        raise UserError(
            f"box: as_shipped: found all {len(pose)} training cameras at (0, 0, 0), expected one "
            "elsewhere, because the rule divides by the largest component of a camera centre",
            "use `box: triangulated`, or check the translations of the poses",
        )
    side = np.full(3, HALF_SIDE * largest)
    return Box(-side, side, Similarity(1 / largest, (0.0, 0.0, 0.0)), "as_shipped")


def centred_box(
    low: np.ndarray, high: np.ndarray, rule: str, points: int, warning: str = ""
) -> Box:
    """A box whose similarity puts it at the origin with longest half side HALF_SIDE."""
    centre = (low + high) / 2
    scale = float(2 * HALF_SIDE / (high - low).max())
    return Box(low, high, Similarity(scale, tuple(centre.tolist())), rule, points, warning)


def include(
    low: np.ndarray, high: np.ndarray, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds widened so that camera centres f64 (n, 3) lie inside, off the walls."""
    space = CAMERA_MARGIN * (high - low).max()
    return np.minimum(low, centres.min(0) - space), np.maximum(high, centres.max(0) + space)


def around_cameras(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera bounds grown on every side by their longest extent (1 m when cameras do not move)."""
    low, high = centres.min(0), centres.max(0)
    grow = float((high - low).max()) or 1.0
    return low - grow, high + grow


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread."""
    return sorted({position * count // min(count, most) for position in range(min(count, most))})


def find_features(image: np.ndarray, intrinsics: np.ndarray) -> Features:
    """SIFT features of a u8 (H, W, 3) image."""
    detector = cv2.SIFT.create(nfeatures=MAXIMUM_FEATURES, contrastThreshold=0.01)
    points, descriptor = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not points:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), dtype=np.float32))
    # OpenCV counts pixel centres at integers, our intrinsics at +0.5.
    pixel = np.array([point.pt for point in points]) + 0.5
    local = (pixel - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]]
    # Square roots of L1-normalised histograms match better, and are unit vectors.
    unit = np.sqrt(descriptor / np.maximum(descriptor.sum(1, keepdims=True), 1e-12))
    return Features(local, unit.astype(np.float32))


def choose_pairs(pose: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames worth matching: viewing directions alike, baselines short to middling.

    For each frame, the frames within MAXIMUM_VIEW_ANGLE are sorted by distance, and NEIGHBOURS of
    them are taken evenly over the nearer half.
    """
    centre, axis = pose[:, :3, 3], pose[:, :3, 2]
    distance = np.linalg.norm(centre[:, None] - centre[None], axis=-1)
    angle = np.arccos(np.clip(axis @ axis.T, -1, 1))
    pairs: set[tuple[int, int]] = set()
    for index in range(len(pose)):
        usable = np.flatnonzero((angle[index] < MAXIMUM_VIEW_ANGLE) & (distance[index] > 0))
        near = usable[np.argsort(distance[index, usable], kind="stable")]
        near = near[: max(NEIGHBOURS, len(near) // 2)]
        for position in spread_ends(len(near), NEIGHBOURS):
            other = int(near[position])
            pairs.add((min(index, other), max(index, other)))
    return sorted(pairs)


def spread_ends(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread, first and last included."""
    return (
        sorted(set(np.linspace(0, count - 1, most).round().astype(int).tolist())) if count else []
    )


def match(first: Features, second: Features) -> np.ndarray:
    """i64 (m, 2): mutually nearest descriptors that pass the ratio test."""
    if min(len(first.local), len(second.local)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = [found.trainIdx for found in matcher.match(second.descriptor, first.descriptor)]
    pairs = [
        (best.queryIdx, best.trainIdx)
        for best, runner_up in matcher.knnMatch(first.descriptor, second.descriptor, k=2)
        if best.distance < RATIO * runner_up.distance and back[best.trainIdx] == best.queryIdx
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def directions(local: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """World directions (k, 3), depth 1 along the optical axis, of unit-depth points (k, 2)."""
    return np.concatenate([local, np.ones((len(local), 1))], axis=1) @ pose[:3, :3].T


def project(points: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit-depth coordinates (k, 2) and depths (k,) of world points (k, 3)."""
    camera = (points - pose[:3, 3]) @ pose[:3, :3]
    return camera[:, :2] / np.maximum(camera[:, 2:], 1e-9), camera[:, 2]


def triangulate(
    locals_: tuple[np.ndarray, np.ndarray],
    poses: tuple[np.ndarray, np.ndarray],
    tolerance: float,
) -> np.ndarray:
    """World points f64 (m, 3) where two views' rays meet: midpoints of their closest approach.

    Dropped: parallax below MINIMUM_PARALLAX, points behind a camera, reprojection errors above
    `tolerance` (at unit depth) in either view. The last also enforces the epipolar constraint.
    """
    points, apart, error = meeting_points(locals_, poses)
    return points[apart & (error < tolerance)]


def meeting_points(
    locals_: tuple[np.ndarray, np.ndarray], poses: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the rays of each match come closest, and how well they meet there.

    Args:
        locals_: per view the matches' positions (k, 2) at unit depth.
        poses: per view its camera-to-world (4, 4).

    Returns:
        The midpoints f64 (k, 3); whether the rays are at least MINIMUM_PARALLAX apart (k,); how
        far from its match each midpoint is seen, at unit depth, in the worse view (k,): infinite
        for a midpoint behind a camera.
    """
    origins = [pose[:3, 3] for pose in poses]
    rays = [directions(local, pose) for local, pose in zip(locals_, poses, strict=True)]
    rays = [ray / np.linalg.norm(ray, axis=1, keepdims=True) for ray in rays]
    cosine = np.clip((rays[0] * rays[1]).sum(1), -1, 1)
    baseline = origins[1] - origins[0]
    along = [ray @ baseline for ray in rays]
    sine2 = np.maximum(1 - cosine**2, 1e-12)
    lengths = [
        (along[0] - cosine * along[1]) / sine2,
        (cosine * along[0] - along[1]) / sine2,
    ]
    ends = [o + t[:, None] * ray for o, t, ray in zip(origins, lengths, rays, strict=True)]
    points = (ends[0] + ends[1]) / 2
    error = np.zeros(len(points))
    for local, pose in zip(locals_, poses, strict=True):
        seen, depth = project(points, pose)
        off = np.where(depth > 0, np.linalg.norm(seen - local, axis=1), np.inf)
        error = np.maximum(error, off)
    return points, np.arccos(cosine) > MINIMUM_PARALLAX, error


def points_by_view(
    features: Sequence[Features], pose: np.ndarray, tolerance: float, agreeing: float
) -> Triangulation:
    """The points of the views' matches, and how many matches fit the poses.

    Args:
        pose: f64 (n, 4, 4) camera-to-world of the views.
        tolerance: of the points, as in `triangulate`.
        agreeing: the same for a match that fits the poses; larger, since poses that are a little
            off are no mistake.
    """
    seen: list[list[np.ndarray]] = [[np.zeros((0, 3))] for _ in features]
    judged = fitting = 0
    for first, second in choose_pairs(pose):
        pairs = match(features[first], features[second])
        points, apart, error = meeting_points(
            (features[first].local[pairs[:, 0]], features[second].local[pairs[:, 1]]),
            (pose[first], pose[second]),
        )
        seen[first].append(points[apart & (error < tolerance)])
        seen[second].append(seen[first][-1])
        judged += int(apart.sum())
        fitting += int((apart & (error < agreeing)).sum())
    return Triangulation([np.concatenate(points) for points in seen], judged, fitting)


def ray_grid(intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Unit-depth points f64 (GRID cells, 2) at the centres of a grid over the image."""
    row, column = np.mgrid[: GRID[0], : GRID[1]] + 0.5
    pixel = np.stack([column / GRID[1] * size[1], row / GRID[0] * size[0]], axis=-1).reshape(-1, 2)
    return (pixel - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]]


def ray_ends(seen: Sequence[np.ndarray], pose: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where each view's grid rays end, world points (m, 3)."""
    ends = [np.zeros((0, 3))]
    for points, matrix in zip(seen, pose, strict=True):
        if len(points) >= NEAREST_FEATURES:
            depth = depth_at(grid, *project(points, matrix))
            ends.append(matrix[:3, 3] + depth[:, None] * directions(grid, matrix))
    return np.concatenate(ends)


def depth_at(grid: np.ndarray, local: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Depths (g,) at unit-depth points (g, 2), from features at (k, 2) with depths (k,).

    The inverse depth of a plane is linear in the image, so a linear function is fitted to the
    inverse depths of the NEAREST_FEATURES features around each point. Its level is their median,
    and it stays within their range: nothing is extrapolated.
    """
    nearest = cKDTree(local).query(grid, k=NEAREST_FEATURES)[1]
    around, inverse = local[nearest], 1 / depth[nearest]
    centre, level = around.mean(1), np.median(inverse, axis=1)
    offset = around - centre[:, None]
    normal = np.einsum("gki,gkj->gij", offset, offset) + RIDGE * np.eye(2)
    right = np.einsum("gki,gk->gi", offset, inverse - level[:, None])
    slope = np.linalg.solve(normal, right[..., None])[..., 0]
    fitted = level + ((grid - centre) * slope).sum(1)
    return 1 / np.clip(fitted, inverse.min(1), inverse.max(1))
