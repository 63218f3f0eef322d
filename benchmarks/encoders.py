"""`python -m benchmarks.encoders`: real-size encoders with random weights against their libraries'
plain loops, in turn, in one process; then the bytes a 640x480 frame takes in each store. With
`--dense`: seconds of a frame by dense CLIP beside the pyramid. With `--sam vit_b vit_l`: seconds of
SAM's image encoder and of its decoder by size.

Rates are per second of computing on one core.

What a plain loop is: each window is cut, prepared by open_clip's own transform and stacked into the
same batches; each photo goes through timm's own transform and `forward_intermediates`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from segment_anything import SamPredictor

from ovnerf.encoders.dense_clip import Attention, DenseClipEncoder
from ovnerf.encoders.dino import DinoEncoder, build_dino
from ovnerf.encoders.openclip import OpenClipEncoder
from ovnerf.encoders.pyramid import PyramidFeatures, window_boxes, window_grids, window_scales
from ovnerf.regions.runlength import encode_all
from ovnerf.regions.sam import build_sam
from ovnerf.storage.stores import open_store, write_store

CLIP_MODEL, DINO_MODEL = "ViT-B-16-quickgelu", "vit_base_patch8_224.dino"
HEIGHT, WIDTH = 480, 640
SCALES = (5, 7, 10)
MASKS = 150
Row = tuple[str, ...]


def photo(height: int, width: int) -> np.ndarray:
    """A picture with waves and grain, u8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 29 + y / 17), np.cos(x / 13), np.sin(y / 11)], -1)
    grain = np.random.default_rng(0).normal(0, 12, waves.shape)
    return np.clip(128 + 90 * waves + grain, 0, 255).astype(np.uint8)


def in_turn(repeats: int, *calls: Callable[[], torch.Tensor]) -> tuple[list[float], list]:
    """Median seconds of each call, timed in turn, and what each returned last.

    Seconds of computing, all threads together: other work on the machine does not count.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    found: list[torch.Tensor] = [torch.empty(0)] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            begin = time.process_time()
            found[number] = call()
            seconds[number].append(time.process_time() - begin)
    return [float(np.median(each)) for each in seconds], found


def random_clip() -> tuple[torch.nn.Module, Callable, OpenClipEncoder]:
    """A model with random weights, its own transform, and our encoder with the same weights."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(CLIP_MODEL)
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openai-random.safetensors"
        save_file({name: item.contiguous() for name, item in model.state_dict().items()}, path)
        return model, transform, OpenClipEncoder(CLIP_MODEL, path, torch.device("cpu"))


def dense_lines(windows: int, batch: int, repeats: int) -> list[str]:
    """Seconds of a frame by dense CLIP, beside the pyramid's windows timed in turn with it."""
    encoder = random_clip()[2]
    image = photo(HEIGHT, WIDTH)
    every = window_boxes(HEIGHT, WIDTH, window_grids(HEIGHT, WIDTH, SCALES, 0.25, 0.25), 0, 0)
    box = every[np.linspace(0, len(every) - 1, windows).astype(int)]
    cases: list[tuple[Attention, int]] = [("value", 336), ("neighbour", 336), ("neighbour", 480)]
    dense = [DenseClipEncoder(encoder, name, side=side, batch=batch) for name, side in cases]
    calls = [lambda one=one: one.features(image) for one in dense]
    seconds, _ = in_turn(repeats, lambda: encoder.encode_crops([image], [box], batch)[0], *calls)
    pyramid = seconds[0] / windows * len(every)
    lines = [f"pyramid: {pyramid:.0f} s a frame ({len(every)} windows, {windows} of them timed)"]
    for (name, side), taken in zip(cases, seconds[1:], strict=True):
        ratio = f"{pyramid / taken:.0f} times cheaper"
        lines.append(f"dense CLIP, {name}, side {side}: {taken:.2f} s a frame, {ratio}")
    return lines


