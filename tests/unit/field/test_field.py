import json

import numpy as np
import pytest
import torch
from field_fixtures import (
    radiance_field,
    rays,
    relative_gap,
    semantic_field,
    with_holes,
)

from ovnerf.field import reference
from ovnerf.field.field import radiance_from_header
from ovnerf.field.occupancy import OccupancyGrid, corner_occupancy, occupied_bounds
from ovnerf.field.rendering import render_labels_and_probability, render_rgb, view_weights
from ovnerf.field.sampling import Rays, SampleCapacity, Samples, box_entry_exit, march
from ovnerf.field.semantic_field import semantics_from_header
from ovnerf.field.stretches import begins, joined
from ovnerf.geometry.camera import Camera
from ovnerf.geometry.rays import pixel_rays

# Sums in another order differ in the last bits. Each tolerance is about eight times the difference
# measured with these seeds, by compiled loops on an x86 CPU (numbers in parentheses).
COLOUR = 2e-6
"""Colours in [0, 1] of rays (2.4e-7)."""
VIEW_COLOUR = 6e-6
"""Colours of a whole view without jitter (7.7e-7)."""
COLOUR_GRADIENT = 5e-6
"""Relative difference of a gradient of colours (5.7e-7)."""
FEATURE = 1e-6
"""Features of up to 0.34 and scale weights (1.2e-7)."""
FEATURE_GRADIENT = 3e-5
"""Relative difference of a gradient of features and scale weights (3.6e-6)."""


@pytest.mark.parametrize("colour_per", ["sample", "voxel", "ray"])
@pytest.mark.parametrize("holes", [False, True])
def test_colour_and_gradients_equal_the_reference(holes, colour_per):
    field = radiance_field(colour_per=colour_per)
    field = with_holes(field) if holes else field
    origin, direction, jitter = rays(96)
    fast, _ = field.render_colour(origin, direction, jitter, 1.0)
    slow = reference.render_colour(field, origin, direction, jitter, 1.0)
    assert torch.allclose(fast, slow, rtol=0, atol=COLOUR)
    assert (slow - 1).abs().max() > 0.1
    parameters = list(field.parameters())
    for one, other in zip(
        torch.autograd.grad(fast.square().sum(), parameters),
        torch.autograd.grad(slow.square().sum(), parameters),
        strict=True,
    ):
        assert relative_gap(one, other) < COLOUR_GRADIENT


@pytest.mark.parametrize("holes", [False, True])
def test_semantics_equal_the_reference(holes):
    radiance = with_holes(radiance_field()) if holes else radiance_field()
    field = semantic_field(radiance)
    origin, direction, jitter = rays(96)
    samples, weight = radiance.samples_above_threshold(origin, direction, jitter)
    u = field.ray_features(samples, weight)
    slow = reference.render_semantics(field, origin, direction, jitter)
    fast = u @ field.clip.matrix().T
    assert torch.allclose(fast, slow["feature"], rtol=0, atol=FEATURE)
    scales = field.scale_weights(samples, weight)
    assert torch.allclose(scales, slow["scales"], rtol=0, atol=FEATURE)
    assert scales.min() > 0.155 and scales.max() < 0.577
    parameters = [
        *field.clip.parameters(),
        *radiance.appearance.parameters(),
        *field.scale_selection.parameters(),
    ]
    for one, other in zip(
        torch.autograd.grad((fast.square().sum() + scales.square().sum()), parameters),
        torch.autograd.grad(
            slow["feature"].square().sum() + slow["scales"].square().sum(), parameters
        ),
        strict=True,
    ):
        assert relative_gap(one, other) < FEATURE_GRADIENT


def test_short_rays_as_shipped():
    field = radiance_field()
    origin, direction, jitter = rays(32)
    samples, weight = field.samples_above_threshold(origin, direction, jitter, max_samples=12)
    semantic = semantic_field(field)
    slow = reference.render_semantics(semantic, origin, direction, jitter, max_samples=12)
    fast = semantic.ray_features(samples, weight) @ semantic.clip.matrix().T
    assert torch.allclose(fast, slow["feature"], rtol=0, atol=FEATURE)


