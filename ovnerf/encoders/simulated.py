"""Window embeddings made from ground truth, to study RSR and CSE under known noise.

Its scores say nothing about CLIP, so every table names this encoder `simulated`. A window's
embedding is the mean of its pixels' class vectors plus noise of two kinds: Gaussian
noise of each window, which averages out over overlapping windows, and confusion of classes, which
does not. It is drawn for each view, or once for all views.
"""

from __future__ import annotations

import numpy as np

from ovnerf.config.features import Simulated
from ovnerf.encoders.text import TextBanks
from ovnerf.runtime.errors import UserError

TEXT, CONFUSION, NOISE = range(3)
"""Independent random streams of one seed."""


def simulated_text(classes: int, settings: Simulated) -> TextBanks:
    """Seeded class vectors with pairwise cosine `settings.text_cosine`; both banks are the same.

    Each is sqrt(rho) * common + sqrt(1 - rho) * own. The own directions are orthonormal while
    they fit in the embedding, which makes every pairwise cosine rho exactly; beyond that they are
    random, and rho is the mean. The blank vector is the common direction.
    """
    random = np.random.default_rng([settings.seed, TEXT])
    raw = random.standard_normal((settings.width, classes + 1))
    if classes < settings.width:
        common, *own = np.linalg.qr(raw)[0].T
    else:
        common = raw[:, 0] / np.linalg.norm(raw[:, 0])
        rest = raw[:, 1:].T - np.outer(raw[:, 1:].T @ common, common)
        own = list(rest / np.linalg.norm(rest, axis=1, keepdims=True))
    rho = settings.text_cosine
    rows = (np.sqrt(rho) * common + np.sqrt(1 - rho) * np.stack(own)).astype(np.float32)
    return TextBanks(ensemble=rows, bare=rows, blank=common.astype(np.float32))


def confused_classes(classes: int, frame: int, settings: Simulated) -> np.ndarray:
    """Which class's vector stands for each class in one view, (C,).

    With probability `settings.confusion` it is another class, uniformly chosen.
    """
    of_view = [frame] if settings.confused_in == "each_view" else []
    random = np.random.default_rng([settings.seed, CONFUSION, *of_view])
    confused = random.random(classes) < settings.confusion
    shift = random.integers(1, max(classes, 2), size=classes)
    own = np.arange(classes)
    return np.where(confused, (own + shift) % classes, own)


def class_shares(label: np.ndarray, box: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class among the pixels of each window; void pixels count for none.

    Args:
        label: u16 (H, W). box: (W, 4) x0, y0, x1, y1, exclusive ends.

    Returns:
        f64 (W, C); rows sum to one where a window holds no void.
    """
    x0, y0, x1, y1 = box.astype(np.int64).T
    area = (x1 - x0) * (y1 - y0)
    shares = np.zeros((len(box), classes))
    for index in np.unique(label[label < classes]):
        below = np.zeros((label.shape[0] + 1, label.shape[1] + 1), dtype=np.int64)
        below[1:, 1:] = (label == index).cumsum(0).cumsum(1)
        shares[:, index] = below[y1, x1] - below[y0, x1] - below[y1, x0] + below[y0, x0]
    return shares / area[:, None]


def simulated_embeddings(
    label: np.ndarray, box: np.ndarray, frame: int, text: np.ndarray, settings: Simulated
) -> np.ndarray:
    """Raw embeddings f64 (W, D) of one frame's windows.

    Args:
        label: ground truth u16 (H, W). box: (W, 4). frame: seeds the noise of this view.
        text: (C, D) unit class vectors.

    The noise has standard deviation `settings.noise` / sqrt(D) per channel, so its length is about
    `settings.noise` times that of a pure window's embedding. A window without labelled pixels
    holds noise only.
    """
    classes, width = text.shape
    views = text[confused_classes(classes, frame, settings)]
    clean = class_shares(label, box, classes) @ views
    random = np.random.default_rng([settings.seed, NOISE, frame])
    noise = random.standard_normal((len(box), width)) * settings.noise / np.sqrt(width)
    return clean + noise


def check_truth(label: np.ndarray, classes: int, source: str) -> None:
    """UserError when ground truth u16 (n, H, W) holds no label to simulate from."""
    if not (label < classes).any():
        raise no_truth(source)


def no_truth(source: str) -> UserError:
    """The error for a scene without labels; `source` names the setting or store."""
    return UserError(
        f"{source}: the `simulated` encoder needs ground truth, found no labelled pixel",
        "use an `openclip` encoder for scenes without labels",
    )
