"""The Tracks layer in step with the labels, and divisions by key, in a viewer model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_sam3 import Binding, bind, export_labels, read_tracks
from napari_sam3.batch import Instance
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import Rendering
from napari_sam3.core.tracks import TrackError
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.layers.readers import features_of
from napari_sam3.layers.track_layer import TRACKS_NAME
from napari_sam3.layers.track_reader import get_tracks_reader
from napari_sam3.layers.writers import write_geff, write_ome_zarr, write_tracks
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor

Labels = npt.NDArray[np.uint16]
SHAPE = (6, 40, 40)
UPPER, LOWER = (4, 4), (24, 4)


def cells() -> Labels:
    """Return a cell 1 on all frames, which is a daughter from 3 on, and the other daughter, 2."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[:, 2:10, 2:10] = 1
    labels[3:, 22:30, 2:10] = 2
    return labels


class Desk:
    """A binding on a time series with labels, in a viewer without a window."""

    def __init__(self, labels: Any, axes: tuple[str, ...] = ("t", "y", "x")) -> None:
        self.viewer = ViewerModel()
        more = labels.ndim - 3
        placed = {
            "axis_labels": axes,
            "scale": (1, *[1] * more, 0.5, 0.5),
            "translate": (0, *[0] * more, 7, 9),
        }
        self.image = self.viewer.add_image(np.zeros(labels.shape, np.uint8), **placed)
        self.layer = self.viewer.add_labels(labels, **placed)
        self.errors: list[BaseException] = []
        self.binding = self.bind()
        self.show(0)

    def bind(self) -> Binding:
        return bind(
            self.viewer,
            self.image,
            self.layer,
            session=LabelingSession(),
            on_error=self.errors.append,
        )

    @property
    def labels(self) -> Labels:
        data: Labels = self.layer.data
        return data

    @property
    def tracks(self) -> Any:
        return self.binding.divisions.tracks.layer

    @property
    def shown(self) -> bool:
        return self.tracks is not None

    @property
    def graph(self) -> dict[int, list[int]]:
        return {child: list(many) for child, many in self.tracks.graph.items()}

    def show(self, frame: int) -> None:
        self.viewer.dims.set_current_step(0, frame)

    def press(self, frame: int, place: tuple[int, int], key: str = "Shift-D") -> None:
        """Press a key, of divisions, on the points layer, with the mouse at a place in px."""
        self.show(frame)
        row, column = place
        where = (frame, *[0] * (self.layer.ndim - 3), row, column)
        self.viewer.cursor.position = self.layer.data_to_world(where)
        self.viewer.layers.selection.active = self.binding.points
        self.binding.points.keymap[_coerced(key)](self.binding.points)

    def check(self) -> None:
        """Compare the layer with the labels."""
        rows = []
        for label in np.unique(self.labels[self.labels > 0]).tolist():
            for frame in range(SHAPE[0]):
                where = np.argwhere(self.labels[frame] == label)
                if len(where):
                    rows.append((label, frame, *where.mean(axis=0)))
        np.testing.assert_allclose(self.tracks.data, rows)
        assert self.tracks.visible


def _coerced(key: str) -> Any:
    from napari.utils.key_bindings import coerce_keybinding

    return coerce_keybinding(key)


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


# ------------------------------------------------- links that were deleted, kept, saved


def test_images_of_five_axes_have_tracks_without_a_layer() -> None:
    # napari's Tracks layers have four axes at most, and raise an error for more.
    desk = Desk(np.stack([np.stack([cells()] * 3, 1)] * 2, 1), axes=tuple("tczyx"))
    desk.viewer.dims.current_step = (4, 0, 0, 0, 0)
    desk.binding.delete(desk.layer.data_to_world((4, 0, 0, *LOWER)))
    assert desk.labels[4, 0, 0].max() == 1
    desk.press(2, UPPER)
    assert desk.binding.divisions.parent == 1
    desk.press(3, LOWER)
    assert desk.binding.divisions.tracks.parents == {2: (1,), 3: (1,)}
    assert not desk.shown
    assert not desk.errors
    assert desk.binding.divisions.tracks.show() is None
    assert isinstance(desk.errors.pop(), TrackError)


def test_a_link_comes_back_with_its_label(desk: Desk) -> None:
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    for frame in (3, 4, 5):
        desk.show(frame)
        desk.binding.delete(desk.layer.data_to_world((frame, *LOWER)))
    assert desk.graph == {3: [1]}
    desk.binding.undo()
    assert desk.graph == {2: [1], 3: [1]}
    desk.check()


def test_a_link_that_labels_contradict_is_said_once(desk: Desk) -> None:
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    desk.layer.paint((4, 35, 35), 1)  # the parent again, after its division
    assert desk.graph == {}
    (error,) = desk.errors
    assert "the parent 1 is still present on frame 4, and its child 2 begins" in str(error)
    desk.layer.paint((4, 35, 30), 1)
    assert len(desk.errors) == 1
    desk.binding.undo()
    desk.binding.undo()
    assert desk.graph == {2: [1], 3: [1]}
    assert len(desk.errors) == 1
    desk.layer.paint((5, 35, 35), 1)
    assert len(desk.errors) == 2


