"""Measure the first view of the panel in a real window: run as a program by test_first_view.py.

Prints, as JSON, one line per theme and side: what is cut or scrolled away, and the contrasts of
all texts. The scale of the screen is that of the environment (QT_SCALE_FACTOR).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_sam3.cli.robot import Robot
from napari_sam3.core.classes import LabelClass
from napari_sam3.qt.widget import SegmentWidget
from sam3.errors import Sam3Error
from tests.napari_sam3.batch_samples import small_predictor

WIDTH, HEIGHT = 1280, 720
LEFT, RIGHT = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
VIEWS = ("dark", RIGHT), ("dark", LEFT), ("light", LEFT), ("light", RIGHT)
CLASSES = tuple(
    LabelClass(name, color)
    for name, color in (("nucleus", "#26a269"), ("cell", "#e5a50a"), ("debris", "#1a5fb4"))
)


def first_view(panel: Any) -> dict[str, QWidget]:
    """Name what a new user must see."""
    return {
        **{name: getattr(panel, name) for name in ("image", "model", "labels", "status", "click")},
        "object": panel.object,
        "help": panel.help_button,
        "similar": panel.finding.similar,
        "all": panel.finding.everything,
        "propagate": panel.propagation.start,
        **panel.classes.buttons,
        "add class": panel.classes.add_button,
        **panel.buttons,
        "save": panel.files.save,
        "session": panel.files.save_session,
        "open": panel.files.open,
        "next": panel.series.next,
        "previous": panel.series.previous,
    }


def cut(panel: Any) -> list[str]:
    """Name the controls of the first view that are hidden, scrolled away, or cut."""
    found, view = [], panel.viewport()
    for name, part in first_view(panel).items():
        corner = part.mapTo(view, part.rect().topLeft())
        place = part.rect().translated(corner)
        if not part.isVisible() or not view.rect().contains(place):
            found.append(f"{name}: {place} outside {view.rect()}")
        if isinstance(part, QPushButton) and part.width() < part.minimumSizeHint().width():
            found.append(f"{name}: {part.text()!r} is cut")
        if isinstance(part, QLabel) and part.heightForWidth(part.width()) > part.height():
            found.append(f"{name}: {part.text()!r} is cut")
    return found


def pixels(part: QWidget, inner: QWidget) -> Any:
    """Grab a part (h x w x 3) with what lies below it."""
    place = part.rect().translated(part.mapTo(inner, part.rect().topLeft()))
    image = inner.grab(place).toImage().convertToFormat(QImage.Format.Format_RGB888)
    data: Any = image.constBits()
    data.setsize(image.sizeInBytes())
    rows = np.frombuffer(data, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(float)


def luminance(colors: Any) -> Any:
    parts = colors / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def texts(
    panel: QWidget,
) -> Iterator[tuple[str, QWidget, Callable[[], object], Callable[[], object]]]:
    """Yield each visible text, its widget, and how to clear it and to put it back."""
    for part in panel.findChildren(QWidget):
        if not part.isVisible() or isinstance(part.parentWidget(), QComboBox):
            continue
        if isinstance(part, QLabel | QAbstractButton) and part.text().strip():
            yield part.text(), part, partial(part.setText, ""), partial(part.setText, part.text())
        elif isinstance(part, QComboBox) and part.currentText():
            show, at = part.setCurrentIndex, part.currentIndex()
            yield part.currentText(), part, partial(show, -1), partial(show, at)
        elif isinstance(part, QLineEdit) and (text := part.placeholderText()):
            write = part.setPlaceholderText
            yield text, part, partial(write, ""), partial(write, text)


def contrasts(panel: Any) -> dict[str, float]:
    """Measure each text: the pixels that change when it is cleared, against what is below."""
    inner, found = panel.widget(), {}
    for fold in (panel.help, panel.batch.fold, panel.advanced):
        fold.expand()
    panel.classes.name.show()
    for _ in range(3):
        QApplication.processEvents()
    layouts = inner.findChildren(QLayout)
    for layout in layouts:
        layout.setEnabled(False)  # nothing moves when texts are cleared
    undo = []
    for text, part, clear, put_back in list(texts(inner)):
        before = pixels(part, inner)
        blocked = part.blockSignals(True)
        clear()
        after = pixels(part, inner)
        undo.append((part, put_back, blocked))
        low, high = np.sort([luminance(before), luminance(after)], axis=0)
        changed = (before != after).any(axis=-1)
        assert changed.any(), text
        found[text] = float(((high + 0.05) / (low + 0.05))[changed].max())
    for part, put_back, blocked in undo:
        put_back()
        part.blockSignals(blocked)
    for layout in layouts:
        layout.setEnabled(True)
    for fold in (panel.help, panel.batch.fold, panel.advanced):
        fold.collapse()
    panel.classes.name.hide()
    return found


def main() -> None:
    """Measure in both themes, on both sides."""
    viewer = napari.Viewer()
    window = viewer.window._qt_window
    scale = float(os.environ["QT_SCALE_FACTOR"])
    window.resize(int(WIDTH / scale), int(HEIGHT / scale))
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8), name="cells")
    hand = Robot(viewer)
    widget: Any = SegmentWidget(viewer)
    widget.set_predictor(small_predictor())
    dock = viewer.window.add_dock_widget(widget, name="SAM 3", area="right")
    hand.wait_until(lambda: widget.binding is not None, "the layers")
    panel = widget.panel
    panel.classes.show_classes(CLASSES)
    for theme, side in VIEWS:
        viewer.theme = theme
        if window.dockWidgetArea(dock) != side:
            window.addDockWidget(side, dock)
        window.resize(int(WIDTH / scale), int(HEIGHT / scale))
        for _ in range(5):
            hand.rest()
        said: dict[str, Any] = {"view": f"{theme} {side.name}", "cut": cut(panel)}
        said["window"] = [window.width() * scale, window.height() * scale]
        hand.click((30, 40))
        hand.wait_until(lambda: not widget.session.busy, "the mask")
        hand.rest()
        said["cut with a mask"] = cut(panel)
        widget.report(Sam3Error("the disk is full"))
        hand.rest()
        said["cut with an error"] = cut(panel)
        said["contrasts"] = {}
        if scale == 1 and side == RIGHT:  # contrast depends on neither
            widget.runner.wait()
            said["contrasts"] = contrasts(panel)
        print(json.dumps(said), flush=True)
        widget.session.reject()
    widget.shut_down()
    widget.wait()
    viewer.close()


if __name__ == "__main__":
    main()
