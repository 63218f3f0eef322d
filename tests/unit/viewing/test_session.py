"""What the viewer shows and says, without a browser."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest
from asking_fixtures import CLASSES, DESCRIPTION, write_field

from ovnerf.asking.looks import Look, overlaid, side_by_side
from ovnerf.asking.run import Run, open_run
from ovnerf.asking.views import View
from ovnerf.cli import main, stage_parser
from ovnerf.config.phrases import Phrase, parse_phrase, parse_phrases
from ovnerf.config.viewing import Viewing
from ovnerf.field.field import RadianceField
from ovnerf.runtime.errors import UserError
from ovnerf.stages import query
from ovnerf.stages.view import short_names
from ovnerf.storage.tensors import load_tensors, save_tensors
from ovnerf.viewing.browser import HOST, Browser, escaped, open_browser
from ovnerf.viewing.cameras import Viewpoint
from ovnerf.viewing.desk import Desk
from ovnerf.viewing.session import Session, Wish, together, z_depth

VIEWPOINT = Viewpoint(DESCRIPTION.pose[0], 1.0, 4 / 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small field, opened from a folder that holds nothing else."""
    folder = tmp_path_factory.mktemp("run")
    write_field(folder / "semantics")
    return open_run(folder)


@pytest.fixture
def session(run: Run) -> Session:
    """Two runs, which are the same one, in small pictures; the clock stands still."""
    return Session([run, run], ["a", "b"], Viewing(longest_side=16), lambda: 0.0)


def last(session: Session, wish: Wish) -> np.ndarray:
    """The finished picture of a wish."""
    (*_, shown) = session.pictures(wish, lambda: False)
    return shown.rgb


