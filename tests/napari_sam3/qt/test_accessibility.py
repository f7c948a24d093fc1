"""The panel for those who do not see it, or not in colour, or use no mouse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLabel, QLineEdit, QWidget

from napari_sam3.layers.gestures import KEYS

DOCS = Path(__file__).parents[3] / "docs"
CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox)


def controls(panel: QWidget) -> Iterator[QWidget]:
    """What a person can operate; not the parts that Qt makes such controls of."""
    for one in panel.findChildren(QWidget):
        if isinstance(one, CONTROLS) and not isinstance(
            one.parentWidget(), QComboBox | QAbstractSpinBox
        ):
            yield one


def spoken(panel: QWidget, control: QWidget) -> str:
    """What a screen reader says: a name of its own, its text, or its label's."""
    buddies = [one.text() for one in panel.findChildren(QLabel) if one.buddy() is control]
    own = control.text() if isinstance(control, QAbstractButton) else ""
    return control.accessibleName() or own or " ".join(buddies)


@pytest.fixture
def panel(open_desk: Callable[..., Any]) -> Any:
    return open_desk(np.zeros((30, 40), np.uint8)).widget.panel


def test_every_control_has_a_name(panel: Any) -> None:
    nameless = [
        f"{type(one).__name__} {one.objectName()} {one.toolTip()}"
        for one in controls(panel)
        if not re.search(r"\w", spoken(panel, one))
    ]
    assert nameless == []


def test_every_control_is_reached_by_the_tabulator(panel: Any) -> None:
    policy = Qt.FocusPolicy.TabFocus
    order: list[QWidget] = []
    one = panel.nextInFocusChain()
    while one is not panel and len(order) < 10_000:
        order.append(one)
        one = one.nextInFocusChain()
    wanted = [one for one in controls(panel) if one.focusPolicy() & policy]
    assert len(wanted) > 10
    assert [one for one in wanted if one not in order] == []
    unreachable = [spoken(panel, one) for one in controls(panel) if not one.focusPolicy() & policy]
    assert unreachable == []


def test_every_command_has_a_key_that_the_docs_name() -> None:
    text = (DOCS / "labelling.md").read_text(encoding="utf-8")
    for name, key in KEYS.items():
        assert key, name
        assert f"`{key.replace('Control', 'Ctrl')}`" in text, (name, key)


def test_polarity_is_not_told_by_colour_alone(open_desk: Callable[..., Any]) -> None:
    desk = open_desk(np.zeros((30, 40), np.uint8))
    points = desk.widget.binding.points
    points.add([5, 5])
    points.add([15, 15])
    desk.widget.binding.background()
    fore, back = points.face_color
    symbols = [str(one) for one in points.symbol]
    assert symbols[0] != symbols[1]
    # As somebody without red or green receptors sees them: blue and lightness are left.
    for axis in (0, 1):
        left = [np.delete(np.asarray(color)[:3], axis) for color in (fore, back)]
        assert np.abs(left[0] - left[1]).max() > 0.25
