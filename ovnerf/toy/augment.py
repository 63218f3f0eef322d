"""Random changes to a training view that keep its instances: what makes the toy SAM look at edges.

The rooms have few materials, and a model that knows them by heart finds no region in a photo. So
instances change colour and pattern one by one, parts of other views are laid over the scene, and
light, focus and noise vary. Images are f32 (H, W, 3) in 0..255, instances u16 (H, W), 0 void.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.float32]
Instances = NDArray[np.uint16]


def zoomed(image: Image, instance: Instances, rng: Generator) -> tuple[Image, Instances]:
    """A window of at least half the sides, at the size of the whole, mirrored half of the time."""
    height, width = instance.shape
    share = rng.uniform(0.5, 1.0)
    h, w = round(height * share), round(width * share)
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    window = slice(top, top + h), slice(left, left + w)
    image = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_LINEAR)
    instance = cv2.resize(instance[window], (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        image, instance = image[:, ::-1], instance[:, ::-1]
    return image, instance


def overlaid(
    image: Image, instance: Instances, other: Image, parts: Instances, count: int, rng: Generator
) -> tuple[Image, Instances]:
    """`count` instances of another view laid over this one, each at a random place."""
    image, instance = image.copy(), instance.copy()
    height, width = instance.shape
    for number in rng.choice(np.unique(parts[parts > 0]), count):
        shift = (
            int(rng.integers(-height // 2, height // 2)),
            int(rng.integers(-width // 2, width // 2)),
        )
        transform = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float32)
        mask = (parts == number).astype(np.uint8)
        if mask.mean() > 0.25:
            continue
        mask = cv2.warpAffine(mask, transform, (width, height)) > 0
        image[mask] = cv2.warpAffine(other, transform, (width, height))[mask]
        instance[mask] = instance.max() + 1
    return image, instance


def repainted(image: Image, instance: Instances, rng: Generator) -> Image:
    """Each instance's mean colour moved towards a random one, its contrast scaled."""
    height, width = instance.shape
    numbers, index = np.unique(instance, return_inverse=True)
    index = index.reshape(height, width)
    area = np.bincount(index.ravel())[:, None]
    mean = (
        np.stack([np.bincount(index.ravel(), image[..., c].ravel()) for c in range(3)], axis=1)
        / area
    )
    grey = rng.uniform(20, 235, (len(numbers), 1))
    target = np.clip(grey + rng.uniform(-60, 60, (len(numbers), 3)), 5, 250)
    moved = mean + rng.uniform(0, 1) * (target - mean)
    contrast = rng.uniform(0.4, 1.4, (len(numbers), 1))
    return (moved[index] + contrast[index] * (image - mean[index])).astype(np.float32)


def patterned(image: Image, instance: Instances, rng: Generator) -> Image:
    """Stripes or checks, fine or coarse, on a third of the instances."""
    height, width = instance.shape
    numbers, index = np.unique(instance, return_inverse=True)
    index = index.reshape(height, width)
    n = len(numbers)
    amplitude = rng.uniform(5, 35, n) * (rng.random(n) < 0.33)
    angle, period = rng.uniform(0, np.pi, n), rng.uniform(3, 24, n)
    y, x = np.mgrid[:height, :width]
    turn = 2 * np.pi / period[index]
    along = x * np.cos(angle)[index] + y * np.sin(angle)[index]
    across = y * np.cos(angle)[index] - x * np.sin(angle)[index]
    checks = (rng.random(n) < 0.5)[index]
    wave = np.sin(turn * along) * np.where(checks, np.sin(turn * across), 1.0)
    tint = rng.uniform(0.5, 1.0, (n, 3))
    return (image + (amplitude[index] * wave)[..., None] * tint[index]).astype(np.float32)


def lit(image: Image, rng: Generator) -> Image:
    """Brighter and darker areas without edges, as of lamps and soft shadows."""
    coarse = rng.uniform(0.6, 1.3, (rng.integers(2, 6), rng.integers(2, 6))).astype(np.float32)
    size = image.shape[1], image.shape[0]
    light = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return image * light[..., None]


def as_by_camera(image: Image, rng: Generator) -> Image:
    """Gain of each channel, brightness, saturation, blur and noise."""
    image = image * rng.uniform(0.8, 1.2, 3) + rng.uniform(-20, 20)
    grey = image.mean(-1, keepdims=True)
    image = (grey + rng.uniform(0.2, 1.1) * (image - grey)).astype(np.float32)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(0, 6), image.shape)
    return image.astype(np.float32)


def augmented(
    image: Image, instance: Instances, other: Image, parts: Instances, rng: Generator
) -> tuple[Image, Instances]:
    """A training view changed at random; `other` and `parts` are another view and its instances."""
    if rng.random() < 0.6:
        image, instance = zoomed(image, instance, rng)
    if rng.random() < 0.4:
        count = int(rng.integers(1, 5))
        image, instance = overlaid(image, instance, other, parts, count, rng)
    if rng.random() < 0.6:
        image = repainted(image, instance, rng)
    if rng.random() < 0.4:
        image = patterned(image, instance, rng)
    if rng.random() < 0.5:
        image = lit(image, rng)
    return as_by_camera(image, rng).clip(0, 255), instance