def test_a_new_phrase_or_output_marches_no_ray(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = last(session, Wish(VIEWPOINT, Look()))
    monkeypatch.delattr(RadianceField, "samples_above_threshold")
    pictures = [
        last(session, Wish(VIEWPOINT, look))
        for look in (
            Look("labels"),
            Look("labels", hidden=frozenset({0, 1, 2})),
            Look("relevancy", Phrase(("table",)), 0.0),
            Look("relevancy", Phrase(("lamp",)), 0.0),
            Look("depth"),
            Look("opacity"),
        )
    ]
    np.testing.assert_array_equal(pictures[1], colour)
    assert all(not np.array_equal(colour, one) for one in [pictures[0], *pictures[2:]])
    assert not np.array_equal(pictures[2], pictures[3])


def test_two_runs_are_shown_beside_each_other(session: Session) -> None:
    alone = last(session, Wish(VIEWPOINT, Look()))
    both = last(session, Wish(VIEWPOINT, Look(), 0, 1, 0.5))
    np.testing.assert_array_equal(both[:, 8:], alone[:, 8:])
    np.testing.assert_array_equal(both[:, :7], alone[:, :7])
    assert (both[:, 7] == 255).all()


def test_what_was_clicked_on_is_named_with_its_place(session: Session, run: Run) -> None:
    pose = DESCRIPTION.pose[0]
    here = session.here(Wish(VIEWPOINT, Look()), pose[:3, 3], pose[:3, 2])
    assert sorted(name for name, _ in here.classes) == sorted(CLASSES)
    cosines = [cosine for _, cosine in here.classes]
    assert cosines == sorted(cosines, reverse=True)
    np.testing.assert_allclose(here.place, pose[:3, 3] + here.distance * pose[:3, 2], atol=1e-6)
    asked = Wish(VIEWPOINT, Look("relevancy", Phrase(("table",))))
    assert session.here(asked, pose[:3, 3], pose[:3, 2]).relevancy is not None
    away = session.here(asked, pose[:3, 3], -pose[:3, 2])
    assert not away.classes and away.relevancy is None


def test_a_phrase_is_answered_from_the_points(session: Session) -> None:
    assert session.answer(0, "table").phrase == Phrase(("table",))
    for bad in ("", "| wall", "a word it does not know"):
        with pytest.raises(UserError):
            session.answer(0, bad)
    assert session.command(0, Phrase(("it's a table",))).endswith(""" 'it'"'"'s a table'""")


@pytest.mark.parametrize("text", ["table; lamp | wall", "-table | wall", "it's; --device | a, b"])
def test_the_command_asks_the_same(session: Session, text: str) -> None:
    phrase = parse_phrase(text, "here")
    python, *words = shlex.split(session.command(0, phrase))
    assert [python, *words[:3]] == ["python", "-m", "ovnerf", "query"]
    parser, _ = stage_parser("query", query)
    options = parser.parse_intermixed_args(words[3:])
    assert options.run == session.runs[0].files.folder
    assert parse_phrases(options.asked, "phrase") == [phrase]


def test_depth_along_the_axis() -> None:
    distance = np.full((1, 3), 5.0, np.float32)
    opacity = np.array([[1.0, 1.0, 0.0]], np.float32)
    view = View(np.zeros((1, 3, 3), np.uint8), distance, opacity, np.zeros((1, 3, 28)))
    # Focal length 1/2 / tan(45 degrees) = 1/2: the left pixel's centre lies at x = -2.
    depth = z_depth(view, Viewpoint(np.eye(4), np.pi / 2, 3.0), 70.0)
    np.testing.assert_allclose(depth, [[5 / np.sqrt(5), 5.0, 70.0]], rtol=1e-6)


def test_what_no_ray_meets_is_far_in_any_unit(session: Session, tmp_path: Path) -> None:
    """The box's diagonal in scene units, of which a metre has 2, a millimetre 0.002."""
    box = session.runs[0].field.radiance.box.numpy()
    diagonal = float(np.sqrt(((box[1] - box[0]) ** 2).sum()))
    assert session.far == pytest.approx(1000 * diagonal / 2)
    nowhere = Viewpoint(DESCRIPTION.pose[0] @ np.diag([1, -1, -1, 1.0]), 1.0, 4 / 3)
    (*_, shown) = session.pictures(Wish(nowhere, Look()), lambda: False)
    assert (shown.depth == np.float32(session.far)).all()
    write_field(tmp_path / "semantics", similarity={"scale": 0.002, "centre": [0.0, 0.0, 0.0]})
    small = Session([open_run(tmp_path)], ["a"], Viewing())
    assert small.far == pytest.approx(1000 * diagonal / 0.002)


def test_a_browser_shows_every_scene_at_one_size(session: Session) -> None:
    """A scene of 4000 millimetres, shown 10 long: a millimetre is 1/400 there."""
    shown: list[np.ndarray] = []
    scene = SimpleNamespace(set_background_image=lambda rgb, kind, depth: shown.append(depth))
    browser = stand_in(session, {1: SimpleNamespace(scene=scene)})
    browser.middle, browser.zoom = np.array([1000.0, 0, 200]), 1 / 400
    np.testing.assert_allclose(browser.shown_at(np.array([3000.0, 400, 200])), [5, 1, 0])
    np.testing.assert_allclose(browser.place_of((5, 1, 0)), [3000, 400, 200])
    browser.grant(1, Wish(VIEWPOINT, Look()))
    (*_, plain) = session.pictures(Wish(VIEWPOINT, Look()), lambda: False)
    np.testing.assert_allclose(shown[-1], plain.depth / 400, rtol=1e-6)


def test_a_finished_run_waits_for_the_other() -> None:
    pairs = together([iter("abc"), iter("x")])  # type: ignore[list-item]
    assert list(pairs) == [["a", "x"], ["b", "x"], ["c", "x"]]
    assert list(together([iter("abc"), iter("")])) == []  # type: ignore[list-item]


def test_pictures_are_mixed_by_hand() -> None:
    rgb = np.array([[[100, 100, 100], [100, 100, 100]]], np.uint8)
    red = np.array([[[200, 0, 0], [200, 0, 0]]], np.uint8)
    mixed = overlaid(rgb, red, np.array([[True, False]]), around=0.5)
    np.testing.assert_array_equal(mixed, [[[160, 40, 40], [50, 50, 50]]])
    np.testing.assert_array_equal(
        side_by_side(np.arange(4)[None], 9 * np.ones((1, 4)), 0.25), [[0, 9, 9, 9]]
    )


def test_text_of_users_is_no_markup() -> None:
    assert escaped("<b>*a*</b> [x](y)") == r"\<b\>\*a\*\</b\> \[x\]\(y\)"


def test_names_tell_runs_apart() -> None:
    one, other = Path("/r/room0/toy/ovnerf/seed0"), Path("/r/room0/toy/rsr/seed0")
    assert short_names([one]) == ["ovnerf/seed0"]
    assert short_names([one, other]) == ["ovnerf/seed0", "rsr/seed0"]
    far = Path("/r/room0/clip/ovnerf/seed0")
    assert short_names([one, far]) == ["toy/ovnerf/seed0", "clip/ovnerf/seed0"]
    with pytest.raises(UserError, match="twice"):
        short_names([one, one])


def test_a_port_in_use_is_one_message(session: Session) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=str(port)) as caught:
            open_browser(session, port)
    assert "--port" in str(caught.value.hint)


