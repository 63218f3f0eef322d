"""Pictures of where a phrase is in a view: scores laid over the rendered colour."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ovnerf.evaluation.figures import new_figure, plain

COLOURS = "turbo"
OPACITY = 0.65
"""Of the colours over the picture."""
WIDTH_INCHES = 6.4


def score_picture(
    rgb: np.ndarray, score: np.ndarray, threshold: float, title: str, normalize: bool = False
) -> Figure:
    """Scores over a picture: pixels below the threshold keep their colour, darkened.

    The colour scale goes from the threshold to 1, the same in every picture. With `normalize` it is
    the range of this picture's scores, which the title says: something glows then in each.

    Args:
        rgb: u8 (H, W, 3). score: f32 (H, W) in [0, 1].
    """
    low, high = threshold, 1.0
    if normalize:
        low, high = float(score.min()), float(score.max())
        title += "  (stretched to this view's own range)"
    scale = Normalize(low, max(high, low + 1e-6), clip=True)
    colour = matplotlib.colormaps[COLOURS](scale(score))[..., :3]
    grey = rgb.astype(np.float64) / 255 * 0.5
    mixed = OPACITY * colour + (1 - OPACITY) * rgb / 255
    picture = np.where((score >= low)[..., None], mixed, grey)
    height = WIDTH_INCHES * rgb.shape[0] / rgb.shape[1] + 0.5
    figure = new_figure(WIDTH_INCHES + 0.9, height)
    axis = figure.subplots()
    axis.set_axis_off()
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(plain(title), fontsize=10)
    figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, COLOURS), ax=axis, fraction=0.05, label="score"
    )
    return figure
