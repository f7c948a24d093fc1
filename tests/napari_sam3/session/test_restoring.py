"""Journals restored into labels that are in use: nothing accepted is touched, no id used twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy
from psygnal import EmitLoopError

from napari_sam3 import bind
from napari_sam3.batch import Instance
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import Rendering
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.records.recovery import find_journals, read_journal
from napari_sam3.session.restoring import RestoreResult
from sam3.predictor import Predictor

SHAPE = (3, 60, 50)
Place = tuple[int, int, int]


class Desk:
    """A binding on an image of three planes, whose masks are squares given by a batch."""

    def __init__(self, predictor: Predictor, labels: Any = None, *, proxied: bool = False) -> None:
        viewer = ViewerModel()
        self.viewer: Any = PublicOnlyProxy(viewer) if proxied else viewer
        self.predictor = predictor
        self.image = self.viewer.add_image(np.random.default_rng(0).integers(0, 99, SHAPE, "u1"))
        self.viewer.dims.set_point(0, 0)
        layer = None if labels is None else self.viewer.add_labels(labels)
        self.binding = bind(self.viewer, self.image, layer, predictor=predictor)
        self.session = self.binding.session
        self.results: list[RestoreResult] = []
        self.binding.labels_restored.connect(self.results.append)

    @property
    def data(self) -> npt.NDArray[Any]:
        data: npt.NDArray[Any] = self.binding.labels.data
        return data

    def accept(self, *squares: Place, side: int = 6) -> None:
        """Write an object of its own at each (plane, row, column)."""
        for square in squares:
            self.write({1: [square]}, side)

    def write(self, objects: dict[int, list[Place]], side: int = 6) -> None:
        """Write a batch: squares on planes by the object's number."""
        writing = self.session.begin_batch(self.binding.labels_on(plane(0)))
        for z in range(SHAPE[0]):
            found = [
                Instance(number, PlaneMask.from_array(np.ones((side, side), bool), *at[1:]), 0.5)
                for number, places in objects.items()
                for at in places
                if at[0] == z
            ]
            if found:
                target = self.binding.labels_on(plane(z))
                self.session.write_batch(
                    writing, target.key, target, found, self.predictor, Rendering()
                )
        self.session.end_batch()

    def crash(self, folder: Path) -> Path:
        """Begin a journal, and let go of it as a kill does."""
        self.binding.keep_journal(folder=folder)
        journal = self.binding.journal.file
        assert journal is not None
        journal._close_file(delete=False)
        return journal.path

    def restore(self, path: Path) -> RestoreResult:
        self.binding.restore_labels(path)
        return self.results[-1]


def plane(z: int) -> PlaneIndex:
    return PlaneIndex((1, 2), (z,))


def test_restored_objects_get_free_ids_and_touch_nothing(
    predictor: Predictor, tmp_path: Path
) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (0, 2, 12), (0, 2, 22), (1, 2, 2), (1, 2, 12))
    path = lost.crash(tmp_path)

    desk = Desk(predictor)
    desk.binding.keep_journal(folder=tmp_path / "new")
    desk.accept(*((z, 30, column) for z in (0, 1) for column in (2, 12, 22, 32)))
    before, table = desk.data.copy(), desk.binding.labels.features.copy()
    result = desk.restore(path)
    assert (result.objects, result.partly, result.left_out) == (5, (), ())
    assert result.renumbered
    np.testing.assert_array_equal(desk.data[before != 0], before[before != 0])
    # The same objects in the same places, each under an id of its own.
    pairs = set(
        zip(lost.data[lost.data > 0].tolist(), desk.data[lost.data > 0].tolist(), strict=True)
    )
    assert pairs == {(1, 9), (2, 10), (3, 11), (4, 12), (5, 13)}
    assert np.count_nonzero(desk.data) == np.count_nonzero(before) + np.count_nonzero(lost.data)
    rows = desk.binding.labels.features
    assert sorted(rows["index"]) == list(range(1, 14))
    assert rows[rows["index"] <= 8].reset_index(drop=True).equals(table)
    assert not path.exists()
    # One step takes it back, and one brings it back.
    after = desk.data.copy()
    desk.binding.undo()
    np.testing.assert_array_equal(desk.data, before)
    assert len(desk.binding.labels.features) == 8
    desk.binding.redo()
    np.testing.assert_array_equal(desk.data, after)
    # And the journal of this session holds both.
    again = Desk(predictor)
    journal = desk.binding.journal.file
    assert journal is not None
    journal._close_file(delete=False)
    assert again.restore(journal.path).objects == 13
    np.testing.assert_array_equal(again.data, after)
    # So does a session file.
    desk.binding.save_session(tmp_path / "work.json")
    replayed = Desk(predictor)
    replayed.binding.replay(tmp_path / "work.json")
    np.testing.assert_array_equal(replayed.data, after)


