"""The live viewer in a real browser: type a phrase, click on the scene, read what it says."""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import chromium
import numpy as np
import pytest
from PIL import Image
from tiny_run import Place

RUNS = [f"results/tiny/room/simulated/{variant}/seed0" for variant in ("ovnerf", "baseline")]
HERE = "127.0.0.1"
TEXT_BOX = "input.mantine-TextInput-input"


@pytest.fixture(scope="module")
def viewer(finished: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a viewer of two finished runs; both get points, which are removed at the end."""
    reason = chromium.install()
    if reason:
        pytest.skip(reason)
    with socket.socket() as free:
        free.bind((HERE, 0))
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("viewer") / "said.txt"
    command = [sys.executable, "-m", "ovnerf", "view", *RUNS, "--port", str(port)]
    with said.open("w") as output:
        process = subprocess.Popen(command, cwd=finished.folder, stdout=output, stderr=output)
    try:
        chromium.wait_for(
            "the viewer",
            lambda: "in a browser" in said.read_text() or process.poll() is not None,
        )
        assert process.poll() is None, said.read_text()
        yield f"http://{HERE}:{port}/"
        process.terminate()
        assert process.wait(timeout=60) == 0, said.read_text()
        assert '"stage": "view", "runs": 2' in said.read_text()
    finally:
        process.kill()
        process.wait()
        for run in RUNS:
            shutil.rmtree(finished.folder / run / "points.zarr", ignore_errors=True)


def canvas(page: chromium.Page) -> np.ndarray:
    """The left half of what is shown, u8 (H, W, 3); the panel is on the right."""
    image = np.asarray(Image.open(io.BytesIO(page.picture())).convert("RGB"))
    return image[:, : image.shape[1] // 2]


def test_a_person_types_and_clicks(viewer: str, tmp_path: Path) -> None:
    with chromium.open_page(viewer, tmp_path) as page:
        chromium.wait_for("the panel", lambda: "Click on the scene" in page.text())
        # Many colours: neither an empty canvas nor one that failed.
        chromium.wait_for(
            "a picture", lambda: len(np.unique(canvas(page).reshape(-1, 3), axis=0)) > 99
        )
        before = canvas(page)

        page.click_on(f"[...document.querySelectorAll('{TEXT_BOX}')].find(e => e.value === '')")
        page.type("wall")
        page.click_on("[...document.querySelectorAll('button')].find(e => e.innerText === 'ask')")
        chromium.wait_for("the answer", lambda: re.search(r"wall: (not )?found", page.text()))
        assert "python -m ovnerf query" in page.text()
        chromium.wait_for("its picture", lambda: not np.array_equal(canvas(page), before))

        page.click(250, 350)
        said = chromium.wait_for(
            "what is there", lambda: re.search(r"At (\S+) (\S+) (\S+), .* away:", page.text())
        )
        assert np.isfinite([float(part) for part in said.groups()]).all()

        asked = [urlsplit(url) for url in page.requests]
        assert {url.hostname for url in asked if url.scheme in ("http", "https", "ws")} == {HERE}


def test_it_listens_on_this_machine_alone(viewer: str) -> None:
    port = urlsplit(viewer).port
    assert port is not None
    # Every address of 127.0.0.0/8 is this machine's, so a server that listens everywhere answers.
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))
