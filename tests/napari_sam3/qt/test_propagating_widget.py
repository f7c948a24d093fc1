"""Propagating in the window: button, key, axis, progress, cancel, correction, and the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.qt.text import propagate as text
from napari_sam3.records.folder import journals_in
from napari_sam3.records.recovery import read_journal
from sam3 import load_predictor
from tests.napari_sam3.conftest import Desk, OpenDesk

PLANES, HERE = 7, 3


@pytest.fixture(scope="module")
def embedded() -> Any:
    return load_predictor("tiny", device="cpu")


def picture() -> npt.NDArray[np.uint8]:
    """Two discs on planes 1 to 5, and noise."""
    rows, columns = np.mgrid[:100, :100]
    light = np.random.default_rng(0).normal(40, 3, (PLANES, 100, 100))
    for row, column in ((30, 30), (70, 66)):
        light[1:6, (rows - row) ** 2 + (columns - column) ** 2 < 13**2] = 190
    return np.clip(light, 0, 255).astype(np.uint8)


def push(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    QApplication.processEvents()


def planes(desk: Desk, label: int) -> list[int]:
    data = np.asarray(desk.widget.binding.labels.data)
    other = tuple(axis for axis in range(data.ndim) if axis != data.ndim - 3)
    return [int(z) for z in np.flatnonzero((data == label).any(other))]


def wait(desk: Desk) -> None:
    propagating = desk.session.propagating
    desk.hand.wait_until(lambda: not propagating.running, "the propagation to end", 120)


def show_plane(desk: Desk, axis: int, place: int) -> None:
    desk.viewer.dims.set_current_step(axis, place)
    QApplication.processEvents()


def test_a_click_a_key_a_correction_and_one_undo(
    open_desk: OpenDesk, embedded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Safety, "folder", str(tmp_path / "journals"))
    image = picture()
    rows, columns = np.ogrid[:100, :100]
    lobe = (rows - 70) ** 2 + (columns - 47) ** 2 < 9**2
    image[5][lobe & (image[5] < 100)] = 100  # of the second disc; a correction adds it
    desk = open_desk(image, model=embedded)
    panel, binding = desk.widget.panel.propagation, desk.widget.binding
    for part in (panel.start, panel.direction, panel.axis, panel.gap):
        assert not part.isHidden()
    assert panel.axis.currentText() == "Axis 0 (7)"
    assert not panel.progress.isVisible()
    desk.hand.wait_until(lambda: binding.journal.file is not None, "the journal", 30)

    assert desk.widget.wait(60)  # for what is encoded ahead, which has its own news
    desk.hand.rest()
    push(panel.start)  # with nothing to propagate: said, and nothing breaks
    assert "No object to propagate" in desk.status
    show_plane(desk, 0, HERE)
    desk.hand.click((30, 30))
    desk.hand.type("O")  # accepted and propagated as soon as the mask is there
    assert panel.stop.isVisible()
    assert not panel.start.isEnabled()
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3, 4, 5]
    assert not panel.stop.isVisible()
    assert panel.result.text().startswith("1 object on 4 more planes")
    assert text.MASK_BY_MASK in panel.result.text()
    assert binding.accepted == 1
    assert list(binding.labels.features["plane"].dropna()).count("") == 0

    # Another object, by the button; the first one is left alone.
    first = np.asarray(binding.labels.data) == 1
    desk.hand.click((70, 66))
    desk.settle()
    push(panel.start)
    wait(desk)
    assert planes(desk, 2) == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(np.asarray(binding.labels.data) == 1, first)

    # A correction on plane 5: only what depends on it is found again.
    before = np.array(binding.labels.data)
    times = {one.plane.plane.index[0]: one.time for one in desk.session.objects if one.id == 2}
    show_plane(desk, 0, 5)
    desk.hand.click((70, 66), control=True)
    desk.hand.click((70, 45))
    desk.settle()
    desk.hand.type("O")
    wait(desk)
    later = {one.plane.plane.index[0]: one.time for one in desk.session.objects if one.id == 2}
    assert {z for z in times if later[z] == times[z]} == {1, 2, HERE}
    for z in (0, 1, 2, HERE):
        np.testing.assert_array_equal(np.asarray(binding.labels.data)[z], before[z])

    # Each is one step of undo, and the journal holds what is there.
    (path,) = journals_in(tmp_path / "journals", _identity(binding))
    found = np.zeros_like(before)

    def write(key: Any, region: Any, values: Any) -> None:
        found[(*key.index, *region)] = values

    read_journal(path).apply(write)
    np.testing.assert_array_equal(found, binding.labels.data)
    for _ in range(20):
        if not np.asarray(binding.labels.data).any():
            break
        desk.press("undo")
        desk.settle()
    assert not np.asarray(binding.labels.data).any()
    assert not read_journal(path).operations


def _identity(binding: Any) -> Any:
    from napari_sam3.layers.journaling import identify_layer

    return identify_layer(binding.image)


def test_an_object_that_ended_too_early_goes_on_by_a_click_or_the_key(
    open_desk: OpenDesk, embedded: Any
) -> None:
    image = picture()
    image[1:6] = image[2]
    image[4] = np.random.default_rng(1).integers(30, 50, image[4].shape)  # a bad plane
    desk = open_desk(image, model=embedded)
    labels, panel = desk.widget.binding.labels, desk.widget.panel.propagation
    show_plane(desk, 0, 2)
    desk.session.category = "cell"
    desk.hand.click((30, 30))
    desk.hand.type("O")
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3]
    before = np.array(labels.data)

    desk.session.category = "nucleus"
    # By a click; what is there stays, and the plane between is asked about again.
    show_plane(desk, 0, 5)
    desk.hand.click((33, 29))
    desk.hand.type("O")
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3, 5]
    assert labels.data.max() == 1
    np.testing.assert_array_equal(np.asarray(labels.data)[:5], before[:5])
    assert {one.category for one in desk.session.objects} == {"cell"}
    desk.press("undo")
    np.testing.assert_array_equal(labels.data, before)
    desk.settle()
    assert len(desk.session.draft_set.drafts) == 1, "the click is there again"
    desk.press("redo")
    assert planes(desk, 1) == [1, 2, 3, 5]
    desk.press("undo")
    desk.settle()
    desk.press("reject")

    # By the button alone, where it was last.
    push(panel.start)
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3, 5]
    np.testing.assert_array_equal(np.asarray(labels.data)[:5], before[:5])
    desk.press("undo")
    np.testing.assert_array_equal(labels.data, before)
    desk.settle()
    desk.press("reject")

    # Elsewhere a click is another object, and so is one that was accepted first.
    desk.hand.click((70, 66))
    desk.hand.type("O")
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3]
    assert planes(desk, 2) == [5]
    desk.hand.click((30, 30))
    desk.settle()
    desk.press("accept")
    assert planes(desk, 3) == [5]


def test_stopped_it_keeps_what_is_done_as_one_step(open_desk: OpenDesk, predictor: Any) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 60)).astype(np.uint8)
    desk = open_desk(image)
    panel, propagating = desk.widget.panel.propagation, desk.session.propagating
    desk.hand.click((30, 30))
    desk.settle()
    desk.press("accept")
    before = np.array(desk.widget.binding.labels.data)
    ended: list[Any] = []
    propagating.ended.connect(ended.append)
    # Random weights know no objects: nothing ends.
    desk.session.propagate(rules=EndRules(min_area=1), direction="both")
    desk.hand.wait_until(lambda: len(planes(desk, 1)) > 2, "some planes", 60)
    assert 0 < panel.progress.value() < 1000
    push(panel.stop)
    assert [one.stopped for one in ended] == [True]
    done = planes(desk, 1)
    assert len(done) < 40
    assert panel.result.text().startswith("Stopped after 1 object")
    desk.widget.wait(30)
    QApplication.processEvents()
    assert planes(desk, 1) == done
    shown = desk.widget.binding.plane
    desk.press("undo")
    np.testing.assert_array_equal(desk.widget.binding.labels.data, before)
    assert desk.widget.binding.plane == shown, "the plane that it was propagated from"

    # Undo while it runs, another image, and a window that goes.
    desk.session.propagate(rules=EndRules(min_area=1))
    desk.hand.wait_until(lambda: len(planes(desk, 1)) > 2, "some planes", 60)
    desk.press("undo")
    assert not propagating.running
    np.testing.assert_array_equal(desk.widget.binding.labels.data, before)
    desk.session.propagate(rules=EndRules(min_area=1))
    desk.hand.wait_until(lambda: len(planes(desk, 1)) > 2, "some planes", 60)
    desk.widget.set_image(desk.viewer.add_image(image[0], name="flat"))
    assert not propagating.running
    assert not panel.start.isEnabled(), "one plane has no neighbours"
    assert not panel.fold.isVisible()
    assert desk.widget.wait(60)
    desk.hand.rest()
    desk.hand.type("O")
    assert "only one plane" in desk.status


def test_along_the_axis_that_is_chosen(open_desk: OpenDesk, embedded: Any) -> None:
    image = np.stack([picture()[1:4]] * 4, axis=0)  # t, z, y, x
    desk = open_desk(image, model=embedded, axis_labels=("t", "z", "y", "x"))
    panel, labels = desk.widget.panel.propagation, desk.widget.binding.labels
    offered = [panel.axis.itemText(i) for i in range(panel.axis.count())]
    assert offered == ["t (4)", "z (3)"]
    assert panel.axis.currentText() == "z (3)"
    show_plane(desk, 0, 1)
    show_plane(desk, 1, 1)
    panel.axis.setCurrentIndex(0)
    panel.axis.activated.emit(0)
    panel.direction.setCurrentIndex(panel.direction.findData("forward"))
    panel.direction.activated.emit(1)
    panel.gap.setValue(2)
    assert panel.gap.text() == "2 planes bridged"
    desk.hand.click((30, 30))
    desk.settle()
    push(panel.start)
    assert desk.session.propagating._run.rules == EndRules.calibrated(gap=2, in_time=True)
    wait(desk)
    there = np.argwhere((np.asarray(labels.data) == 1).any((2, 3))).tolist()
    assert there == [[1, 1], [2, 1], [3, 1]]
    assert panel.axis.currentText() == "t (4)", "a choice stays"


def test_time_rather_than_channels_is_offered_first(open_desk: OpenDesk, predictor: Any) -> None:
    image = np.stack([picture()] * 2, axis=1)  # t, c, y, x
    desk = open_desk(image, axis_labels=("t", "c", "y", "x"))
    assert desk.widget.panel.propagation.axis.currentText() == "t (7)"
    assert desk.widget.panel.batch.axis.currentText() == "t (7 planes)"
    propagation = desk.widget.binding.propagation
    assert len(propagation.stack().images) == PLANES
    propagation.axis = None  # as without a panel
    assert len(propagation.stack().images) == PLANES


def test_a_plane_without_values_is_skipped_and_named_once(
    open_desk: OpenDesk, embedded: Any
) -> None:
    image = picture().astype(np.float32)
    image[5] = np.nan
    desk = open_desk(image, model=embedded)
    show_plane(desk, 0, HERE)
    desk.hand.click((30, 30))
    desk.hand.type("O")
    wait(desk)
    assert planes(desk, 1) == [1, 2, 3, 4]
    result = desk.widget.panel.propagation.result
    assert result.text().startswith("1 object on 3 more planes.")
    assert result.text().count("1 plane ") == 1
    assert "1 plane was skipped: " in result.text()
    assert not result.styleSheet(), "not an error: the object was found"
