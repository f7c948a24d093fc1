"""A model in another process: the same masks, and plain words when it cannot be reached."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import torch

from napari_sam3.batch import segment
from napari_sam3.cli.main import main
from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelWrite
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.automatic.find import find_objects
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped
from napari_sam3.inference.models import describe_predictor, load_predictor
from napari_sam3.inference.questions import Question
from napari_sam3.inference.remote import connection, tasks
from napari_sam3.inference.remote.address import RemoteAddress
from napari_sam3.inference.remote.errors import RemoteError
from napari_sam3.inference.remote.key import make_key, read_key
from napari_sam3.inference.remote.messages import DETECTOR, Call, SentPlane, own_version
from napari_sam3.inference.remote.predictor import RemoteFollower, RemotePredictor
from napari_sam3.inference.similar.examples import Example, learn_concept
from napari_sam3.inference.similar.search import find_similar
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.followers import (
    Before,
    FoundMask,
    MemoryFollower,
    Shown,
    follower_of,
)
from napari_sam3.inference.tracking.memories import has_memory, memory_of
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.session.session import LabelingSession
from napari_sam3.session.stacks import PlaneStack, planes_along
from sam3.concepts.detector import load_detector
from sam3.errors import ImageError, Sam3Error
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import pixels, question, stack
from tests.napari_sam3.serving import Server, save_weights, serving

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Dask and tornado, when a server is killed
    pytest.mark.usefixtures("one_torch_thread"),
]
distributed = pytest.importorskip("distributed")
ANYTHING = AutomaticSettings(seeds="grid", grid=3, min_score=0, min_stability=0, max_share=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def server(weights: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(weights, tmp_path_factory.mktemp("key")) as started:
        yield started


@pytest.fixture(scope="module")
def here(weights: str) -> Predictor:
    return load_predictor(weights, "cpu")


@pytest.fixture(scope="module")
def there(server: Server) -> Iterator[RemotePredictor]:
    predictor = load_predictor(server.name, "cpu")
    assert isinstance(predictor, RemotePredictor)
    yield predictor
    predictor.connection.close()


class Control:
    """Counts what it is told, and may stop the work."""

    def __init__(self, stop_after: int = 1 << 30) -> None:
        self.told: list[str] = []
        self._stop_after = stop_after

    @property
    def cancelled(self) -> bool:
        return len(self.told) >= self._stop_after

    @property
    def abandoned(self) -> bool:
        return self.cancelled

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.told.append(stage)


def image(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bright discs, 120 x 150 x 3."""
    rows, columns = np.mgrid[:120, :150]
    grey = np.random.default_rng(seed).integers(0, 40, (120, 150))
    for row, column in ((40, 40 + seed), (80, 100)):
        grey[(rows - row) ** 2 + (columns - column) ** 2 < 20**2] += 150
    return np.repeat(grey[..., None].astype(np.uint8), 3, axis=2)


PLANES = [ArrayPlane(image(z)) for z in range(3)]
SQUARE = np.ones((40, 40), np.int32)


def masks_of(found: Any) -> list[Any]:
    assert found
    return [(one.score, one.mask.bbox, one.mask.crop.tobytes()) for one in found]


def click(predictor: Predictor, plane: ArrayPlane) -> list[Any]:
    """Mask, score and logits of a click, a box and a correction, as the viewer asks for them."""
    turns = (
        Turn(PromptSet(((40.0, 40.0),), (1,))),
        Turn(PromptSet(((40.0, 40.0), (9.0, 9.0)), (1, 0))),
    )
    drafts = Draft(1, turns), Draft(2, (Turn(PromptSet(box=(70, 50, 120, 110))),))
    found = answer(Question(plane, drafts), predictor, EmbeddingCache(1 << 26), Control())
    assert found is not None
    return [*masks_of(found), *(one.logits.tobytes() for one in found)]


# --------------------------------------------------------------------------- the same answers


