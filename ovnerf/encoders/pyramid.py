"""The CLIP pyramid: overlapping windows at several scales, and per-pixel means of their embeddings.

A pixel's feature at one scale is the mean of the raw embeddings of the windows that cover it, then
L2-normalised (docs/method.md#clip-pyramid). Only window embeddings and boxes are stored; per-pixel
features are made where they are asked for (docs/method.md#window-form), so nothing of size
pixels x D is ever kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from ovnerf.compute.transfer import to_device
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.stores import Store, read

TILE_BYTES = 48 * 2**20
"""Working memory of one row tile in `class_scores`."""


@dataclass(frozen=True)
class WindowGrid:
    """The nominal (unjittered) windows of one scale, in pixels; row-major order."""

    side: int
    stride: int
    jitter: int
    """Each side of a window moves outward by an integer in 0..jitter."""
    rows: int
    columns: int

    @property
    def count(self) -> int:
        """Number of windows."""
        return self.rows * self.columns

    @property
    def reach(self) -> int:
        """How many windows along one axis can possibly cover a given pixel."""
        return (self.side + 2 * self.jitter - 1) // self.stride + 1


def windows_along(length: int, side: int, stride: int) -> int:
    """Windows needed to cover an axis; the last may overrun it."""
    steps, remainder = divmod(length - side, stride)
    return steps + 1 + (remainder > 0)


def window_grid(height: int, width: int, scale: int, stride: float, jitter: float) -> WindowGrid:
    """Windows of side floor(min(height, width) / scale) (docs/method.md#clip-pyramid).

    Args:
        stride, jitter: fractions of the window side; the stride is at least one pixel.

    Raises:
        UserError: the image is too small for this scale.
    """
    side = min(height, width) // scale
    if side < 1:
        raise UserError(
            f"cache_features.scales: scale {scale} needs images of at least {scale} pixels, "
            f"found {width}x{height}",
            "use smaller scales or larger images",
        )
    step = max(1, int(side * stride))
    return WindowGrid(
        side=side,
        stride=step,
        jitter=int(side * jitter),
        rows=windows_along(height, side, step),
        columns=windows_along(width, side, step),
    )


def window_grids(
    height: int, width: int, scales: tuple[int, ...], stride: float, jitter: float
) -> tuple[WindowGrid, ...]:
    """One grid per scale, in the order of `scales`."""
    return tuple(window_grid(height, width, scale, stride, jitter) for scale in scales)


def window_scales(grids: tuple[WindowGrid, ...]) -> np.ndarray:
    """Index of each window's scale, u8 (W,)."""
    return np.repeat(np.arange(len(grids), dtype=np.uint8), [grid.count for grid in grids])


def window_boxes(
    height: int, width: int, grids: tuple[WindowGrid, ...], seed: int, frame: int
) -> np.ndarray:
    """Jittered windows of one frame, clipped to the image (docs/method.md#clip-pyramid).

    The jitter depends on (seed, frame) only, so frames can be made in any order.

    Returns:
        i16 (W, 4): x0, y0, x1, y1 with exclusive ends, scale after scale, row-major.
    """
    random = np.random.default_rng([seed, frame])
    boxes = []
    for grid in grids:
        y0, x0 = np.divmod(np.arange(grid.count), grid.columns) * np.array(grid.stride)
        outward = random.integers(0, grid.jitter + 1, size=(grid.count, 4))
        nominal = np.stack([x0, y0, x0 + grid.side, y0 + grid.side], axis=1)
        boxes.append(nominal + outward * np.array([-1, -1, 1, 1]))
    limit = np.array([width, height, width, height])
    return np.clip(np.concatenate(boxes), 0, limit).astype(np.int16)


def class_scores(
    embedding: Tensor, box: Tensor, scale: Tensor, text: Tensor, height: int, width: int
) -> Tensor:
    """Cosine of every pixel's feature with every text vector, scale by scale.

    A window adds its embedding at its four corners of a difference image; summing that image along
    both axes gives every pixel's sum over covering windows (docs/method.md#window-form). Row tiles
    bound the memory. The sums are exact (binary16 values in binary64), so the result does not
    depend on the tile or the order.

    Args:
        embedding: (W, D) raw window embeddings of one frame, holding binary16 values.
        box: (W, 4) x0, y0, x1, y1, exclusive ends. scale: (W,) scale indices.
        text: (C, D) unit rows.

    Returns:
        f32 (K, C, height, width) on `text`'s device; 0 where the feature is zero.
    """
    count, channels = int(scale.max()) + 1, embedding.shape[1]
    tile = max(1, TILE_BYTES // (8 * channels * (width + 1)))
    scores = text.new_empty((count, len(text), height, width), dtype=torch.float32)
    for k in range(count):
        of_scale = scale == k
        corners = window_corners(box[of_scale].to(text.device).long())
        vectors = embedding[of_scale].to(text.device).double()
        carry = vectors.new_zeros((width + 1, channels))
        for top in range(0, height, tile):
            rows = min(tile, height - top)
            # Columns first: summing along x then adds whole (rows, D) blocks, which is faster
            # on a CPU than `cumsum` along an inner axis.
            sums = vectors.new_zeros((width + 1, rows, channels))
            sums[:, 0] = carry
            for y, x, sign in corners:
                here = (y >= top) & (y < top + rows)
                at = x[here] * rows + y[here] - top
                sums.view(-1, channels).index_add_(0, at, sign * vectors[here])
            for row in range(1, rows):
                sums[:, row] += sums[:, row - 1]
            carry = sums[:, -1].clone()
            for column in range(1, width):
                sums[column] += sums[column - 1]
            features = sums[:width].float()
            length = features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            scores[k, :, top : top + rows] = (features @ text.T / length).permute(2, 1, 0)
    return scores


def relevancy_labels(scores: Tensor) -> np.ndarray:
    """Most relevant class of each pixel: argmax of the cosine averaged over scales (Eq. 4).

    Args:
        scores: (K, C, H, W) cosines of the features of K scales with C text vectors.

    Returns:
        u16 (H, W); ties go to the smallest index, void where the feature is zero at every scale.
    """
    labels = scores.mean(0).argmax(0).cpu().numpy().astype(np.uint16)
    labels[(scores == 0).all(1).all(0).cpu().numpy()] = VOID
    return labels


def window_corners(box: Tensor) -> tuple[tuple[Tensor, Tensor, int], ...]:
    """Corners (y, x) of boxes (W, 4) and the sign with which each enters a difference image."""
    x0, y0, x1, y1 = box.unbind(1)
    return (y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)


class PyramidFeatures:
    """Per-pixel CLIP features of many frames, made on demand from a `features` store.

    Embeddings are held as f32 (frames x W x D x 4 bytes) on `device`, where all work is done: the
    host's, for a card that they do not fit.

    Attributes:
        frames: the frame (index in the scene) of each slot (index in `embedding` and `box`).
    """

    def __init__(
        self,
        group: Store,
        device: torch.device | str = "cpu",
        frames: list[int] | None = None,
    ) -> None:
        """Load a `features` store.

        Args:
            group: an open store of kind `features`.
            frames: frame indices to load; all of the store's when None.

        Raises:
            UserError: a frame the store does not hold, or a damaged store.
        """
        index = FrameIndex(group)
        self.frames = index.frames if frames is None else [int(frame) for frame in frames]
        missing = index.missing(self.frames)
        if missing:
            raise UserError(
                f"{group.store_path}: holds no features of frames {missing[:10]}",
                "set `cache_features: {views: all}` for test views",
            )
        self.device = torch.device(device)
        self.height, self.width = (int(side) for side in group.attrs["shape"])
        self.grids = window_grids(
            self.height,
            self.width,
            tuple(group.attrs["scales"]),
            group.attrs["stride"],
            group.attrs["jitter"],
        )
        self.scale = torch.from_numpy(read(group, "scale"))
        windows, self.channels = group["embedding"].shape[1:]
        count = len(self.frames)
        self.embedding = torch.empty((count, windows, self.channels), device=self.device)
        self.box = torch.empty((count, windows, 4), dtype=torch.int16, device=self.device)
        for slot, frame in enumerate(self.frames):
            self.embedding[slot] = torch.from_numpy(read(group, "embedding", index.slot(frame)))
            self.box[slot] = torch.from_numpy(read(group, "box", index.slot(frame)))

    def means(self, slot: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """Mean raw embedding of the windows covering each pixel.

        Args:
            slot: i64 (r,), of the frames in `frames`, in any order. column, row: i64 (r,) pixels.
                All on the host or on `device`.

        Returns:
            f32 (r, K, D) on `device`, not normalised.
        """
        slot, column, row = (to_device(part, self.device) for part in (slot, column, row))
        windows = self.embedding.shape[1]
        means = torch.empty((len(slot), len(self.grids), self.channels), device=self.device)
        first = 0
        for k, grid in enumerate(self.grids):
            index = self.candidates(grid, column, row) + (slot * windows + first)[:, None]
            x0, y0, x1, y1 = self.box.view(-1, 4)[index].unbind(-1)
            x, y = column[:, None].short(), row[:, None].short()
            # Windows that do not cover the pixel count 0, so that shapes are known beforehand.
            covers = ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).float()
            means[:, k] = embedding_bag(
                index,
                self.embedding.view(-1, self.channels),
                mode="sum",
                per_sample_weights=covers / covers.sum(1, keepdim=True),
            )
            first += grid.count
        return means

    def candidates(self, grid: WindowGrid, column: Tensor, row: Tensor) -> Tensor:
        """Windows of one scale that can cover each pixel, (r, candidates) without repetition.

        Jitter moves a window's edge by at most `grid.jitter`, so only a few windows on either side
        of a pixel come into question.
        """
        along_x = self.nearest(grid, column, grid.columns)
        along_y = self.nearest(grid, row, grid.rows)
        return (along_y[:, :, None] * grid.columns + along_x[:, None, :]).flatten(1)

    def nearest(self, grid: WindowGrid, position: Tensor, count: int) -> Tensor:
        """Indices along one axis of the windows that can cover each position, (r, reach)."""
        reach = min(grid.reach, count)
        last = (position + grid.jitter).div(grid.stride, rounding_mode="floor")
        first = (last - reach + 1).clamp(0, count - reach)
        return first[:, None] + torch.arange(reach, device=self.device)

    def lookup(self, slot: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """L2-normalised features f_k of pixels: `means`, each scale of unit length.

        Returns:
            f32 (r, K, D); zero where the mean is zero.
        """
        return normalize(self.means(slot, column, row), dim=-1)

    def interpolated(self, slot: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """Features of pixels, interpolated between the four cells around each.

        Cells have unit length, sums of them not. Beyond the outer cells' centres the nearest count.

        Args:
            slot, column, row: as in `means`. The store holds touching cells, one scale.

        Returns:
            f32 (r, D) on `device`.
        """
        (grid,) = self.grids
        slot, column, row = (to_device(part, self.device) for part in (slot, column, row))
        features = torch.zeros((len(slot), self.channels), device=self.device)
        x0, x1, x = cells_around(column, grid.side, grid.columns)
        y0, y1, y = cells_around(row, grid.side, grid.rows)
        for index_y, part_y in ((y0, 1 - y), (y1, y)):
            for index_x, part_x in ((x0, 1 - x), (x1, x)):
                cell = self.embedding[slot, index_y * grid.columns + index_x]
                features += (part_y * part_x)[:, None] * normalize(cell, dim=-1)
        return features


def cells_around(position: Tensor, side: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells whose centres lie around each pixel's along one axis.

    Args:
        position: i64 (r,), pixels. side: of a cell. count: number of cells.

    Returns:
        Indices of both, and the share of the second in [0, 1].
    """
    place = ((position + 0.5) / side - 0.5).clamp(0, count - 1)
    first = place.floor().long()
    return first, (first + 1).clamp_max(count - 1), place - first