def test_a_batch_that_came_in_between_stays(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.accept(*((2, 2, column) for column in range(0, 40, 8)))
    path = lost.crash(tmp_path)
    desk = Desk(predictor)
    places = [
        (z, row, column) for z in range(3) for row in range(12, 54, 6) for column in range(0, 48, 6)
    ]
    desk.write({number: [place] for number, place in enumerate(places, 1)}, side=5)
    count, before = len(places), desk.data.copy()
    assert desk.restore(path).objects == 5
    np.testing.assert_array_equal(desk.data[before > 0], before[before > 0])
    assert len({one.id for one in desk.session.objects}) == count + 5
    assert np.unique(desk.data).size == count + 6


def test_pixels_in_use_are_left_out_and_that_is_said(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (0, 20, 20), (0, 40, 40))
    path = lost.crash(tmp_path)
    desk = Desk(predictor)
    desk.binding.keep_journal(folder=tmp_path / "new")
    desk.accept((0, 1, 1), side=10)  # all of the first
    desk.accept((0, 23, 20))  # half of the second
    before = desk.data.copy()
    result = desk.restore(path)
    assert (result.objects, result.partly, result.left_out) == (2, (2,), (1,))
    np.testing.assert_array_equal(desk.data[before > 0], before[before > 0])
    by_area = {one.area: one for one in desk.session.objects}
    assert by_area[18].bbox == (20, 20, 23, 26)
    assert path.exists(), "what is not in the labels stays on disk"
    # A new layer takes all of it.
    new = Desk(predictor)
    new.binding.keep_journal(folder=tmp_path / "newer")
    assert new.restore(path) == RestoreResult(3, (), (), renumbered=False)
    np.testing.assert_array_equal(new.data, lost.data)
    assert not path.exists()


def test_restoring_twice_brings_nothing_twice(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (1, 20, 20))
    path = lost.crash(tmp_path)
    desk = Desk(predictor)  # without a journal of its own, so that the file stays
    assert desk.restore(path).objects == 2
    before = desk.data.copy()
    desk.restore(path)
    np.testing.assert_array_equal(desk.data, before)
    assert len(desk.session.objects) == 2
    desk.binding.undo()
    assert not desk.data.any()
    desk.accept((0, 30, 30))
    desk.restore(path)
    before = desk.data.copy()
    result = desk.restore(path)
    np.testing.assert_array_equal(desk.data, before)
    assert result.left_out == (1, 2) or result.objects == 2
    assert np.unique(desk.data).size == 4


def test_labels_of_other_tools_stay_whatever_their_ids(
    predictor: Predictor, tmp_path: Path
) -> None:
    lost = Desk(predictor)
    lost.write({1: [(0, 2, 2), (1, 2, 2)], 2: [(0, 20, 20)]})
    path = lost.crash(tmp_path)
    data = np.zeros(SHAPE, np.uint8)
    data[0, 2:5, 2:8] = 1  # half of the first, under the same id
    data[2] = 3
    desk = Desk(predictor, data.copy())
    result = desk.restore(path)
    np.testing.assert_array_equal(desk.data[data > 0], data[data > 0])
    assert (result.objects, result.partly) == (2, (1,))
    assert set(np.unique(desk.data)) == {0, 1, 3, 4, 5}
    # An object on two planes keeps one id.
    assert set(np.unique(desk.data[1])) == {0, desk.data[0, 6, 3]}


def test_objects_that_are_there_already_are_noted_once(
    predictor: Predictor, tmp_path: Path
) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (1, 20, 20), (2, 20, 20))
    path = lost.crash(tmp_path)
    saved = lost.data.copy()
    saved[2] = 0  # saved before the last one
    desk = Desk(predictor, saved)
    desk.binding.keep_journal(folder=tmp_path / "new")
    assert desk.restore(path) == RestoreResult(3, (), (), renumbered=False)
    np.testing.assert_array_equal(desk.data, lost.data)
    assert sorted(one.id for one in desk.session.objects) == [1, 2, 3]


@pytest.mark.parametrize("changed", [False, True])
def test_changes_of_labels_from_a_file(predictor: Predictor, tmp_path: Path, changed: bool) -> None:
    data = np.zeros(SHAPE, np.uint16)
    data[0, 5:15, 5:15], data[0, 30:40, 5:15], data[1, 5:9, 5:9] = 1, 2, 3
    lost = Desk(predictor, data.copy())
    lost.binding.keep_journal(folder=tmp_path)
    lost.session.delete(1)
    lost.accept((0, 20, 30))
    path = lost.crash(tmp_path)
    desk = Desk(predictor, data.copy())
    if changed:
        desk.accept((0, 50, 40))
    before = desk.data.copy()
    result = desk.restore(path)
    if changed:  # how the labels were is not known: nothing of theirs is taken away
        np.testing.assert_array_equal(desk.data[before > 0], before[before > 0])
        assert result == RestoreResult(1, (), (1,), renumbered=True)
        assert path.exists()
    else:
        np.testing.assert_array_equal(desk.data, lost.data)
        assert result == RestoreResult(1, (), (), renumbered=False)
    desk.binding.undo()
    np.testing.assert_array_equal(desk.data, before)


