"""Learning from labels in the window: the button, the process, its progress, and its end."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import QProcess, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_sam3.qt.text import learn as text
from sam3 import load_predictor
from sam3.adapters import read_adapter
from tests.napari_sam3.conftest import Desk, OpenDesk
from tests.napari_sam3.light_discs import light_discs
from tests.sam3.test_learn import FEW_STEPS

PLACES = [(25, 25), (25, 75), (75, 25), (75, 75)]


@pytest.fixture(scope="module")
def embedded() -> Any:
    return load_predictor("tiny", device="cpu")


def discs() -> npt.NDArray[np.uint8]:
    return light_discs(PLACES, 14)


def push(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    QApplication.processEvents()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made in one of the test's own, which has to be empty in the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(temporary))
    return temporary


@pytest.fixture
def desk(
    open_desk: OpenDesk, embedded: Any, folders: Path, tmp_path: Path, monkeypatch: Any
) -> Desk:
    """Open a desk with four accepted objects, and answer the dialog with a file."""
    desk = open_desk(discs(), model=embedded)
    for place in PLACES:
        desk.hand.click(place)
        desk.settle()
        desk.press("accept")
    chosen = os.fspath(tmp_path / "mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (chosen, ""))
    desk.widget.panel.learning.unfold(True)
    QApplication.processEvents()
    return desk


def models_offered(desk: Desk) -> list[Any]:
    menu = desk.widget.panel.model
    return [menu.itemData(i) for i in range(menu.count())]


@pytest.mark.timeout(400)
def test_an_adapter_is_learnt_and_offered(desk: Desk, folders: Path, tmp_path: Path) -> None:
    # Labels wider than what the model takes for the objects are learnt in a few steps.
    rows, columns = np.mgrid[:100, :100]
    for number, (row, column) in enumerate(PLACES, start=1):
        wide = (rows - row) ** 2 + (columns - column) ** 2 < 19**2
        desk.widget.binding.labels.data[wide] = number
    learning, panel = desk.widget.learning, desk.widget.panel.learning
    learning.settings = FEW_STEPS | {"learning_rate": 1e-2}
    assert not panel.stop.isVisible()
    push(panel.start)
    assert learning.running
    assert panel.stop.isVisible()
    assert not panel.start.isEnabled()
    seen: list[float] = []
    panel.progress.valueChanged.connect(seen.append)
    desk.hand.wait_until(lambda: not learning.running, "learning to end", 300)
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)
    adapter = read_adapter(tmp_path / "mine.safetensors")
    assert adapter.base == "tiny"
    assert adapter.about["objects"] + adapter.about["kept_aside"] == 4
    assert "mine.safetensors in the model menu" in panel.result.text()
    assert os.fspath(tmp_path / "mine.safetensors") in models_offered(desk)
    assert desk.widget.models.current == "tiny", "offered, not forced"
    assert list(folders.iterdir()) == []

    # Chosen by the user, it is used: the same click gives a wider mask.
    narrow = desk.session.objects[0].area
    place = models_offered(desk).index(os.fspath(tmp_path / "mine.safetensors"))
    desk.widget.panel.model.setCurrentIndex(place)
    desk.widget.panel.model.activated.emit(place)
    desk.widget.binding.labels.data[:] = 0
    desk.widget.binding.labels.refresh()
    desk.hand.rest()
    desk.hand.click(PLACES[0])
    desk.settle()
    assert desk.session.predictor.fingerprint != adapter.fingerprint
    assert desk.session.prediction.mask.area > narrow


def wait_for_process(desk: Desk) -> QProcess:
    desk.hand.wait_until(lambda: desk.widget.learning.process is not None, "the process", 60)
    process: QProcess = desk.widget.learning.process
    desk.hand.wait_until(lambda: process.state() == QProcess.ProcessState.Running, "it", 60)
    return process


def test_learning_is_stopped_killed_and_closed_without_a_trace(
    desk: Desk, folders: Path, tmp_path: Path
) -> None:
    learning, panel = desk.widget.learning, desk.widget.panel.learning
    offered, before = models_offered(desk), sorted(tmp_path.iterdir())

    push(panel.start)
    wait_for_process(desk)
    push(panel.stop)
    assert panel.result.text() == text.STOPPING
    push(panel.stop)  # at once
    desk.hand.wait_until(lambda: not learning.running, "the end", 60)
    assert panel.result.text() == text.DISCARDED
    assert panel.start.isEnabled()

    push(panel.start)
    os.kill(wait_for_process(desk).processId(), getattr(signal, "SIGKILL", signal.SIGTERM))
    desk.hand.wait_until(lambda: not learning.running, "the end", 60)
    assert "ended unexpectedly" in desk.status
    assert panel.start.isEnabled()

    push(panel.start)
    push(panel.stop)  # perhaps before there is a process
    push(panel.stop)
    desk.hand.wait_until(lambda: not learning.running, "the end", 60)
    assert desk.widget.wait(60)
    QApplication.processEvents()
    assert panel.result.text() == text.DISCARDED

    push(panel.start)
    process = wait_for_process(desk)
    desk.widget.shut_down()
    assert process.state() == QProcess.ProcessState.NotRunning
    assert list(folders.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == before
    assert models_offered(desk) == offered


def test_what_cannot_be_learnt_from_is_said(
    open_desk: OpenDesk, embedded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []

    def ask(*arguments: object) -> tuple[str, str]:
        asked.append(arguments)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    desk = open_desk(model=embedded)
    panel = desk.widget.panel.learning
    panel.unfold(True)
    push(panel.start)
    assert "No image is in use" in desk.status
    desk.add_image(discs())
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the layers", 30)
    desk.hand.click(PLACES[0])
    desk.settle()
    desk.press("accept")
    push(panel.start)
    assert "oo few objects to learn from: 1" in desk.status
    assert not asked
    assert not desk.widget.learning.running


def test_a_program_that_is_missing_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    push(desk.widget.panel.learning.start)
    desk.hand.wait_until(lambda: not desk.widget.learning.running, "the end", 60)
    assert "ended unexpectedly" in desk.status


def test_lines_that_are_not_of_the_process_are_passed_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    lines = [
        "Downloading: 3 of 4",
        "\\377\\376",
        "",
        "[1, 2]",
        "7",
        "[" * 100_000,
        '{"share": 1}',
        '{"error": "no room"}',
        '{"note": 1}',
        "bye",
    ]
    said = "".join(f"{line}\\n" for line in lines)
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(program))
    push(desk.widget.panel.learning.start)
    desk.hand.wait_until(lambda: not desk.widget.learning.running, "the end", 60)
    assert desk.status == "No room"
