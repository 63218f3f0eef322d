"""Weight files: from a folder, from a server, resumed after a break, refused when wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import pytest

from ovnerf.cli import main
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.weight_sources import ProtectedRedirects, Weight, fetch, read_table

CONTENT = bytes(range(256)) * 9000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(HTTPServer):
    """Serves CONTENT; breaks off after `stop_after` bytes of a reply; counts what it sent."""

    stop_after = len(CONTENT)
    ranges = True
    content = CONTENT
    etag: str | None = None
    leads_to = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.versions: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted, content = self.headers.get("Range"), self.server.content
        version = self.headers.get("If-Range")
        self.server.asked.append(wanted)
        self.server.versions.append(version)
        if self.path == "/moved" and self.server.leads_to:
            self.send_response(302)
            self.send_header("Location", self.server.leads_to)
            self.end_headers()
            return
        if self.path != "/model.bin":
            self.send_error(404, "Not Found")
            return
        ranges = self.server.ranges and version in (None, self.server.etag)
        start = int(wanted[6:-1]) if wanted and ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.etag is not None:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(content[start : start + self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def weight(server: Server, sha256: str = SUM, path: str = "/model.bin") -> Weight:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return Weight("weights/model.bin", "any", url, sha256, "MIT", "https://example.org/model")


def ignore(here: int, total: int) -> None:
    pass


def test_a_download_reports_its_progress_and_is_verified(tmp_path, server):
    seen: list[tuple[int, int]] = []
    out = tmp_path / "deep/model.bin"
    assert fetch(weight(server), out, None, lambda *item: seen.append(item)) == "network"
    assert out.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(out.parent.iterdir()) == [out]
    assert fetch(weight(server), out, None, ignore) == "here"
    assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(tmp_path, server, ranges):
    out, server.ranges, server.stop_after = tmp_path / "model.bin", ranges, 1_000_000
    with pytest.raises(UserError, match=r"the connection ended after 1000000 of 2304000 bytes"):
        fetch(weight(server), out, None, ignore)
    assert not out.exists()
    assert (tmp_path / "model.bin.part").stat().st_size == 1_000_000
    server.stop_after = len(CONTENT)
    assert fetch(weight(server), out, None, ignore) == "network"
    assert server.asked == [None, "bytes=1000000-"]
    assert out.read_bytes() == CONTENT


def broken_off(server: Server, row: Weight, out: Path) -> None:
    """A download that ended after a million bytes; the server is whole again."""
    server.stop_after = 1_000_000
    with pytest.raises(UserError, match="the connection ended"):
        fetch(row, out, None, ignore)
    server.stop_after = len(CONTENT)


def test_a_file_that_changed_since_is_loaded_anew(tmp_path, server):
    """Without a sum in the table nothing else would tell."""
    out, server.etag = tmp_path / "model.bin", '"first"'
    broken_off(server, weight(server, ""), out)
    server.etag, server.content = '"second"', CONTENT[::-1]
    assert fetch(weight(server, ""), out, None, ignore) == "network"
    assert server.versions == [None, '"first"']
    assert out.read_bytes() == CONTENT[::-1]
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_stayed_the_same_goes_on(tmp_path, server):
    out, server.etag = tmp_path / "model.bin", '"first"'
    broken_off(server, weight(server, ""), out)
    fetch(weight(server, ""), out, None, ignore)
    assert (server.asked, server.versions) == ([None, "bytes=1000000-"], [None, '"first"'])
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_bytes_of_no_known_version_go_on_only_where_a_sum_tells(tmp_path, server, etag):
    server.etag = etag
    for sha256, asked in (("", [None, None]), (SUM, [None, "bytes=1000000-"])):
        out = tmp_path / f"model{sha256[:1]}.bin"
        server.asked, server.versions = [], []
        broken_off(server, weight(server, sha256), out)
        fetch(weight(server, sha256), out, None, ignore)
        assert (server.asked, server.versions) == (asked, [None, None])
        assert out.read_bytes() == CONTENT


def test_another_sum_leaves_no_version_behind(tmp_path, server):
    server.etag = '"first"'
    with pytest.raises(UserError, match=f"expected {'0' * 64}"):
        fetch(weight(server, "0" * 64), tmp_path / "model.bin", None, ignore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["http://example.org/model.bin", "ftp://127.0.0.1/model.bin"])
def test_a_server_that_leads_to_an_open_connection_is_not_followed(tmp_path, server, target):
    server.leads_to = target
    with pytest.raises(UserError, match=r"it leads to .*expected an https address"):
        fetch(weight(server, path="/moved"), tmp_path / "model.bin", None, ignore)
    assert list(tmp_path.iterdir()) == []


def test_an_https_server_does_not_lead_to_this_machine():
    """And where it may lead, the request goes on with its headers."""
    asked = Request("https://example.org/a", headers={"Range": "bytes=3-"})
    follow = ProtectedRedirects().redirect_request
    with pytest.raises(URLError, match="expected an https address"):
        follow(asked, None, 302, "Found", {}, "http://127.0.0.1/a")
    followed = follow(asked, None, 302, "Found", {}, "https://example.com/b")
    assert followed.full_url == "https://example.com/b"
    assert followed.get_header("Range") == "bytes=3-"


def test_a_server_on_this_machine_may_lead_to_itself(tmp_path, server):
    server.leads_to = "/model.bin"
    fetch(weight(server, path="/moved"), tmp_path / "model.bin", None, ignore)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_whole_part_is_only_renamed(tmp_path, server):
    (tmp_path / "model.bin.part").write_bytes(CONTENT)
    fetch(weight(server), tmp_path / "model.bin", None, ignore)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_folder_comes_before_the_network(tmp_path, server):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/model.bin").write_bytes(CONTENT)
    assert fetch(weight(server), tmp_path / "model.bin", tmp_path / "store", ignore) == "folder"
    assert server.asked == []
    (tmp_path / "model.bin").unlink()
    (tmp_path / "store/model.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=rf"store/model\.bin: found sha256 \w+, expected {SUM}"):
        fetch(weight(server), tmp_path / "model.bin", tmp_path / "store", ignore)
    assert not (tmp_path / "model.bin").exists()


def test_another_sum_leaves_nothing(tmp_path, server):
    with pytest.raises(UserError, match=f"expected {'0' * 64}"):
        fetch(weight(server, "0" * 64), tmp_path / "model.bin", None, ignore)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_message_says_what_to_do(tmp_path, server):
    missing = weight(server, path="/moved.bin")
    with pytest.raises(UserError, match=r"cannot be loaded from .*Not Found") as caught:
        fetch(missing, tmp_path / "model.bin", None, ignore)
    assert "get it from https://example.org/model" in caught.value.hint
    assert "`weights_dir` names" in caught.value.hint
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="Connection refused"):
        fetch(weight(server), tmp_path / "model.bin", None, ignore)
    by_hand = Weight("weights/model.bin", "any", "", "", "MIT", "a person")
    with pytest.raises(UserError, match="no address to load from"):
        fetch(by_hand, tmp_path / "model.bin", None, ignore)
    assert list(tmp_path.iterdir()) == []


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "weights.tsv"
    path.write_text("\n".join(["file\tarchitecture\turl\tsha256\tlicence\tsource", *rows]) + "\n")
    return path


def test_the_stage(tmp_path, server, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = weight(server)
    path = table(tmp_path, "\t".join([row.file, "any", row.url, row.sha256, "MIT", "page"]))
    command = ["fetch_weights", "--table", str(path), "--out"]
    assert main([*command, "weights/model.bin"]) == 0
    assert SUM in capsys.readouterr().out
    assert Path("weights/model.bin").read_bytes() == CONTENT
    assert main([*command, "weights/other.bin"]) == 2
    assert "no row for weights/other.bin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.bin\tx\t\tabc\tMIT\tp"], "a.bin: found 'abc', expected a sha256"),
        (["a.bin\tx\t\t\tMIT\tp"] * 2, "a.bin appears twice"),
        (["../a.bin\tx\t\t\tMIT\tp"], "'../a.bin', expected a plain path below"),
        (["/etc/a.bin\tx\t\t\tMIT\tp"], "'/etc/a.bin', expected a plain path below"),
        (["a;b.bin\tx\t\t\tMIT\tp"], "'a;b.bin', expected a plain path below"),
        (["a.bin\tx\tfile:///a\t\tMIT\tp"], "found file:///a, expected an https address"),
        (["a.bin\tx\thttp://127.0.0.1:80@b.org/a\t\tMIT\tp"], "expected an https address"),
        (["a.bin\tx"], "expected the columns file, architecture"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, rows, said):
    with pytest.raises(UserError, match=said):
        read_table(table(tmp_path, *rows))


def test_the_shipped_table_names_the_weights_of_the_shipped_settings():
    from ovnerf.config.features import CacheDino
    from ovnerf.config.regions import ProposeRegions
    from ovnerf.config.run import cache_features_settings, read_config

    rows = read_table(REPOSITORY_ROOT / "config/weights.tsv")
    named = {ProposeRegions().weights, CacheDino().weights}
    base = read_config({"scenes": "any"})
    for path in (REPOSITORY_ROOT / "config/encoders").glob("*.yaml"):
        encoder = cache_features_settings(base, path).encoder
        if getattr(encoder, "weights", "").startswith("weights/"):
            named.add(encoder.weights)
            row = rows[encoder.weights]
            assert row.architecture == getattr(encoder, "model", encoder.kind)
    assert named <= set(rows)
    assert all(row.url.startswith("https://") or not row.url for row in rows.values())
