"""A real Chromium without a screen, driven by its DevTools protocol over one web socket."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import debian
from websockets.sync.client import ClientConnection, connect

SWITCH = "OVNERF_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120
"""Seconds after which something that should appear on the page is called missing."""
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--no-first-run"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=1000,700", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)


def program() -> str | None:
    """The browser of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def install() -> str:
    """Install Debian's Chromium where there is none; why there can be none, else empty."""
    if program():
        return ""
    if os.environ.get(SWITCH) != "1":
        return f"no Chromium here; {SWITCH}=1 lets this test install it by apt, as root"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "no Chromium here, and apt-get as root to install it is not at hand"
    return debian.install("chromium")


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    """The first true value of `found()`; TimeoutError naming `what` otherwise."""
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.2)
    return value


class Page:
    """One page: what it asked the network for, and what a person can do with it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.count = socket, 0
        self.requests: list[str] = []
        for domain in ("Network", "Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE))
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("method") == "Network.webSocketCreated":
                self.requests.append(message["params"]["url"])
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self) -> str:
        """What the page says."""
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse at a place of the page."""
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", **place)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **place)

    def click_on(self, expression: str) -> None:
        """Click in the middle of the element that a JavaScript expression gives."""
        box = wait_for(
            expression,
            lambda: self.evaluate(
                f"(e => {{ if (!e) return null; e.scrollIntoView({{block: 'center'}});"
                "const r = e.getBoundingClientRect();"
                f"return [r.x + r.width / 2, r.y + r.height / 2]; }})({expression})"
            ),
        )
        self.click(*box)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self) -> bytes:
        """A PNG of the page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def open_page(address: str, folder: Path) -> Iterator[Page]:
    """The page at an address in a browser of its own, which is ended on leaving."""
    browser = program()
    assert browser
    command = [browser, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        port_file = folder / "DevToolsActivePort"
        wait_for("the browser", lambda: port_file.exists() and port_file.read_text().strip())
        port = port_file.read_text().split()[0]

        def page() -> str | None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            return pages[0]["webSocketDebuggerUrl"] if pages else None

        with connect(wait_for("a page", page), max_size=None, proxy=None) as socket:
            shown = Page(socket)
            shown.call("Page.navigate", url=address)
            yield shown
    finally:
        process.terminate()
        process.wait(timeout=30)