def test_box_entry_by_hand():
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    origin = torch.tensor([[-3.0, 0, 0], [0, 0, 0], [-3, 5, 0]])
    direction = torch.tensor([[1.0, 0, 0], [0, 0, -1], [1, 0, 0]])
    entry, leave = box_entry_exit(origin, direction, box)
    assert entry[:2].tolist() == [2, -1] and leave[:2].tolist() == [4, 1]
    assert leave[2] < entry[2]


def test_march_by_hand():
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    cells = torch.zeros(4, 4, 4, dtype=torch.bool)
    cells[3, 2, 2] = True  # x in [0.5, 1], y and z in [0, 0.5]
    origin, direction = torch.tensor([[-3.0, 0.2, 0.2]]), torch.tensor([[1.0, 0, 0]])
    occupancy = OccupancyGrid(cells)
    rays = Rays.inside(box, origin, direction, None, 0.2, 100, 0.05, 10.0)
    assert rays.first.tolist() == [2.0] and rays.count.tolist() == [11]
    samples, found = march(rays, box, occupancy, (10, 5))
    assert samples.distance[:3].tolist() == pytest.approx([3.6, 3.8, 4.0])
    assert samples.point[:3, 0].tolist() == pytest.approx([0.6, 0.8, 1.0], abs=1e-6)
    assert samples.ray.tolist() == [0, 0, 0, 1, 1] and samples.offset.tolist() == [0, 3]
    # 11 steps of 0.2 from x = -1 make one block.
    assert found.tolist() == [1, 3]
    # Where the buffer is too small, samples are lost, and counted all the same.
    samples, found = march(rays, box, occupancy, (10, 2))
    assert samples.ray.tolist() == [0, 0] and found.tolist() == [1, 3]


def test_rays_from_afar_begin_at_the_box_in_evaluation():
    """Entries at 10, 3 and 2, all 2 long in the box; `far` is 2.5, a full ray 18 steps of 0.2."""
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    origin = torch.tensor([[-11.0, 0, 0], [-4, 0, 0], [-3, 0, 0]])
    direction = torch.tensor([[1.0, 0, 0]]).expand(3, 3)
    rays = Rays.inside(box, origin, direction, None, 0.2, 18, 0.05, 2.5)
    # The second reaches the end of the box from 2.5, too, so its samples stay.
    assert rays.first.tolist() == [10, 2.5, 2] and rays.count.tolist() == [11, 13, 11]
    training = Rays.inside(box, origin, direction, torch.zeros(3), 0.2, 18, 0.05, 2.5)
    assert training.first.tolist() == [2.5, 2.5, 2] and training.count.tolist() == [18, 13, 11]


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_camera_that_moves_back_sees_the_same(monkeypatch, native):
    monkeypatch.setenv("OVNERF_NATIVE", native)
    field = radiance_field()
    origin, direction, _ = rays(400)
    entry, leave = box_entry_exit(origin, direction, field.box)
    met = (entry > 0.05) & (entry < 2.5) & (leave > entry + 0.5)
    near, direction = origin[met], direction[met]
    assert len(near) > 20
    _, expected = field.samples_above_threshold(near, direction)
    _, found = field.samples_above_threshold(near - 8 * direction, direction)
    # A ray's first sample lies on the face of the box, so rounding decides whether it counts.
    assert len(found) == pytest.approx(len(expected), rel=0.03)
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.03)
    first = field.make_rays(near, direction).first
    assert torch.equal(first, entry[met].clamp(0.05, 2.5))


