"""Numbers that are NaN, infinite, or too large for the type they are stored in."""

import numpy as np
import pytest
import torch

from ovnerf.runtime.errors import UserError
from ovnerf.runtime.notices import empty_rays, views_without_regions, warning_entry
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.finite import binary16, not_finite, require_finite
from ovnerf.storage.stores import open_store, read, write_store
from ovnerf.training.loop import LossWatch

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_arrays_and_tensors_are_counted_alike(kind):
    values = np.array([[0, NAN, 1], [INFINITY, -INFINITY, 65504]], dtype=kind)
    assert not_finite(values) == not_finite(torch.from_numpy(values)) == 3
    assert not_finite(np.zeros((0, 4), dtype=kind)) == 0


def test_whole_numbers_are_finite():
    for values in (np.array([2**62]), np.array([True]), np.array(["nan"])):
        assert not_finite(values) == 0
    assert not_finite(torch.tensor([2**62])) == not_finite(torch.tensor([True])) == 0
    assert not_finite(torch.tensor([NAN], dtype=torch.bfloat16)) == 1


def test_the_message_names_file_tensor_count_and_cure():
    tensors = {"a": torch.zeros(3), "b.weight": torch.tensor([[1.0, NAN]]), "c": torch.zeros(1)}
    require_finite("w.pt", {"a": tensors["a"]}, "get it again")
    with pytest.raises(UserError) as caught:
        require_finite("w.pt", tensors, "get it again")
    assert caught.value.message.startswith("w.pt: b.weight: found 1 of 2 numbers")
    assert caught.value.hint == "get it again"


def test_binary16_rounds_below_its_largest_number_and_refuses_beyond():
    # Halfway between 65504 and 65536, which binary16 lacks, is 65520.
    assert binary16(np.array([65519.0, -1e-9]), "x", "y", "").tolist() == [65504.0, -0.0]
    for values, count in (([65520.0, 1.0], 1), ([-1e30, 1e30], 2)):
        with pytest.raises(UserError, match=f"x: y: found {count} of 2 numbers beyond 65504"):
            binary16(np.array(values), "x", "y", "")
    with pytest.raises(UserError, match="found 1 of 2 numbers that are NaN or infinite"):
        binary16(np.array([INFINITY, 1e30]), "x", "y", "")


def test_a_store_takes_no_nan_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="token: found 1 of 2"):
        write_store(tmp_path / "d.zarr", "dino", {"token": np.array([1, NAN])}, {}, "d")
    frames = [np.zeros(2), np.array([0, INFINITY])]

    def produce(order):
        def of(todo):
            yield from ((slot, {"token": frames[order[slot]]}) for slot in todo)

        return of

    with pytest.raises(UserError, match="token: found 1 of 2"):
        write_by_frame(tmp_path / "d.zarr", "dino", 2, produce([1, 0]), {}, "d")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="token: found 1 of 2"):
        write_by_frame(tmp_path / "d.zarr", "dino", 2, produce([0, 1]), {}, "d")
    kept = [path.name for path in tmp_path.rglob("*.npz")]
    assert kept == ["000000.npz"]  # a finished frame, to go on from
    write_by_frame(tmp_path / "d.zarr", "dino", 2, produce([0, 0]), {}, "d")
    assert (read(open_store(tmp_path / "d.zarr", "dino"), "token") == 0).all()


def test_a_loss_between_two_looks_is_found():
    watch = LossWatch("reconstruct")
    for loss in (1.0, 2.0):
        watch.add(torch.tensor(loss))
    assert watch.look(2, {"total": torch.tensor(2.0), "label": torch.tensor(0.5)}) == {
        "total": 2.0,
        "label": 0.5,
    }
    for bad in (NAN, INFINITY):
        watch = LossWatch("reconstruct")
        for loss in (1.0, bad, 1.0):
            watch.add(torch.tensor(loss))
        with pytest.raises(UserError, match=r"reconstruct: found a loss .* by iteration 3"):
            watch.look(3, {"total": torch.tensor(1.0)})


def test_what_is_odd_is_said_in_one_line():
    assert warning_entry("", "") == {}
    assert warning_entry("a", "", "b") == {"warning": "a; b"}
    assert empty_rays(0.49, "rays") == ""
    assert empty_rays(0.5, "rays") == "50% of the rays meet nothing"
    assert empty_rays(1.0, "rays") == "all of the rays meet nothing"
    assert views_without_regions(0, 10) == ""
    assert views_without_regions(3, 10) == "no region found in 3 of the 10 views"
    assert views_without_regions(10, 10) == "no region found in any of the 10 views"
