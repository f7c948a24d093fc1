"""Links of tracks: they stay with the labels, are opened from files, and outlive a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer

from napari_sam3 import bind, export_labels, read_tracks
from napari_sam3.core.tracks import TrackError
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.layers.readers import features_of
from napari_sam3.layers.track_reader import get_tracks_reader
from napari_sam3.layers.writers import write_geff, write_ome_zarr, write_tracks
from napari_sam3.session.session import LabelingSession
from tests.napari_sam3.layers.tracks_desk import LOWER, UPPER, Desk, cells


@pytest.fixture
def desk() -> Desk:
    return Desk(cells())


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
