"""The jobs of a new user's first day, with what the first view offers and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton

from napari_sam3.qt.crash_recovery import Safety
from sam3 import load_predictor
from tests.napari_sam3.first_view import first_view

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
SPACE, RADIUS = 40, 11
LEFT = Qt.MouseButton.LeftButton
TYPIST: Any = QTest


@pytest.fixture(scope="module")
def embedded() -> Any:
    return load_predictor("tiny", device="cpu")


def places(rows: int, columns: int) -> list[tuple[int, int]]:
    return [(SPACE * r + 20, SPACE * c + 20) for r in range(rows) for c in range(columns)]


def picture(rows: int, columns: int) -> Image:
    y, x = np.mgrid[: SPACE * rows, : SPACE * columns]
    light = np.random.default_rng(0).normal(40, 3, y.shape)
    for row, column in places(rows, columns):
        light[(y - row) ** 2 + (x - column) ** 2 < RADIUS**2] = 190
    image: Image = np.clip(light, 0, 255).astype(np.uint8)
    return image


class User:
    """A person who uses what is to be seen in the first view, and the mouse in the image."""

    def __init__(self, desk: Any) -> None:
        self.desk, self.panel = desk, desk.widget.panel

    def press(self, button: QPushButton) -> None:
        """Press a button that is whole, enabled and in sight; folds are closed."""
        view = self.panel.viewport()
        place = button.rect().translated(button.mapTo(view, QPoint(0, 0)))
        assert button.isVisible(), button.text()
        assert button.isEnabled(), button.text()
        assert view.rect().contains(place), button.text()
        assert not self.panel.advanced.isExpanded()
        TYPIST.mouseClick(button, LEFT)
        QApplication.processEvents()

    def named(self, title: str) -> QPushButton:
        """Return the button of the first view that has a title."""
        (found,) = (
            one
            for one in (*first_view(self.panel).values(), *self.candidate_buttons())
            if isinstance(one, QPushButton) and one.text().split("  ")[0].rstrip(" …") == title
        )
        return found

    def candidate_buttons(self) -> tuple[QPushButton, ...]:
        """Return what appears in the first view with candidates."""
        return self.panel.finding.accept, self.panel.finding.clear

    def key_of(self, button: QPushButton) -> str:
        """Read the key that a button names."""
        return button.text().split()[-1].strip("()").replace("+", "-")

    def settle(self) -> None:
        self.desk.settle()


@pytest.mark.parametrize(
    ("rows", "columns", "labelled", "corrected", "reclassified", "dropped"),
    [(3, 3, 4, 2, 1, 2), pytest.param(8, 7, 30, 5, 3, 10, marks=pytest.mark.slow)],
)
def test_the_first_day_needs_only_the_first_view(
    open_desk: OpenDesk,
    embedded: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    columns: int,
    labelled: int,
    corrected: int,
    reclassified: int,
    dropped: int,
) -> None:
    monkeypatch.setattr(Safety, "folder", str(tmp_path / "journals"))
    monkeypatch.chdir(tmp_path)
    image, cells = picture(rows, columns), places(rows, columns)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, image)
    desk = open_desk(model=embedded)
    desk.viewer.open(path, plugin="napari")
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the layers", 60)
    desk.viewer.reset_view()
    desk.hand.rest()
    user, session, labels = User(desk), desk.session, desk.widget.binding.labels

    # Label: the "?" of the first view says how.
    user.press(user.named("?"))
    for word in ("Left click", "Shift+click", "Ctrl+click", "class key"):
        assert word in user.panel.how_to.text()
    assert user.panel.how_to.isVisible()
    assert "F1" in user.named("?").toolTip()
    desk.hand.type("F1")
    assert not user.panel.how_to.isVisible()
    for number, cell in enumerate(cells[:labelled]):
        desk.hand.click(cell, shift=number > 0)
        user.settle()
    user.press(user.named("Accept"))
    user.settle()
    assert len(session.objects) == labelled
    assert f"{labelled} objects accepted" in user.panel.object.text()

    # Correct a notch: reopen, click into it, accept; the id stays.
    for label, (row, column) in enumerate(cells[:corrected], start=1):
        whole = np.array(labels.data == label)
        labels.brush_size = 5
        labels.paint((row - 3, column - 3), 0)
        desk.hand.rest()
        assert np.count_nonzero(labels.data == label) <= whole.sum() - 9
        assert labels.data[row - 3, column - 3] == 0
        desk.hand.click((row, column), control=True)
        desk.hand.click((row - 3, column - 3))
        user.settle()
        assert session.draft_set.draft.label == label
        assert len(session.prompts.points) == 1  # painted labels keep no earlier clicks
        user.press(user.named("Accept"))
        user.settle()
        assert not session.draft_set.drafts
        mended = labels.data == label
        assert mended[row - 3, column - 3]
        assert (mended & whole).sum() > 0.95 * (mended | whole).sum()
    assert sorted(one.id for one in session.objects) == list(range(1, labelled + 1))

    # Reclassify: another class by "+", then its key with the mouse on the label.
    user.press(user.named("+"))
    TYPIST.keyClicks(user.panel.classes.name, "mitosis")
    TYPIST.keyClick(user.panel.classes.name, Qt.Key.Key_Return)
    desk.hand.rest()
    user.press(user.named("object"))
    for cell in cells[:reclassified]:
        desk.hand.move(cell)
        desk.hand.type(user.key_of(user.named("mitosis")))
    classes = [one.category for one in session.objects]
    assert classes.count("mitosis") == reclassified
    assert session.category == "object"

    # Find the rest, drop the wrong ones by a click each, accept the others.
    user.press(user.named("Find similar"))
    desk.hand.wait_until(lambda: not session.finding.running, "the search", 120)
    found = len(session.finding.shown)
    assert found >= len(cells) - labelled
    assert f"{found} candidates" in desk.status
    for cell in cells[-dropped:]:
        desk.hand.click(cell)
    assert len(session.finding.shown) == found - dropped
    user.press(user.named("Accept all"))
    user.settle()
    assert len(np.unique(labels.data)) - 1 == labelled + found - dropped

    # Save the labels as a file, and the session.
    user.press(user.named("Save labels"))
    dialog = desk.widget.files.dialog
    TYPIST.mouseClick(dialog.buttons.button(dialog.buttons.StandardButton.Save), LEFT)
    desk.hand.rest()
    assert desk.widget.wait(60)
    desk.hand.rest()
    assert "Saved " in desk.status
    kept = tmp_path / "day.sam3.json.gz"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(kept), ""))
    user.press(user.named("Save session"))
    assert kept.exists(), desk.status
    saved, before = np.array(labels.data), [(one.id, one.category) for one in session.objects]
    desk.widget.shut_down()

    # Tomorrow: open it in another window.
    tomorrow = open_desk(model=embedded)
    user = User(tomorrow)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(kept), ""))
    menu = user.panel.files.open.menu()

    def choose() -> None:
        place = menu.actionGeometry(user.panel.files.open_actions["session"]).center()
        TYPIST.mouseClick(menu, LEFT, Qt.KeyboardModifier.NoModifier, place)

    QTimer.singleShot(200, choose)
    user.press(user.named("Open"))
    tomorrow.hand.wait_until(lambda: tomorrow.widget.binding is not None, "the session", 60)
    np.testing.assert_array_equal(tomorrow.widget.binding.labels.data, saved)
    assert [(one.id, one.category) for one in tomorrow.session.objects] == before
