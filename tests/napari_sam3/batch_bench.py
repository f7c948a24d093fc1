"""A desk with a stack on it, ready for batches: real clicks on the real panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from tests.napari_sam3.batch_samples import ANYTHING, LOOSE

Labels = npt.NDArray[Any]
LEFT = Qt.MouseButton.LeftButton
PLANES = 5


def pick(combo: Any, data: Any) -> None:
    """Choose as a hand does: Qt tells of that by `activated`."""
    combo.setCurrentIndex(combo.findData(data))
    combo.activated.emit(combo.currentIndex())


def press(button: Any) -> None:
    QTest.mouseClick(button, LEFT)  # type: ignore[call-overload]
    QApplication.processEvents()


class Bench:
    """A desk with a stack on it, ready for batches."""

    def __init__(self, desk: Any, image: Any) -> None:
        self.desk, self.image = desk, image
        self.panel, self.run = desk.widget.panel.batch, desk.widget.batch
        self.run.automatic, self.run.rules = ANYTHING, LOOSE
        self.panel.fold.unfold(True)
        self.panel.review.setChecked(False)
        desk.session.mode = "many"
        QApplication.processEvents()

    @property
    def labels(self) -> Any:
        return self.desk.widget.binding.labels

    @property
    def pixels(self) -> Labels:
        return np.array(self.labels.data)

    def place(self, *prompts: Any) -> None:
        """Put prompts into the layers, as from a file: nobody has looked at these planes."""
        binding = self.desk.widget.binding
        for plane, place in prompts:
            if len(place) == 2:
                binding.points.add([[plane, *place]])
            else:
                y0, x0, y1, x1 = place
                corners = [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
                binding.boxes.add_rectangles([[[plane, *corner] for corner in corners]])
        QApplication.processEvents()
        self.desk.settle()

    def look_at(self, plane: int) -> None:
        self.desk.viewer.dims.set_point(0, plane)
        QApplication.processEvents()
        self.desk.settle()

    def start(self, method: str) -> None:
        pick(self.panel.method, method)
        assert self.panel.run_button.isVisible()
        assert self.panel.run_button.isEnabled()
        press(self.panel.run_button)

    def wait(self) -> None:
        self.desk.hand.wait_until(lambda: not self.run.running, "the batch to end", 120)
        self.desk.settle()

    def do(self, method: str) -> Labels:
        self.start(method)
        self.wait()
        return self.pixels


OpenBench = Callable[..., Bench]
