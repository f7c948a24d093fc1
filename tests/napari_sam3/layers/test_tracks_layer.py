"""The Tracks layer in step with the labels, and divisions by key, in a viewer model."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.batch import Instance
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import Rendering
from napari_sam3.core.tracks import TrackError
from napari_sam3.layers.track_layer import TRACKS_NAME
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.layers.tracks_desk import LOWER, SHAPE, UPPER, Desk, cells


@pytest.fixture
def desk() -> Desk:
    return Desk(cells())


def test_a_series_has_tracks_once_its_labels_change(desk: Desk) -> None:
    assert not desk.shown
    desk.show(4)
    desk.binding.delete(desk.layer.data_to_world((4, *LOWER)))
    desk.check()
    layer = desk.tracks
    assert (layer.name, desk.viewer.layers.index(layer)) == (TRACKS_NAME, 2)
    np.testing.assert_array_equal(layer.scale, desk.layer.scale)
    # In world units, where the labels are.
    (at,) = np.flatnonzero((layer.data[:, 0] == 2) & (layer.data[:, 1] == 3))
    world = layer.data_to_world(layer.data[at, 1:])
    assert tuple(world) == (3, 7 + 25.5 / 2, 9 + 5.5 / 2)
    desk.binding.undo()
    desk.check()
    assert layer is desk.tracks
    assert desk.tracks.features["label"].tolist() == [1] * 6 + [2] * 3
    for row, label in ((0, 1), (8, 2)):
        np.testing.assert_allclose(layer.track_colors[row], desk.layer.get_color(label))
    desk.layer.new_colormap()
    np.testing.assert_allclose(layer.track_colors[8], desk.layer.get_color(2))
    layer.color_by = "area"  # a choice that stays
    desk.layer.paint((5, 35, 35), 4)
    desk.layer.fill((2, 5, 5), 9)
    desk.check()
    desk.layer.data = cells()[:, ::-1]
    desk.check()
    assert layer.color_by == "area"
    assert not desk.errors


def test_other_images_have_tracks_when_asked() -> None:
    desk = Desk(cells(), axes=("-3", "-2", "-1"))
    desk.show(4)
    desk.binding.delete(desk.layer.data_to_world((4, *LOWER)))
    assert not desk.shown
    desk.binding.divisions.tracks.show()
    desk.check()
    empty = Desk(np.zeros(SHAPE, np.uint16))
    assert empty.binding.divisions.tracks.show() is None


def test_an_empty_layer_is_hidden_and_comes_back(desk: Desk) -> None:
    desk.layer.data = np.zeros(SHAPE, np.uint16)
    desk.binding.divisions.tracks.show()
    assert not desk.shown
    desk.layer.data = cells()
    desk.check()
    desk.layer.data = np.zeros(SHAPE, np.uint16)
    assert not desk.tracks.visible
    desk.layer.data = cells()
    desk.check()
    desk.tracks.visible = False  # by a person, who may want it so
    desk.layer.paint((5, 35, 35), 4)
    assert not desk.tracks.visible


def test_a_layer_that_was_deleted_comes_back_when_asked(desk: Desk) -> None:
    desk.binding.divisions.tracks.show()
    desk.viewer.layers.remove(desk.tracks)
    desk.show(4)
    desk.binding.delete(desk.layer.data_to_world((4, *LOWER)))
    assert not desk.shown
    desk.binding.divisions.tracks.show()
    desk.check()


def test_large_labels_are_shown_under_other_ids() -> None:
    labels = cells().astype(np.uint32)
    labels[labels == 2] = 3_000_000_000
    desk = Desk(labels)
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    assert desk.graph == {2: [1], 3: [1]}
    assert set(desk.tracks.features["label"]) == {1, 3_000_000_000, 3_000_000_001}
    assert desk.tracks.data[:, 0].max() == 3


def test_objects_that_were_followed_have_tracks_and_divide(predictor: Predictor) -> None:
    """As propagation and batches write them: plane by plane, with one end."""
    desk = Desk(np.zeros(SHAPE, np.uint16))
    session = desk.binding.session
    square = np.ones((8, 8), bool)
    writing = session.begin_batch(desk.binding.labels_on(PlaneIndex((1, 2), (0,))))
    for frame in range(SHAPE[0]):
        target = desk.binding.labels_on(PlaneIndex((1, 2), (frame,)))
        found = [Instance(1, PlaneMask.from_array(square, 2, 2), 0.5)]
        if frame > 2:
            found.append(Instance(2, PlaneMask.from_array(square, 22, 2), 0.5))
        session.write_batch(writing, target.key, target, found, predictor, Rendering())
    session.end_batch()
    desk.check()
    np.testing.assert_array_equal(desk.labels, cells())
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    assert desk.graph == {2: [1], 3: [1]}
    ids = [(one.id, one.plane.plane.index[0]) for one in session.objects]  # type: ignore[attr-defined]
    assert sorted(ids) == [(n, at) for n, span in ((1, (0, 1, 2)), (2, (3, 4, 5)), (3, (3, 4, 5)))
                           for at in span]  # fmt: skip
    assert sorted(set(desk.layer.features["index"])) == [1, 2, 3]
    desk.binding.undo()
    desk.check()
    assert {one.id for one in session.objects} == {1, 2}
    desk.binding.undo()
    assert not desk.labels.any()
    assert not desk.tracks.visible


# ----------------------------------------------------------------- divisions


def test_a_division_by_two_presses(desk: Desk) -> None:
    desk.press(2, UPPER)
    assert desk.binding.divisions.parent == 1
    desk.press(3, LOWER)
    assert desk.binding.divisions.parent is None
    expected = cells()
    expected[3:][expected[3:] == 1] = 3
    np.testing.assert_array_equal(desk.labels, expected)
    assert desk.graph == {2: [1], 3: [1]}
    desk.check()
    desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, cells())
    assert desk.graph == {}
    desk.binding.redo()
    np.testing.assert_array_equal(desk.labels, expected)
    assert desk.graph == {2: [1], 3: [1]}
    assert not desk.errors


def test_the_parent_may_be_pointed_at_as_its_own_daughter(desk: Desk) -> None:
    desk.press(2, UPPER)
    desk.press(3, UPPER)
    assert desk.graph == {3: [1]}
    desk.press(3, LOWER)
    assert desk.graph == {2: [1], 3: [1]}
    assert desk.binding.divisions.parent is None
    desk.check()


def test_pressing_again_takes_back(desk: Desk) -> None:
    desk.press(2, UPPER)
    desk.press(2, UPPER)
    assert desk.binding.divisions.parent is None
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    desk.press(2, UPPER)
    desk.press(4, LOWER)
    assert desk.graph == {3: [1]}
    desk.binding.undo()
    assert desk.graph == {2: [1], 3: [1]}


def test_daughters_of_a_daughter_go_along() -> None:
    labels = cells()
    labels[5][labels[5] == 1] = 7
    desk = Desk(labels)
    desk.press(4, UPPER)
    desk.press(5, UPPER)  # 7 follows 1
    desk.press(4, UPPER)
    assert desk.graph == {7: [1]}
    assert desk.binding.divisions.parent is None
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    assert desk.graph == {2: [1], 8: [1], 7: [8]}
    desk.check()


def test_divisions_that_cannot_be_are_said(desk: Desk) -> None:
    desk.press(3, LOWER)
    desk.press(4, UPPER)
    (error,) = desk.errors
    assert isinstance(error, TrackError)
    assert str(error).startswith("the parent 2 begins on frame 3, after its child 1 on frame 0")
    np.testing.assert_array_equal(desk.labels, cells())
    assert desk.graph == {}
    desk.press(4, (38, 38))
    assert "no label at row 38, column 38 to divide" in str(desk.errors[-1])


def test_labels_without_time_have_no_divisions() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 9), np.uint8))
    layer = viewer.add_labels(np.ones((9, 9), np.uint8))
    binding = bind(viewer, image, layer, session=LabelingSession())
    with pytest.raises(TrackError, match="no time axis"):
        binding.divisions.divide((4, 4))
    binding.delete((4, 4))
    assert len([one for one in viewer.layers if one.name == TRACKS_NAME]) == 0


def test_time_must_be_the_first_axis() -> None:
    desk = Desk(cells(), axes=("z", "y", "x"))
    assert desk.binding.divisions.tracks.show() is not None  # the only axis that can be
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 3, 9, 9), np.uint8), axis_labels=("z", "t", "y", "x"))
    binding = bind(viewer, image, session=LabelingSession())
    with pytest.raises(TrackError, match=r"time is axis 1 .*Expected axis 0"):
        binding.divisions.tracks.show()
    # Whatever the viewer shows as rows and columns: no other axis is taken for time.
    last = Desk(cells(), axes=("y", "x", "t"))
    last.binding.divisions.tracks.show()
    assert "time is axis 2 of y, x, t, among rows and columns" in str(last.errors[-1])
    assert not last.shown
