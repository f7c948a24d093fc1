"""Real predictors for the plugin's tests: random weights, the embedded architecture."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from sam3.config import get_preset
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Small models on a busy machine are several times faster without threads of torch.

    For each test anew: numba, by which napari draws labels, sets the number of all threads.
    """
    torch.set_num_threads(1)


@pytest.fixture
def predictions(monkeypatch: pytest.MonkeyPatch) -> list[Predictor]:
    """Predictors that were asked for masks, a list that grows with each call."""
    asked: list[Predictor] = []
    predict = Predictor.predict

    def noted(self: Predictor, *arguments: Any, **options: Any) -> Any:
        asked.append(self)
        return predict(self, *arguments, **options)

    monkeypatch.setattr(Predictor, "predict", noted)
    return asked


def slide_to(slider: Any, value: int) -> None:
    """Move a slider, and let everything happen that follows from it."""
    slider.setValue(value)
    QApplication.processEvents()


@pytest.fixture(scope="module", autouse=True)
def leave_the_past_to_itself() -> None:
    """Keep the garbage collector from going through libraries and former tests again and again.

    napari collects garbage at each layer that is removed, 0.4 s with all that is loaded here.
    """
    import napari._qt.qt_main_window  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def keep_shader_programs() -> Iterator[None]:
    """Leave OpenGL programs of removed layers in place.

    With vispy 0.17 and Mesa's software renderer the next draw after one was deleted can end the
    process. napari alone does it, without this plugin: show two images and a Points layer,
    remove the points, let it draw, remove an image, let it draw.
    """
    from vispy.gloo.glir import GlirProgram

    delete = GlirProgram.delete
    GlirProgram.delete = lambda self: None
    yield
    GlirProgram.delete = delete


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out of them, and the tests out of those."""
    from napari import settings

    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "config" / "settings.yaml"))
    settings._clear_plugin_settings_cache()
    yield
    settings._clear_plugin_settings_cache()


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """Return the embedded architecture at a small input size, so that planes have many fields."""
    config = dataclasses.replace(get_preset("tiny"), resolution=112)
    return Predictor(build_click_model(config, seed=0).eval(), device="cpu")


@pytest.fixture
def blobs() -> npt.NDArray[np.uint8]:
    """Return an image (100 x 90) of bright discs on a dark ground."""
    rows, columns = np.mgrid[:100, :90]
    image = np.full((100, 90), 20, np.uint8)
    for row, column in ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 12**2] = 200
    return image


@dataclasses.dataclass
class Desk:
    """A real viewer with the dock widget open, and a hand to use them with.

    Parameters
    ----------
    viewer : napari.Viewer
        Shown, on the virtual screen.
    widget : SegmentWidget
        In a dock; its viewer may be napari's proxy.
    hand : Robot
        Real mouse and key events.
    """

    viewer: Any
    widget: Any
    hand: Any

    @property
    def session(self) -> Any:
        return self.widget.session

    @property
    def status(self) -> str:
        return str(self.widget.panel.status.text())

    def add_image(self, image: Any) -> Any:
        """Add an image and look at the whole of it."""
        layer = self.viewer.add_image(image)
        QApplication.processEvents()
        self.viewer.reset_view()
        QApplication.processEvents()
        return layer

    def settle(self) -> None:
        """Wait until nothing is predicted any more."""
        self.hand.wait_until(lambda: not self.session.busy, "the prediction to end")

    def press(self, name: str) -> None:
        """Press a button of the panel."""
        button: Any = self.widget.panel.buttons[name]
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
        QApplication.processEvents()


OpenDesk = Callable[..., Desk]


#: Where it matters most how napari hands out its viewer; elsewhere the way of the menu will do.
BOTH_WAYS = {"test_gestures", "test_widget"}
OPENED = itertools.count()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Open desks with napari's proxy of the viewer, and in some modules with the viewer itself."""
    if "open_desk" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS
        ways = ["plain", "proxied"] if both else ["proxied"]
        metafunc.parametrize("open_desk", ways, indirect=True)


@pytest.fixture
def open_desk(
    request: pytest.FixtureRequest,
    predictor: Predictor,
    make_napari_viewer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[OpenDesk]:
    """Open the widget as a test would, and as napari does: behind a proxy of the viewer."""
    from napari.utils._proxies import PublicOnlyProxy

    from napari_sam3.cli.robot import Robot
    from napari_sam3.qt.widget import SegmentWidget

    desks: list[Desk] = []
    if next(OPENED) == 1:  # what the first desk of a process loaded stays for all others
        gc.collect()
        gc.freeze()

    def open_one(*images: Any, model: Any = predictor, **options: Any) -> Desk:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1000, 700)
        for image in images:
            viewer.add_image(image, **options)
        seen = viewer
        if request.param == "proxied":
            monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
            seen = PublicOnlyProxy(viewer)
        widget = SegmentWidget(seen)
        if model is not None:
            widget.set_predictor(model)
        viewer.window.add_dock_widget(widget, name="SAM 3", area="right")
        desks.append(Desk(viewer, widget, Robot(viewer)))
        if images:
            desks[-1].hand.wait_until(lambda: widget.binding is not None, "the layers", 30)
        # The docks have taken their room: every part of the image is on the canvas again.
        viewer.reset_view()
        QApplication.processEvents()
        return desks[-1]

    yield open_one
    for desk in desks:
        desk.widget.shut_down()
        assert desk.widget.wait(60), "work still runs"
    alive = [t.name for t in threading.enumerate() if t.name.startswith("napari-sam3")]
    deadline = time.monotonic() + 30
    while alive and time.monotonic() < deadline:
        time.sleep(0.01)
        alive = [t.name for t in threading.enumerate() if t.name.startswith("napari-sam3")]
    assert not alive, "a thread was left behind"


@pytest.fixture
def open_bench(open_desk: OpenDesk) -> Callable[..., Any]:
    """Open a desk with a stack on it, its fold of batches unfolded."""
    from tests.napari_sam3.batch_bench import PLANES, Bench
    from tests.napari_sam3.batch_samples import stack

    def open_one(image: Any = None, **options: Any) -> Bench:
        image = stack(PLANES) if image is None else image
        return Bench(open_desk(image, **options), image)

    return open_one