def test_links_stay_with_the_labels(desk: Desk, tmp_path: Path) -> None:
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    layer = desk.tracks
    desk.binding.close()
    assert layer in desk.viewer.layers
    data, attributes, _ = desk.layer.as_layer_data_tuple()
    for write, name in ((write_geff, "t.geff"), (write_tracks, "l.tracks.csv")):
        write(str(tmp_path / name), data, attributes)
        assert read_tracks(tmp_path / name).tracks.parents == {2: (1,), 3: (1,)}
    # In every format whose table has columns, such as OME-Zarr, from which it comes again.
    write_ome_zarr(str(tmp_path / "l.zarr"), data, attributes)
    from napari_sam3 import ObjectTable, open_labels

    properties = open_labels(tmp_path / "l.zarr", read_only=True).properties
    table = ObjectTable.from_properties(properties)
    export_labels(data, tmp_path / "01_RES", table=table)
    assert read_tracks(tmp_path / "01_RES").tracks.parents == {2: (1,), 3: (1,)}
    again = desk.bind()
    assert again.divisions.tracks.parents == {2: (1,), 3: (1,)}
    assert again.divisions.tracks.layer is layer
    again.close()
    opened = Desk(data)
    opened.binding.close()
    opened.layer.features = features_of(table)
    assert opened.bind().divisions.tracks.parents == {2: (1,), 3: (1,)}


def test_tracks_of_other_programs_are_opened_and_go_on(desk: Desk, tmp_path: Path) -> None:
    parents = {2: 1, 3: 1}
    labels = cells()
    labels[3:][labels[3:] == 1] = 3
    folder = export_labels(labels, tmp_path / "01_RES", parents=parents)
    graph = export_labels(labels, tmp_path / "t.geff", parents=parents)
    assert get_tracks_reader(str(tmp_path)) is None
    read = get_tracks_reader([str(folder), str(graph)])
    assert read is not None
    desk.binding.close()
    layers = [desk.viewer.add_layer(Layer.create(*one)) for one in read([str(folder), str(graph)])]
    assert [type(one).__name__ for one in layers] == ["Labels", "Tracks", "Tracks"]
    desk.layer, tracks = layers[0], layers[1]
    desk.binding = bind(desk.viewer, desk.image, desk.layer, align=True, session=LabelingSession())
    assert desk.tracks is tracks
    np.testing.assert_array_equal(tracks.scale, desk.layer.scale)  # moved with the labels
    np.testing.assert_array_equal(tracks.translate, desk.layer.translate)
    desk.show(5)
    desk.binding.delete(desk.layer.data_to_world((5, *LOWER)))
    assert desk.graph == {2: [1], 3: [1]}
    desk.check()
    assert not desk.errors


def test_graphs_lie_where_they_were_saved(desk: Desk, tmp_path: Path) -> None:
    desk.layer.units = ("minute", "um", "um")
    data, attributes, _ = desk.layer.as_layer_data_tuple()
    write_geff(str(tmp_path / "t.geff"), data, attributes)
    read = get_tracks_reader(str(tmp_path / "t.geff"))
    assert read is not None
    (layer,) = (Layer.create(*one) for one in read(str(tmp_path / "t.geff")))
    for name in ("scale", "translate", "units", "axis_labels"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(desk.layer, name))


def test_links_outlive_a_crash(desk: Desk, tmp_path: Path) -> None:
    desk.binding.keep_journal(folder=tmp_path)
    desk.press(2, UPPER)
    desk.press(3, LOWER)
    assert desk.binding.journal.file is not None
    path = desk.binding.journal.file.path
    desk.binding.save_session(tmp_path / "s.json")
    desk.binding.close()
    restored, replayed = Desk(cells()), Desk(cells())
    assert identify_layer(restored.image) == identify_layer(desk.image)
    restored.binding.journal.note_start()
    restored.binding.restore_labels(path)
    replayed.binding.replay(tmp_path / "s.json")
    for other in (restored, replayed):
        np.testing.assert_array_equal(other.labels, desk.labels)
        assert other.binding.divisions.tracks.parents == {2: (1,), 3: (1,)}
        assert other.graph == {2: [1], 3: [1]}
        other.check()
        assert not other.errors


def test_a_label_is_deleted_on_all_frames_in_one_step(desk: Desk) -> None:
    before = desk.labels.copy()
    desk.press(4, LOWER, "Control-Shift-K")
    np.testing.assert_array_equal(desk.labels, np.where(before == 2, 0, before))
    assert not desk.errors
    desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, before)
    desk.press(4, (35, 35), "Control-Shift-K")
    assert len(desk.errors) == 1, "there is no label"
    np.testing.assert_array_equal(desk.labels, before)
