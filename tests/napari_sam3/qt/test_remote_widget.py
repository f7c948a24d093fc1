"""A model of another process in the viewer: chosen by its address, lost, and found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam3.inference.models import EMBEDDED, load_predictor
from napari_sam3.inference.remote import connection
from napari_sam3.qt.model_menu import REMOTE, model_choices
from napari_sam3.qt.remote_dialog import RemoteDialog
from napari_sam3.qt.settings import PLUGIN, read_settings
from napari_sam3.session.session import LabelingSession
from tests.napari_sam3.serving import Server, save_weights, serving

pytest.importorskip("distributed")
#: The plane that napari shows first, of 20.
START = 9
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask and tornado, when a server is killed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "small.safetensors"
    save_weights(path)
    with serving(str(path), tmp_path) as started:
        yield started


@pytest.fixture
def remembered(npe2pm: Any) -> None:
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))


def fill_in(address: str, key: str, seen: list[str]) -> None:
    """Type into the dialog that opens next, and press Connect."""

    hand: Any = QTest

    def find() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, RemoteDialog):
            QTimer.singleShot(20, find)
            return
        assert not dialog.connect_button.isEnabled(), "nothing was typed"
        hand.keyClicks(dialog.address, "http://gpu")
        seen.append(dialog.problem.text())
        assert not dialog.connect_button.isEnabled()
        dialog.address.clear()
        hand.keyClicks(dialog.address, address)
        dialog.key.clear()
        hand.keyClicks(dialog.key, key)
        hand.mouseClick(dialog.connect_button, Qt.MouseButton.LeftButton)

    QTimer.singleShot(0, find)


def settle(desk: Any) -> None:
    """Wait until nothing is predicted any more; connecting takes its time."""
    desk.hand.wait_until(lambda: not desk.session.busy, "the prediction to end", 90)


def show(desk: Any, plane: int, clicks: int) -> None:
    """Go to a plane, where so many clicks were made."""
    desk.viewer.dims.set_point(0, plane)
    desk.hand.wait_until(lambda: len(desk.session.prompts.points) == clicks, "its clicks", 30)


def choose(panel: Any, data: str) -> None:
    combo = panel.model
    combo.activated.emit([combo.itemData(i) for i in range(combo.count())].index(data))


def test_a_server_is_chosen_lost_and_found_again(
    open_desk: Callable[..., Any],
    blobs: npt.NDArray[np.uint8],
    server: Server,
    remembered: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_SECONDS_TO_CONNECT", 1.0)
    stack = np.stack([np.roll(blobs, z, axis=0) for z in range(20)])
    desk: Any = open_desk(stack)
    panel, seen = desk.widget.panel, list[str]()
    fill_in(f"127.0.0.1:{server.port}", str(server.key), seen)
    choose(panel, REMOTE)
    assert "only TLS is spoken" in seen[0]
    assert panel.model.currentText() == f"Remote: 127.0.0.1:{server.port}"
    assert read_settings().model == server.name
    desk.hand.click((20, 20))
    settle(desk)
    first: Any = desk.session.prediction
    assert first is not None, desk.status
    script: Any = LabelingSession(load_predictor(server.weights, "cpu"))
    script.set_plane(desk.session.pixels, "script", np.zeros(blobs.shape, np.uint32))
    script.set_prompts(desk.session.prompts)
    there: Any = script.predict()
    assert there is not None
    np.testing.assert_array_equal(first.mask.crop, there.mask.crop)
    assert first.score == there.score
    assert panel.advanced.reason.text().startswith(f"tls://127.0.0.1:{server.port}: CPU")

    server.kill()
    show(desk, 15, clicks=0)
    desk.hand.click((50, 45))
    settle(desk)
    assert f"no answer from the server: tls://127.0.0.1:{server.port}" in desk.status.lower()
    assert len(desk.session.prompts.points) == 1, "the click is kept"
    missing: Any = desk.session.prediction
    assert missing is None
    show(desk, START, clicks=1)
    desk.hand.click((35, 20), right=True)  # decoded here, of what was encoded
    settle(desk)
    assert len(desk.session.prediction.prompts.points) == 2

    server.start()
    show(desk, 15, clicks=1)
    desk.hand.click((50, 55))
    settle(desk)
    assert len(desk.session.prediction.prompts.points) == 2, desk.status
    desk.press("accept")
    assert desk.widget.binding.labels.data[15].any()


def test_servers_are_offered_with_files_and_embedded_model() -> None:
    name = "tls://gpu.lab:99?key=/a b.key"
    choices = model_choices([name, "/gone.pt", "tls://"], EMBEDDED)
    assert [data for _, data in choices][:2] == [EMBEDDED, name]
    assert choices[1][0] == "Remote: gpu.lab:99"
    assert "/gone.pt" not in [data for _, data in choices]


def test_the_dialog_starts_from_the_server_used_last(qtbot: Any) -> None:
    dialog = RemoteDialog("tls://gpu.lab:99?key=/a.key")
    qtbot.addWidget(dialog)
    assert dialog.connect_button.isEnabled()
    assert dialog.name == "tls://gpu.lab:99?key=/a.key"
    dialog.key.clear()
    assert dialog.name == "tls://gpu.lab:99"
