"""Windows that close, layers that go, 3-D and back, and keys wherever the focus is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox

from napari_sam3.qt.widget import SegmentWidget
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
ROOT = Path(__file__).parents[3]


def run_program(name: str, argument: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tests.napari_sam3.{name}", argument],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


def type_on(control: Any, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    control.setFocus()
    QTest.keyClick(control, key, modifier)
    QApplication.processEvents()


# --------------------------------------------------------------------- layers that go


@pytest.mark.parametrize("what", ["image", "other axes", "labels then image"])
def test_an_image_that_is_removed_does_not_end_the_process(what: str) -> None:
    """In a process of its own: there vispy's programs are really deleted (see conftest.py)."""
    done = run_program("removing", what)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["labelled", "2"]


def test_layers_serve_the_next_image(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    binding = desk.widget.binding
    roles = ("preview", "boxes", "points")
    before = {role: getattr(binding, role).unique_id for role in roles}
    desk.hand.click((20, 20))
    desk.settle()
    desk.viewer.layers.remove(desk.viewer.layers[0])
    desk.hand.wait_until(lambda: desk.widget.binding is None, "the image to be let go", 10)
    assert len(desk.viewer.layers) == 4
    assert not len(desk.viewer.layers["SAM 3 points"].data), "no prompt of a lost image is shown"
    desk.viewer.add_image(np.ascontiguousarray(blobs.T), scale=(2, 3), translate=(5, 6))
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the new image", 10)
    binding = desk.widget.binding
    assert {role: getattr(binding, role).unique_id for role in roles} == before
    for role in roles:
        assert np.allclose(getattr(binding, role).scale, (2, 3))
    assert np.allclose(binding.points.translate, (5, 6))
    assert [one.name for one in desk.viewer.layers][-3:] == [
        "SAM 3 preview",
        "SAM 3 boxes",
        "SAM 3 points",
    ]
    assert binding.listening
    desk.viewer.reset_view()
    desk.hand.rest()
    desk.hand.click((45, 66))
    desk.settle()
    assert np.allclose(desk.session.prompts.points, [(20, 20)], atol=0.6)
    desk.hand.type("N")
    assert binding.labels.data.any()


# ------------------------------------------------------------------ windows that close


@pytest.mark.parametrize("how", ["viewer", "window", "widget"])
def test_nothing_reaches_a_widget_that_is_gone(how: str) -> None:
    """In a process of its own, which such a call ends."""
    done = run_program("closing", how)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["closed"]
    assert "deleted" not in done.stderr


@pytest.mark.parametrize(
    "how", ["viewer", *(pytest.param(one, marks=pytest.mark.slow) for one in ("window", "widget"))]
)
def test_work_that_reads_its_image_outlives_a_widget_that_is_gone(how: str) -> None:
    """Encoding, finding, propagating and a batch, each held up while its window closes."""
    done = run_program("closing_at_work", how)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["encode", "find", "propagate", "batch"]
    assert "deleted" not in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------ 3-D and back


def test_3d_is_fine_to_look_at_and_clicks_go_on_afterwards(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(np.stack([blobs, blobs]))
    panel, viewer, points = desk.widget.panel, desk.viewer, desk.widget.binding.points
    told: list[Any] = []
    desk.widget.news.notices.show = lambda text, warning: told.append(text)
    desk.hand.click((20, 20))
    desk.settle()
    viewer.dims.ndisplay = 3
    desk.hand.rest()
    assert told == []
    assert panel.status.styleSheet() == ""
    assert "2-D" in desk.status
    viewer.dims.ndisplay = 2
    desk.hand.rest()
    assert str(points.mode) == "add"
    assert len(desk.session.prompts.points) == 1, "prompts in hand outlive 3-D"
    viewer.dims.ndisplay = 3
    desk.hand.rest()
    assert panel.click.text() == "Resume clicking"
    QTest.mouseClick(panel.click, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    assert viewer.dims.ndisplay == 2
    assert desk.widget.binding.listening
    assert told == []
    # Who panned before 3-D goes on panning.
    points.mode = "pan_zoom"
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert str(points.mode) == "pan_zoom"


def test_a_class_key_makes_clicks_prompts_again(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    desk.widget.panel.classes.add("other")
    for mode in "34":
        desk.hand.type(mode)
        assert not desk.widget.binding.listening
        desk.hand.type("Alt-2")
        assert desk.widget.binding.listening
        assert desk.session.category == "other"


# -------------------------------------------------------------- keys and where they go


def test_keys_do_no_harm_wherever_the_focus_is(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    panel, binding = desk.widget.panel, desk.widget.binding
    panel.batch.fold.expand()
    panel.advanced.expand()
    desk.hand.rest()
    layers = [one.unique_id for one in desk.viewer.layers]
    chosen: list[Any] = []
    for combo in panel.findChildren(QComboBox):
        combo.activated.connect(chosen.append)
    controls = [
        one
        for one in panel.findChildren((QComboBox, QAbstractSpinBox))
        if one.isVisible()
        and one.isEnabled()
        and not (isinstance(one, QComboBox) and one.isEditable())
    ]
    assert len(controls) > 8
    for control in controls:
        count = len(desk.session.objects)
        desk.hand.click((20, 20))
        desk.settle()
        for key in ("w", "e", "t"):
            type_on(control, key)
        type_on(control, "n")
        desk.settle()
        assert len(desk.session.objects) == count + 1, control.toolTip()
        desk.session.undo()
        desk.session.reject()
    assert chosen == []
    assert [one.unique_id for one in desk.viewer.layers] == layers
    assert desk.widget.binding is binding


def test_focus_goes_back_to_the_canvas_after_a_choice(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    combo = desk.widget.panel.labels
    type_on(combo, Qt.Key.Key_Down)  # opens the list, and chooses nothing
    assert combo.view().isVisible()
    QTest.keyClick(combo.view(), Qt.Key.Key_Return)  # type: ignore[call-overload]
    window = desk.viewer.window._qt_window  # which need not be the active one
    desk.hand.wait_until(lambda: window.focusWidget() is desk.hand.canvas, "the focus", 10)
    desk.widget.panel.batch.fold.expand()
    spin = desk.widget.panel.batch.min_area
    type_on(spin, "5")
    assert spin.value() >= 5
    type_on(spin, Qt.Key.Key_Return)
    desk.hand.wait_until(lambda: window.focusWidget() is desk.hand.canvas, "the focus", 10)


@pytest.mark.parametrize("first_closed", [0, 1])
def test_closing_one_of_two_widgets_leaves_the_other_its_keys(
    open_desk: OpenDesk, predictor: Predictor, blobs: Image, first_closed: int
) -> None:
    desk = open_desk(blobs)
    second = SegmentWidget(desk.viewer)
    second.set_predictor(predictor)
    labels = desk.viewer.layers["image labels"]
    dock = desk.viewer.window.add_dock_widget(second, name="second")
    desk.hand.wait_until(lambda: second.binding is not None, "the second one's layers")
    assert second.binding is not None
    assert second.binding.labels == labels
    widgets = [desk.widget, second]
    widgets.pop(first_closed).shut_down()
    left = widgets[0]
    left.binding.points.add([20, 20])
    desk.hand.wait_until(lambda: not left.session.busy, "the mask")
    desk.viewer.layers.selection.active = labels
    desk.hand.canvas.setFocus()
    desk.hand.type("N")
    assert len(left.session.objects) == 1
    left.shut_down()
    assert not [key for key in labels.keymap if str(key) == "N"], "given back as they were"
    assert second.wait(30)
    desk.viewer.window.remove_dock_widget(dock)


# ------------------------------------------------------------------ labels elsewhere


def test_the_panel_asks_before_labels_are_aligned(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    labels = desk.viewer.add_labels(np.zeros(blobs.shape, int), name="cells", scale=(2, 2))
    panel = desk.widget.panel
    own = desk.widget.binding.labels.unique_id

    def choose() -> None:
        names = [panel.labels.itemText(i) for i in range(panel.labels.count())]
        panel.labels.activated.emit(names.index("cells"))

    choose()
    assert panel.question.isVisible()
    assert "is displaced from the image" in panel.question.text.text()
    panel.question.no.click()
    assert desk.widget.binding.labels.unique_id == own
    assert np.allclose(labels.scale, 2)
    choose()
    panel.question.yes.click()
    assert desk.widget.binding.labels.unique_id == labels.unique_id
    assert np.allclose(labels.scale, 1)
    assert not panel.question.isVisible()


# ------------------------------------------------------------------ looking, and misses


def test_looking_and_missing_are_said_without_a_message(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(np.stack([blobs, blobs]))
    desk.viewer.add_image(np.zeros((9, 100, 90)), visible=False)
    desk.viewer.dims.set_point(0, 0)
    told: list[Any] = []
    desk.widget.news.notices.show = lambda text, **_: told.append(text)
    binding, status = desk.widget.binding, desk.widget.panel.status
    misses: list[tuple[Callable[[], Any], str]] = [
        (lambda: binding.points.add([0, -30, 20]), "lies outside the image"),
        (lambda: binding.draw_box((0, 5, 5), (0, 5.2, 5.2), done=True), "too small"),
        (lambda: desk.viewer.dims.set_point(0, 7), "Move the slider into the image"),
    ]
    for miss, words in misses:
        miss()
        desk.settle()
        assert words in desk.status
        assert status.styleSheet() == ""
    assert told == []
    binding.draw_box((7, 5, 5), (7, 40, 40), done=True)
    assert len(told) == 1, "something was to be written"
