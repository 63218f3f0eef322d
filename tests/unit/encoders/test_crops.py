"""Windows resized on tensors, against Pillow's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize

from ovnerf.encoders.crops import KERNELS, axis_weights, bicubic, bilinear, resize_windows

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
MODES = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}


def test_weights_by_hand():
    """Three pixels made two by the triangle: each new one is 1.5 wide, centres 0.75 and 2.25."""
    one = torch.tensor([3]), torch.tensor([2]), torch.tensor([0])
    found = axis_weights(*one, 2, bilinear)[0] * 12
    wanted = torch.tensor([[7.5, 4.5, 0], [0, 4.5, 7.5]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    x = torch.tensor([0.0, 0.5, 1, 1.5, 2, 3])
    torch.testing.assert_close(bicubic(x), torch.tensor([1, 0.5625, 0, -0.0625, 0, 0]))


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=50)
@given(st.data())
def test_any_windows_match_pillow(mode, crop, data):
    boxes = []
    for _ in range(3):
        x0, y0 = data.draw(st.integers(0, 49)), data.draw(st.integers(0, 39))
        x1 = data.draw(st.integers(x0 + 1, 50))
        boxes.append([x0, y0, x1, data.draw(st.integers(y0 + 1, 40))])
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    size = (16, 16) if crop else (12, 20)
    found = resize_windows(image, torch.tensor(boxes), size, crop, KERNELS[mode])
    for window, (x0, y0, x1, y1) in zip(found, boxes, strict=True):
        width, height = x1 - x0, y1 - y0
        # torchvision's own rule for the longer side; one side at a time, so columns come first.
        short = min(width, height)
        wide, high = (16 * width // short, 16 * height // short) if crop else (20, 12)
        own = Image.fromarray(IMAGE[y0:y1, x0:x1])
        own = resize(resize(own, [height, wide], MODES[mode]), [high, wide], MODES[mode])
        own = np.asarray(center_crop(own, list(size)))
        np.testing.assert_array_equal(window.permute(1, 2, 0).numpy(), own)
