"""Connections to a server: addresses, keys and versions, what is refused, and how they end."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import socket
import subprocess
import sys
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_sam3.inference.models import load_predictor
from napari_sam3.inference.remote import connection, tasks
from napari_sam3.inference.remote.address import RemoteAddress
from napari_sam3.inference.remote.errors import RemoteError
from napari_sam3.inference.remote.key import make_key, read_key
from napari_sam3.inference.remote.messages import Call, own_version
from tests.napari_sam3.serving import Server

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Dask and tornado, when a server is killed
    pytest.mark.usefixtures("one_torch_thread"),
]
distributed = pytest.importorskip("distributed")


def test_it_listens_on_loopback_alone_and_speaks_tls_alone(server: Server) -> None:
    assert server.process is not None
    listening = {
        (one.laddr.ip, one.laddr.port)
        for one in psutil.Process(server.process.pid).net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert ("127.0.0.1", server.port) in listening
    assert {host for host, _ in listening} == {"127.0.0.1"}
    for _, port in listening:
        with pytest.raises(OSError):  # noqa: PT011  # of several kinds
            distributed.Client(f"tcp://127.0.0.1:{port}", timeout=1, set_as_default=False)


def test_a_wrong_key_is_refused(server: Server, tmp_path: Path) -> None:
    make_key(tmp_path / "other.key")
    name = f"tls://127.0.0.1:{server.port}?key={tmp_path / 'other.key'}"
    with pytest.raises(RemoteError, match="refuses the key") as caught:
        load_predictor(name, "cpu")
    assert "other.key" in str(caught.value)


def test_an_older_client_is_refused_and_both_versions_are_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = own_version()
    # A client that does not look for itself.
    security = read_key(server.key)
    with (
        closing(
            distributed.Client(
                f"tls://127.0.0.1:{server.port}", security=security, set_as_default=False
            )
        ) as client,
        pytest.raises(RemoteError, match=f"{ours} on the server, 0.0.9 on this"),
    ):
        client.submit(tasks.fetch_parts, Call("topic", "0.0.9"), pure=False).result(20)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "0.0.9")
    with pytest.raises(RemoteError, match=f"{ours} on the server, 0.0.9 on this"):
        load_predictor(server.name, "cpu")


def test_another_scheduler_of_dask_is_no_server(tmp_path: Path, server: Server) -> None:
    with distributed.LocalCluster(
        n_workers=0, protocol="tls://", security=read_key(server.key), host="127.0.0.1",
        dashboard_address="127.0.0.1:0", processes=False,
    ) as cluster:  # fmt: skip
        name = f"{cluster.scheduler_address}?key={server.key}"
        with pytest.raises(RemoteError, match="not a server of napari-sam3"):
            load_predictor(name, "cpu")


def test_a_port_that_is_taken_is_named_in_one_line(server: Server) -> None:
    command = [sys.executable, "-m", "napari_sam3.cli", "serve", "--model", server.weights]
    command += ["--port", str(server.port), "--key", str(server.key), "--device", "cpu"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"cannot listen on tls://127.0.0.1:{server.port} (" in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    ["tcp://127.0.0.1:8786", "tls://", "tls://host:0", "tls://host:port", "tls://host:70000",
     "http://host", "tls://host:8786?key=", "tls://ho st:1", "tls://user@host:1",
     "tls://::1:8786", "tls://fe80::1", "tls://[gpu]:1", "tls://gpu..lab", f"tls://{'x' * 64}.lab"],
)  # fmt: skip
def test_other_addresses_are_refused(name: str) -> None:
    with pytest.raises(RemoteError, match="address"):
        load_predictor(name)


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [("tls://gpu", "gpu", 8786), ("tls://gpu.lab:99/", "gpu.lab", 99),
     ("tls://[::1]", "[::1]", 8786), ("tls://[::1]:7", "[::1]", 7),
     ("tls://10.0.0.1:8787?key=/a b.key", "10.0.0.1", 8787)],
)  # fmt: skip
def test_addresses_are_read(name: str, host: str, port: int) -> None:
    address = RemoteAddress.parse(name)
    assert (address.host, address.port) == (host, port)
    assert RemoteAddress.parse(address.name) == address


def test_an_ipv6_address_to_listen_on_is_one_to_connect_to() -> None:
    assert RemoteAddress.parse(RemoteAddress("::1", 7).url).url == "tls://[::1]:7"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "::0", ""])
def test_the_address_of_all_interfaces_is_not_one_to_connect_to(host: str) -> None:
    address = RemoteAddress(host, 7)
    assert address.is_any
    assert address.reachable.url == f"tls://{socket.gethostname()}:7"
    for own in ("127.0.0.1", "::1", "gpu.lab"):
        assert RemoteAddress(own, 7).reachable == RemoteAddress(own, 7)


def test_a_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    mask = os.umask(0)
    try:
        make_key(tmp_path / "in" / "a.key")
    finally:
        os.umask(mask)
    assert (tmp_path / "in" / "a.key").stat().st_mode & 0o777 == 0o600
    read_key(tmp_path / "in" / "a.key")
    with pytest.raises(RemoteError, match="cannot be written"):
        make_key(tmp_path / "in" / "a.key")
    (tmp_path / "in" / "a.key").chmod(0o644)
    with pytest.raises(RemoteError, match="chmod 600"):
        read_key(tmp_path / "in" / "a.key")


def test_what_is_no_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.key"
    with pytest.raises(RemoteError, match="cannot be read"):
        read_key(path)
    make_key(path)
    content = path.read_bytes()
    make_key(tmp_path / "b.key")
    other = (tmp_path / "b.key").read_bytes()
    private = content.find(b"-----BEGIN PRIVATE")
    unknown = (
        b"-----BEGIN PRIVATE KEY-----\nMBECAQAwBQYDKgMEBAUBAgMEBQ==\n-----END PRIVATE KEY-----\n"
    )
    for wrong in (
        content[:private] + unknown,
        b"", b"x" * 100, content[:private], content[private:], content + b"x" * (1 << 16),
        content[:private] + other[other.find(b"-----BEGIN PRIVATE") :],
    ):  # fmt: skip
        path.write_bytes(wrong)
        with pytest.raises(RemoteError, match="key"):
            read_key(path)
    monkeypatch.setattr("napari_sam3.inference.remote.key._YEARS", 0)
    path.unlink()
    make_key(path)
    with pytest.raises(RemoteError, match="expired"):
        read_key(path)


@pytest.mark.parametrize("collected", [False, True], ids=["closed", "collected"])
def test_a_client_whose_listener_failed_is_closed_without_error(
    server: Server, collected: bool
) -> None:
    """Dask's client awaits its listener again each time it is closed, also by `__del__`."""

    async def fail(listener: Any) -> None:
        listener.cancel()
        raise ValueError("IOStream is not idle; cannot convert to SSL")

    async def break_listener() -> None:
        client._handle_report_task = asyncio.ensure_future(fail(client._handle_report_task))
        await asyncio.wait([client._handle_report_task])

    link = connection.Connection(RemoteAddress.parse(server.name))
    client = link._connected()
    client.sync(break_listener)
    if collected:
        alive = weakref.ref(link)
        del link
        gc.collect()
        assert alive() is None
    else:
        link.close()
    assert client.status == "closed"
    client.__del__()  # an error here would be one that nobody can catch
