"""Other tools and widgets write to the labels in use, between one gesture and the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


def accept(desk: Any, place: tuple[int, int]) -> int:
    """Click on an object and accept it; returns its label."""
    desk.hand.click(place)
    desk.settle()
    desk.hand.type("N")
    desk.settle()
    label: int = desk.session.objects[-1].id
    return label


def key_at(desk: Any, key: str, label: int) -> None:
    """Press a key with the mouse over a label."""
    rows, columns = np.nonzero(desk.widget.binding.labels.data == label)
    at = len(rows) // 2
    desk.hand.move((rows[at], columns[at]))
    desk.hand.type(key)
    desk.settle()


def write(desk: Any, label: int, *, erase: int = 0) -> npt.NDArray[np.bool_]:
    """Do as another tool does: erase a label, and give an id to a square of its own."""
    labels = desk.widget.binding.labels
    labels.data[labels.data == erase] = 0
    square = np.zeros(labels.data.shape, bool)
    if label:
        square[88:98, 30:40] = True
        labels.data[square] = label
    labels.refresh()
    desk.hand.rest()
    return square


def test_an_id_that_another_tool_reuses_while_its_object_is_refined(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    labels = desk.widget.binding.labels
    first = accept(desk, (20, 20))
    key_at(desk, "G", first)
    assert desk.session.draft_set.draft.label == first
    square = write(desk, first, erase=first)
    desk.hand.click((30, 24))
    desk.settle()
    desk.hand.type("N")
    desk.settle()
    (again,) = desk.session.objects
    assert again.id != first
    assert np.array_equal(labels.data == first, square), "the other object is as it was"
    assert (labels.data == again.id).any()
    assert list(labels.features["index"]) == [again.id]
    desk.hand.type("Control-Z")
    assert np.array_equal(labels.data > 0, square)
    desk.hand.type("Control-Shift-Z")
    assert (labels.data == again.id).any()
    # Painted on or cut, it is the same object, and keeps its id.
    key_at(desk, "G", again.id)
    rows, columns = np.nonzero(labels.data == again.id)
    labels.data_setitem((rows[:5], columns[:5]), 0)
    desk.hand.click((30, 26))
    desk.settle()
    desk.hand.type("N")
    desk.settle()
    assert [one.id for one in desk.session.objects] == [again.id]
    # Nor is one merged that only has the id of the one that was noted.
    key_at(desk, "J", again.id)
    write(desk, again.id, erase=again.id)
    labels.data[:4, :4] = 50
    before = labels.data.copy()
    key_at(desk, "J", 50)
    assert "was deleted or replaced: " in desk.status
    assert np.array_equal(labels.data, before)
    assert desk.widget.binding.merging is None


def test_objects_that_are_gone_are_not_counted(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    labels = desk.widget.binding.labels

    def said() -> str:
        return str(desk.widget.panel.object.text())

    first, second = accept(desk, (20, 20)), accept(desk, (20, 65))
    assert "2 objects" in said()
    kept = labels.data.copy()
    write(desk, 0, erase=first)
    assert "1 object " in said()
    labels.data = kept.copy()
    desk.hand.rest()
    assert "2 objects" in said()
    labels.data_setitem(np.nonzero(labels.data == second), 0)  # the eraser
    desk.hand.rest()
    assert "1 object " in said()
    desk.hand.type("Control-Z")
    assert "2 objects" in said()
    labels.data[labels.data == first] = 99  # relabelled
    labels.refresh()
    desk.hand.rest()
    assert "1 object " in said()


def test_two_widgets_on_one_labels_layer_keep_each_others_rows(
    open_desk: OpenDesk, blobs: Image
) -> None:
    from napari_sam3.qt.widget import SegmentWidget

    desk = open_desk(blobs)
    image, labels = desk.widget.binding.image, desk.widget.binding.labels
    other = SegmentWidget(desk.viewer)
    other.set_predictor(desk.session.model)
    desk.viewer.window.add_dock_widget(other, name="second", area="right")
    assert other.set_image(image, labels)
    mine, theirs = desk.widget.binding, other.binding
    assert theirs is not None

    def rows() -> dict[int, Any]:
        table = labels.features
        assert table["index"].is_unique
        return dict(zip(table["index"], table["points"], strict=True))

    theirs.points.add([20, 65])
    assert other.wait(60)
    desk.hand.wait_until(lambda: not other.session.busy, "the mask", 60)
    theirs.accept()
    (label,) = rows()
    table = labels.features.copy()
    table["note"] = ["theirs"]
    labels.features = table
    # Refined here, and taken back: the row is that of the other widget again.
    mine.session.reopen(label)
    mine.points.add([28, 66])
    desk.settle()
    mine.points.add([30, 66])
    desk.settle()
    mine.accept()
    desk.settle()
    assert rows() == {label: 2}
    mine.session.undo()
    assert rows() == {label: 1}
    assert list(labels.features["note"]) == ["theirs"]
    mine.session.redo()
    assert rows() == {label: 2}
    # Taken back there, the row of what was made of it here stays.
    other.session.undo()
    assert rows() == {label: 2}
    other.shut_down()
    assert other.wait(60)


def test_a_refused_split_uses_up_no_ids(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    labels = desk.widget.binding.labels
    labels.data[40:50, 5:15] = labels.data[40:50, 25:35] = 1
    labels.refresh()
    labels.editable = False
    for _ in range(3):
        key_at(desk, "H", 1)
        assert "locked" in desk.status
    labels.editable = True
    key_at(desk, "H", 1)
    assert sorted(np.unique(labels.data)) == [0, 1, 2]
    assert accept(desk, (20, 65)) == 3


def test_a_refined_object_is_seen_whenever_class_colours_are_switched(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    binding = desk.widget.binding
    labels, colours = binding.labels, desk.widget.options._advanced.class_colors
    first = accept(desk, (20, 20))

    def alpha(label: int) -> float:
        return float(labels.get_color(label)[3])

    for before, after in ((False, True), (True, False)):
        colours.setChecked(before)
        key_at(desk, "G", first)
        assert alpha(first) == 0, "its mask is shown instead"
        colours.setChecked(after)
        assert alpha(first) == 0
        labels.data_setitem((np.array([1]), np.array([2])), 77)  # a stroke in a label of its own
        assert alpha(first) == 0
        assert alpha(77) > 0.3
        desk.hand.click((30, 24))
        desk.settle()
        desk.hand.type("N")
        desk.settle()
        assert alpha(first) > 0.3
        colours.setChecked(not after)
        assert alpha(first) > 0.3
        labels.data_setitem((np.array([1]), np.array([2])), 0)


def test_clicks_on_a_hidden_points_layer_are_offered_again(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    binding = desk.widget.binding
    binding.points.visible = False  # napari hands it no clicks now
    desk.hand.rest()
    assert not binding.listening
    assert desk.widget.panel.click.text() == "Resume clicking"
    desk.hand.click((20, 20))
    assert desk.session.prompts.is_empty
    desk.widget.panel.click.click()
    desk.hand.rest()
    assert binding.listening
    assert desk.widget.panel.click.text() == "Click"
    assert accept(desk, (20, 20)) == 1


def test_a_mask_of_255_as_labels_takes_new_objects(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    mask = np.zeros(blobs.shape, np.uint8)
    mask[96:, :9], mask[0, 0] = 255, 1
    labels = desk.viewer.add_labels(mask.copy(), name="mask")
    assert desk.widget.set_image(desk.widget.binding.image, labels)
    desk.hand.rest()
    desk.session.policy = "overwrite"
    assert [accept(desk, place) for place in ((20, 20), (20, 65))] == [2, 3]
    assert (labels.data == 255).any()
