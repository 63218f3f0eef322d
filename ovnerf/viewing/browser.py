"""The window in a browser: viser's controls and scene, bound to a session.

It listens on 127.0.0.1 alone; viser's tunnel to a public host is switched off.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ovnerf.asking.asker import Answer
from ovnerf.asking.camera_path import (
    FPS,
    CameraPath,
    PathCamera,
    camera_path_json,
    interpolated,
)
from ovnerf.asking.looks import OUTPUTS, Look
from ovnerf.asking.report import instance_json
from ovnerf.asking.scene_page import FRUSTUM, add_answers, add_cameras, add_points, viewer
from ovnerf.config.phrases import Phrase
from ovnerf.evaluation.figures import palette
from ovnerf.runtime.errors import UserError
from ovnerf.viewing.cameras import Viewpoint
from ovnerf.viewing.desk import Desk
from ovnerf.viewing.session import Here, Session, Wish

HOST = "127.0.0.1"
LAYERS = ("points", "cameras")
"""Parts of the scene that are hidden at first."""
EXTENT = 10.0
"""How large every scene is in the browser, whatever the unit of its poses: viser cuts off depths
beyond 167 and has no steps finer than 0.00001."""
NONE = "-"
"""The choice of no second run."""
SHOWN_INSTANCES = 5
"""Of a phrase, in the panel and as boxes."""


@dataclass
class Controls:
    """Handles of the panel's controls that are read or written later."""

    run: Any
    beside: Any
    share: Any
    output: Any
    phrase: Any
    threshold: Any
    answer: Any
    here: Any
    legend: list[Any]


