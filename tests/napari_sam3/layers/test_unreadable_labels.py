"""Labels whose storage fails: said in our words, and nothing accepted is lost or half written."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.layers.label_arrays import StoredLabels
from napari_sam3.layers.strokes import Stroke
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_restoring import SHAPE, Desk, plane


class Storage:
    """An array of labels of which planes cannot be read or written, as on a failing disk."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.unread: dict[int, Exception] = {}
        self.unwritten: dict[int, Exception] = {}

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        self._fail(self.unread, index)
        return np.array(self.values[index])

    def __setitem__(self, index: Any, values: npt.NDArray[Any]) -> None:
        half = self.values[index].shape[0] // 2
        self.values[index][:half] = values[:half]
        self._fail(self.unwritten, index)
        self.values[index] = values

    def _fail(self, failing: dict[int, Exception], index: Any) -> None:
        planes = np.arange(self.shape[0])[index[0] if isinstance(index, tuple) else index]
        for z in np.atleast_1d(planes).tolist():
            if z in failing:
                raise failing[z]


FAILURES = [RuntimeError("zstd"), OSError("disk"), KeyError(3), MemoryError()]


@pytest.fixture
def storage() -> Storage:
    return Storage(np.zeros(SHAPE, np.int32))


@pytest.fixture
def desk(predictor: Predictor, storage: Storage) -> Desk:
    desk = Desk(predictor, storage)
    desk.accept((0, 2, 2), (0, 2, 20), (1, 2, 2))
    return desk


@pytest.mark.parametrize("failure", FAILURES, ids=lambda one: type(one).__name__)
def test_what_cannot_be_read_is_named(desk: Desk, storage: Storage, failure: Exception) -> None:
    before = storage.values.copy()
    storage.unread[1] = failure
    named = r"'storage' cannot be read: .*Expected labels that can be read.*new layer"
    desk.binding.labels.name = "storage"
    desk.binding.points.add([0, 40, 40])
    drafts = desk.session.draft_set
    assert drafts.drafts
    commands = (
        desk.binding.accept,  # which ids are free is not known
        lambda: desk.session.delete(3, [desk.binding.labels_on(plane(1))]),
        lambda: desk.binding.labels_on(plane(1)).read((slice(0, 5), slice(0, 5))),
        lambda: desk.binding.divisions.tracks.measure(),
    )
    for command in commands:
        with pytest.raises(LabelError, match=named):
            command()
    np.testing.assert_array_equal(storage.values, before)
    assert desk.session.draft_set.same_as(drafts)
    storage.unread.clear()
    accepted = desk.binding.accept()
    assert accepted is not None
    assert accepted.id == 4


@pytest.mark.parametrize("failure", [TypeError("int"), AttributeError("x"), NameError("y")])
def test_a_mistake_in_code_is_raised_as_it_is(
    desk: Desk, storage: Storage, failure: Exception
) -> None:
    before, steps = storage.values.copy(), len(desk.session.operations)
    desk.binding.points.add([0, 40, 40])
    storage.unwritten[0] = failure
    with pytest.raises(type(failure)) as raised:  # not as a file that cannot be written
        desk.binding.accept()
    assert raised.value is failure
    storage.unwritten.clear()
    assert len(desk.session.operations) == steps
    assert desk.session.draft_set.drafts
    storage.values[:] = before
    assert desk.binding.accept() is not None


@pytest.mark.parametrize("failure", FAILURES[:2], ids=lambda one: type(one).__name__)
def test_a_failed_write_leaves_no_trace(desk: Desk, storage: Storage, failure: Exception) -> None:
    before, steps = storage.values.copy(), len(desk.session.operations)
    once = [failure]

    class Once(dict[int, Exception]):
        def __contains__(self, z: object) -> bool:
            return z == 0 and bool(once)

        def __getitem__(self, z: int) -> Exception:
            return once.pop()

    desk.binding.points.add([0, 40, 40])
    for command in (
        desk.binding.accept,
        lambda: desk.session.delete(1, [desk.binding.labels_on(plane(0))]),
        lambda: desk.accept((0, 30, 2)),
    ):
        once[:] = [failure]
        storage.unwritten = Once()
        with pytest.raises(LabelError, match=r"cannot be written: .*Expected labels that can be"):
            command()
        np.testing.assert_array_equal(storage.values, before)
        assert len(desk.session.operations) == steps
        assert len(desk.session.objects) == 3
    assert desk.session.draft_set.drafts


def test_undo_and_redo_of_several_planes_are_all_or_nothing(desk: Desk, storage: Storage) -> None:
    before = storage.values.copy()
    desk.write({1: [(0, 40, 2), (1, 40, 2), (2, 40, 2)]})
    after, objects = storage.values.copy(), desk.session.objects
    storage.unread[0] = OSError("disk")  # the last to be undone
    with pytest.raises(LabelError, match="cannot be read"):
        desk.session.undo()
    np.testing.assert_array_equal(storage.values, after)
    assert {(one.id, one.plane) for one in desk.session.objects} == {
        (one.id, one.plane) for one in objects
    }
    storage.unread.clear()
    desk.session.undo()
    np.testing.assert_array_equal(storage.values, before)
    storage.unread[2] = OSError("disk")  # the last to be redone
    with pytest.raises(LabelError, match="cannot be read"):
        desk.session.redo()
    np.testing.assert_array_equal(storage.values, before)
    storage.unread.clear()
    desk.session.redo()
    np.testing.assert_array_equal(storage.values, after)


def test_a_journal_is_restored_whole_or_not(
    predictor: Predictor, storage: Storage, tmp_path: Path
) -> None:
    lost = Desk(predictor)
    lost.accept((0, 2, 2), (1, 2, 2), (2, 2, 2))
    path = lost.crash(tmp_path)
    desk = Desk(predictor, storage)
    for failing in (storage.unread, storage.unwritten):
        failing[2] = RuntimeError("chunk")
        with pytest.raises(LabelError, match="cannot be"):
            desk.restore(path)
        failing.clear()
        assert not storage.values.any()
        assert not desk.session.objects
        assert path.exists()
    assert desk.restore(path).objects == 3
    desk.binding.undo()
    assert not storage.values.any()


def test_a_stroke_over_unreadable_labels_is_reported(
    predictor: Predictor, storage: Storage
) -> None:
    desk = Desk(predictor, storage)
    storage.unread[0] = OSError("disk")
    stroke = Stroke(desk.binding.sync.store, [(np.array([[0], [1], [1]]), 0, 7)], (1, 2))
    with pytest.raises(LabelError, match="cannot be read"):
        stroke.painted()


def test_labels_of_a_storage_can_be_copied() -> None:
    labels = StoredLabels(np.ones((2, 3), np.uint16), "cells")
    for copied in (copy.copy(labels), pickle.loads(pickle.dumps(labels))):
        assert copied.shape == (2, 3)
        assert copied.dtype == np.uint16
