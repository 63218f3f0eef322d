"""The bench cases: each builds its inputs, checks that both paths agree, and times them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import zarr
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from benchmarks import asking, shipped
from benchmarks.measure import Result, compare
from benchmarks.scene import (
    BOX,
    CHANNELS,
    CLASSES,
    bench_camera,
    bench_field,
    bench_semantics,
    bench_text,
)
from ovnerf.config.features import CacheFeatures
from ovnerf.config.field import Reconstruct
from ovnerf.config.semantics import Dino, TrainSemantics
from ovnerf.encoders.pyramid import PyramidFeatures, window_boxes, window_grids, window_scales
from ovnerf.field.field import RadianceField
from ovnerf.field.occupancy import OccupancyGrid
from ovnerf.field.rendering import ViewWeights, render_labels, render_rgb, view_weights
from ovnerf.field.semantic_field import SemanticField
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.storage.stores import Store
from ovnerf.training.batches import generator
from ovnerf.training.crops import CachedTokens, crop_rays
from ovnerf.training.data import Photos
from ovnerf.training.losses import correlation_loss, label_loss
from ovnerf.training.reconstruct import Reconstruction
from ovnerf.training.semantic_data import SemanticData
from ovnerf.training.semantics import SemanticTraining

SHORT = 443
"""Samples of a training ray as shipped (docs/method.md#short-rays)."""
CHUNK = 1024
"""Rays the reference holds at once: one crop."""
TOKEN_WIDTH = 768
NOISE = 1e-6
"""Of the density tables in reconstruction: their cells are never exactly 0."""


@dataclass(frozen=True)
class Sizes:
    """What `--quick` makes smaller."""

    edge: int
    height: int
    width: int
    rays: int
    crops: int
    view_chunk: int
    repeats: int

    @property
    def text(self) -> str:
        """For tables."""
        return f"grid {self.edge}^3, {self.width}x{self.height}"


FULL = Sizes(300, 480, 640, 4096, 8, 512, 3)
QUICK = Sizes(128, 480, 640, 1024, 2, 512, 1)


@dataclass(frozen=True)
class FixedPyramid:
    """The same unit features for every batch: their lookup is a case of its own."""

    features: Tensor

    def lookup(self, slot: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """(r, K, D) of r pixels."""
        return self.features[: len(slot)]


def gap(fast: Tensor, slow: Tensor) -> float:
    """Largest difference over the range of the reference."""
    return float((fast - slow).detach().abs().max() / slow.detach().abs().max().clamp_min(1e-12))


def gradient_gap(fast: Tensor, slow: Tensor, parameters: Sequence[Tensor]) -> float:
    """Largest ||g_fast - g_ref|| / ||g_ref|| over parameter tensors."""
    pairs = zip(
        torch.autograd.grad(fast, parameters, allow_unused=True),
        torch.autograd.grad(slow, parameters, allow_unused=True),
        strict=True,
    )
    gaps = [
        ((torch.zeros_like(other) if one is None else one) - other).norm() / other.norm()
        for one, other in pairs
        if other is not None and float(other.norm()) > 0
    ]
    return float(torch.stack(gaps).max())  # Not a number where any gap is not.


def unit_rows(*shape: int, seed: int) -> Tensor:
    """Random unit vectors along the last axis."""
    return functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def bench_photos(frames: int, sizes: Sizes, random: torch.Generator) -> Photos:
    """The bench views with random colours, on the CPU."""
    cameras = [bench_camera(number, sizes.height, sizes.width) for number in range(frames)]
    shape = frames, sizes.height, sizes.width, 3
    return Photos(
        torch.randint(0, 256, shape, generator=random, dtype=torch.uint8),
        torch.stack([camera.pose for camera in cameras]),
        cameras[0].intrinsics,
    )


def training(
    field: SemanticField,
    sizes: Sizes,
    frames: int = 8,
    max_samples: int = SHORT,
    device: str = "cpu",
) -> SemanticTraining:
    """A semantic run over the bench views with random colours, labels and tokens.

    `max_samples`: samples of a training ray.
    """
    place = torch.device(device)
    random = torch.Generator().manual_seed(3)
    shape = (frames, sizes.height, sizes.width)
    photos = bench_photos(frames, sizes, random).to(place)
    # Smooth tokens, so that some pairs of positions are alike and others not.
    coarse = torch.randn(frames, TOKEN_WIDTH, 6, 8, generator=random)
    size = (sizes.height // 8, sizes.width // 8)
    token = functional.interpolate(coarse, size=size, mode="bilinear").permute(0, 2, 3, 1)
    data = SemanticData(
        photos=photos,
        labelled=torch.arange(frames, device=place),
        label=torch.randint(0, CLASSES, shape, generator=random, dtype=torch.int32).to(place),
        pyramid=FixedPyramid(  # type: ignore[arg-type]
            unit_rows(sizes.rays, 3, CHANNELS, seed=4).to(place)
        ),
        tokens=CachedTokens(token.contiguous().to(place)),
        text=bench_text().to(place),
        max_samples=max_samples,
    )
    settings = TrainSemantics(
        batch_rays=sizes.rays, ray_length="as_shipped", dino=Dino(crops=sizes.crops)
    )
    run = SemanticTraining(field.to(place), data, settings, seed=0)
    run.pseudo_labels = SimpleNamespace(  # type: ignore[assignment]
        novel=[("novel", photos.camera(number), None) for number in range(2)]
    )
    return run


def stage_run(
    name: str, sizes: Sizes, max_samples: int = SHORT, device: str = "cpu"
) -> SemanticTraining:
    """A run about to do an iteration of stage a, b or c."""
    run = training(
        bench_semantics(bench_field(sizes.edge)), sizes, max_samples=max_samples, device=device
    )
    run.iteration = {"a": 0, "b": run.joint_start, "c": run.cse_start}[name]
    run.new_optimiser()
    if name == "c":
        run.novel_label = run.label[:2]
    return run


def fast_iteration(run: SemanticTraining) -> None:
    """Losses, gradients, one step, without moving on: every call does the same work."""
    losses = run.losses()
    run.optimiser.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    run.optimiser.step()


def shipped_iteration(run: SemanticTraining, sizes: Sizes) -> list[tuple[Callable[[], Any], int]]:
    """The same iteration as shipped, in chunks: 1024 rays, one crop, 1024 novel rays, Adam."""
    data, settings, field = run.data, run.settings, run.field
    max_samples = data.max_samples
    device = data.label.device
    slot, row, column = (part[:CHUNK].to(device) for part in run.pixels.at(run.iteration))
    origin, direction = data.photos.rays(slot, row, column)
    photo, top, left = (part[:1].to(device) for part in run.crops.at(run.iteration))
    crop = photo, top, left
    crop_origin, crop_direction = crop_rays(data.photos, run.directions, *crop, run.crops.side)
    novel_origin, novel_direction, novel_label = run.draw_novel()
    draw = generator(0, "bench", 0)
    jitter, text = torch.rand(len(origin), generator=draw).to(device), data.text
    token = data.tokens.crops(*crop, run.crops.side)[0]
    pyramid = data.pyramid.lookup(slot, column, row)
    label, target = data.label[slot, row, column].long(), data.photos.colours(slot, row, column)
    optimiser = Adam(run.optimiser.param_groups, betas=(0.9, 0.99))

    def labelled() -> None:
        wanted = ("feature", "scales", "colour") if run.joint else ("feature", "scales")
        out = shipped.semantics(field, origin, direction, jitter, max_samples, wanted)
        loss = label_loss(out["feature"] @ text.T, label)
        loss = loss + shipped.feature_loss(out["feature"], out["scales"], pyramid)
        if run.joint:
            loss = loss + (out["colour"] - target).square().mean()
        loss.backward()

    def cropped() -> None:
        rays = crop_origin, crop_direction, jitter[: len(crop_origin)]
        out = shipped.semantics(field, *rays, max_samples, ("feature",))
        cosine = functional.normalize(out["feature"], dim=-1) @ text.T
        shipped.correlation(cosine, token, settings.dino, sizes.crops).backward()

    def novel() -> None:
        part = novel_origin[:CHUNK], novel_direction[:CHUNK], jitter
        out = shipped.semantics(field, *part, max_samples, ("feature",))
        label_loss(out["feature"] @ text.T, novel_label[:CHUNK].long()).backward()

    chunks = len(run.pixels.at(0)[0]) // CHUNK
    parts = [(labelled, chunks), (cropped, sizes.crops), (optimiser.step, 1)]
    return [*parts, (novel, chunks)] if len(novel_origin) else parts


def semantic_gaps(run: SemanticTraining, rays: int = 256) -> tuple[float, float]:
    """Differences of composited outputs and of their gradients on the same jittered rays."""
    field, radiance = run.field, run.field.radiance
    slot, row, column = (part[:rays] for part in run.pixels.at(0))
    origin, direction = run.data.photos.rays(slot, row, column)
    jitter = torch.rand(rays, generator=torch.Generator().manual_seed(5))
    samples, weight = radiance.samples_above_threshold(origin, direction, jitter, SHORT)
    features = field.ray_features(samples, weight) @ field.clip.matrix().T
    scales = field.scale_weights(samples, weight)
    slow = shipped.semantics(field, origin, direction, jitter, SHORT)
    parameters = [part for group in run.optimiser.param_groups for part in group["params"]]
    gradients = gradient_gap(
        features.square().sum() + scales.square().sum(),
        slow["feature"].square().sum() + slow["scales"].square().sum(),
        parameters,
    )
    return max(gap(features, slow["feature"]), gap(scales, slow["scales"])), gradients


def stage(name: str, sizes: Sizes, max_samples: int = SHORT) -> Result:
    """One iteration of stage a, b or c, with `max_samples` samples along a training ray."""
    run = stage_run(name, sizes, max_samples)
    gaps = semantic_gaps(run)
    size = f"grid {sizes.edge}^3, {sizes.rays} rays + {sizes.crops} crops, S={max_samples}"
    return compare(
        f"stage_{name}" if max_samples == SHORT else f"stage_{name}_full",
        size,
        lambda: fast_iteration(run),
        shipped_iteration(run, sizes),
        gaps,
        sizes.repeats,
    )


def reconstruction_field(edge: int, occupied: bool) -> RadianceField:
    """The bench room as a run has it: density that is nowhere exactly 0.

    Args:
        occupied: whether the run has made its occupancy. The method makes it on the second grid,
            191^3 (docs/method.md#upsampling): iterations at 128^3 never have one.
    """
    field = bench_field(edge, min(edge, 190))
    draw = torch.Generator().manual_seed(9)
    for table in field.density.parameters():
        table.data.add_(NOISE * torch.randn(table.shape, generator=draw))
    if not occupied:
        field.occupancy = OccupancyGrid.full(field.density.resolution)
    return field


def reconstruction_run(sizes: Sizes, device: str) -> Reconstruction:
    """A reconstruction of the bench views on the bench field, far from any change of its grids."""
    settings = Reconstruct(
        batch_rays=sizes.rays, iterations=100_000, learning_rate_grid=1e-6, learning_rate_head=1e-6
    )
    photos = bench_photos(8, sizes, torch.Generator().manual_seed(3))
    run = Reconstruction(photos, BOX, settings, torch.device(device))
    run.field = reconstruction_field(sizes.edge, True).to(device)
    run.new_optimiser()
    return run


def reconstruct(name: str, edge: int, occupied: bool, sizes: Sizes) -> Result:
    """One iteration of reconstruction: colour loss, total variation, Adam."""
    field = reconstruction_field(edge, occupied)
    camera = bench_camera(1, sizes.height, sizes.width)
    every, around = camera.rays()
    pick = torch.randperm(len(every), generator=torch.Generator().manual_seed(6))[: sizes.rays]
    origin, direction = every[pick], around[pick]
    jitter = torch.rand(len(pick), generator=torch.Generator().manual_seed(7))
    target = torch.rand(len(pick), 3, generator=torch.Generator().manual_seed(8))
    field.requires_grad_()
    chunk = CHUNK // max(1, edge // 128)
    small = slice(0, 128)
    fast = field.render_colour(origin[small], direction[small], jitter[small], 1.0)[0]
    slow = shipped.colour(field, origin[small], direction[small], jitter[small], 1.0)
    parameters = list(field.parameters())
    gaps = gap(fast, slow), gradient_gap(fast.square().sum(), slow.square().sum(), parameters)
    fused = Adam(parameters, lr=1e-9, betas=(0.9, 0.99), fused=True)
    plain = Adam(parameters, lr=1e-9, betas=(0.9, 0.99))

    def fast_step() -> None:
        rgb, _ = field.render_colour(origin, direction, jitter, 1.0)
        fused.zero_grad()
        (rgb.clamp(0, 1) - target).square().mean().backward()
        field.density.add_total_variation_gradient(1.0)
        field.appearance.add_total_variation_gradient(1.0)
        fused.step()

    def rays() -> None:
        rgb = shipped.colour(field, origin[:chunk], direction[:chunk], jitter[:chunk], 1.0)
        (rgb.clamp(0, 1) - target[:chunk]).square().mean().backward()

    def rest() -> None:
        (field.density.total_variation() + field.appearance.total_variation()).backward()
        plain.step()

    size = f"grid {edge}^3, {sizes.rays} rays, {'with' if occupied else 'no'} occupancy"
    parts = [(rays, sizes.rays // chunk), (rest, 1)]
    return compare(name, size, fast_step, parts, gaps, sizes.repeats)


def view_rays(sizes: Sizes) -> tuple[Tensor, Tensor, int]:
    """Rays of a chunk spread over the bench view, and how many chunks the view has."""
    origin, direction = bench_camera(1, sizes.height, sizes.width).rays()
    every = len(origin) // sizes.view_chunk
    pick = slice(0, every * sizes.view_chunk, every)
    return origin[pick], direction[pick], every


def parity_of_labels(field: SemanticField, view: ViewWeights, sizes: Sizes, text: Tensor) -> float:
    """Share of pixels whose labels differ."""
    origin, direction, every = view_rays(sizes)
    fast = render_labels(field, view, text, VOID)[: every * sizes.view_chunk : every]
    slow = shipped.label_map(field, origin, direction, text, sizes.view_chunk)
    return float((fast != slow).float().mean())


def label_view(sizes: Sizes) -> Result:
    """A whole label map, marching included."""
    field, text = bench_semantics(bench_field(sizes.edge)), bench_text()
    camera = bench_camera(1, sizes.height, sizes.width)
    origin, direction, every = view_rays(sizes)
    gaps = parity_of_labels(field, view_weights(field.radiance, camera), sizes, text), 0.0

    def fast() -> None:
        render_labels(field, view_weights(field.radiance, camera), text, VOID)

    def reference() -> None:
        shipped.label_map(field, origin, direction, text, sizes.view_chunk)

    return compare("label_view", sizes.text, fast, [(reference, every)], gaps, sizes.repeats)


def rgb_view(sizes: Sizes) -> Result:
    """A whole colour image, marching included."""
    field = bench_field(sizes.edge)
    camera = bench_camera(1, sizes.height, sizes.width)
    origin, direction, every = view_rays(sizes)

    def fast() -> Tensor:
        return render_rgb(field, view_weights(field, camera))

    def reference() -> Tensor:
        return shipped.colour_map(field, origin, direction, sizes.view_chunk)

    gaps = gap(fast()[: every * sizes.view_chunk : every], reference()), 0.0
    return compare("rgb_view", sizes.text, fast, [(reference, every)], gaps, sizes.repeats)


def fda(sizes: Sizes) -> Result:
    """Correlation losses of all crops, with their gradients."""
    cosine = (torch.rand(sizes.crops, 1024, CLASSES) * 2 - 1).requires_grad_()
    token = training_tokens(sizes.crops)
    settings = Dino(crops=sizes.crops)

    def losses(part: Tensor, tokens: Tensor) -> Tensor:
        positive, negative = correlation_loss(part, tokens, settings)
        return settings.positive_weight * positive + settings.negative_weight * negative

    def slow(index: int) -> Tensor:
        return shipped.correlation(cosine[index], token[index], settings, 1)

    one, other = losses(cosine[:1], token[:1]), slow(0)
    gaps = gap(one, other), gradient_gap(one, other, [cosine])
    return compare(
        "fda",
        f"{sizes.crops} crops x 1024 positions, {CLASSES} classes",
        lambda: losses(cosine, token).backward(),
        [(lambda: slow(0).backward(), sizes.crops)],
        gaps,
        sizes.repeats,
    )


def training_tokens(crops: int) -> Tensor:
    """Smooth tokens (k, 1024, d)."""
    coarse = torch.randn(crops, TOKEN_WIDTH, 4, 4, generator=torch.Generator().manual_seed(9))
    fine = functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    return fine.flatten(2).transpose(1, 2).contiguous()


def masks(height: int, width: int, count: int = 150) -> np.ndarray:
    """Overlapping ellipses of many sizes: bool (m, H, W)."""
    random = np.random.default_rng(10)
    row, column = np.mgrid[:height, :width]
    centre = random.uniform(0, [height, width], (count, 2))
    radius = random.uniform(0.02, 0.2, (count, 2)) * height
    return np.stack(
        [
            ((row - y) / a) ** 2 + ((column - x) / b) ** 2 <= 1
            for (y, x), (a, b) in zip(centre, radius, strict=True)
        ]
    )


def rsr(sizes: Sizes) -> Result:
    """Region ranking of one label map, regions indexed beforehand."""
    regions = masks(sizes.height, sizes.width)
    random = np.random.default_rng(11)
    label = random.integers(0, CLASSES, (sizes.height, sizes.width)).astype(np.uint16)
    ranker = RegionRanker(regions)
    differ = float((ranker(label, CLASSES) != shipped.rank(label, regions, CLASSES)).mean())
    return compare(
        "rsr",
        f"{sizes.width}x{sizes.height}, {len(regions)} masks",
        lambda: ranker(label, CLASSES),
        lambda: shipped.rank(label, regions, CLASSES),
        (differ, 0.0),
        max(3, sizes.repeats),
    )


def cse_refresh(sizes: Sizes) -> Result:
    """One view's pseudo labels again: kept weights, label map, region ranking."""
    field, text = bench_semantics(bench_field(sizes.edge)), bench_text()
    camera = bench_camera(1, sizes.height, sizes.width)
    origin, direction, every = view_rays(sizes)
    view, regions = view_weights(field.radiance, camera), masks(sizes.height, sizes.width)
    ranker = RegionRanker(regions)
    shape = sizes.height, sizes.width

    def fast() -> np.ndarray:
        label = render_labels(field, view, text, VOID).view(shape)
        return ranker(label.numpy().astype(np.uint16), CLASSES)

    label = render_labels(field, view, text, VOID).view(shape).numpy().astype(np.uint16)
    parts = [
        (lambda: shipped.label_map(field, origin, direction, text, sizes.view_chunk), every),
        (lambda: shipped.rank(label, regions, CLASSES), 1),
    ]
    gaps = parity_of_labels(field, view, sizes, text), 0.0
    return compare("cse_refresh", sizes.text, fast, parts, gaps, sizes.repeats)


def feat_target(sizes: Sizes) -> Result:
    """CLIP features of a batch of pixels: window means, against a gather from dense maps.

    The reference's memory is its dense maps of one frame, in half precision; making them (minutes
    a scene) is not in its time.
    """
    settings = CacheFeatures()
    size = sizes.height, sizes.width
    grids = window_grids(*size, settings.scales, settings.stride, settings.jitter)
    boxes = window_boxes(*size, grids, seed=0, frame=0)
    random = np.random.default_rng(12)
    embedding = random.standard_normal((len(boxes), CHANNELS)).astype(np.float16)
    group = zarr.create_group(zarr.storage.MemoryStore())
    group.attrs.update(
        frames=[0],
        shape=size,
        scales=settings.scales,
        stride=settings.stride,
        jitter=settings.jitter,
    )
    arrays = {"embedding": embedding[None], "box": boxes[None], "scale": window_scales(grids)}
    for name, values in arrays.items():
        group.create_array(name, data=values)
    pyramid = PyramidFeatures(cast(Store, group))
    pick = torch.Generator().manual_seed(13)
    row = torch.randint(0, sizes.height, (sizes.rays,), generator=pick)
    column = torch.randint(0, sizes.width, (sizes.rays,), generator=pick)
    slot = torch.zeros(sizes.rays, dtype=torch.long)
    dense = torch.zeros(len(grids), *size, CHANNELS, dtype=torch.float16)
    for scale in range(len(grids)):
        total, covering = torch.zeros(*size, CHANNELS), torch.zeros(*size, 1)
        for number in np.flatnonzero(arrays["scale"] == scale):
            x0, y0, x1, y1 = boxes[number].tolist()
            total[y0:y1, x0:x1] += torch.from_numpy(embedding[number]).float()
            covering[y0:y1, x0:x1] += 1
        dense[scale] = functional.normalize(total / covering, dim=-1)

    def reference() -> Tensor:
        return functional.normalize(dense[:, row, column].float(), dim=-1).transpose(0, 1)

    result = compare(
        "feat_target",
        f"{len(boxes)} windows a frame, {sizes.rays} rays",
        lambda: pyramid.lookup(slot, column, row),
        reference,
        (gap(pyramid.lookup(slot, column, row), reference()), 0.0),
        max(3, sizes.repeats),
    )
    held = dense.numel() * 2 / 2**20, embedding.nbytes / 2**20
    return replace(result, reference_peak_mb=held[0], fast_peak_mb=result.fast_peak_mb + held[1])


def describe(field: RadianceField, sizes: Sizes) -> str:
    """Occupancy and samples per ray of the bench scene."""
    view = view_weights(field, bench_camera(1, sizes.height, sizes.width))
    return (
        f"bench scene {field.density.resolution}: {field.occupancy.share():.1%} of the cells "
        f"occupied, {len(view.weight) / len(view.origin):.1f} samples of w > 1e-4 a ray, "
        f"{field.max_samples} samples along a full ray"
    )


def cases(sizes: Sizes) -> Iterator[tuple[str, Callable[[], Result]]]:
    """Every case by name, built only when called."""
    for name in "abc":
        yield f"stage_{name}", partial(stage, name, sizes)
    if sizes.edge == FULL.edge:
        yield "stage_b_full", lambda: stage("b", sizes, bench_field(sizes.edge).max_samples)
    grids = [("reconstruct_128", 128, False), ("reconstruct_128_occupied", 128, True)]
    if sizes.edge == FULL.edge:
        grids += [("reconstruct_286", 286, True), ("reconstruct_639", 639, True)]
    for name, edge, occupied in grids:
        yield name, partial(reconstruct, name, edge, occupied, sizes)
    plain = (label_view, rgb_view, fda, rsr, feat_target, cse_refresh)
    for case in plain:
        yield case.__name__, partial(case, sizes)
    yield "query", partial(asking.query, 500 if sizes.edge == FULL.edge else 150, sizes.repeats)
