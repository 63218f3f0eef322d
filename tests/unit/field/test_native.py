import os
import shutil
import subprocess
import sys
from pathlib import Path

import field_fixtures
import numpy as np
import pytest
import torch
from field_fixtures import (
    SHAPE,
    WIDE,
    radiance_field,
    rays,
    relative_gap,
    semantic_field,
    with_holes,
)

from ovnerf.field import compiled, lookups
from ovnerf.field.compiled import njit
from ovnerf.field.compositing import composite
from ovnerf.field.native import TILE
from ovnerf.field.rendering import sample_points

pytestmark = pytest.mark.skipif(njit is None, reason="numba is not installed")

WEIGHT = 1e-6
"""Weights and transmittances in [0, 1] differ by 1.0e-7 with these seeds; the rest is margin."""
GRADIENT = 4e-5
"""Relative; 4.9e-6 with these seeds."""


def by_tensors(monkeypatch, work):
    """The same work without the compiled loops."""
    with monkeypatch.context() as patch:
        patch.setenv("OVNERF_NATIVE", "0")
        return work()


@pytest.mark.parametrize("shape", [SHAPE, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("max_samples", [None, 12])
def test_marching_equals_tensors(monkeypatch, holes, max_samples, shape):
    field = radiance_field(shape=shape)
    field = with_holes(field) if holes else field
    batch = rays(300)
    fast, fast_weight = field.samples_above_threshold(*batch, max_samples)
    slow, slow_weight = by_tensors(
        monkeypatch, lambda: field.samples_above_threshold(*batch, max_samples)
    )
    assert len(slow) > 200
    assert torch.equal(fast.offset, slow.offset) and torch.equal(fast.ray, slow.ray)
    assert torch.equal(fast.distance, slow.distance) and torch.equal(fast.point, slow.point)
    assert torch.equal(fast.delta, slow.delta)
    assert torch.allclose(fast_weight, slow_weight, rtol=0, atol=WEIGHT)


def test_contributing_samples_equal_tensors(monkeypatch):
    field = with_holes(radiance_field())
    batch = rays(300)
    fast, slow = (
        field.contributing_samples(*batch),
        by_tensors(monkeypatch, lambda: field.contributing_samples(*batch)),
    )
    (seen, bright, index), (slow_seen, slow_bright, slow_index) = fast, slow
    for one, other in ((seen.samples, slow_seen.samples), (bright, slow_bright)):
        assert torch.equal(one.offset, other.offset) and torch.equal(one.point, other.point)
        assert np.array_equal(one.bounds, one.offset.numpy())
    assert torch.allclose(seen.weight, slow_seen.weight, rtol=0, atol=WEIGHT)
    assert torch.allclose(seen.transmittance, slow_seen.transmittance, rtol=0, atol=WEIGHT)
    assert torch.equal(seen.samples.point[index], bright.point)
    assert torch.equal(index, slow_index) and 0 < len(index) < len(seen.samples)


@pytest.mark.parametrize("shape", [SHAPE, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("colour_per", ["sample", "voxel", "ray"])
def test_colour_gradients_equal_tensors(monkeypatch, colour_per, shape):
    field = radiance_field(colour_per=colour_per, shape=shape)
    batch = rays(200)

    def gradients():
        rgb, _ = field.render_colour(*batch, 0.5)
        return torch.autograd.grad(rgb.square().sum(), list(field.parameters()))

    for fast, slow in zip(gradients(), by_tensors(monkeypatch, gradients), strict=True):
        assert relative_gap(fast, slow) < GRADIENT


@pytest.mark.parametrize("shape", [SHAPE, WIDE], ids=["narrow", "wide"])
def test_composited_features_equal_tensors(monkeypatch, shape):
    field = semantic_field(with_holes(radiance_field(shape=shape)))
    samples, weight = field.radiance.samples_above_threshold(*rays(200))
    parameters = [*field.radiance.appearance.parameters(), field.radiance.basis.weight]

    def results():
        u = field.ray_features(samples, weight)
        return [u.detach(), *torch.autograd.grad(u.square().sum(), parameters)]

    for fast, slow in zip(results(), by_tensors(monkeypatch, results), strict=True):
        assert relative_gap(fast, slow) < 1e-5


def test_points_of_a_view_equal_tensors(monkeypatch):
    """Those that are made again from kept distances."""
    field = with_holes(radiance_field())
    origin, direction, _ = rays(300)
    samples, _ = field.samples_above_threshold(origin, direction)
    made = origin, direction, samples.offset, samples.distance, field.box
    slow = by_tensors(monkeypatch, lambda: sample_points(*made))
    assert torch.equal(sample_points(*made), slow)
    assert torch.equal(slow, samples.point) and len(slow) > 200


@pytest.mark.parametrize("shape", [SHAPE, WIDE], ids=["narrow", "wide"])
def test_results_do_not_depend_on_threads(threads, shape):
    """Those of the compiled loops."""
    field = with_holes(radiance_field(shape=shape))
    origin, direction, jitter = rays(1500)

    def results():
        samples, weight = field.samples_above_threshold(origin, direction, jitter)
        features = field.appearance.features(samples.point)
        factor = torch.linspace(-1, 1, features.shape[1])
        slopes = torch.autograd.grad((features * factor).sum(), list(field.appearance.parameters()))
        shares = weight.clone().requires_grad_()
        to_shares = torch.autograd.grad(field.ray_features(samples, shares).square().sum(), shares)
        made = field.weights(field.contributing_samples(origin, direction, jitter)[0])
        grown = torch.autograd.grad(
            sum(part.square().sum() for part in made), list(field.density.parameters())
        )
        field.density.add_total_variation_gradient(1.0)
        smoothed = [plane.grad for plane in field.density.planes]
        field.zero_grad()
        return [
            weight,
            samples.offset,
            features,
            *slopes,
            *to_shares,
            *made,
            *grown,
            *smoothed,
        ]

    threads(1)
    one = results()
    threads(3)
    assert all(torch.equal(a, b) for a, b in zip(one, results(), strict=True))


def test_features_of_several_tiles_do_not_depend_on_threads(threads):
    """Nor do their gradients: what threads write at once does not overlap."""
    field = radiance_field(shape=WIDE)
    point = torch.rand(2 * TILE + 9, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    parameters = [field.basis.weight, *field.appearance.parameters()]

    def results():
        feature = field.appearance.mapped(point, field.basis.weight)
        return [feature, *torch.autograd.grad(feature.square().sum(), parameters)]

    threads(1)
    one = results()
    threads(3)
    assert all(map(torch.equal, one, results()))


def test_samples_of_no_ray_get_no_gradient():
    """Empty places, which the recorded steps of a card have behind the last ray's samples."""
    weight = torch.ones(5, requires_grad=True)
    value = torch.ones(5, 3, requires_grad=True)
    offset, ray = torch.tensor([0, 2, 2, 4]), torch.tensor([0, 0, 2, 2, 3])
    out = composite(weight, value, offset, ray)
    assert out.tolist() == [[2, 2, 2], [0, 0, 0], [2, 2, 2]]
    to_weight, to_value = torch.autograd.grad(
        (out * torch.tensor([1.0, 2, 3])).sum(), [weight, value]
    )
    assert to_weight.tolist() == [6, 6, 6, 6, 0]
    assert to_value.tolist() == [[1, 2, 3]] * 4 + [[0, 0, 0]]


def test_a_table_that_is_not_contiguous_is_refused():
    """And copied where a tensor comes in, so that it never is."""
    errors = pytest.importorskip("numba.core.errors")
    table = np.zeros((8, 8), np.float32).T
    with pytest.raises(errors.TypingError, match="C-contiguous"):
        lookups.variation_loop(0, 8, table, 1, (np.float32(1), np.float32(1)), table)
    field = radiance_field()
    points = torch.rand(20, 3) * 2 - 1
    straight = field.density.features(points)
    for plane in field.density.planes:
        plane.data = plane.data.T.contiguous().T
    assert torch.equal(field.density.features(points), straight)


STALE = """
import numpy as np
from ovnerf.field import lookups
plane = tuple(np.ones((4, 1), np.float32) for _ in range(3))
line = tuple(np.ones((2, 1), np.float32) for _ in range(3))
out = np.empty(1, np.float32)
lookups.density_loop(0, 1, np.zeros((1, 3), np.float32), (2, 2, 2), plane, line, out)
print(out[0])
"""


@pytest.mark.slow
def test_kept_code_is_not_used_after_any_file_of_it_changes(tmp_path):
    """numba itself would look at the file of the called function alone."""
    shutil.copytree(Path(compiled.__file__).parents[1], tmp_path / "ovnerf")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")

    def density() -> float:
        command = [sys.executable, "-c", STALE]
        run = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return float(run.stdout)

    assert density() == 3
    lanes = tmp_path / "ovnerf/field/lanes.py"
    source = lanes.read_text(encoding="utf-8")
    changed = source.replace(
        "[ir.Constant(FLOAT, 0.0), arguments", "[ir.Constant(FLOAT, 7.0), arguments"
    )
    assert changed != source
    lanes.write_text(changed, encoding="utf-8")
    assert density() == 3 + 3 * 7


@pytest.mark.parametrize("native", ["0", "1"])
def test_rays_that_miss_give_nothing(native: str, monkeypatch: pytest.MonkeyPatch):
    """Neither compiled nor by tensors, and a step of training on them moves nothing."""
    monkeypatch.setenv("OVNERF_NATIVE", native)
    field = radiance_field()
    origin, direction = torch.tensor([[9.0, 9, 9]]), torch.tensor([[1.0, 0, 0]])
    samples, weight = field.samples_above_threshold(origin, direction)
    assert len(samples) == len(weight) == 0 and samples.offset.tolist() == [0, 0]
    assert field.appearance.features(samples.point).shape == (0, 12)
    rgb, _ = field.requires_grad_().render_colour(origin, direction, None, 0.5)
    rgb.sum().backward()
    assert rgb.tolist() == [[0.5, 0.5, 0.5]]
    assert all(not part.grad.any() for part in field.density.parameters())


IN_A_PROCESS = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from field_fixtures import radiance_field, rays

field = radiance_field().requires_grad_()
origin, direction, jitter = rays(200)
samples, weight = field.samples_above_threshold(origin, direction, jitter)
rgb, _ = field.render_colour(origin, direction, jitter, 1.0)
rgb.sum().backward()
made = [weight, field.alpha_grid(), rgb.detach(), *(part.grad for part in field.parameters())]
print([hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in made])
"""


@pytest.mark.slow
def test_the_first_process_computes_what_later_ones_do(tmp_path):
    """Compiling and reading compiled loops from the cache: the same bits."""
    folder = str(Path(field_fixtures.__file__).parent)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IN_A_PROCESS, folder]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first.count(",") > 10 and first == second


def test_without_a_writable_cache_the_loops_are_compiled_anew_with_one_line():
    """As in a read-only checkout with a read-only home (root may write there: numba is told)."""
    program = (
        "import numpy as np; from ovnerf.field.marching import cell_of; "
        "print(cell_of(np.float32(0.62), 10))"
    )
    environment = {
        **os.environ,
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
        "NUMBA_CACHE_DIR": "/dev/null/no folder",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "8"
    assert done.stderr.count("set NUMBA_CACHE_DIR to a folder of yours") == 1
    assert "Traceback" not in done.stderr
