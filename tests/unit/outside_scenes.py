"""Real scenes that are not part of the repository, for the tests that can use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovnerf.storage.provenance import REPOSITORY_ROOT

BESIDE = REPOSITORY_ROOT.parent / "shared" / "data"
SCENES = Path(os.environ.get("OVNERF_TEST_SCENES", BESIDE))
"""A folder of scene folders: that of the environment's OVNERF_TEST_SCENES, if it is set."""


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test where one of these scenes is missing."""
    missing = [name for name in names if not (SCENES / name).is_dir()]
    reason = f"no {', '.join(missing)}: OVNERF_TEST_SCENES names the folder that holds such scenes"
    return pytest.mark.skipif(bool(missing), reason=reason)
