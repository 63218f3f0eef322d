"""The scene box against rooms whose bounds are known, by construction or by depth images."""

import numpy as np
import pytest
from outside_scenes import SCENES, needs
from PIL import Image
from scene_folders import camera_at, hand_held, textured_room

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.box import (
    HALF_SIDE,
    Features,
    Triangulation,
    agreeing_within,
    as_shipped,
    centred_box,
    depth_at,
    find_features,
    match,
    meeting_points,
    triangulate,
    triangulated,
    unit_warning,
)
from ovnerf.scenes.frames import native_images, read_frames
from ovnerf.scenes.layouts import list_scene

CAMERA = np.array([[100.0, 0, 80], [0, 100.0, 60], [0, 0, 1]])


def circle(count: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    """Cameras on a circle that look outwards."""
    yaws = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack(
        [
            camera_at(centre[0] + radius * np.cos(yaw), centre[1] + radius * np.sin(yaw), yaw)
            for yaw in yaws
        ]
    )


def test_textured_room():
    size = np.array([5.0, 4.0, 2.5])
    poses = circle(24, (2.5, 2.0), 0.8)
    photos = textured_room(tuple(size), poses, CAMERA, (120, 160))
    box = triangulated(photos, CAMERA, poses)
    assert box.rule == "triangulated"
    assert not box.warning
    assert box.points > 1000
    # Walls are seen whole; of floor and ceiling the margin may cut a strip.
    assert (box.low[:2] <= 0.05).all()
    assert (box.high[:2] >= size[:2] - 0.05).all()
    assert ((box.high - box.low) / size < 1.35).all()
    again = triangulated(photos, CAMERA, poses)
    assert (again.low == box.low).all()
    assert (again.high == box.high).all()


def test_plain_walls_fall_back_to_the_cameras():
    poses = circle(12, (0.0, 0.0), 1.0)
    box = triangulated([np.full((60, 80, 3), 128, np.uint8)] * 12, CAMERA, poses)
    assert box.rule == "cameras"
    assert "only 0 feature points" in box.warning
    # Cameras span 2 m; the box reaches 2 m further on every side.
    assert np.allclose(box.low, (-3, -3, -0.8))
    assert np.allclose(box.high, (3, 3, 3.2))


def test_longest_half_side_is_fixed():
    box = triangulated([np.full((60, 80, 3), 9, np.uint8)] * 12, CAMERA, circle(12, (1, 2), 1.0))
    low, high = box.in_scene()
    assert np.allclose(high, [HALF_SIDE, HALF_SIDE, HALF_SIDE * 4 / 6])
    assert np.allclose(low, -np.array(high))


def test_as_shipped_cube():
    poses = np.stack([camera_at(0.5, -4.0), camera_at(2.0, 1.0)])
    box = as_shipped(poses)
    assert box.similarity.scale == 0.25
    assert box.similarity.centre == (0, 0, 0)
    assert box.in_scene() == [[-1.5] * 3, [1.5] * 3]
    assert box.high.tolist() == [6, 6, 6]


def test_as_shipped_has_nothing_to_divide_by_when_every_camera_is_at_the_origin():
    still = np.stack([np.eye(4)] * 3)
    with pytest.raises(UserError, match="found all 3 training cameras at"):
        as_shipped(still)
    # The other rule takes such cameras: 1 m on every side.
    box = triangulated([np.full((60, 80, 3), 9, np.uint8)] * 3, CAMERA, still)
    assert box.low.tolist() == [-1, -1, -1] and box.high.tolist() == [1, 1, 1]


def test_a_box_in_metres_has_a_usual_size():
    corner = np.ones(3)

    def warned(side: float) -> str:
        return unit_warning(centred_box(0 * corner, side * corner, "triangulated", 0))

    assert warned(0.3) == warned(5) == warned(100) == ""
    assert warned(4321.5).startswith("the longest side of the scene box is 4320 m, expected")
    assert warned(0.004).startswith("the longest side of the scene box is 0.004 m, expected 0.3 to")


def test_triangulation_by_hand():
    # Two cameras 1 m apart look along +x; the point is 0.5 m left of one and right of the other.
    poses = (camera_at(0, 0), camera_at(0, 1))
    seen = (np.array([[-0.5 / 3, 0.0]]), np.array([[0.5 / 3, 0.0]]))
    assert np.allclose(triangulate(seen, poses, 1e-6), [[3, 0.5, 1.2]])
    # A match whose rays pass each other at a distance is dropped, as is one behind the cameras.
    assert len(triangulate((seen[0], seen[1] + [[0, 0.1]]), poses, 0.01)) == 0
    assert len(triangulate((seen[1], seen[0]), poses, 0.01)) == 0


def test_a_match_is_judged_by_its_parallax_and_by_how_near_its_rays_pass():
    # The point of the test above; one whose rays are parallel; one seen 0.1 lower by the second
    # camera: at 3 m the rays pass 0.3 m from each other, the midpoint is 0.05 from either.
    poses = (camera_at(0, 0), camera_at(0, 1))
    first = np.array([[-0.5 / 3, 0.0], [0.0, 0.0], [-0.5 / 3, 0.0]])
    second = np.array([[0.5 / 3, 0.0], [0.0, 0.0], [0.5 / 3, 0.1]])
    _, apart, error = meeting_points((first, second), poses)
    assert apart.tolist() == [True, False, True]
    assert error[0] < 1e-9
    assert error[2] == pytest.approx(0.05, rel=0.05)
    # Behind both cameras.
    assert meeting_points((second[:1], first[:1]), poses)[2].tolist() == [np.inf]


def test_a_doubt_needs_a_hundred_matches_and_less_than_a_tenth_that_fit():
    assert Triangulation([], 99, 0).doubt() == ""
    assert Triangulation([], 100, 10).doubt() == ""
    assert Triangulation([], 300, 29).doubt().startswith("only 10 % of the matches between photos")
    assert Triangulation([], 100, 3).doubt().startswith("only 3 % of the matches between photos")


def test_matches_fit_within_two_pixels_and_more_in_wide_photos():
    assert agreeing_within(CAMERA, (120, 160)) == 2 / 100
    assert agreeing_within(CAMERA, (480, 640)) == 2 / 100
    assert agreeing_within(CAMERA, (2160, 3840)) == 12 / 100


CIRCLE = circle(24, (2.5, 2.0), 0.8)


@pytest.mark.parametrize(
    ("poses", "claimed", "focal"),
    [
        pytest.param(hand_held(14), hand_held(14) * [1, -1, -1, 1], 100, id="axes"),
        pytest.param(CIRCLE, np.linalg.inv(CIRCLE), 100, id="direction"),
        pytest.param(CIRCLE, CIRCLE, 200, id="focal length"),
    ],
)
def test_poses_that_contradict_the_photos_are_doubted(poses, claimed, focal):
    photos = textured_room((5.0, 4.0, 2.5), poses, CAMERA, (120, 160))
    camera = np.array([[focal, 0, 80], [0, focal, 60], [0, 0, 1]])
    warning = triangulated(photos, camera, claimed).warning
    assert "of the matches between photos fit the poses: check their axes" in warning


def test_right_poses_of_a_hand_held_camera_are_not_doubted():
    poses = hand_held(14)
    photos = textured_room((5.0, 4.0, 2.5), poses, CAMERA, (120, 160))
    assert triangulated(photos, CAMERA, poses).warning == ""


def test_depth_between_features_follows_the_plane():
    # A floor 1 m below a level camera: at image height y the depth is 1 / y.
    column, row = np.meshgrid(np.linspace(-0.4, 0.4, 9), np.linspace(0.2, 0.6, 9))
    local = np.stack([column, row], -1).reshape(-1, 2)
    asked = np.array([[0.05, 0.33], [-0.21, 0.47], [0.0, 0.9]])
    depth = depth_at(asked, local, 1 / local[:, 1])
    assert np.allclose(depth[:2], 1 / asked[:2, 1], rtol=0.03)
    # Below the last feature it stays at the nearest depth known.
    assert depth[2] == pytest.approx(1 / 0.6)


def test_matches_are_mutual_and_unambiguous():
    unit = np.eye(4, dtype=np.float32)
    first = Features(np.zeros((3, 2)), unit[[0, 1, 2]])
    second = Features(np.zeros((4, 2)), unit[[2, 0, 1, 1]])
    # Descriptor 1 has two equal partners, so only 0 and 2 match.
    assert match(first, second).tolist() == [[0, 1], [2, 0]]


def test_feature_points_are_at_half_pixel_centres():
    image = np.zeros((41, 61, 3), np.uint8)
    row, column = np.mgrid[:41, :61]
    image[..., :] = (255 * np.exp(-((row - 20) ** 2 + (column - 30) ** 2) / 20.0))[..., None]
    # A blob centred on pixel (30, 20) is at (30.5, 20.5).
    camera = np.array([[1.0, 0, 30.5], [0, 1.0, 20.5], [0, 0, 1]])
    assert np.abs(find_features(image, camera).local).min(0).max() < 0.3


def surface(folder, listing, frames, pattern: str) -> np.ndarray:
    """World points (m, 3) of every fourth pixel of the training views' depth images."""
    points = []
    camera = frames.native_intrinsics
    for index, number in enumerate(listing.numbers):
        depth = np.asarray(Image.open(folder / pattern.format(number)))[::4, ::4] / 1000
        row, column = np.mgrid[: depth.shape[0], : depth.shape[1]] * 4 + 0.5
        local = np.stack(
            [(column - camera[0, 2]) / camera[0, 0], (row - camera[1, 2]) / camera[1, 1]], -1
        )
        ray = np.concatenate([local, np.ones((*depth.shape, 1))], -1) * depth[..., None]
        pose = frames.pose[index]
        if frames.split[index] == 0:
            points.append(ray[depth > 0] @ pose[:3, :3].T + pose[:3, 3])
    return np.concatenate(points)


@needs("icl_livingroom", "libero_room", "hololens_office")
@pytest.mark.parametrize(
    ("name", "layout", "pattern", "frames"),
    [
        ("icl_livingroom", "replica", "depth_300/depth_{:03d}.png", 20),
        ("libero_room", "semantic_nerf", "depth/depth_{}.png", None),
    ],
)
def test_real_scenes_lie_inside(name, layout, pattern, frames):
    listing = list_scene(SCENES / name, layout, frames)
    scene = read_frames(listing, 80, 60, 10)
    train = scene.split == 0
    photos = [image for image, used in zip(native_images(listing), train, strict=True) if used]
    box = triangulated(photos, scene.native_intrinsics, scene.pose[train])
    points = surface(SCENES / name, listing, scene, pattern)
    inside = ((points >= box.low) & (points <= box.high)).all(1).mean()
    assert inside > 0.99
    centres = scene.pose[train][:, :3, 3]
    everything = np.concatenate([points, centres])
    extent = everything.max(0) - everything.min(0)
    assert ((box.high - box.low) / extent < 1.6).all()