@dataclass
class Browser:
    """A running viewer.

    Attributes:
        server: viser's.
        middle: f64 (3,), world; the middle of the points, where the browser's scene has its origin.
        zoom: how long the world's unit is in the browser's scene.
        paths: key frames of each window.
        asked, found: the latest phrase that was asked, and the answer to it.
        failure: what ended the work, where something did.
    """

    session: Session
    server: Any
    middle: np.ndarray
    zoom: float = 1.0
    desk: Desk[Wish] = field(default_factory=Desk)
    paths: dict[int, list[Viewpoint]] = field(default_factory=dict)
    asked: Phrase | None = None
    found: Answer | None = None
    failure: Exception | None = None
    controls: Controls = field(init=False)
    worker: Thread = field(init=False)

    def __post_init__(self) -> None:
        """Fill scene and panel, and begin to work."""
        self.server.request_share_url = self.refuse_share
        self.server.gui.configure_theme(show_share_button=False, show_logo=False)
        self.fill_scene()
        self.controls = self.fill_panel()
        self.server.on_client_connect(self.welcome)
        self.server.on_client_disconnect(self.forget)
        self.worker = Thread(target=self.work, daemon=True, name="viewer")
        self.worker.start()

    @property
    def address(self) -> str:
        """Where to look at it. Asked for port 0, the system chose a free one."""
        return f"http://{HOST}:{self.server.get_port()}"

    @staticmethod
    def refuse_share(verbose: bool = True) -> None:
        """Nothing is shown to other machines."""

    def fill_scene(self) -> None:
        """Points, cameras and the direction that is up."""
        run, scene = self.session.runs[0], self.server.scene
        scene.set_up_direction(tuple(run.description.up.tolist()))
        points = run.points
        extent = float(np.linalg.norm(points.xyz.max(0) - points.xyz.min(0)))
        # Both stand in the way of the pictures until somebody wants them.
        for name in LAYERS:
            scene.add_frame(f"/{name}", show_axes=False, visible=False)
        add_points(scene, points, self.middle, self.session.settings.max_points, self.zoom)
        add_cameras(scene, run.description, self.middle, FRUSTUM * extent, self.zoom)

    def shown_at(self, place: np.ndarray) -> np.ndarray:
        """Where the browser's scene shows a place f64 (3,) of the world."""
        return np.asarray((place - self.middle) * self.zoom)

    def place_of(self, shown: Any) -> np.ndarray:
        """The place f64 (3,) of the world that the browser's scene shows there."""
        return np.asarray(shown, dtype=np.float64) / self.zoom + self.middle

    def fill_panel(self) -> Controls:
        """The controls, each of which asks for a new picture when it changes."""
        gui, names = self.server.gui, list(self.session.names)
        run = gui.add_dropdown("run", names, initial_value=names[0])
        beside = gui.add_dropdown("beside it", [NONE, *names], initial_value=NONE)
        share = gui.add_slider("split", 0.0, 1.0, 0.01, 0.5)
        output = gui.add_dropdown("show", list(OUTPUTS), initial_value=OUTPUTS[0])
        with gui.add_folder("Where is ..."):
            phrase = gui.add_text("phrase", "")
            gui.add_button("ask").on_click(self.ask)
            threshold = gui.add_slider("threshold", 0.0, 1.0, 0.01, 0.5)
            answer = gui.add_markdown("Type a phrase, like `table`, and press *ask*.")
            gui.add_button("go to the answer").on_click(self.go_to_answer)
        here = gui.add_markdown("Click on the scene: what is there?")
        for name in LAYERS:
            gui.add_checkbox(name, False).on_update(partial(self.show_layer, name))
        with gui.add_folder("Classes", expand_by_default=False):
            legend = self.fill_legend()
        with gui.add_folder("Camera path", expand_by_default=False):
            gui.add_button("add this camera").on_click(self.add_to_path)
            gui.add_button("clear").on_click(lambda event: self.paths.pop(event.client_id, None))
            gui.add_button("download camera_path.json").on_click(self.send_path)
        for control in (run, beside, share, output, threshold, *legend):
            control.on_update(lambda event: self.show_again())
        self.server.scene.on_click()(self.say_what_is_here)
        return Controls(run, beside, share, output, phrase, threshold, answer, here, legend)

    def show_layer(self, name: str, event: Any) -> None:
        """Show or hide points or cameras, as their box is checked."""
        self.server.scene.get_handle_by_name(f"/{name}").visible = event.target.value

    def fill_legend(self) -> list[Any]:
        """A line for each class: its colour, and whether it is coloured in `labels`."""
        boxes = []
        classes = self.session.runs[0].points.classes
        for name, colour in zip(classes, palette(len(classes)), strict=True):
            box = self.server.gui.add_checkbox(name, True)
            self.server.gui.add_html(
                f'<div style="height:6px; background:rgb{tuple(colour.tolist())}"></div>'
            )
            boxes.append(box)
        return boxes

    def wish_of(self, client: Any) -> Wish | None:
        """What a window wants now; None before it has said where its camera is, and while it is too
        small to show anything."""
        camera, names, controls = client.camera, list(self.session.names), self.controls
        if not (camera.update_timestamp and 0 < camera.aspect < np.inf and camera.fov > 0):
            return None
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_quat(camera.wxyz, scalar_first=True).as_matrix()
        pose[:3, 3] = self.place_of(camera.position)
        hidden = frozenset(index for index, box in enumerate(controls.legend) if not box.value)
        look = Look(controls.output.value, self.asked, float(controls.threshold.value), hidden)
        beside = controls.beside.value
        return Wish(
            Viewpoint(pose, float(camera.fov), float(camera.aspect)),
            look,
            names.index(controls.run.value),
            None if beside == NONE else names.index(beside),
            float(controls.share.value),
        )

    def welcome(self, client: Any) -> None:
        """A new window: it starts at the first frame's camera and asks whenever it moves."""
        run = self.session.runs[0].description
        pose = run.pose[0]
        client.camera.position = self.shown_at(pose[:3, 3])
        client.camera.wxyz = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
        client.camera.fov = 2 * float(np.arctan(run.height / 2 / run.intrinsics[1, 1]))
        client.camera.on_update(lambda _: self.show(client))
        self.show(client)

    def forget(self, client: Any) -> None:
        """A window was closed."""
        self.desk.drop(client.client_id)
        self.paths.pop(client.client_id, None)

    def show(self, client: Any) -> None:
        """Ask for a picture of what a window shows now."""
        wish = self.wish_of(client)
        if wish is not None:
            self.desk.put(client.client_id, wish)

    def show_again(self) -> None:
        """Ask for new pictures of all windows."""
        for client in self.server.get_clients().values():
            self.show(client)

    def work(self) -> None:
        """Make pictures until the desk is closed; the newest wish of a window wins."""
        try:
            while (taken := self.desk.take()) is not None:
                self.grant(*taken)
        except Exception as error:  # Whoever serves raises it: a thread's own would go unseen.
            self.failure = error

    def grant(self, window: int, wish: Wish) -> None:
        """Show a window what it wished, ever finer."""
        try:
            for shown in self.session.pictures(wish, partial(self.desk.outdated, window)):
                client = self.server.get_clients().get(window)
                if client is None:  # It was closed meanwhile.
                    return
                depth = shown.depth * np.float32(self.zoom)
                client.scene.set_background_image(shown.rgb, "jpeg", depth=depth)
        except UserError as error:  # A phrase that the other run's encoder does not know.
            self.controls.answer.content = escaped(error.message)

    def ask(self, event: Any) -> None:
        """Answer the phrase in the text box: boxes in the scene, a line in the panel."""
        controls, names = self.controls, list(self.session.names)
        run = names.index(controls.run.value)
        try:
            self.found = self.session.answer(run, controls.phrase.value)
        except UserError as error:
            controls.answer.content = escaped(error.message)
            return
        self.asked = self.found.phrase
        self.server.scene.remove_by_name("/answers")
        add_answers(self.server.scene, as_json(self.found), self.middle, self.zoom)
        controls.answer.content = said(
            self.found, self.session.command(run, self.asked), self.session.digits(run)
        )
        controls.output.value = "relevancy"
        self.show_again()

    def go_to_answer(self, event: Any) -> None:
        """Turn the window's camera to the best object."""
        if self.found is not None and self.found.instances and event.client is not None:
            event.client.camera.look_at = self.shown_at(self.found.instances[0].centroid)

    def say_what_is_here(self, event: Any) -> None:
        """Write what the clicked ray meets first into the panel."""
        wish = self.wish_of(event.client)
        if wish is None:
            return
        origin = self.place_of(event.ray_origin)
        direction = np.array(event.ray_direction, dtype=np.float64)
        try:
            here = self.session.here(wish, origin, direction)
            self.controls.here.content = described(here, self.session.digits(wish.run))
        except UserError as error:  # A phrase that this run's encoder does not know.
            self.controls.here.content = escaped(error.message)

    def add_to_path(self, event: Any) -> None:
        """Add a window's camera to its path."""
        wish = self.wish_of(event.client) if event.client else None
        if wish is not None:
            self.paths.setdefault(event.client_id, []).append(wish.viewpoint)

    def send_path(self, event: Any) -> None:
        """Give a window's path to its browser as a file."""
        path = self.paths.get(event.client_id, [])
        if path and event.client is not None:
            keys = [PathCamera(one.pose, one.fov) for one in path]
            size = path[0].size(self.session.settings.longest_side)
            film = CameraPath(interpolated(keys), *size, FPS)
            content = json.dumps(camera_path_json(film), indent=1)
            event.client.send_file_download("camera_path.json", content.encode())

    def stop(self) -> None:
        """End the worker and the server."""
        self.desk.close()
        self.worker.join()
        self.server.stop()


