"""The colour head on a CPU: matrix products by torch, all between them by compiled loops.

The loops do in one pass over a tile what torch does in several: bias and ReLU, and in the backward
pass the ReLU's mask; and the last layer, whose three outputs (red, green, blue) are too few for a
matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ovnerf.compute.threads import on_each
from ovnerf.field.compiled import SUMS, compiled
from ovnerf.field.native import array, tables, tiles


@compiled(**SUMS)
def relu_loop(begin, end, values, bias):
    """max(values + bias, 0) in place, rows begin..end-1; what is no number stays so."""
    for s in range(begin, end):
        for r in range(values.shape[1]):
            value = values[s, r] + bias[r]
            values[s, r] = np.float32(0) if value <= 0 else value


@compiled(**SUMS)
def mask_loop(begin, end, gradient, activation):
    """Set rows begin..end-1 of `gradient` to 0 where `activation` is 0."""
    for s in range(begin, end):
        for r in range(gradient.shape[1]):
            gradient[s, r] = np.float32(0) if activation[s, r] <= 0 else gradient[s, r]


@compiled(**SUMS)
def last_loop(begin, end, activation, weight, bias, out):
    """The last layer: rows begin..end-1 of `out` (s, 3)."""
    for s in range(begin, end):
        for c in range(weight.shape[0]):
            total = np.float32(0)
            for r in range(weight.shape[1]):
                total += activation[s, r] * weight[c, r]
            out[s, c] = total + bias[c]


@compiled(**SUMS)
def last_gradient_loop(begin, end, gradient, weight, activation, out):
    """Gradient of what the ReLU before the last layer got, rows begin..end-1 of `out`."""
    for s in range(begin, end):
        red, green, blue = gradient[s, 0], gradient[s, 1], gradient[s, 2]
        for r in range(weight.shape[1]):
            value = red * weight[0, r] + green * weight[1, r] + blue * weight[2, r]
            out[s, r] = np.float32(0) if activation[s, r] <= 0 else value


class Decoded(torch.autograd.Function):
    """Three layers with two ReLUs between them and a sigmoid after them, f32 (s, d) -> (s, 3).

    Tile by tile, so that activations are in the cache when the next operation reads them; several
    tiles at once where torch has several threads.
    """

    @staticmethod
    def forward(context: Any, kept: bool, inputs: Tensor, *layers: Tensor) -> Tensor:
        """`kept`: whether a backward pass follows, so that activations of all samples are kept.

        `layers`: weight and bias of each, as `nn.Linear` has them.
        """
        w1, w2, w3 = layers[::2]
        b1, b2, b3 = tables(layers[1::2])
        widths, rows = (len(w1), len(w2)), len(inputs) if kept else 0
        activations = [torch.empty(rows, width) for width in widths]
        out, last = torch.empty(len(inputs), len(w3)), array(w3)

        def decode(tile: slice) -> None:
            count = tile.stop - tile.start
            if kept:
                h1, h2 = (layer[tile] for layer in activations)
            else:
                h1, h2 = (torch.empty(count, width) for width in widths)
            torch.mm(inputs[tile], w1.T, out=h1)
            relu_loop(0, count, h1.numpy(), b1)
            torch.mm(h1, w2.T, out=h2)
            relu_loop(0, count, h2.numpy(), b2)
            last_loop(0, count, h2.numpy(), last, b3, out[tile].numpy())

        on_each(decode, tiles(len(inputs)))
        out.sigmoid_()
        if kept:
            context.save_for_backward(inputs, *activations, out, *layers)
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        inputs, first, second, out, *layers = context.saved_tensors
        w1, w2, w3 = layers[::2]
        to_last, last = slope * out * (1 - out), array(w3)
        to_inputs = torch.empty_like(inputs)

        def gradients(tile: slice) -> list[Tensor]:
            x, h1, h2, g3 = inputs[tile], first[tile], second[tile], to_last[tile]
            count, g2 = tile.stop - tile.start, torch.empty_like(h2)
            last_gradient_loop(0, count, g3.numpy(), last, h2.numpy(), g2.numpy())
            g1 = g2 @ w2
            mask_loop(0, count, g1.numpy(), h1.numpy())
            torch.mm(g1, w1, out=to_inputs[tile])
            steps = zip((g1, g2, g3), (x, h1, h2), strict=True)
            return [part for g, before in steps for part in (g.T @ before, g.sum(0))]

        parts = zip(*on_each(gradients, tiles(len(inputs))), strict=True)
        to_layers = [torch.stack(part).sum(0) for part in parts]
        return None, to_inputs, *to_layers
