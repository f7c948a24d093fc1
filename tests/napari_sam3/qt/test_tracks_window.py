"""A division in a real window: mouse, keys, what the panel says, undo."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_sam3.qt.text import status
from tests.napari_sam3.conftest import Desk, OpenDesk

HERE, BESIDE = (20, 20), (70, 20)


def press(desk: Desk, frame: int, place: tuple[int, int]) -> None:
    desk.viewer.dims.set_current_step(0, frame)
    QApplication.processEvents()
    desk.hand.move(place)
    desk.hand.type("Shift-D")


def test_a_division_by_mouse_and_key(open_desk: OpenDesk) -> None:
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
    assert desk.status != status.dividing(1)
    assert np.unique(binding.labels.data[2:]).tolist() == [0, 2, 3]
    assert layer.graph == {2: [1], 3: [1]}
    desk.hand.type("Control-Z")
    assert np.array_equal(binding.labels.data, labels)
    assert not layer.graph
    desk.hand.type("Control-Shift-Z")
    assert layer.graph == {2: [1], 3: [1]}
    press(desk, 0, (5, 5))
    assert "to divide" in desk.status
