"""The benchmarks at toy size: they run, and both paths agree there too."""

import json
import re

import pytest
import torch
from field_fixtures import radiance_field, rays, semantic_field

from benchmarks import __main__ as table
from benchmarks import asking, cases, gpu, parity, systems

TINY = cases.Sizes(32, 96, 128, 256, 1, 128, 1)


@pytest.mark.parametrize(
    "case", [cases.label_view, cases.rgb_view, cases.fda, cases.rsr, cases.feat_target]
)
def test_cases_agree_with_the_reference(case):
    result = case(TINY)
    # feat_target's reference is held in half precision.
    assert result.max_abs_diff < (2e-3 if case is cases.feat_target else 1e-4)
    assert result.max_grad_rel_diff < 1e-3


def test_stages_agree_with_the_reference():
    result = cases.stage("c", TINY)
    assert result.max_abs_diff < 1e-4 and result.max_grad_rel_diff < 1e-3


@pytest.mark.parametrize("colour_per", ["sample", "voxel", "ray"])
def test_a_trained_field_is_compared_with_its_own_arithmetic(colour_per):
    """Whatever its colour head decodes."""
    field, batch = semantic_field(radiance_field(colour_per=colour_per)), rays(200)
    fast, slow = (work(field, batch) for work in (parity.fast_outputs, parity.slow_outputs))
    assert fast.keys() == slow.keys()
    for name, values in fast.items():
        assert torch.allclose(values, slow[name], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_compared_systems_agree_with_the_reference(name):
    result = systems.system(name, TINY)
    assert result.max_abs_diff < 1e-4 and 0 < result.max_grad_rel_diff < 1e-3


def test_a_query_finds_the_disc_and_agrees_with_the_reference():
    result = asking.query(60, 1)
    assert result.max_abs_diff < 1e-4 and result.size.endswith("points, 1 objects")


@pytest.mark.parametrize("occupied", [False, True])
def test_reconstruction_agrees_with_the_reference(occupied):
    result = cases.reconstruct("reconstruct_32", 32, occupied, TINY)
    assert result.max_abs_diff < 1e-4 and result.max_grad_rel_diff < 1e-3


def test_tables_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "QUICK", TINY)
    monkeypatch.setattr(
        "sys.argv", ["benchmarks", "--quick", "--only", "rsr", "--out", f"{tmp_path}"]
    )
    threads = torch.get_num_threads()
    table.main()
    torch.set_num_threads(threads)
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert row["case"] == "rsr" and row["fast_s"] > 0
    assert "| rsr | 128x96, 150 masks |" in (tmp_path / "bench.md").read_text()
    assert "| rsr |" in capsys.readouterr().out


def test_the_gpu_check_by_cpu(capsys):
    """Every part of it but the device."""
    assert gpu.check(TINY, "cpu") == 0
    said = capsys.readouterr().out
    assert re.findall(r"stage_(.) \| 0.0e\+00 \| 0.0e\+00", said) == ["a", "b", "c"]
    assert "label_view: 0.00%" in said and said.endswith("passed\n")


def test_the_gpu_check_finds_a_wrong_gradient(capsys, monkeypatch):
    """A hundredth too long in one run, as where products are rounded to ten bits."""
    real = gpu.slopes
    calls = iter([1.0, 1.01, 1.0])

    def slopes(run):
        losses, gradients = real(run)
        return losses, [gradient * factor for factor in [next(calls)] for gradient in gradients]

    monkeypatch.setattr(gpu, "slopes", slopes)
    assert not gpu.check_stage("b", TINY, "cpu")
    numbers = r"stage_b \| 0.0e\+00 \| (\S+) \| (\S+)"
    ((gap, used),) = re.findall(numbers, capsys.readouterr().out)
    assert gap == "1.0e-02" and float(used) > 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_the_gpu_check_wants_a_device(capsys):
    assert gpu.main([]) == 2
    assert "no CUDA device" in capsys.readouterr().err
