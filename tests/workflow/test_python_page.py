"""The example of docs/python.md does what the page says, on a finished run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import Place

from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read

EXAMPLE = "results/demo/room0/toy/ovnerf/seed0"
RUN = "results/tiny/room/simulated/ovnerf/seed0"


def test_the_example_renders_what_the_workflow_rendered(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY_ROOT / "docs/python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert code.count(EXAMPLE) == 1
    example = tmp_path / "example.py"
    example.write_text(code.replace(EXAMPLE, RUN), encoding="utf-8")
    monkeypatch.chdir(finished.folder)
    names = runpy.run_path(str(example))
    views = open_store(finished.folder / RUN / "views.zarr", "views")
    assert frame_indices(names["frames"], "test")[0] == views.attrs["frames"][0] == 0
    np.testing.assert_array_equal(names["label"].numpy(), read(views, "label", 0))
    np.testing.assert_array_equal(names["rgb"].numpy(), read(views, "rgb", 0))
    np.testing.assert_array_equal(np.asarray(Image.open("view.png")), names["rgb"].numpy())
