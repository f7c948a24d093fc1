"""Refusals of the download, by a real server on this machine."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from sam3.errors import DownloadError, Sam3Error
from sam3.weights.download import download_released_weights

COMMIT = "0" * 40
ETAG = "0123456789abcdef"


class Hub(ThreadingHTTPServer):
    """Answers every request for the file with one status and one error code."""

    status, error_code, content, etag = 200, "", b"weights" * 1000, ETAG
    cut_after: int | None = None
    resets = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ranges: list[str | None] = []
        self.agents: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.agents.append(self.headers.get("User-Agent", ""))
        if self.server.resets:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else self.server.status)
        if self.server.error_code:
            self.send_header("X-Error-Code", self.server.error_code)
        body = self.server.content[first:] if self.server.status == 200 else b""
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.server.etag}"')
        self.send_header("Content-Length", str(len(body)))
        if asked:
            whole = len(self.server.content)
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        self.end_headers()
        if self.command == "GET":
            self.server.ranges.append(asked)
            self.wfile.write(body[: self.server.cut_after])
            self.server.cut_after = None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with Hub(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_file_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    path = download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert path.read_bytes() == hub.content
    assert path.name == "sam3.pt"


def test_a_file_of_the_announced_hash_is_kept_and_another_one_deleted(
    hub: Hub, tmp_path: Path
) -> None:
    hub.etag = hashlib.sha256(hub.content).hexdigest()
    path = download_released_weights(endpoint=hub.url, cache_dir=tmp_path / "right")
    assert path.read_bytes() == hub.content
    hub.content = b"weighty" * 1000
    with pytest.raises(DownloadError, match=r"was deleted: its SHA-256 is .* for sam3\.pt"):
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path / "wrong")
    assert not [one for one in (tmp_path / "wrong").rglob("*") if one.name in ("sam3.pt", hub.etag)]


def test_nothing_is_told_of_this_computer(hub: Hub, tmp_path: Path) -> None:
    # Connections to any other machine are refused, and fail the test; see conftest.py.
    download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert hub.agents
    for agent in hub.agents:
        assert "torch" not in agent
    assert constants.HF_HUB_DISABLE_TELEMETRY is False, "as it was"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "GatedRepo", "are gated. Expected a login"),
        (403, "GatedRepo", "your account has no access"),
        (401, "RepoNotFound", "does not show facebook/sam3 to you"),
        (401, "", "does not accept your token.*\n.*hf auth login"),
        (403, "", "refuses the weights of facebook/sam3 to your account.*\n.*fine-grained token"),
        (429, "", "refuses more requests for now.*\nWait"),
        (501, "", "answered with an error: 501"),
    ],
)
def test_refusals_say_what_to_do(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    message: str,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # the client waits between attempts
    hub.status, hub.error_code = status, code
    with pytest.raises(DownloadError, match=message) as caught:
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert 'preset="tiny"' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_no_connection(tmp_path: Path) -> None:
    with Hub(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    with pytest.raises(DownloadError, match="cannot be reached"):
        download_released_weights(endpoint=url, cache_dir=tmp_path)


@pytest.mark.parametrize("kind", ["token", "broken"])
def test_any_other_failure_is_explained(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Errors of the client's HTTP library, which are of no kind of its own."""
    if kind == "token":
        monkeypatch.setenv("HF_TOKEN", "tökén")
    else:
        hub.resets = True
    with pytest.raises(DownloadError, match=r"could not be downloaded: .+\nCheck") as caught:
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_connection_that_breaks_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.content, hub.cut_after = b"weights" * 2_000_000, 12_000_000
    path = download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert path.read_bytes() == hub.content
    first, second = hub.ranges
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 5_000_000


def test_progress_is_told_in_bytes_and_can_end_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.content = b"weights" * 4_000_000
    told: list[tuple[int, int | None]] = []

    def stop(done: int, total: int | None) -> None:
        told.append((done, total))
        if done:
            raise Sam3Error("enough")

    with pytest.raises(Sam3Error, match="enough"):
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path, progress=stop)
    assert not list(tmp_path.rglob("sam3.pt"))
    assert told[0] == (0, len(hub.content))
    told.clear()
    path = download_released_weights(
        endpoint=hub.url, cache_dir=tmp_path, progress=lambda *news: told.append(news)
    )
    assert path.read_bytes() == hub.content
    assert told[-1] == (len(hub.content), len(hub.content))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = tmp_path / "models--facebook--sam3" / "blobs"
    blobs.mkdir(parents=True)
    # The client's temporary file has a random name; with a known one it can be on a full device.
    known = uuid.UUID(int=0)
    monkeypatch.setattr("huggingface_hub.file_download.uuid.uuid4", lambda: known)
    (blobs / f"{ETAG}.{known.hex[:8]}.incomplete").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="the disk is full") as caught:
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path)
    assert "Make room, or set HF_HOME" in str(caught.value)
    assert not list(tmp_path.rglob("sam3.pt"))


def test_unusable_folder(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match="could not be downloaded"):
        download_released_weights(endpoint=hub.url, cache_dir=tmp_path / "file")
