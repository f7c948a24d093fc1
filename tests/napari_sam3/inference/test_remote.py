"""A model in another process: the same masks, and plain words when it cannot be reached."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
from napari_sam3.inference.remote.messages import DETECTOR, SentPlane
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
from tests.napari_sam3.serving import Server

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Dask and tornado, when a server is killed
    pytest.mark.usefixtures("one_torch_thread"),
]
distributed = pytest.importorskip("distributed")
ANYTHING = AutomaticSettings(seeds="grid", grid=3, min_score=0, min_stability=0, max_share=1)


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


# ------------------------------------------------------------------------------------- the key