def test_buffers_grow_when_they_are_too_small(monkeypatch):
    field = radiance_field()
    batch = rays(50)
    wanted, wanted_weight = field.samples_above_threshold(*batch)
    monkeypatch.setenv("OVNERF_NATIVE", "0")
    field.capacity = SampleCapacity({50: (4, 40)})
    found, weight = field.samples_above_threshold(*batch)
    assert torch.equal(found.point, wanted.point) and len(found) > 50
    assert torch.allclose(weight, wanted_weight, rtol=0, atol=1e-6)
    assert field.capacity.needed[50][1] > 50 and field.capacity.fits(50, *field.capacity.needed[50])


@pytest.mark.parametrize("colour_per", ["sample", "voxel", "ray"])
def test_empty_places_change_neither_colours_nor_gradients(monkeypatch, colour_per):
    """Samples in a fixed number of places, against exactly as many as there are."""
    monkeypatch.setenv("OVNERF_NATIVE", "0")
    field = radiance_field(colour_per=colour_per).requires_grad_()
    origin, direction, jitter = rays(50)
    exact, samples = field.render_colour(origin, direction, jitter, 0.3)
    marched = field.march_into(
        (400, 4000), field.make_rays(origin, direction, jitter), *field.contributing_limits()
    )
    bounds, needed = marched.read()
    places = bounds[:, -1] + np.array([1, 700])  # one is enough
    found = field.contributing_in(marched, places.tolist())
    assert [len(found[0].samples), len(found[1]), len(found[2])] == [*places, places[1]]
    assert needed[1] >= len(samples) == bounds[0, -1] and (bounds[0] == samples.bounds).all()
    padded = field.colour_of(*found, direction, 0.3)
    assert torch.allclose(padded, exact, rtol=0, atol=1e-6)
    wanted = torch.autograd.grad(exact.square().sum(), list(field.parameters()))
    gradients = torch.autograd.grad(padded.square().sum(), list(field.parameters()))
    for one, other in zip(gradients, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_every_empty_place_is_a_stretch_of_its_own():
    """All in one stretch, a card would add them up one by one."""
    samples, weight = radiance_field().samples_above_threshold(*rays(20))
    point = torch.cat([samples.point, samples.point[:1].expand(300, 3)])
    pad = torch.nn.functional.pad
    padded = Samples(
        samples.offset,
        pad(samples.ray, (0, 300), value=20),
        pad(samples.distance, (0, 300)),
        pad(samples.delta, (0, 300)),
        point,
        samples.bounds,
    )
    first = begins(padded, 0.1)
    assert torch.equal(first[: len(samples)], begins(samples, 0.1)) and first[len(samples) :].all()
    one, weight_of_one = joined(samples, weight, 0.1)
    other, weight_of_other = joined(padded, pad(weight, (0, 300)), 0.1)
    count = int(one.offset[-1])
    assert len(samples) > count > 20 and torch.equal(other.offset, one.offset)
    assert torch.equal(other.point[:count], one.point[:count])
    assert torch.equal(weight_of_other[:count], weight_of_one[:count])
    assert weight_of_other[count:].abs().max() == 0 and other.ray[count:].min() == 20


def test_stretches_by_hand():
    """Two rays; stretches of half a unit. The second ray begins a stretch of its own."""
    distance = torch.tensor([0.1, 0.4, 0.6, 0.7])
    point = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    ray = torch.tensor([0, 0, 0, 1])
    samples = Samples(
        torch.tensor([0, 3, 4]), ray, distance, torch.full((4,), 0.25), point, np.array([0, 3, 4])
    )
    weight = torch.tensor([0.1, 0.3, 0.2, 0.5], requires_grad=True)
    found, total = joined(samples, weight, 0.5)
    count = int(found.offset[-1])
    assert found.offset.tolist() == [0, 2, 3] and found.ray[:count].tolist() == [0, 0, 1]
    assert total[:count].tolist() == pytest.approx([0.4, 0.2, 0.5])
    assert found.distance[:count].tolist() == pytest.approx([0.325, 0.6, 0.7])
    assert found.point[:count].flatten().tolist() == pytest.approx([0.75, 0, 0, 0, 1, 0, 0, 0, 1])
    (slope,) = torch.autograd.grad((total[:count] * torch.tensor([2.0, 3, 5])).sum(), weight)
    assert slope.tolist() == [2, 2, 3, 5]


def test_samples_split_by_rays():
    samples, _ = radiance_field().samples_above_threshold(*rays(20))
    first, rest = samples.split(8)
    assert torch.equal(torch.cat([first.ray, rest.ray + 8]), samples.ray)
    assert torch.equal(torch.cat([first.point, rest.point]), samples.point)
    for part, count in ((first, 8), (rest, 12)):
        assert part.bounds.tolist() == part.offset.tolist() and len(part.offset) == count + 1
        assert torch.equal(part.ray, torch.arange(count).repeat_interleave(part.offset.diff()))


def test_last_sample_has_no_length():
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    origin, direction = torch.tensor([[-1.5, 0.0, 0.0]]), torch.tensor([[1.0, 0, 0]])
    rays = Rays.inside(box, origin, direction, None, 0.5, 4, 0.05, 10.0)
    full = OccupancyGrid.full((3, 3, 3))
    assert march(rays, box, full, (1, 16))[0].delta.tolist() == [0.5, 0.5, 0.5, 0] + [0] * 12


def test_occupancy_cells_and_bounds():
    alpha = torch.zeros(9, 9, 9)
    alpha[4, 5, 6] = 1
    corners = corner_occupancy(alpha)
    assert corners.sum() == 27
    assert occupied_bounds(corners) == ([3, 4, 5], [6, 7, 8])
    grid = OccupancyGrid.from_corners(corners)
    assert grid.cells.sum() == 4**3
    assert grid.lookup(torch.tensor([[0.0, 0.25, 0.5], [-0.9, 0, 0]])).tolist() == [True, False]


def test_shrinking_keeps_the_image():
    field = radiance_field()
    with torch.no_grad():  # Matter only in the middle: one mode, its plane and line cut.
        for mode in (1, 2):
            field.density.lines[mode].zero_()
        inside = torch.zeros(18, 20, 1)
        inside[5:12, 6:15] = 1
        field.density.image(0).mul_(inside)
        field.density.lines[0][:5] = 0
        field.density.lines[0][-5:] = 0
    origin, direction, _ = rays(64)
    before = reference.render_colour(field, origin, direction, None, 0.0)
    field.update_occupancy(shrink=True)
    # The 3x3x3 maximum adds a corner on each side: x 5..15, y 4..12, z 4..11.
    assert field.density.resolution == (11, 9, 8)
    # The step follows the voxel edge, which cropping leaves alone; entry points move, so weights
    # are resampled: the images agree, the samples do not.
    after, _ = field.render_colour(origin, direction, None, 0.0)
    assert (after - before).abs().mean() < 0.05


def test_a_second_occupancy_stays_within_the_first():
    """Density comes back everywhere; cells that were empty have had no samples to judge it by."""
    field = radiance_field()
    with torch.no_grad():
        for parameter in field.density.parameters():
            parameter.fill_(1.0)  # opaque everywhere
    corners = torch.zeros(20, 18, 16, dtype=torch.bool)
    corners[5:8, 6:9, 4:7] = True
    field.occupancy = OccupancyGrid.from_corners(corners, field.step_cells())
    # The cells that touch corners 5..7, 6..8, 4..6.
    assert field.occupancy.cells.nonzero().amin(0).tolist() == [4, 5, 3]
    assert field.occupancy.cells.nonzero().amax(0).tolist() == [7, 8, 6]
    field.resize((37, 34, 30))
    alpha = field.alpha_grid()
    # New corners between the outer faces of those cells: from 4 * 36 / 19 = 7.6 to 8 * 36 / 19 =
    # 15.2 on the first axis, from 5 * 33 / 17 to 9 * 33 / 17, from 3 * 29 / 15 to 7 * 29 / 15.
    assert (alpha > 0).nonzero().amin(0).tolist() == [8, 10, 6]
    assert (alpha > 0).nonzero().amax(0).tolist() == [15, 17, 13]
    field.update_occupancy(shrink=False)
    # The maximum adds a corner on each side, 7..16, 9..18, 5..14, and cells touch those.
    assert field.occupancy.cells.shape == (36, 33, 29)
    assert field.occupancy.cells.sum() == 11**3
    assert field.occupancy.cells.nonzero().amin(0).tolist() == [6, 8, 4]


def test_the_first_occupancy_judges_the_whole_box():
    field = radiance_field()
    with torch.no_grad():
        for parameter in field.density.parameters():
            parameter.fill_(1.0)
    field.update_occupancy(shrink=False)
    assert field.occupancy.share() == 1.0


def test_header_round_trip():
    field = semantic_field(with_holes(radiance_field()))
    header = json.loads(json.dumps(field.header()))
    again = semantics_from_header(header, field.state_dict())
    origin, direction, _ = rays(16)
    one = field.ray_features(*field.radiance.samples_above_threshold(origin, direction))
    other = again.ray_features(*again.radiance.samples_above_threshold(origin, direction))
    assert torch.equal(one, other)
    radiance = radiance_from_header(header, field.radiance.state_dict())
    assert radiance.step == field.radiance.step


@pytest.mark.parametrize("colour_per", ["sample", "voxel", "ray"])
def test_views_equal_the_reference(colour_per):
    field = semantic_field(with_holes(radiance_field(colour_per=colour_per)))
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([0.1, -0.2, -2.0])
    intrinsics = torch.tensor([[12.0, 0, 8], [0, 12, 6], [0, 0, 1]])
    camera = Camera(pose, intrinsics, 12, 16)
    view = view_weights(field.radiance, camera)
    origin, direction = camera.rays()
    with torch.no_grad():
        rgb = reference.render_colour(field.radiance, origin, direction, None, 0.0)
        feature = reference.render_semantics(field, origin, direction, None)["feature"]
    assert torch.allclose(
        render_rgb(field.radiance, view), rgb.clamp(0, 1), rtol=0, atol=VIEW_COLOUR
    )
    text = torch.nn.functional.normalize(
        torch.randn(6, 16, generator=torch.Generator().manual_seed(5)), dim=-1
    )
    scores = feature @ text.T
    expected = torch.where(feature.norm(dim=-1) > 0, scores.argmax(-1), 99)
    got, probability = render_labels_and_probability(field, view, text, 99)
    greatest = scores.softmax(-1).amax(-1) * (expected != 99)
    assert torch.allclose(probability, greatest, atol=1e-5)
    margin = scores.topk(2).values.diff().abs()[:, 0]
    assert torch.equal(got[margin > 1e-5], expected[margin > 1e-5])
    assert len(got.unique()) > 2


def test_views_from_afar_equal_the_reference():
    """From 20 units away, where a ray of full length would end before the box."""
    field = radiance_field()
    origin = torch.tensor([0.1, -0.2, -20.0]).repeat(64, 1)
    aim = torch.randn(64, 3, generator=torch.Generator().manual_seed(6)) * 0.4
    direction = torch.nn.functional.normalize(aim - origin, dim=-1)
    with torch.no_grad():
        fast, _ = field.render_colour(origin, direction, None, 0.0)
        slow = reference.render_colour(field, origin, direction, None, 0.0)
    assert torch.allclose(fast, slow, rtol=0, atol=COLOUR) and slow.amax(-1).median() > 0.1


def test_pixel_rays_by_hand():
    pose = torch.eye(4)
    intrinsics = torch.tensor([[2.0, 0, 1], [0, 2, 1], [0, 0, 1]])
    origin, direction = pixel_rays(pose, intrinsics, torch.tensor([1]), torch.tensor([0]))
    # (1.5 - 1) / 2 = 0.25 right, (0.5 - 1) / 2 = -0.25 down, 1 forward.
    expected = torch.tensor([0.25, -0.25, 1]) / (0.0625 * 2 + 1) ** 0.5
    assert torch.allclose(direction[0], expected) and origin.abs().sum() == 0
