"""A division in a real window: mouse, keys, what the panel says, undo."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_sam3 import read_tracks
from napari_sam3.labels.formats.choice import ALL_FORMATS
from napari_sam3.qt.options import WORTH_SHOWING
from napari_sam3.qt.text import status
from tests.napari_sam3.conftest import Desk, OpenDesk

HERE, BESIDE = (20, 20), (70, 20)


def press(desk: Desk, frame: int, place: tuple[int, int], key: str = "Shift-D") -> None:
    desk.viewer.dims.set_current_step(0, frame)
    QApplication.processEvents()
    desk.hand.move(place)
    desk.hand.type(key)


def waited(desk: Desk) -> bool:
    """Whether work that began when progress was last told of is long enough to be shown."""
    begun: float = desk.widget.options._waiting_since
    return time.monotonic() - begun > WORTH_SHOWING


def save(desk: Desk, name: str, path: Path) -> None:
    """Save the labels by the panel's dialog."""
    desk.widget.panel.files.save.click()
    dialog = desk.widget.files.dialog
    dialog.formats.selectRow(list(ALL_FORMATS).index(name))
    dialog.file.setText(str(path))
    dialog.save.click()
    assert desk.widget.wait(60)
    desk.hand.rest()
    assert desk.status == f"Saved {path}."


def test_a_division_by_mouse_and_key(open_desk: OpenDesk, tmp_path: Path) -> None:
    labels = np.zeros((4, 90, 90), np.uint32)
    labels[:, 15:25, 15:25] = 1
    labels[2:, 65:75, 15:25] = 2
    image = (labels > 0).astype(np.uint8) * 200
    desk = open_desk(image, axis_labels=("t", "y", "x"))
    binding = desk.widget.binding
    binding.labels.data = labels.copy()
    layer = binding.divisions.tracks.layer
    assert len(layer.data) == 6, "the layer comes by itself in a time series"
    assert desk.viewer.layers.selection.active == binding.points
    press(desk, 1, HERE)
    assert desk.status == status.dividing(1)
    press(desk, 2, BESIDE)
    assert desk.status not in (status.dividing(1), status.dividing(1, [2, 3]))
    assert np.unique(binding.labels.data[2:]).tolist() == [0, 2, 3]
    assert layer.graph == {2: [1], 3: [1]}
    desk.hand.type("Control-Z")
    assert np.array_equal(binding.labels.data, labels)
    assert not layer.graph
    desk.hand.type("Control-Shift-Z")
    assert layer.graph == {2: [1], 3: [1]}
    save(desk, "geff", tmp_path / "cells.geff")
    assert read_tracks(tmp_path / "cells.geff").tracks.parents == {2: (1,), 3: (1,)}
    press(desk, 0, (5, 5))
    assert "to divide" in desk.status


def test_each_step_of_a_division_is_said(open_desk: OpenDesk) -> None:
    labels = np.zeros((4, 90, 90), np.uint32)
    labels[:, 15:25, 15:25] = 1
    labels[:, 65:75, 15:25] = 7
    desk = open_desk((labels > 0).astype(np.uint8) * 200, axis_labels=("t", "y", "x"))
    desk.widget.binding.labels.data = labels.copy()
    press(desk, 1, HERE)
    press(desk, 2, HERE)  # the parent itself goes on as a daughter
    assert desk.widget.binding.divisions.tracks.parents == {8: (1,)}
    assert desk.status == status.dividing(1, [8])
    assert "1 divides into 8: " in desk.status
    press(desk, 3, HERE)  # over a child: the link is removed
    assert desk.status == status.dividing(1)
    # Not hidden by progress, which goes on while the next frames are encoded.
    desk.settle()
    desk.session.progress_changed.emit("encoding", None, None)
    desk.hand.wait_until(lambda: waited(desk), "progress worth showing", 30)
    desk.session.progress_changed.emit("encoding", 0.5, 9.0)
    assert desk.widget.panel.busy.value() > 0
    assert desk.status == status.dividing(1)
    desk.hand.type("Escape")
    assert desk.status == status.READY


def test_labels_of_two_frames_are_joined_and_split(open_desk: OpenDesk) -> None:
    labels = np.zeros((4, 90, 90), np.uint32)
    labels[:2, 15:25, 15:25] = 1
    labels[3, 65:75, 15:25] = 2
    desk = open_desk((labels > 0).astype(np.uint8) * 200, axis_labels=("t", "y", "x"))
    layer = desk.widget.binding.labels
    layer.data = labels.copy()
    tracks = desk.widget.binding.divisions.tracks
    press(desk, 1, HERE, "J")
    press(desk, 3, BESIDE, "J")
    assert "Label 1 is not on this plane, where label 2 is." in desk.status
    assert "To merge them on all planes, press Ctrl+Shift+J" in desk.status
    assert desk.widget.binding.merging is None
    np.testing.assert_array_equal(layer.data, labels)

    press(desk, 1, HERE, "Control-Shift-J")
    assert desk.status == status.merging(1, everywhere=True)
    desk.hand.type("Escape")
    assert desk.status == status.READY
    press(desk, 1, HERE, "Control-Shift-J")
    press(desk, 3, (45, 45), "Control-Shift-J")
    assert "No label at row 45, column 45 to merge" in desk.status
    press(desk, 3, BESIDE, "Control-Shift-J")
    assert desk.status == "2 merged into 1 on 1 plane."
    np.testing.assert_array_equal(layer.data, labels > 0)
    assert set(tracks.layer.data[:, 0]) == {1}

    press(desk, 1, HERE, "Control-Shift-H")
    assert desk.status == "From here on 1 is 3, on 2 planes."
    assert sorted(set(tracks.layer.data[:, 0])) == [1, 3]
    assert desk.viewer.dims.current_step[0] == 1
    press(desk, 0, HERE, "Control-Shift-H")
    assert "Label 1 begins on this plane" in desk.status
    press(desk, 0, HERE, "Control-Shift-K")
    assert desk.status == "1 deleted on 1 plane."
    for _ in range(3):
        desk.hand.type("Control-Z")
    np.testing.assert_array_equal(layer.data, labels)
    for _ in range(2):
        desk.hand.type("Control-Shift-Z")
    assert sorted(set(tracks.layer.data[:, 0])) == [1, 3]

    layer.data[3, 15:25, 15:25] = 1
    press(desk, 3, HERE, "Control-Shift-J")
    press(desk, 3, BESIDE, "Control-Shift-J")
    both = "Both were on 1 plane: if they are two objects, undo it (Ctrl+Z)."
    assert desk.status == f"3 merged into 1 on 2 planes. {both}"