@torch.inference_mode()
def sam_lines(architectures: list[str], prompts: int, repeats: int) -> list[str]:
    """Seconds of SAM on a frame by size: the encoder once, the decoder for a batch of prompts."""
    image, lines = photo(HEIGHT, WIDTH), []
    for name in architectures:
        torch.manual_seed(0)
        predictor = SamPredictor(build_sam(name).eval())
        point = torch.from_numpy(
            np.random.default_rng(0).uniform(
                0, predictor.model.image_encoder.img_size, (prompts, 1, 2)
            )
        ).float()
        marked = torch.ones(prompts, 1, dtype=torch.int)

        def encode(predictor: SamPredictor = predictor) -> torch.Tensor:
            predictor.set_image(image)
            return predictor.features

        def decode(
            predictor: SamPredictor = predictor,
            point: torch.Tensor = point,
            marked: torch.Tensor = marked,
        ) -> torch.Tensor:
            return predictor.predict_torch(point, marked, multimask_output=True)[1]

        (encoding,), _ = in_turn(repeats, encode)
        (decoding,), _ = in_turn(repeats, decode)
        each = decoding / prompts
        whole = ", ".join(
            f"{side} x {side} prompts: {encoding + each * side**2:.0f} s a frame"
            for side in (16, 32)
        )
        lines.append(
            f"SAM {name}: encoder {encoding:.1f} s, decoder {1000 * each:.0f} ms a prompt "
            f"({prompts} at once); {whole}, without sorting masks"
        )
    return lines


def clip_rows(windows: int, batch: int, repeats: int) -> list[Row]:
    """Windows of one frame: prepared, and prepared and encoded."""
    model, transform, encoder = random_clip()
    image = photo(HEIGHT, WIDTH)
    grids = window_grids(HEIGHT, WIDTH, SCALES, 0.25, 0.25)
    every = window_boxes(HEIGHT, WIDTH, grids, 0, 0)
    box = every[np.linspace(0, len(every) - 1, windows).astype(int)]
    pixels = torch.from_numpy(image).permute(2, 0, 1)

    def plain_crops() -> torch.Tensor:
        cut = [Image.fromarray(image[y0:y1, x0:x1]) for x0, y0, x1, y1 in box]
        return torch.stack([transform(crop) for crop in cut])

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        encode: Any = model.encode_image
        return torch.cat([encode(part) for part in plain_crops().split(batch)])

    rows = []
    cases = (
        ("prepare", plain_crops, lambda: encoder.prepare(pixels, box)),
        ("prepare and encode", plain, lambda: encoder.encode_crops([image], [box], batch)[0]),
    )
    for name, reference, ours in cases:
        (slow, fast), (wanted, found) = in_turn(repeats, reference, ours)
        far = (wanted - found).abs().max() / (wanted.max() - wanted.min())
        rates = [f"{windows / seconds:.3g} windows/s" for seconds in (slow, fast)]
        label = f"{CLIP_MODEL}, {name} ({windows} windows, batch {batch})"
        rows.append((label, *rates, f"{slow / fast:.2f}", f"{float(far):.1e}"))
    print(f"{CLIP_MODEL}: {len(every)} windows an image of {WIDTH}x{HEIGHT}, so")
    for who, seconds in (("plain loop", slow), ("here", fast)):
        print(f"  {who}: {windows / seconds / len(every):.3g} images/s")
    halves = torch.nn.functional.cosine_similarity(found, found.half().float())
    print(f"  one embedding kept as binary16: minimum cosine {float(halves.min()):.9f}")
    return rows


def dino_row(height: int, width: int, repeats: int) -> Row:
    """Tokens of one photo."""
    from timm.data import create_transform, resolve_model_data_config

    torch.manual_seed(0)
    model = build_dino(DINO_MODEL).eval()
    encoder = DinoEncoder(model, torch.device("cpu"))
    config = resolve_model_data_config(model)
    transform = create_transform(
        input_size=(3, height, width), mean=config["mean"], std=config["std"], crop_pct=1.0
    )
    image = photo(height, width)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        ready = transform(Image.fromarray(image))[None]
        options = {"norm": False, "output_fmt": "NLC", "intermediates_only": True}
        forward: Any = model.forward_intermediates
        return forward(ready, indices=1, **options)[0]

    def ours() -> torch.Tensor:
        ready = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        return encoder.tokens(ready).flatten(1, 2)

    (slow, fast), (wanted, found) = in_turn(repeats, plain, ours)
    far = (wanted - found).abs().max() / (wanted.max() - wanted.min())
    rates = [f"{1 / seconds:.3g} images/s" for seconds in (slow, fast)]
    return (f"{DINO_MODEL} ({width}x{height})", *rates, f"{slow / fast:.2f}", f"{float(far):.1e}")


