"""Parts of a scene's CLIP pyramid, made apart, are the store that one job makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from ovnerf.config.features import CacheFeatures, OpenClip, Simulated
from ovnerf.encoders.windows import part_range
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features, cache_features_part
from ovnerf.storage.stores import open_store, verify

SIMULATED = CacheFeatures(encoder=Simulated(kind="simulated", width=16, noise=0.2), stride=0.5)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> CacheFeatures:
    """A CLIP with random weights whose batch holds the windows of three frames."""
    folder = tmp_path_factory.mktemp("clip")
    sizes = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path = folder / "ovnerf-parts-clip.json"
    path.write_text(json.dumps({"embed_dim": 8, "vision_cfg": sizes, "text_cfg": text}))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    model = open_clip.create_model("ovnerf-parts-clip")
    torch.save(model.state_dict(), folder / "weights.pt")
    encoder = OpenClip(kind="openclip", model=str(path), weights=str(folder / "weights.pt"))
    # 3 x 5 and 5 x 7 windows a frame of 48 x 64.
    return CacheFeatures(encoder=encoder, scales=(2, 3), stride=0.5, batch=3 * 50 + 20)


def make_parts(folder: Path, stores: tuple[Path, Path], settings: CacheFeatures) -> list[Path]:
    paths = [folder / f"{part}.zarr" for part in range(settings.parts)]
    for part, path in enumerate(paths):
        cache_features_part.run(
            frames=stores[0], truth=stores[1], out=path, settings=settings, part=part
        )
    return paths


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", ["simulated", "real"])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_make_the_same_bytes(tiny_scene, tmp_path, real, kind, parts):
    settings = SIMULATED if kind == "simulated" else real
    frames, truth = tiny_scene
    whole, gathered = tmp_path / "whole.zarr", tmp_path / "features.zarr"
    cache_features.run(frames=frames, truth=truth, out=whole, settings=settings)
    settings = settings.model_copy(update={"parts": parts})
    paths = make_parts(tmp_path, tiny_scene, settings)
    cache_features.run(frames=frames, out=gathered, settings=settings, parts=paths[::-1])
    verify(open_store(gathered, "features"))
    assert files(gathered) == files(whole)


def test_frames_that_share_a_batch_stay_in_one_part(tiny_scene, tmp_path, real):
    paths = make_parts(tmp_path, tiny_scene, real.model_copy(update={"parts": 3}))
    ranges = [open_store(path, "features").attrs["part"] for path in paths]
    assert ranges == [[0, 3, 10], [3, 6, 10], [6, 10, 10]]
    assert open_store(paths[1], "features").attrs["frames"] == [4, 5, 6]


def test_ranges_cover_every_frame_once():
    for total, group, parts in ((10, 1, 4), (10, 3, 4), (7, 7, 1), (270, 1, 8)):
        ranges = [part_range(total, group, part, parts) for part in range(parts)]
        covered = np.concatenate([np.arange(*one) for one in ranges])
        assert covered.tolist() == list(range(total))
        assert all(begin % group == 0 and begin < end for begin, end in ranges)


def test_bad_parts_are_refused(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    settings = SIMULATED.model_copy(update={"parts": 3})
    first, second, third = make_parts(tmp_path, tiny_scene, settings)
    out = tmp_path / "features.zarr"

    def refused(paths: list[Path], said: str) -> None:
        with pytest.raises(UserError, match=said):
            cache_features.run(frames=frames, out=out, settings=settings, parts=paths)
        assert not out.exists()

    refused([first, third], r"2\.zarr: found frames 6 to 9, expected them to begin at 3")
    refused([first, second, second, third], "expected them to begin at 6")
    refused([first, second], "found parts up to frame 5, expected 10 frames")
    other = settings.model_copy(update={"seed": 1})
    cache_features_part.run(frames=frames, truth=truth, out=third, settings=other, part=2)
    refused([first, second, third], "found a part of another result than")
    whole = tmp_path / "whole.zarr"
    cache_features.run(frames=frames, truth=truth, out=whole, settings=settings)
    refused([first, second, whole], "found a whole features store, expected a part")
    shutil.rmtree(second / "embedding/c/1")
    refused([first, second, third], "array 'embedding': found 2 chunks, expected 3")
    for part, said in ((3, "expected 0 to 2"), (-1, "expected 0 to 2")):
        with pytest.raises(UserError, match=said):
            cache_features_part.run(
                frames=frames, truth=truth, out=out, settings=settings, part=part
            )
    many = settings.model_copy(update={"parts": 11})
    with pytest.raises(UserError, match="found 11, expected at most 10"):
        cache_features_part.run(frames=frames, truth=truth, out=out, settings=many, part=0)
