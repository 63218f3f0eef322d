"""OV-NeRF: open-vocabulary 3D segmentation of radiance fields."""

from importlib import import_module
from typing import Any


def open_run(folder: Any) -> Any:
    """Open the folder of a finished run to ask it, render it or take its points (docs/python.md).

    Returns:
        An `ovnerf.asking.run.Run`.
    """
    # By name: importing `ovnerf` stays cheap, and no stage is made again for an edit of what asks.
    return import_module("ovnerf.asking.run").open_run(folder)
