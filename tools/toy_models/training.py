"""What the three training scripts share: a resumable loop and writing fp16 weights.

A step draws its randomness from (seed, iteration) alone, so a run that is killed and started again
ends with the same weights as one that was not.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ovnerf.storage.atomic import atomic_file
from tools.toy_models.data import CACHE

Step = Callable[[int], Tensor]
"""Iteration -> loss to minimise."""
CHECKPOINT_EVERY = 100
"""Iterations between checkpoints and lines of progress."""


def script_options(
    doc: str | None, out: Path, iterations: int, peak_rate: float
) -> argparse.Namespace:
    """Options of a training script: out, cache, iterations, peak rate, seed, threads."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=out, help="safetensors file to write")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of rendered views")
    parser.add_argument("--iterations", type=int, default=iterations)
    parser.add_argument("--peak-rate", type=float, default=peak_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def learning_rate(iteration: int, iterations: int, peak: float) -> float:
    """Linear warm-up over the first 5 %, then half a cosine down to 2 % of the peak."""
    warm = max(1, iterations // 20)
    if iteration < warm:
        return peak * (iteration + 1) / warm
    share = (iteration - warm) / max(1, iterations - warm)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write the state of a training; the file appears when it is complete."""
    with atomic_file(path) as temporary:
        torch.save(dict(content), temporary)


def run_training(
    state: nn.Module,
    step: Step,
    *,
    iterations: int,
    peak_rate: float,
    checkpoint: Path,
    after: Callable[[int], None] = lambda _: None,
) -> None:
    """Minimise `step` over `state`'s trainable parameters with AdamW.

    Args:
        state: module holding everything that changes, buffers included.
        after: called with the iteration after each optimiser step.
        checkpoint: kept every CHECKPOINT_EVERY iterations; gone on from if it belongs to a run of
            the same length, removed at the end.
    """
    parameters = [parameter for parameter in state.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98))
    first = 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["iterations"] == iterations:
            state.load_state_dict(saved["state"])
            optimiser.load_state_dict(saved["optimiser"])
            first = saved["next"]
            print(f"going on from iteration {first}", flush=True)
    begin, total = time.perf_counter(), 0.0
    for iteration in range(first, iterations):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(iteration, iterations, peak_rate)
        loss = step(iteration)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        after(iteration)
        total += loss.item()
        done = iteration + 1
        if done % CHECKPOINT_EVERY == 0 or done == iterations:
            spent = (time.perf_counter() - begin) / 60
            count = (done - 1) % CHECKPOINT_EVERY + 1
            print(f"{done}/{iterations} loss {total / count:.4f} {spent:.1f} min", flush=True)
            total = 0.0
            content = {
                "iterations": iterations,
                "next": done,
                "state": state.state_dict(),
                "optimiser": optimiser.state_dict(),
            }
            save_checkpoint(checkpoint, content)
    checkpoint.unlink(missing_ok=True)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state dict as fp16 safetensors (integers keep their type)."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    with atomic_file(path) as temporary:
        save_file(tensors, temporary)