def escaped(text: str) -> str:
    """Text of a user or of a file as plain text in Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$&])", r"\\\1", text)


def as_json(answer: Answer) -> dict[str, Any]:
    """An answer as `scene_page.add_answers` reads it."""
    instances = [instance_json(one) for one in answer.instances[:SHOWN_INSTANCES]]
    return {"answers": [{"phrase": answer.phrase.text, "files": "now", "instances": instances}]}


def said(answer: Answer, command: str, digits: int) -> str:
    """What the panel says to a phrase; places have so many decimals."""
    lines = [f"**{escaped(answer.phrase.text)}**: " + ("found" if answer.found else "not found")]
    lines[0] += f", {answer.score:.2f} sure"
    for one in answer.instances[:SHOWN_INSTANCES]:
        place = " ".join(f"{value:.{digits}f}" for value in one.centroid)
        lines.append(f"* at {place}, {one.score:.2f} sure")
    return "\n".join([*lines, "", escaped(command)])


def described(here: Here, digits: int) -> str:
    """What the panel says of a point; its place has so many decimals."""
    if not here.classes:
        return "Nothing is there."
    place = " ".join(f"{value:.{digits}f}" for value in here.place)
    lines = [f"At {place}, {here.distance:.{digits}f} away:", ""]
    lines += [f"* {escaped(name)} {cosine:.2f}" for name, cosine in here.classes]
    if here.relevancy is not None:
        lines.append(f"* relevancy of the phrase {here.relevancy:.2f}")
    return "\n".join(lines)


def open_browser(session: Session, port: int) -> Browser:
    """Serve a session on 127.0.0.1.

    Raises:
        UserError: viser is not installed, another program listens on the port, or a run's points
            are another's.
    """
    viser = viewer("view")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:  # The latter for a number that is no port.
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"view: port {port} of {HOST} cannot be used ({reason})",
                f"take another: --port {port + 1 if 0 < port < 65535 else 8080}",
            ) from None
    # Before anything listens: points that are not there are made, and another run's are refused.
    points, *_ = [run.points for run in session.runs]
    with redirect_stdout(sys.stderr):  # viser prints its address
        server = viser.ViserServer(host=HOST, port=port, label="ovnerf", verbose=False)
        low, high = points.xyz.min(0), points.xyz.max(0)
        zoom = EXTENT / max(float(np.linalg.norm(high - low)), 1e-12)
        return Browser(session, server, (low + high) / 2, zoom)
