"""How each error that is on the page of errors is caused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cause:
    """How an error is caused.

    Parameters
    ----------
    what : str
        In words.
    do : callable
        Does it.
    """

    what: str
    do: Callable[[], Any]


def _predictor() -> Any:
    from sam3 import load_predictor

    return load_predictor(device="cpu")


def _session() -> Any:
    from napari_sam3 import LabelingSession, plane_from_array

    session = LabelingSession(_predictor())
    image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    session.set_plane(plane_from_array(image), "plane", np.zeros((64, 64), np.uint8))
    return session


def _only_background() -> None:
    from napari_sam3 import PromptSet

    session = _session()
    session.set_prompts(PromptSet.from_arrays(points=[[5, 5]], labels=[0]))
    session.predict()


def _outside() -> None:
    from napari_sam3 import PromptSet

    _session().set_prompts(PromptSet.from_arrays(points=[[500, 20]]))


def _open_image(name: str) -> None:
    from napari_sam3.images.lazy import open_image

    open_image(name)


def _open_values() -> None:
    np.save("curve.npy", np.zeros(100))
    _open_image("curve.npy")


def _load(name: str, content: bytes | None = None) -> None:
    from sam3 import load_predictor

    if content is not None:
        Path(name).write_bytes(content)
    load_predictor(name)


def _wrong_features() -> None:
    import dataclasses

    predictor = _predictor()
    features = predictor.encode(np.zeros((32, 32), np.uint8))
    other = dataclasses.replace(features, fingerprint="0123456789abcdef")
    predictor.predict(other, [[5, 5]], [1])


def _no_connection() -> None:
    from huggingface_hub import constants

    from sam3.weights.download import download_released_weights

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        download_released_weights(cache_dir="cache")
    finally:
        constants.HF_HUB_OFFLINE = before


def _text_prompt() -> None:
    from sam3 import build_sam3_image_model
    from sam3.model.sam3_image_processor import Sam3Processor

    model = build_sam3_image_model(enable_inst_interactivity=True, preset="tiny", device="cpu")
    processor = Sam3Processor(model)
    processor.set_text_prompt("cell", processor.set_image(np.zeros((8, 8), np.uint8)))


def _memory() -> None:
    import torch

    with _predictor().running("encode an image"):
        raise torch.OutOfMemoryError("out of memory")


def _option() -> None:
    from napari_sam3 import LabelingSession

    LabelingSession().policy = "replace"  # type: ignore[assignment]


def _preset() -> None:
    from sam3.config import get_preset

    get_preset("huge")


def _device() -> None:
    from sam3.runtime.devices import choose_device

    choose_device("tpu")


def _layerless() -> None:
    from napari.components import ViewerModel

    from napari_sam3 import bind

    bind(ViewerModel())


def _misplaced() -> None:
    from napari.components import ViewerModel

    from napari_sam3 import bind

    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 8)), name="cells")
    labels = viewer.add_labels(np.zeros((8, 8), int), name="nuclei", translate=(3, 0))
    bind(viewer, image, labels)


def _export(name: str) -> None:
    from napari_sam3.labels.formats.choice import export_labels

    Path("labels.tif").touch()
    export_labels(np.zeros((4, 4), np.uint8), name)


def _classes() -> None:
    from napari_sam3.core.classes import parse_classes

    parse_classes("nucleus green #zz")


def _journal() -> None:
    from napari_sam3.records.recovery import read_journal

    Path("notes.txt").write_text("shopping\n", encoding="utf-8")
    read_journal("notes.txt")


def _parents() -> None:
    from napari_sam3.core.tracks import check_parents

    check_parents({1: (0, 4), 2: (3, 6)}, {2: (1,)})


def _setting() -> None:
    from napari_sam3.qt.settings import write_setting

    write_setting("colour", "red")


def _session_file(content: str | None = None) -> None:
    from napari_sam3.records.session_file import read_session

    if content is not None:
        Path("cells.session.json").write_text(content, encoding="utf-8")
    read_session("cells.session.json")


def _record() -> None:
    from napari_sam3.records.schema import RENDERING

    RENDERING.read({"channels": [], "limmits": []}, place="operation.objects[2].rendering")


def _screen() -> None:
    from napari_sam3.cli.virtual_display import virtual_display

    before = os.environ["PATH"]
    os.environ["PATH"] = ""
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(virtual_display())
    finally:
        os.environ["PATH"] = before


def _batch() -> None:
    from napari_sam3.batch import BatchPrompts, Placed, segment

    list(segment(np.zeros((4, 32, 32), np.uint8), Placed(BatchPrompts({}))))


def _passed_over() -> None:
    from napari_sam3 import plane_from_array
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.images.plane_image import ArrayPlane
    from napari_sam3.inference.tracking.ending import EndRules
    from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
    from napari_sam3.session.stacks import LazySequence

    plane = ArrayPlane(plane_from_array(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)))
    planes = LazySequence(lambda index: [plane, plane][index], 3)
    prompt = ObjectPrompt(1, 1, mask=PlaneMask(20, 20, np.ones((9, 9), bool)))
    list(propagate(planes, [prompt], _predictor(), rules=EndRules()))


def _store() -> None:
    from napari_sam3.inference.store.store import EmbeddingStore

    Path("photos").mkdir(exist_ok=True)
    Path("photos", "cat.png").touch()
    EmbeddingStore("photos")


def _remote(name: str) -> None:
    from napari_sam3 import load_predictor

    load_predictor(name)


def _replay() -> None:
    from napari_sam3.core.operations import Operation, check_operation

    check_operation(Operation("merge", "plane", labels=(3,)), 0)


#: What causes each class of errors; those that are missing here need another machine or a fault.
def _series(image: str, labels: str | None = None) -> Any:
    from napari_sam3 import ImageSeries

    folder = Path("day 1" if image else "day 2")
    folder.mkdir(exist_ok=True)
    if image:
        (folder / image).touch()
    return ImageSeries(folder, None if labels is None else folder / labels)


def _series_twice() -> None:
    import getpass
    import platform
    from unittest import mock

    # What is this computer's and this moment's own is not for a page.
    with (
        mock.patch.object(getpass, "getuser", return_value="anna"),
        mock.patch.object(platform, "node", return_value="microscope-2"),
        mock.patch.object(os, "getpid", return_value=4711),
        mock.patch("napari_sam3.records.series_lock.datetime") as clock,
    ):
        clock.now.return_value.isoformat.return_value = "this morning"
        clock.fromisoformat.side_effect = ValueError
        with _series("cells.tif"):
            _series("cells.tif")


CAUSES: dict[str, tuple[Cause, ...]] = {
    "ConfigError": (
        Cause("name a model that there is not", _preset),
        Cause("set an option of a session to what is no choice", _option),
    ),
    "ImageError": (
        Cause("name an image that is not there", lambda: _open_image("cells.tif")),
        Cause("open values that are no image", _open_values),
    ),
    "PromptError": (Cause("give background clicks alone", _only_background),),
    "CheckpointError": (
        Cause("give a file that holds no weights", lambda: _load("notes.pt", b"shopping")),
    ),
    "CheckpointNotFoundError": (
        Cause("name weights that are not there", lambda: _load("weights/sam3.pt")),
    ),
    "DownloadError": (Cause("download without a connection", _no_connection),),
    "FeaturesError": (Cause("use features that another model made", _wrong_features),),
    "UnsupportedError": (Cause("give a text prompt", _text_prompt),),
    "DeviceError": (Cause("ask for a device of another kind", _device),),
    "DeviceMemoryError": (Cause("use a model when the memory is full", _memory),),
    "MissedError": (Cause("click beside the image", _outside),),
    "NothingThereError": (
        Cause("accept before anything was clicked on", lambda: _session().accept()),
    ),
    "LabelError": (Cause("delete a label that is not there", lambda: _session().delete(5)),),
    "LayerError": (Cause("begin without an image", _layerless),),
    "MisplacedError": (Cause("choose labels that lie beside the image", _misplaced),),
    "ExportError": (
        Cause("write over a file", lambda: _export("labels.tif")),
        Cause("give a name that tells no format", lambda: _export("labels.xyz")),
    ),
    "ClassError": (Cause("give a class a colour that is none", _classes),),
    "TrackError": (Cause("make an object the parent of one that is there with it", _parents),),
    "JournalError": (Cause("restore from a file that is no journal", _journal),),
    "SettingsError": (Cause("set what cannot be set", _setting),),
    "ListingError": (Cause("open a folder without images as a series", lambda: _series("")),),
    "SeriesError": (
        Cause(
            "write the labels of a series below a file", lambda: _series("cells.tif", "cells.tif")
        ),
    ),
    "SeriesInUseError": (Cause("open a series that is open already", _series_twice),),
    "SessionFileError": (
        Cause("name a session file that is not there", _session_file),
        Cause("give a file that is no session", lambda: _session_file('{"a": 1}')),
    ),
    "PassedOverError": (Cause("propagate across planes that cannot be read", _passed_over),),
    "RecordError": (Cause("give a record that somebody edited", _record),),
    "DisplayError": (Cause("run the demo without a display and without Xvfb", _screen),),
    "BatchError": (Cause("begin a batch without prompts", _batch),),
    "ReplayError": (Cause("replay a session that somebody edited", _replay),),
    "RemoteError": (
        Cause("name a server that does not speak TLS", lambda: _remote("tcp://gpu.lab:8786")),
        Cause("connect without the key", lambda: _remote("tls://gpu.lab:8786?key=gpu.key")),
    ),
    "StoreError": (Cause("choose a folder of something else as a store", _store),),
}