def ellipses(count: int) -> np.ndarray:
    """Masks bool (count, H, W), most of them small and a few large, as SAM's are."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    masks = np.empty((count, HEIGHT, WIDTH), dtype=bool)
    for mask in masks:
        radius = HEIGHT * np.exp(random.normal(-2.7, 0.8))
        centre, stretch = random.uniform((0, 0), (HEIGHT, WIDTH)), random.uniform(0.6, 1.8)
        angle = np.arctan2(y - centre[0], x - centre[1])
        wave = 1 + 0.2 * np.sin(random.integers(2, 9) * angle + random.uniform(0, 6))
        mask[...] = np.hypot(y - centre[0], (x - centre[1]) / stretch) < radius * wave
    return masks


def sizes() -> list[str]:
    """Lines about what one frame takes on disk, and what binary16 costs in the pyramid."""
    random = np.random.default_rng(0)
    grids = window_grids(HEIGHT, WIDTH, SCALES, 0.25, 0.25)
    count = sum(grid.count for grid in grids)
    # Gaussian numbers do not compress: real embeddings take this at most.
    embedding = random.standard_normal((1, count, 512)).astype(np.float32)
    box = window_boxes(HEIGHT, WIDTH, grids, 0, 0)[None]
    token = random.standard_normal((1, HEIGHT // 8, WIDTH // 8, 768)).astype(np.float16)
    about: dict[str, Any] = {"frames": [0], "shape": [HEIGHT, WIDTH], "scales": list(SCALES)}
    about |= {"stride": 0.25, "jitter": 0.25}
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = {"embedding": embedding.astype(np.float16), "box": box}
        stored = {
            "features": {**clip, "scale": window_scales(grids)},
            "dino": {"token": token},
            "regions": encode_all(ellipses(MASKS)),
        }
        for kind, arrays in stored.items():
            path = folder / f"{kind}.zarr"
            write_store(path, kind, arrays, about, "benchmark")
            taken = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            raw = sum(array.nbytes for array in arrays.values())
            lines.append(
                f"{kind}.zarr, one frame: {taken / 1e3:.1f} kB (arrays {raw / 1e3:.1f} kB)"
            )
        features = PyramidFeatures(open_store(folder / "features.zarr", "features"))
    pixel = torch.from_numpy(random.integers(0, (WIDTH, HEIGHT), (5000, 2)))
    half = features.lookup(torch.zeros(5000, dtype=torch.long), *pixel.T)
    features.embedding[0] = torch.from_numpy(embedding[0])
    whole = features.lookup(torch.zeros(5000, dtype=torch.long), *pixel.T)
    cosine = float((half * whole).sum(-1).min())
    lines.append(f"pyramid features from binary16, 5000 pixels: minimum cosine {cosine:.9f}")
    return lines


def main() -> None:
    """Print a Markdown table and the sizes."""
    parser = argparse.ArgumentParser(prog="benchmarks.encoders", description=__doc__)
    parser.add_argument("--windows", type=int, default=32, help="CLIP windows to encode")
    parser.add_argument("--batch", type=int, default=16, help="windows encoded at once")
    parser.add_argument("--width", type=int, default=320, help="of the photo for DINO")
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3, help="medians are kept")
    parser.add_argument("--dense", action="store_true", help="time dense CLIP and the pyramid only")
    parser.add_argument("--sam", nargs="+", metavar="SIZE", help="time SAMs (vit_b ...) only")
    parser.add_argument("--sizes", action="store_true", help="print the stores' sizes only")
    chosen = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if chosen.dense:
        print("\n".join(dense_lines(chosen.windows, chosen.batch, chosen.repeats)))
        return
    if chosen.sam:
        print("\n".join(sam_lines(chosen.sam, chosen.batch, chosen.repeats)))
        return
    rows: list[Row] = []
    if not chosen.sizes:
        rows = clip_rows(chosen.windows, chosen.batch, chosen.repeats)
        rows.append(dino_row(chosen.height, chosen.width, chosen.repeats))
        print(f"\n{torch.get_num_threads()} threads, CPU, random weights; seconds of computing\n")
        print("| what | plain loop | here | ratio | difference / range |\n|---|---|---|---|---|")
        for row in rows:
            print(f"| {' | '.join(row)} |")
        print()
    print(f"{WIDTH}x{HEIGHT}, {MASKS} masks, CLIP width 512, DINO width 768:")
    print("\n".join(f"* {line}" for line in sizes()))


if __name__ == "__main__":
    main()
