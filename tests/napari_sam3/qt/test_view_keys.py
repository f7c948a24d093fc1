"""Keys for what is shown and edited: Esc, Enter and Delete, the brush, outlines, classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Surface, Tracks, Vectors
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.session.candidates import CandidatePlane
from napari_sam3.session.session import LabelingSession
from sam3.errors import Sam3Error

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


def accept(desk: Any, *places: tuple[int, int]) -> list[int]:
    """Label objects by clicks and Enter."""
    for place in places:
        desk.hand.click(place)
        desk.settle()
        desk.hand.type("Enter")
        desk.settle()
    return [one.id for one in desk.session.objects]


def test_enter_accepts_escape_clears_and_delete_deletes(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    session, labels = desk.session, desk.widget.binding.labels
    session.policy = "overwrite"
    first, second = accept(desk, (20, 20), (75, 20))
    desk.hand.click((20, 65))
    desk.settle()
    desk.hand.type("Escape")
    assert session.prompts.is_empty
    assert len(session.objects) == 2
    # A merge that waits is cancelled first, and the status says what to do meanwhile.
    desk.hand.move((20, 20))
    desk.hand.type("J")
    assert desk.widget.binding.merging == first
    assert "Esc cancels" in desk.status
    desk.hand.type("Escape")
    assert desk.widget.binding.merging is None
    assert "Esc cancels" not in desk.status
    row, column = np.argwhere(labels.data == second)[0]
    desk.hand.move((int(row), int(column)))
    desk.hand.type("Delete")
    assert not (labels.data == second).any()
    # Selected points are napari's to delete.
    desk.hand.click((50, 45))
    desk.settle()
    desk.hand.move((20, 20))
    desk.widget.binding.points.selected_data = {0}
    desk.hand.type("Delete")
    desk.settle()
    assert session.prompts.is_empty
    assert (labels.data == first).any()


def test_the_brush_takes_the_object_under_the_mouse_and_spares_others(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    desk.session.policy = "overwrite"
    binding, labels = desk.widget.binding, desk.widget.binding.labels
    first, second = accept(desk, (20, 20), (75, 20))
    desk.hand.move((20, 20))
    desk.hand.type("Shift-B")
    assert desk.viewer.layers.selection.active.unique_id == labels.unique_id
    assert (str(labels.mode), labels.selected_label) == ("paint", first)
    before = np.array(labels.data)
    labels.brush_size = 40
    desk.hand.click((75, 20))
    assert (labels.data[before == second] == second).all(), "a neighbour keeps its pixels"
    assert ((labels.data == first) & (before == 0)).any()
    desk.hand.type("Shift-B")
    assert binding.listening
    assert not labels.preserve_labels
    desk.hand.type("Shift-B")
    desk.hand.type("Escape")
    assert binding.listening


def test_labels_are_shown_as_outlines_by_a_key(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    labels = desk.widget.binding.labels
    desk.hand.type("C")
    assert labels.contour == 1
    desk.hand.type("C")
    assert labels.contour == 0


def test_help_comes_and_goes_by_its_key(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    assert not desk.widget.panel.how_to.isVisible()
    desk.hand.type("F1")
    assert desk.widget.panel.how_to.isVisible()
    desk.hand.type("F1")
    assert not desk.widget.panel.how_to.isVisible()


def test_a_class_key_over_a_label_changes_its_class(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    session, labels = desk.session, desk.widget.binding.labels
    session.policy = "overwrite"
    desk.widget.panel.classes.add("cell")
    desk.widget.panel.classes.add("debris")
    desk.hand.move((5, 45))
    desk.hand.type("Alt-2")
    first, second = accept(desk, (20, 20), (75, 20))
    pixels = np.array(labels.data)
    desk.hand.move((20, 20))
    desk.hand.type("Alt-3")
    assert {one.id: one.category for one in session.objects} == {first: "debris", second: "cell"}
    assert session.category == "cell", "that of the next object stays"
    np.testing.assert_array_equal(labels.data, pixels)
    by_label = labels.features.set_index("index")["class"]
    assert dict(by_label) == {first: "debris", second: "cell"}
    desk.hand.type("Control-Z")
    assert {one.category for one in session.objects} == {"cell"}
    desk.hand.type("Control-Shift-Z")
    # A label of another tool gets one, too.
    labels.data_setitem((np.array([50, 50]), np.array([45, 46])), 77)
    desk.hand.move((50, 45))
    desk.hand.type("Alt-3")
    assert {one.id: one.category for one in session.objects}[77] == "debris"
    # It is part of what is replayed, though no pixel changes.
    again = LabelingSession()
    binding = desk.widget.binding
    again.set_plane(np.zeros((100, 90, 3), np.uint8), "p", np.array(labels.data))
    kinds = [one for one in session.operations_in(binding.labels.unique_id) if one.kind == "batch"]
    again.batch_again(kinds[0], None)
    assert [one.category for one in again.objects] == ["debris"]
    again.close()


def test_a_class_is_changed_on_all_planes_or_none(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = open_desk(np.zeros((3, 60, 60), np.uint8))
    session = desk.session
    path, shape = tmp_path / "l.zarr", (3, 60, 60)
    stored = zarr.create_array(path, shape=shape, chunks=(1, 60, 60), dtype="u2")
    desk.widget.set_image(desk.widget.binding.image, desk.viewer.add_labels(stored))
    desk.widget.panel.classes.add("debris")
    desk.widget.panel.classes.add("cell")
    for z in range(3):
        target = desk.widget.binding.labels_on(PlaneIndex((1, 2), (z,)))
        mask = PlaneMask(10, 10, np.ones((20, 20), bool))
        found = Instance(1, mask, 0.5)
        session.candidates.put(CandidatePlane(target.key, target), [found], 0.0)
    session.candidates.accept()
    desk.viewer.dims.set_current_step(0, 0)
    desk.hand.rest()
    steps, objects = len(session.operations), session.objects
    last = path / "c" / "2" / "0" / "0"
    whole = last.read_bytes()
    last.write_bytes(b"broken")
    desk.hand.move((20, 20))
    desk.hand.type("Alt-2")
    assert "cannot be read" in notification_manager.records[-1].message
    assert session.objects == objects
    assert {one.category for one in session.objects} == {"cell"}
    assert len(session.operations) == steps
    last.write_bytes(whole)
    desk.hand.type("Alt-2")
    assert {one.category for one in session.objects} == {"debris"}
    desk.hand.type("Control-Z")
    assert [one.category for one in session.objects] == ["cell"] * 3


def test_enter_in_a_field_is_no_command(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    panel = desk.widget.panel
    desk.hand.click((20, 20))
    desk.settle()
    panel.classes.add_button.click()
    typist: Any = QTest
    for key in (Qt.Key.Key_Escape, Qt.Key.Key_Return):
        panel.classes.name.setFocus()
        typist.keyClicks(panel.classes.name, "cell")
        typist.keyClick(panel.classes.name, key)
        desk.hand.rest()
        assert not desk.session.objects
        assert not desk.session.prompts.is_empty
    assert desk.session.category == "cellcell"
    panel.batch.fold.expand()
    typist.keyClick(panel.batch.min_area, Qt.Key.Key_Return)
    desk.hand.rest()
    assert not desk.session.objects


def test_points_are_small_and_hollow_and_labels_named_after_the_image(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs, name="nuclei")
    assert desk.widget.binding.labels.name == "nuclei labels"
    points = desk.widget.binding.points
    points.add([5, 5])
    assert points.canvas_size_limits == (7, 7)
    assert [str(one) for one in points.symbol] == ["ring"]


def test_an_error_stays_until_the_user_acts(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    session = desk.session
    assert desk.widget.wait(60)
    desk.hand.rest()
    desk.widget.report(Sam3Error("the disk is full"))
    # What encoding ahead tells meanwhile.
    session.busy_changed.emit("encoding")
    session.progress_changed.emit("encoding", None, None)
    session.progress_changed.emit("encoding", 0.5, 9.0)
    session.busy_changed.emit("idle")
    session.prediction_changed.emit(None)
    desk.hand.rest()
    assert desk.status == "The disk is full"
    desk.hand.click((20, 20))
    desk.settle()
    assert "disk" not in desk.status
    assert desk.widget.panel.status.styleSheet() == ""


def test_the_status_names_the_next_step(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    assert desk.widget.wait(60)
    desk.hand.rest()
    assert "Click an object" in desk.status
    desk.viewer.layers.selection.active = desk.widget.binding.labels
    desk.hand.rest()
    assert "Resume clicking" in desk.status
    desk.widget.panel.click.click()
    desk.hand.click((20, 20))
    desk.settle()
    assert "Enter" in desk.status or "Esc" in desk.status
    desk.hand.type("Enter")
    desk.hand.type("Shift-B")
    assert "brush" in desk.status


def test_our_keys_are_none_of_napari(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    binding = desk.widget.binding
    shared = {
        layer.__class__.__name__: {str(key) for key in layer.keymap if key in layer.class_keymap}
        for layer in (binding.points, binding.boxes, binding.labels)
    }
    # Delete, Enter and Escape do what napari does with them where it applies, and one undo stack
    # holds the strokes of the brush as well.
    assert shared == {
        "Points": {"Delete"},
        "Shapes": {"Delete", "Enter", "Escape"},
        "Labels": {"Enter", "Escape", "Ctrl+Z", "Ctrl+Shift+Z"},
    }
    ours = {str(key) for key in (*binding.points.keymap, *binding.boxes.keymap)}
    of_viewer = {str(key) for key in ViewerModel.class_keymap}
    assert "Ctrl+Y" in of_viewer, "napari has bound its keys"
    assert ours & of_viewer == set()
    # No layer of ours is an image, which alone is oriented and contrasted by these.
    of_images = {str(key) for key in binding.image.class_keymap}
    assert ours & of_images == {"C", "O", "Y"}
    for kind in (Surface, Tracks, Vectors):
        assert ours & {str(key) for key in kind.class_keymap} == set()


def test_shift_a_selects_points_as_everywhere_in_napari(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    desk.hand.click((20, 20))
    desk.settle()
    desk.widget.binding.points.selected_data = set()
    desk.hand.type("Shift-A")
    assert desk.widget.binding.points.selected_data == {0}


@pytest.mark.parametrize("by", ["6", "Z", "1", "button", "layer list"])
def test_the_brush_is_left_by_means_of_napari(open_desk: OpenDesk, blobs: Image, by: str) -> None:
    desk = open_desk(blobs)
    binding, labels = desk.widget.binding, desk.widget.binding.labels
    desk.hand.click((20, 20))
    desk.settle()
    desk.hand.type("Shift-B")
    assert (labels.preserve_labels, binding.viewing.painting) == (True, True)
    if by == "button":
        labels.mode = "pan_zoom"
    elif by == "layer list":
        desk.viewer.layers.selection.active = binding.points
    else:
        desk.hand.type(by)
    assert not labels.preserve_labels
    assert not binding.viewing.painting
    desk.hand.type("Escape")
    assert desk.session.prompts.is_empty


@pytest.mark.parametrize("name", ["a;b", "#1", " "])
def test_why_a_name_of_a_class_is_refused_is_shown(
    open_desk: OpenDesk, blobs: Image, name: str
) -> None:
    desk = open_desk(blobs)
    classes = desk.widget.panel.classes
    typist: Any = QTest
    typist.mouseClick(classes.add_button, Qt.MouseButton.LeftButton)
    typist.keyClicks(classes.name, name)
    typist.keyClick(classes.name, Qt.Key.Key_Return)
    assert f"ot a name for a class: {name.strip()!r}" in desk.status
    assert classes.name.isVisible()
    assert len(classes.classes) == 1
