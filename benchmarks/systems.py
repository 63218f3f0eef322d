"""Iterations of the compared systems: our way, and by decoding every sample as they do.

Their sources decode a feature of hundreds of channels at each sample and composite it. Our form of
them composites first and decodes once per ray (docs/method.md#systems), so both are timed on the
bench scene, with the settings of `config/variants`, at the paper's sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks import shipped
from benchmarks.cases import (
    CHUNK,
    SHORT,
    TOKEN_WIDTH,
    FixedPyramid,
    Sizes,
    fast_iteration,
    gap,
    gradient_gap,
    semantic_gaps,
    training,
    unit_rows,
)
from benchmarks.measure import Result, compare
from benchmarks.scene import CHANNELS, CLASSES, RANKS, bench_field, bench_text
from ovnerf.config.run import read_yaml
from ovnerf.config.semantics import TrainSemantics
from ovnerf.field.heads import ScaleHead, hats
from ovnerf.field.reference import grid_products
from ovnerf.field.semantic_field import SemanticField
from ovnerf.training.crops import CachedTokens, crop_rays
from ovnerf.training.losses import label_loss
from ovnerf.training.semantics import SemanticTraining
from ovnerf.training.system_losses import huber_loss, min_max, rda_loss, squared_loss

SYSTEMS = ("lerf", "3dovs", "dff", "fcclip")
VARIANTS = Path(__file__).parents[1] / "config" / "variants"
SIDES = (30, 60, 120)
"""Window sides of the pyramid, pixels."""


@dataclass(frozen=True)
class FixedFeatures(FixedPyramid):
    """The same features for every batch, by scale or interpolated between cells."""

    @property
    def grids(self) -> list[SimpleNamespace]:
        """What LERF's loss asks of a pyramid."""
        return [SimpleNamespace(side=side) for side in SIDES]

    def interpolated(self, slot: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """(r, D) of r pixels."""
        return self.features[: len(slot), 0]


def settings_of(system: str, sizes: Sizes) -> TrainSemantics:
    """The variant's settings with the batch of `sizes`."""
    given = read_yaml(VARIANTS / f"{system}.yaml")["train_semantics"]
    crops = {"crops": sizes.crops} | given.pop("dino", {})
    sized = {"batch_rays": sizes.rays, "ray_length": "as_shipped", "dino": crops}
    return TrainSemantics.model_validate(given | sized)


def system_run(system: str, sizes: Sizes) -> SemanticTraining:
    """A run about to do an iteration; a system that trains colours is past `joint_start`."""
    settings = settings_of(system, sizes)
    # FC-CLIP's label maps have one axis per class and one for no class instead of an embedding.
    width = CLASSES + 1 if system == "fcclip" else CHANNELS
    field = SemanticField(
        bench_field(sizes.edge),
        RANKS,
        len(SIDES),
        width,
        settings.head_width,
        torch.Generator().manual_seed(1),
        settings.own_ranks if settings.feature_volume == "own" else None,
        settings.scale_knots,
        TOKEN_WIDTH if settings.dino_feature_weight else 0,
    )
    data = training(field, sizes).data
    text = torch.eye(width)[:CLASSES] if system == "fcclip" else bench_text()
    extremes = torch.tensor([-0.2, 0.3]).expand(len(data.labelled), len(SIDES), CLASSES, 2)
    pyramid = FixedFeatures(unit_rows(sizes.rays, len(SIDES), CHANNELS, seed=4))
    data = replace(data, text=text, extremes=extremes, pyramid=pyramid)  # type: ignore[arg-type]
    run = SemanticTraining(field, data, settings, seed=0)
    run.iteration = run.joint_start if settings.joint_start < 1 else 0
    run.new_optimiser()
    return run


def decoded(head: torch.nn.Module, feature: Tensor, sigma: Tensor) -> Tensor:
    """CLIP vectors of samples (s, D), layer by layer, each at its scale (s,)."""
    if not isinstance(head, ScaleHead):
        return head(feature)
    inner = head.second(head.first(feature))
    shares = hats(sigma, head.knots).unbind(-1)
    parts = zip(shares, head.third, strict=True)
    return torch.stack([share[:, None] * third(inner) for share, third in parts]).sum(0)


def own_outputs(
    field: SemanticField, origin: Tensor, direction: Tensor, jitter: Tensor, sigma: Tensor
) -> dict[str, Tensor]:
    """`feature` (r, D), and `token` (r, d) where the volume has tokens, decoded at every sample.

    `sigma`: scales of the rays (r,).
    """
    radiance, own = field.radiance, field.own
    assert own is not None
    with torch.no_grad():
        point, weight, _ = shipped.weights(radiance, origin, direction, jitter, SHORT)
    mask = weight > radiance.shape.weight_threshold
    products = torch.cat(grid_products(own.grid, point[mask]), -1)
    at_sample = sigma[:, None].expand_as(weight)[mask]
    feature = decoded(field.clip, own.basis(products), at_sample)
    out = {"feature": shipped.dense_sum(weight, mask, feature)}
    if own.dino is not None:
        ones = products.new_ones(len(products), 1)
        token = own.dino(torch.cat([products, ones], -1))
        out["token"] = shipped.dense_sum(weight, mask, token)
    return out


@dataclass(frozen=True)
class Batch:
    """The first chunk of an iteration's labelled rays, with random scales for LERF's head."""

    drawn: tuple[Tensor, Tensor, Tensor]
    origin: Tensor
    direction: Tensor
    jitter: Tensor
    sigma: Tensor


def first_rays(run: SemanticTraining, count: int) -> Batch:
    """`count` of the iteration's labelled rays."""
    slot, row, column = (part[:count] for part in run.pixels.at(run.iteration))
    origin, direction = run.data.photos.rays(slot, row, column)
    draw = torch.Generator().manual_seed(5)
    jitter = torch.rand(len(origin), generator=draw)
    sigma = 3 * torch.rand(len(origin), generator=draw)
    return Batch((slot, row, column), origin, direction, jitter, sigma)


def published_loss(system: str, run: SemanticTraining, batch: Batch) -> Tensor:
    """The system's loss of labelled rays, every sample decoded."""
    data, settings, field = run.data, run.settings, run.field
    slot, row, column = batch.drawn
    rays = batch.origin, batch.direction, batch.jitter
    pyramid = data.pyramid.lookup(slot, column, row)
    if field.own is not None:
        out = own_outputs(field, *rays, batch.sigma)
        if system == "dff":
            return settings.feature_weight * squared_loss(out["feature"], pyramid[:, 0])
        assert isinstance(data.tokens, CachedTokens)
        token = data.tokens.at(data.labelled[slot], row, column)
        loss = settings.feature_weight * huber_loss(out["feature"], pyramid[:, 0])
        return loss + settings.dino_feature_weight * squared_loss(out["token"], token)
    wanted = ("feature", "scales", "colour") if system == "3dovs" else ("feature", "colour")
    out = shipped.semantics(field, *rays, SHORT, wanted)
    loss = (out["colour"] - data.photos.colours(slot, row, column)).square().mean()
    logits = out["feature"] @ data.text.T
    if system == "fcclip":
        return loss + label_loss(logits, data.label[slot, row, column].long())
    cosine = torch.einsum("rkd,cd->rkc", pyramid, data.text)
    assert data.extremes is not None
    relevancy = min_max(cosine, *data.extremes[slot].unbind(-1))
    from_pyramid = torch.einsum("rkd,rk->rd", pyramid, out["scales"])
    similar = torch.nn.functional.cosine_similarity(out["feature"], from_pyramid, dim=-1)
    loss = loss + settings.feature_weight * (1 - similar).mean()
    return loss + settings.rda_weight * rda_loss(logits, out["scales"], relevancy)


def published_iteration(
    system: str, run: SemanticTraining, sizes: Sizes
) -> list[tuple[Callable[[], Any], int]]:
    """The iteration in chunks of 1024 rays or one crop, and how many of each there are."""
    data, field, dino = run.data, run.field, run.settings.dino
    batch = first_rays(run, CHUNK)
    optimiser = Adam(run.optimiser.param_groups, betas=(0.9, 0.99))
    parts: list[tuple[Callable[[], Any], int]] = [
        (lambda: published_loss(system, run, batch).backward(), max(1, sizes.rays // CHUNK)),
        (optimiser.step, 1),
    ]
    if dino.crops:
        photo, top, left = (part[:1] for part in run.crops.at(run.iteration))
        crop = photo, top, left
        rays = crop_rays(data.photos, run.directions, *crop, run.crops.side)
        jitter = torch.rand(len(rays[0]), generator=torch.Generator().manual_seed(6))
        token = data.tokens.crops(*crop, run.crops.side)[0]

        def cropped() -> None:
            out = shipped.semantics(field, *rays, jitter, SHORT, ("feature",))
            cosine = torch.nn.functional.normalize(out["feature"], dim=-1) @ data.text.T
            shipped.correlation(cosine, token, dino, dino.crops).backward()

        parts.append((cropped, dino.crops))
    return parts


def gaps(run: SemanticTraining, rays: int = 256) -> tuple[float, float]:
    """Differences of composited outputs, and of their gradients, on the same jittered rays."""
    field = run.field
    if field.own is None:
        return semantic_gaps(run, rays)
    batch = first_rays(run, rays)
    samples, weight = field.radiance.samples_above_threshold(
        batch.origin, batch.direction, batch.jitter, SHORT
    )
    products = field.own.products(samples, weight)
    ray = field.own.ray_features(products)
    if isinstance(field.clip, ScaleHead):
        fast = {"feature": field.clip.features(ray, batch.sigma)}
    else:
        fast = {"feature": ray @ field.clip.matrix().T}
    if field.own.dino is not None:
        fast["token"] = field.own.tokens(products)
    slow = own_outputs(field, batch.origin, batch.direction, batch.jitter, batch.sigma)
    parameters = [part for group in run.optimiser.param_groups for part in group["params"]]
    one, other = (
        torch.stack([part.square().sum() for part in out.values()]).sum() for out in (fast, slow)
    )
    gradients = gradient_gap(one, other, parameters)
    return max(gap(fast[name], slow[name]) for name in slow), gradients


def system(name: str, sizes: Sizes) -> Result:
    """One iteration of a compared system."""
    run = system_run(name, sizes)
    crops = f" + {run.settings.dino.crops} crops" if run.settings.dino.crops else ""
    return compare(
        f"system_{name}",
        f"grid {sizes.edge}^3, {sizes.rays} rays{crops}, S={SHORT}",
        lambda: fast_iteration(run),
        published_iteration(name, run, sizes),
        gaps(run),
        sizes.repeats,
    )


def cases(sizes: Sizes) -> Iterator[tuple[str, Callable[[], Result]]]:
    """Every system by name, built only when called."""
    for name in SYSTEMS:
        yield f"system_{name}", partial(system, name, sizes)