def test_a_window_without_area_wants_nothing(session: Session) -> None:
    browser = stand_in(session, {})
    browser.middle, browser.asked = np.zeros(3), None
    chosen = {"output": "colour", "threshold": 0.5, "beside": "-", "run": "a", "share": 0.5}
    controls = {name: SimpleNamespace(value=value) for name, value in chosen.items()}
    browser.controls = SimpleNamespace(legend=[], **controls)  # type: ignore[assignment]
    seen = {"update_timestamp": 1.0, "wxyz": np.array([1.0, 0, 0, 0]), "position": np.ones(3)}
    for aspect, fov, wants in [
        *((1.5, 1.0, True), (0.0, 1.0, False), (np.inf, 1.0, False), (np.nan, 1.0, False)),
        (1.5, 0.0, False),
    ]:
        camera = SimpleNamespace(aspect=aspect, fov=fov, **seen)
        wish = browser.wish_of(SimpleNamespace(camera=camera))
        assert (wish is not None) == wants
    camera = SimpleNamespace(aspect=1.5, fov=1.0, **{**seen, "update_timestamp": 0.0})
    assert browser.wish_of(SimpleNamespace(camera=camera)) is None


@pytest.fixture(scope="module")
def runs(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a run, of those of other frames or classes, and of one with another's points."""
    assert len(run.points)
    other, moved, listed, turned, placed, zoomed = (
        tmp_path_factory.mktemp(name)
        for name in ("other", "moved", "listed", "turned", "placed", "zoomed")
    )
    pose = DESCRIPTION.pose.copy()
    pose[3, 0, 3] += 0.01
    write_field(placed / "semantics", pose=pose.tolist())
    write_field(zoomed / "semantics", intrinsics=(DESCRIPTION.intrinsics * 1.01).tolist())
    write_field(listed / "semantics", classes=["wall", "desk", "door"])
    write_field(turned / "semantics", classes=CLASSES[::-1])
    write_field(other / "semantics", names=list("wxyz"))
    write_field(moved / "semantics")
    shutil.copytree(run.files.points, moved / "points.zarr")
    file = moved / "semantics/field.safetensors"
    tensors, header = load_tensors(file)
    save_tensors(file, tensors, {**header, "digest": "another"})
    folders = {"run": run.files.folder, "other": other, "moved": moved, "none": other / "none"}
    folders |= {"listed": listed, "turned": turned, "placed": placed, "zoomed": zoomed}
    return {name: str(folder) for name, folder in folders.items()}


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (["none"], "found no trained field, expected semantics/field.safetensors"),
        (["run", "run"], "view: found the same run twice"),
        (["run", "other"], "a run of other frames than"),
        (["run", "placed"], "a run of other camera poses than"),
        (["run", "zoomed"], "a run of other intrinsics than"),
        (["run", "listed"], "other classes than"),
        (["run", "listed"], "found also desk, door and not table, lamp"),
        (["run", "turned"], "found the same in another order"),
        (["moved"], "points.zarr: made from another field than"),
        (["run"], "of 127.0.0.1 cannot be used"),
    ],
)
def test_what_cannot_be_viewed_is_one_message_and_exit_2(
    runs: dict[str, str], capsys: pytest.CaptureFixture, shown: list[str], told: str
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1] if "cannot be used" in told else 0
        assert main(["view", *(runs[name] for name in shown), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("error:") == 1


@pytest.mark.parametrize("command", ["query", "export"])
def test_points_of_another_run_are_asked_nothing(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture, command: str
) -> None:
    words = [] if command == "export" else ["table"]
    code = main([command, runs["moved"], *words, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 2 and "points.zarr: made from another field than" in said
    assert said.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_port_0_is_a_free_one_which_is_told(session: Session) -> None:
    browser = open_browser(session, 0)
    try:
        assert browser.address.startswith("http://127.0.0.1:")
        assert int(browser.address.rpartition(":")[2]) > 0
        with urlopen(browser.address, timeout=30) as page:
            assert page.status == 200
    finally:
        browser.stop()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_one_message(session: Session, port: int) -> None:
    with pytest.raises(UserError, match=f"port {port} of") as caught:
        open_browser(session, port)
    assert "--port 8080" in str(caught.value.hint)


def test_without_viser_it_says_what_to_install(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match="viser") as caught:
        open_browser(session, 0)
    assert "envs/install.py" in str(caught.value.hint)


def stand_in(session: Session, clients: dict[int, SimpleNamespace]) -> Browser:
    """A browser whose server is no server, without a panel and without its thread."""
    browser = object.__new__(Browser)
    browser.session, browser.desk, browser.failure = session, Desk(), None
    browser.server = SimpleNamespace(get_clients=lambda: clients)
    browser.controls = SimpleNamespace(answer=SimpleNamespace(content=""))  # type: ignore[assignment]
    return browser


def test_the_work_goes_on_after_a_closed_window_and_an_unknown_word(session: Session) -> None:
    shown: list[tuple[int, ...]] = []
    scene = SimpleNamespace(set_background_image=lambda rgb, kind, depth: shown.append(rgb.shape))
    clients: dict[int, SimpleNamespace] = {2: SimpleNamespace(scene=scene)}
    browser = stand_in(session, clients)
    browser.grant(1, Wish(VIEWPOINT, Look()))
    assert not shown
    browser.grant(2, Wish(VIEWPOINT, Look("relevancy", Phrase(("zebra",)))))
    assert "zebra" in browser.controls.answer.content and not shown
    browser.grant(2, Wish(VIEWPOINT, Look()))
    assert shown[-1] == (12, 16, 3)


def test_what_ends_the_work_is_kept_for_who_serves(session: Session) -> None:
    browser = stand_in(session, {})
    browser.desk.put(1, Wish(VIEWPOINT, Look(), run=7))
    browser.work()
    assert isinstance(browser.failure, IndexError)


def test_a_click_while_an_unknown_word_is_asked_is_one_message(session: Session) -> None:
    browser = stand_in(session, {})
    browser.middle = np.zeros(3)
    browser.controls.here = SimpleNamespace(content="")
    browser.wish_of = lambda client: Wish(VIEWPOINT, Look("relevancy", Phrase(("zebra",))))  # type: ignore[method-assign]
    pose = DESCRIPTION.pose[0]
    event = SimpleNamespace(client=None, ray_origin=pose[:3, 3], ray_direction=pose[:3, 2])
    browser.say_what_is_here(event)
    assert "zebra" in browser.controls.here.content


def test_a_closed_window_leaves_nothing_behind(session: Session) -> None:
    browser = stand_in(session, {})
    browser.paths = {3: [VIEWPOINT]}
    browser.desk.put(3, Wish(VIEWPOINT, Look()))
    browser.forget(SimpleNamespace(client_id=3))
    assert not browser.paths and not browser.desk.waiting