def test_no_room_for_the_ids(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (0, 2, 12))
    path = lost.crash(tmp_path)
    data = np.zeros(SHAPE, np.uint8)
    data[2, 0, 0] = 254
    desk = Desk(predictor, data.copy())
    with pytest.raises(LabelError, match="does not fit dtype uint8: 256"):
        desk.binding.restore_labels(path)
    np.testing.assert_array_equal(desk.data, data)
    assert path.exists()


def test_strokes_across_planes_come_back(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.accept((1, 2, 2))
    lost.binding.labels.data_setitem(
        (np.array([0, 1, 2]), np.array([20] * 3), np.array([7] * 3)), 9
    )
    lost.viewer.dims.order = (1, 0, 2)  # planes of z and x
    lost.binding.labels.data_setitem((np.array([0, 1]), np.array([4, 4]), np.array([5, 5])), 4)
    path = lost.crash(tmp_path)
    desk = Desk(predictor)
    desk.restore(path)
    np.testing.assert_array_equal(desk.data, lost.data)
    desk.binding.undo()
    assert not desk.data.any()


def test_a_listener_that_fails_does_not_silence_the_journal(
    predictor: Predictor, tmp_path: Path
) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (1, 2, 2))
    path = lost.crash(tmp_path)
    desk = Desk(predictor)
    desk.binding.keep_journal(folder=tmp_path / "new")

    def fail(*_: object) -> None:
        raise ValueError("a listener of somebody else")

    desk.binding.points.add([0, 45, 40])
    desk.session.labels_changed.connect(fail, priority=50)
    desk.session.prompts_changed.connect(fail)
    with pytest.raises(EmitLoopError):
        desk.binding.restore_labels(path)
    np.testing.assert_array_equal(desk.data, lost.data)
    for place in ((2, 30, 30), (2, 40, 30)):
        with pytest.raises(EmitLoopError):
            desk.accept(place)
    with pytest.raises(EmitLoopError):
        desk.binding.accept()
    journal = desk.binding.journal.file
    assert journal is not None
    assert [one.id for one in read_journal(journal.path).objects] == [1, 2, 3, 4, 5]
    with pytest.raises(EmitLoopError):
        desk.binding.undo()
    assert [one.id for one in read_journal(journal.path).objects] == [1, 2, 3, 4]


def test_objects_are_counted_not_their_planes(predictor: Predictor, tmp_path: Path) -> None:
    lost = Desk(predictor)
    lost.write({1: [(z, 2, 2) for z in range(3)], 2: [(z, 20, 20) for z in range(3)]})
    lost.crash(tmp_path)
    (crashed,) = find_journals(tmp_path, identify_layer(lost.image))
    assert crashed.objects == 2
    assert Desk(predictor).binding.restore_labels(crashed.path) == 2


def test_an_object_whose_pixels_another_took_is_restored_as_it_was(
    predictor: Predictor, tmp_path: Path
) -> None:
    before = Desk(predictor)
    before.session.policy, before.session.level = "overwrite", 0
    before.binding.keep_journal(folder=tmp_path)
    for _ in range(2):  # the second takes all pixels of the first
        before.binding.points.add([0, 30, 25])
        assert before.binding.accept() is not None
    ids = [one.id for one in before.session.objects]
    assert ids == [1, 2]
    assert set(np.unique(before.data)) == {0, 2}
    journal = before.binding.journal.file
    assert journal is not None
    copy = tmp_path / "copy" / journal.path.name
    copy.parent.mkdir()
    copy.write_bytes(journal.path.read_bytes())
    after = Desk(predictor)
    assert after.binding.restore_labels(copy) == 2
    assert [one.id for one in after.session.objects] == ids
    np.testing.assert_array_equal(after.data, before.data)
    after.binding.restore_labels(copy)
    assert [one.id for one in after.session.objects] == ids, "a second time brings nothing more"


@pytest.mark.parametrize("clicks", [1, 2])  # all or the first of them were saved
def test_drafts_whose_objects_the_journal_holds_are_dropped(
    predictor: Predictor, tmp_path: Path, clicks: int
) -> None:
    lost = Desk(predictor)
    for column in range(25, 25 + clicks):
        lost.binding.points.add([0, 30, column])
    assert lost.binding.accept() is not None
    path = lost.crash(tmp_path)
    after = Desk(predictor)  # as saved before the object was accepted, and with one more draft
    after.session.mode = "many"
    after.binding.points.add([[0, 30, 25], [0, 10, 40]])
    first, second = after.session.draft_set.drafts
    after.restore(path)
    assert [one.number for one in after.session.draft_set.drafts] == [second.number]
    assert after.binding.points.data.tolist() == [[0, 10, 40]]
    assert [one.id for one in after.session.objects] == [1]
    after.binding.undo()
    assert [*after.session.draft_set.drafts] == [first, second]
    assert not after.session.objects
