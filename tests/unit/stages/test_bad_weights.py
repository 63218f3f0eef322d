"""Bad weight files and prompts, every encoder: one message naming the file, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from features_fixtures import CLASSES
from safetensors.torch import load_file, save_file

from ovnerf.cli import main
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store, read, write_store

TOY = REPOSITORY_ROOT / "ovnerf/toy"
WEIGHTS = {"cache_features": "clip", "cache_dino": "dino", "propose_regions": "sam"}


def settings_of(stage: str, weights: Path) -> dict:
    """The stage with its toy model and these weights."""
    if stage == "cache_features":
        model = str(TOY / "models/toy-clip.json")
        return {"encoder": {"kind": "openclip", "model": model, "weights": str(weights)}}
    return {
        "cache_dino": {"model": "toy", "weights": str(weights)},
        "propose_regions": {"architecture": "toy", "weights": str(weights)},
    }[stage]


def half(path: Path, good: Path) -> None:
    content = good.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def half_of_a_torch_file(path: Path, good: Path) -> None:
    torch.save(load_file(good), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def one_key_less(path: Path, good: Path) -> None:
    tensors = load_file(good)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)


def one_key_more(path: Path, good: Path) -> None:
    save_file({**load_file(good), "extra.weight": torch.zeros(2)}, path)


def another_shape(path: Path, good: Path) -> None:
    tensors = load_file(good)
    name = max(tensors, key=lambda key: tensors[key].numel())
    save_file({**tensors, name: tensors[name][:1].clone()}, path)


def torchscript(path: Path, good: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))


UNREADABLE = "not a readable weight file"
FOREIGN = "weights of another architecture than {stage}"
BAD: dict[str, tuple[str, Callable[[Path, Path], object], str]] = {
    "half downloaded": ("safetensors", half, UNREADABLE),
    "half of a torch file": ("pth", half_of_a_torch_file, UNREADABLE),
    "empty": ("safetensors", lambda path, good: path.write_bytes(b""), UNREADABLE),
    "a web page": ("pth", lambda path, good: path.write_text("<html>log in</html>"), UNREADABLE),
    "TorchScript": ("pt", torchscript, UNREADABLE),
    "not tensors": ("pt", lambda path, good: torch.save([1, 2], path), "expected named tensors"),
    "a key less": ("safetensors", one_key_less, FOREIGN),
    "a key more": ("safetensors", one_key_more, FOREIGN),
    "another shape": ("safetensors", another_shape, FOREIGN),
}


def refused(capsys: pytest.CaptureFixture, folder: Path, stage: str, settings: dict) -> str:
    """The one message with which the stage stops, before anything is written."""
    out = folder / "out.zarr"
    arguments = ["--frames", folder / "frames.zarr", "--out", out]
    assert main([stage, *map(str, arguments), "--settings", json.dumps(settings)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("error:") == 1 and "Traceback" not in captured.err
    assert captured.out == ""
    assert not list(folder.glob("out.zarr*"))
    return captured.err


@pytest.mark.filterwarnings("ignore")  # torch speaks of TorchScript files
@pytest.mark.parametrize("stage", WEIGHTS)
@pytest.mark.parametrize("case", BAD)
def test_bad_weights(tiny_scene, capsys, case, stage):
    suffix, damage, said = BAD[case]
    folder = tiny_scene[0].parent
    path = folder / f"weights.{suffix}"
    damage(path, TOY / f"weights/{WEIGHTS[stage]}.safetensors")
    message = refused(capsys, folder, stage, settings_of(stage, path))
    where = {"cache_features": "encoder.model", "cache_dino": "cache_dino.model"}
    stage_name = where.get(stage, "propose_regions.architecture")
    assert f"error: {path}: {said.format(stage=stage_name)}" in message


@pytest.mark.parametrize("stage", WEIGHTS)
def test_missing_weights(tiny_scene, capsys, stage):
    message = refused(
        capsys, tiny_scene[0].parent, stage, settings_of(stage, Path("weights/absent.pth"))
    )
    assert "weights: no file weights/absent.pth, looked in" in message
    assert "put the weights there" in message


def test_a_class_name_longer_than_the_models_context(tiny_scene, capsys):
    frames, _ = tiny_scene
    group = open_store(frames, "frames")
    arrays = {name: read(group, name) for name in ("rgb", "pose", "intrinsics", "split")}
    attributes = {key: group.attrs[key] for key in ("names", "similarity", "box", "dropped")}
    names = [*CLASSES[:-1], "very " * 80 + "long"]
    write_store(frames, "frames", arrays, {**attributes, "classes": names}, "long")
    weights = TOY / "weights/clip.safetensors"
    message = refused(
        capsys, frames.parent, "cache_features", settings_of("cache_features", weights)
    )
    assert "class list: found a prompt of" in message and "shorten the class name" in message
