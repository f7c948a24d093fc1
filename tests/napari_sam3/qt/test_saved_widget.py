"""Sessions saved and opened by the panel's buttons, and labels that are taken without asking."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtWidgets import QFileDialog

from tests.napari_sam3 import session_saver
from tests.napari_sam3.session_saver import state

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Label and save in a process of its own, which ends."""
    folder = tmp_path_factory.mktemp("day")
    rows, columns = np.mgrid[:100, :90]
    image = np.full((100, 90), 20, np.uint8)
    for row, column in ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 12**2] = 200
    np.save(folder / "cells.npy", image)
    done = subprocess.run(
        [sys.executable, "-m", session_saver.__name__, folder / "cells.npy", folder / "day"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = folder.glob("*.sam3.json.gz")
    return path, json.loads(done.stdout.splitlines()[-1])


def open_session(desk: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    desk.widget.panel.files.open_actions["session"].trigger()
    desk.hand.rest()
    desk.settle()


def test_a_session_of_an_ended_process_opens_as_it_was(
    open_desk: OpenDesk, saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = saved
    desk = open_desk()
    open_session(desk, path, monkeypatch)
    assert desk.widget.binding is not None, desk.status
    # The size of a pixel is the viewer's, not the file's; all else is the same.
    assert {**state(desk.widget), "scale": before["scale"]} == before
    assert desk.session.prediction is not None
    assert desk.widget.panel.buttons["undo"].isEnabled()
    steps = 0
    while desk.session.has_step(desk.widget.binding.sync.owns):
        desk.press("undo")
        steps += 1
    assert steps == 8, "four clicks, three objects and a background click"
    assert not np.any(desk.widget.binding.labels.data)


def test_a_session_opens_on_the_image_that_is_open(
    open_desk: OpenDesk, saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = saved
    desk = open_desk(np.load(path.with_name("cells.npy")), scale=(2, 2))
    open_session(desk, path, monkeypatch)
    assert state(desk.widget) == before
    assert len([one for one in desk.viewer.layers if type(one).__name__ == "Image"]) == 1
    # What is no session is refused, and what is open stays open.
    told: list[str] = []
    desk.widget.news.notices.show = lambda text, warning: told.append(text)
    (path.parent / "other.json.gz").write_bytes(b"no session")
    open_session(desk, path.parent / "other.json.gz", monkeypatch)
    assert len(told) == 1
    assert "other.json.gz" in told[0]
    assert state(desk.widget) == before


def test_labels_that_fit_are_taken_by_themselves(open_desk: OpenDesk, blobs: Image) -> None:
    labels = (blobs > 99).astype(np.uint32)
    desk = open_desk()
    desk.viewer.add_labels(labels, name="yesterday")
    desk.add_image(blobs)
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the layers", 30)
    assert desk.widget.binding.labels.name == "yesterday"
    assert desk.widget.panel.labels.currentText() == "yesterday"


def test_labels_opened_later_take_the_place_of_new_ones_that_hold_nothing(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    labels = (blobs > 99).astype(np.uint32)
    hidden = desk.viewer.add_labels(labels, name="truth", visible=False)
    desk.viewer.add_labels(labels[:50], name="of another size")
    desk.hand.rest()
    assert desk.widget.binding.labels.name == "image labels"
    desk.viewer.add_labels(labels, name="yesterday")
    desk.hand.wait_until(lambda: desk.widget.binding.labels.name == "yesterday", "them", 10)
    assert "image labels" not in desk.viewer.layers
    assert hidden in desk.viewer.layers
    # Once something was done, they stay.
    desk.hand.click((20, 65))
    desk.settle()
    desk.viewer.add_labels(labels.copy(), name="of somebody else")
    desk.hand.rest()
    desk.hand.rest()
    assert desk.widget.binding.labels.name == "yesterday"
