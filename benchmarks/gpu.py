"""`python -m benchmarks.gpu` (`make gpu-check`): CUDA gives the same, without waits; how fast.

Exit code 1 where CUDA and CPU differ by more than their limit: 1e-3 for losses and for the
gradient of each parameter. Some gradients cannot be had that exactly in single precision: where
positive and negative parts nearly cancel, one hidden unit on the other side of its ReLU counts. How
exact one can be is measured on the CPU, by moving every parameter by about a millionth of itself;
where that changes a gradient by more than a quarter of the limit, the limit is four times the
change. Waiting for the device anywhere but in `to_host` raises.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.cases import (
    FULL,
    QUICK,
    Sizes,
    fast_iteration,
    reconstruction_run,
    shipped_iteration,
    stage_run,
)
from benchmarks.measure import seconds
from benchmarks.scene import bench_camera, bench_field, bench_semantics, bench_text
from ovnerf.compute.transfer import to_host
from ovnerf.field import marched
from ovnerf.field.rendering import render_labels, view_weights
from ovnerf.labels.void import VOID
from ovnerf.training.recorded import UNRECORDED
from ovnerf.training.semantics import SemanticTraining

PARITY = 1e-3
LABELS = 1e-3
CHANGED = 0.05
"""Part of a change by Adam: it divides gradients by their size, however small they are."""
NUDGE = 1e-6
"""By how much of itself a parameter is moved (standard deviation)."""
CHANGES = 4
"""So many times the change that a nudge makes in a gradient may lie between CUDA and CPU."""


@contextmanager
def only_one_wait(device: str) -> Iterator[None]:
    """Every wait raises, but those of `to_host`."""

    def waited(tensor: Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        host = to_host(tensor)
        torch.cuda.set_sync_debug_mode("error")
        return host

    if device != "cuda":
        yield
        return
    with mock.patch.object(marched, "to_host", waited):
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def finished(work: Callable[[], Any], device: str) -> float:
    """Seconds until the device has done `work`."""

    def whole() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return seconds(whole)


def slopes(run: SemanticTraining) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Losses of the next iteration and their gradients, on the host."""
    losses = run.losses()
    run.optimiser.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    groups = run.optimiser.param_groups
    gradients = [part.grad for group in groups for part in group["params"] if part.grad is not None]
    named = {name: loss.detach().cpu() for name, loss in losses.items()}
    return named, [gradient.cpu() for gradient in gradients]


def gaps(found: list[Tensor], wanted: list[Tensor]) -> list[float]:
    """Length of the difference over the wanted one's length, of every pair."""
    return [
        float((one - other).norm() / other.norm().clamp_min(1e-20))
        for one, other in zip(found, wanted, strict=True)
    ]


@torch.no_grad()
def nudged(run: SemanticTraining) -> SemanticTraining:
    """The run, with every trained parameter moved a little, at random."""
    generator = torch.Generator().manual_seed(0)
    for group in run.optimiser.param_groups:
        for part in group["params"]:
            part.mul_(1 + NUDGE * torch.randn(part.shape, generator=generator))
    return run


def check_stage(name: str, sizes: Sizes, device: str) -> bool:
    """One line of the table: largest differences to CPU, seconds of both paths."""
    host, run = stage_run(name, sizes), stage_run(name, sizes, device=device)
    (wanted, wanted_slopes), (found, found_slopes) = slopes(host), slopes(run)
    loss_gap = max(
        float((found[key] - wanted[key]).abs() / wanted[key].abs().clamp_min(1e-12))
        for key in wanted
    )
    slope_gaps = gaps(found_slopes, wanted_slopes)
    changes = gaps(slopes(nudged(stage_run(name, sizes)))[1], wanted_slopes)
    limits = [max(PARITY, CHANGES * change) for change in changes]
    used = max(gap / limit for gap, limit in zip(slope_gaps, limits, strict=True))
    with only_one_wait(device):
        fast_iteration(run)
    fast = statistics.median(finished(lambda: fast_iteration(run), device) for _ in range(10))
    slow = sum(
        times * min(finished(part, device) for _ in range(2))
        for part, times in shipped_iteration(run, sizes)
    )
    print(
        f"| stage_{name} | {loss_gap:.1e} | {max(slope_gaps):.1e} | {used:.2f} | {slow:.4g} "
        f"| {fast:.4g} | {slow / fast:.3g} |",
        flush=True,
    )
    return loss_gap <= PARITY and used <= 1


def check_recorded(sizes: Sizes, device: str) -> bool:
    """Replayed steps of a reconstruction learn what the same steps learn when launched singly."""
    replayed, single = (reconstruction_run(sizes, device) for _ in range(2))

    def launch() -> None:
        single.lower_rates()
        single.take(single.draw().to(single.device))
        single.iteration += 1

    for _ in range(2 * UNRECORDED):
        replayed.step()
        launch()
    after, wanted = (parameters_of(run.optimiser) for run in (replayed, single))
    before = parameters_of(reconstruction_run(sizes, device).optimiser)
    change = gaps(
        [one - old for one, old in zip(after, before, strict=True)],
        [one - old for one, old in zip(wanted, before, strict=True)],
    )
    with only_one_wait(device):
        replayed.step()
    times = [
        statistics.median(finished(step, device) for _ in range(10))
        for step in (launch, replayed.step)
    ]
    print(
        f"reconstruct: replayed steps change parameters by {max(change):.1e} of the change "
        f"otherwise than single launches; {times[1]:.4g} s a step, launched singly {times[0]:.4g} s"
    )
    return max(change) <= CHANGED


def parameters_of(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """Copies of what it trains, on the host."""
    groups = optimiser.param_groups
    return [part.detach().cpu().clone() for group in groups for part in group["params"]]


def check_labels(sizes: Sizes, device: str) -> bool:
    """A whole label map: share of pixels that differ from CPU's, and its seconds."""
    field, text = bench_semantics(bench_field(sizes.edge)), bench_text()
    camera = bench_camera(1, sizes.height, sizes.width)

    def render(place: str) -> Tensor:
        there = replace(camera, pose=camera.pose.to(place), intrinsics=camera.intrinsics.to(place))
        view = view_weights(field.to(place).radiance, there)
        return render_labels(field, view, text.to(place), VOID)

    wanted, found = render("cpu"), render(device).cpu()
    differ = float((wanted != found).float().mean())
    fast = statistics.median(finished(lambda: render(device), device) for _ in range(3))
    print(f"label_view: {differ:.2%} of the pixels differ from CPU's, {fast:.4g} s on {device}")
    return differ <= LABELS


def main(arguments: list[str] | None = None) -> int:
    """Every check; 0 when all hold."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("error: found no CUDA device; gpu-check needs one", file=sys.stderr)
        return 2
    return check(QUICK if options.quick else FULL, "cuda")


def check(sizes: Sizes, device: str) -> int:
    """Every check on a device; 0 when all hold."""
    print(
        "| case | loss difference | gradient difference | of its limit | reference s | fast s "
        "| ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    passed = [check_stage(name, sizes, device) for name in "abc"]
    passed.append(check_recorded(sizes, device))
    passed.append(check_labels(sizes, device))
    print("passed" if all(passed) else "FAILED: a difference is over its limit")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