def test_clicks_give_the_same_masks_to_the_bit(here: Predictor, there: RemotePredictor) -> None:
    assert click(there, PLANES[0]) == click(here, PLANES[0])
    seen = image(7)
    for ours, theirs in zip(
        here.encode(seen, keep_trunk=True)._tensors().values(),
        there.encode(seen, keep_trunk=True)._tensors().values(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_the_encoder_stays_on_the_server(here: Predictor, there: RemotePredictor) -> None:
    def size(predictor: Predictor) -> int:
        return sum(one.numel() for one in predictor.model.parameters())

    assert not list(there.model.trunk.parameters())
    assert size(there) < size(here) / 2
    assert there.fingerprint == here.fingerprint
    assert there.config == here.config
    assert describe_predictor(there).startswith(f"tls://127.0.0.1:{there.address.port}: CPU")


def test_everything_is_found_there_and_is_the_same(
    here: Predictor, there: RemotePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = find_objects(PLANES[0], here, EmbeddingCache(1 << 26), Control(), ANYTHING)
    monkeypatch.setattr(there, "predict", lambda *_, **__: pytest.fail("decoded on this side"))
    control = Control()
    theirs = find_objects(PLANES[0], there, EmbeddingCache(1 << 26), control, ANYTHING)
    assert masks_of(theirs) == masks_of(ours)
    assert "predicting" in control.told


def test_similar_objects_are_found_there_by_the_detector(
    weights: str, there: RemotePredictor
) -> None:
    detector, mask = load_detector(weights, "cpu"), PlaneMask(20, 20, np.ones((40, 40), bool))
    found = []
    pairs: Any = ((detector.predictor, detector), (there, there.server.detector))
    for predictor, one in pairs:
        cache, control = EmbeddingCache(1 << 26), Control()
        concept = learn_concept([Example(mask)], PLANES[0], predictor, cache, control, one)
        assert concept is not None
        found.append(find_similar(PLANES[1], predictor, cache, control, concept, detector=one))
        assert len(concept.tokens) == 1
    assert masks_of(found[1]) == masks_of(found[0])
    assert there.server.detector == DETECTOR


def follow(predictor: Predictor, stop_after: int = 1 << 30) -> list[dict[int, FoundMask] | None]:
    follower = follower_of(
        predictor, EmbeddingCache(1 << 26), Control(stop_after), memory_of(predictor),
        PLANES.__getitem__, len(PLANES),
    )  # fmt: skip
    kind = RemoteFollower if isinstance(predictor, RemotePredictor) else MemoryFollower
    assert isinstance(follower, kind)
    mask = PlaneMask(20, 20, np.ones((40, 40), bool))
    follower.begin(Shown(1, {0: mask}))
    found = []
    for index in (1, 2):
        found.append(follower.step(index, PLANES[index], {1: Before(mask, 0)}, reverse=False))
        if found[-1] is None:
            break
    follower.end(1)
    return found


def test_objects_are_followed_there_by_memory(here: Predictor, there: RemotePredictor) -> None:
    assert has_memory(here)
    assert has_memory(there)
    found = [
        [(one[1].score, one[1].presence, one[1].mask.bbox, one[1].mask.crop.tobytes())
         for one in follow(predictor) if one is not None]
        for predictor in (here, there)
    ]  # fmt: skip
    assert len(found[0]) == 2
    assert found[1] == found[0]


def kept_by(there: RemotePredictor) -> int:
    """Return the number of sweeps whose memories the server keeps."""
    client = there.connection._connected()
    return sum(client.run(lambda: len(tasks._model[0].followings)).values())


@pytest.mark.parametrize("planes", [2, 9], ids=["stopped", "to the end"])
def test_a_propagation_stopped_between_two_planes_leaves_no_memories_there(
    planes: int, there: RemotePredictor
) -> None:
    session = LabelingSession(there)
    labels, before = np.zeros((3, *PLANES[0].shape), np.int32), kept_by(there)
    session.set_plane(PLANES[0], PlaneIndex((1, 2), (0,)), labels)
    session.paint(LabelWrite(session.plane_key, (slice(20, 60), slice(20, 60)), SQUARE))
    labels_of = [ArrayTarget(labels, index, index) for index in planes_along(
        PlaneIndex((1, 2), (0,)), 0, labels.shape)]  # fmt: skip
    seen: list[int] = []

    def stop(_share: float, index: int) -> None:
        seen.append(kept_by(there) - before)
        if len(seen) == planes:
            session.propagating.cancel()

    session.propagating.progress.connect(stop)
    stack_of = PlaneStack(PLANES, labels_of)
    session.propagate([1], stack=stack_of, rules=EndRules.calibrated(9))
    assert not session.propagating.running
    assert kept_by(there) == before
    assert 1 in seen, "remembered meanwhile"
    session.close()


def test_the_memories_of_a_cancelled_sweep_are_dropped_there(there: RemotePredictor) -> None:
    def kept() -> int:
        return kept_by(there)

    before = kept()
    control = Control()
    follower = follower_of(
        there, EmbeddingCache(1 << 26), control, memory_of(there), PLANES.__getitem__, len(PLANES)
    )
    mask = PlaneMask(20, 20, np.ones((40, 40), bool))
    follower.begin(Shown(1, {0: mask}))
    assert kept() == before + 1
    control._stop_after = 0
    assert follower.step(1, PLANES[1], {1: Before(mask, 0)}, reverse=False) is None
    follower.end(1)
    assert kept() == before


@pytest.mark.parametrize("on_workers", [False, True])
def test_batches_use_the_same_worker(
    on_workers: bool, server: Server, weights: str, tmp_path: Path
) -> None:
    """Sent as planes, or as tasks that read and write the files themselves."""
    tifffile.imwrite(tmp_path / "stack.tif", stack())
    asked: Any = {"planes": [(2,), (5,)], "device": "cpu"}
    there = {"dask": server.name} if on_workers else {}
    labels = []
    runs: Any = (("here", weights, {}), ("there", server.name, there))
    for name, model, where in runs:
        output = tmp_path / f"{name}.zarr"
        image_file, mode = tmp_path / "stack.tif", question("placed")
        results = list(segment(image_file, mode, model, output=output, **asked, **where))
        assert [result.error for result in results] == [None, None]
        labels.append(pixels(output))
    assert labels[0].any()
    np.testing.assert_array_equal(labels[1], labels[0])


@pytest.mark.parametrize("command", ["learn cells.tif labels.tif -o a.safetensors", "serve"])
def test_what_needs_the_weights_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--model", "tls://gpu.lab"]) == 2
    assert "the weights are on another computer: tls://gpu.lab" in capsys.readouterr().err


# ----------------------------------------------------------------------------- interruptions


def test_work_there_is_cancelled_from_here(there: RemotePredictor) -> None:
    everything = AutomaticSettings(seeds="grid", grid=24, min_score=0, min_stability=0)
    big = ArrayPlane(np.tile(image(), (4, 4, 1)))
    cache = EmbeddingCache(1 << 26)
    assert find_objects(big, there, cache, Control(stop_after=3), everything) is None

    def progress(_fraction: float) -> None:
        raise EncodingStopped

    with pytest.raises(EncodingStopped):
        there.encode(image(5), progress)
    click(there, PLANES[2])  # it is not busy with what nobody waits for


def test_an_image_that_cannot_be_read_is_said_as_here(there: RemotePredictor) -> None:
    class Broken(ArrayPlane):
        def region(self, rows: slice, columns: slice, step: int = 1) -> Any:
            raise ImageError("the file is damaged")

    with pytest.raises(ImageError, match="the file is damaged"):
        find_objects(Broken(image()), there, EmbeddingCache(1 << 26), Control(), ANYTHING)
    click(there, PLANES[2])


def test_a_file_that_cannot_be_read_is_not_taken_for_a_lost_server(there: RemotePredictor) -> None:
    class Gone(ArrayPlane):
        def region(self, rows: slice, columns: slice, step: int = 1) -> Any:
            raise FileNotFoundError("the drive is gone")

    with pytest.raises(FileNotFoundError, match="the drive is gone"):
        find_objects(Gone(image()), there, EmbeddingCache(1 << 26), Control(), ANYTHING)
    click(there, PLANES[2])


def test_an_error_of_the_server_is_not_taken_for_a_lost_connection(there: RemotePredictor) -> None:
    before = there.connection._client
    sent = {"plane": SentPlane.of(ArrayPlane(image()))}
    with pytest.raises(RemoteError, match=r"the server failed: .*/no/such/file") as told:
        there.connection.ask(tasks.perform, lambda **_given: os.stat("/no/such/file"), sent)
    assert "no answer" not in str(told.value)
    assert there.connection._client is before, "it stays connected"


def test_nothing_is_left_of_connections_that_fail(
    server: Server, there: RemotePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[connection.Connection] = []
    monkeypatch.setattr(connection, "_SECONDS_TO_CONNECT", 1.0)

    def connect(address: RemoteAddress) -> connection.Connection:
        made.append(connection.Connection(address))
        return made[-1]

    monkeypatch.setattr("napari_sam3.inference.remote.predictor.Connection", connect)
    with pytest.raises(Sam3Error):
        RemotePredictor(RemoteAddress.parse(server.name), "no device")
    gc.collect()
    assert made[0]._client is None
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(RemoteError, match="no answer"):
            connection.Connection(RemoteAddress("127.0.0.1", 1, server.key)).ask(tasks.fetch_parts)
    assert threading.active_count() <= before


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


def test_a_killed_server_is_said_and_found_again(
    server: Server, there: RemotePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SECONDS_TO_CONNECT", 1.0)
    before, features = click(there, PLANES[0]), there.encode(image(0))
    threading.Timer(0.2, server.kill).start()

    def encode_many() -> None:  # it is killed while one of them is encoded
        for seed in range(100, 400):
            there.encode(image(seed))

    with pytest.raises(
        RemoteError, match=r"no answer from the server: tls://127\.0\.0\.1:\d+ \("
    ) as caught:
        encode_many()
    assert "napari-sam3 serve" in str(caught.value)
    # What was encoded can be clicked on without a server.
    assert there.predict(features, [[40, 40]], [1]).masks.any()
    with pytest.raises(RemoteError, match="no answer"):
        there.encode(image(0))
    said = server.start()
    assert f"ready: tls://127.0.0.1:{server.port}" in said
    assert click(there, PLANES[0]) == before
    follower = RemoteFollower(there.connection, Control(), PLANES.__getitem__, 3)
    with pytest.raises(RemoteError, match="Propagate again"):
        follower.step(1, PLANES[1], {}, reverse=False)


# ------------------------------------------------------------------------------------ refusals


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


# ------------------------------------------------------------------------------------- the key


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
