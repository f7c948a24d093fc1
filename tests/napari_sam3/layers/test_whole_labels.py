"""Labels merged, split and deleted on all planes by key, in a viewer model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.batch import Instance
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import Rendering
from napari_sam3.layers.label_layer import LayerTarget
from napari_sam3.layers.pointed_label import WholeChange
from napari_sam3.session.describing import Maker
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.layers.tracks_desk import LOWER, UPPER, Desk, cells

JOIN, SPLIT = "Control-Shift-J", "Control-Shift-H"


def broken() -> npt.NDArray[np.uint16]:
    """Return a cell whose track is 1 until frame 2, and 3 from there on, and its neighbour 2."""
    labels = cells()
    labels[3:][labels[3:] == 1] = 3
    return labels


def heard(desk: Desk) -> list[WholeChange]:
    """Return a list that receives what is said of changes of whole labels."""
    said: list[WholeChange] = []
    desk.binding.pointed.changed_everywhere.connect(said.append)
    return said


def test_a_broken_track_is_joined_from_one_frame_to_another() -> None:
    desk = Desk(broken())
    desk.binding.session.lineage.begin(desk.layer.unique_id, {2: (3,)})
    said = heard(desk)
    desk.press(1, UPPER, JOIN)
    assert (desk.binding.merging, desk.binding.pointed.everywhere) == (1, True)
    desk.press(4, UPPER, JOIN)
    assert desk.binding.merging is None
    np.testing.assert_array_equal(desk.labels, cells())
    assert said == [WholeChange("merge", (1, 3), 3)]
    desk.check()
    desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, broken())
    desk.binding.redo()
    np.testing.assert_array_equal(desk.labels, cells())
    # The daughter of the second label is one of the first, on whose frames it is.
    assert desk.binding.divisions.tracks.parents == {2: (1,)}
    assert [type(error).__name__ for error in desk.errors] == ["TrackError"]
    assert "parent 1" in str(desk.errors[0])


def test_a_track_is_split_from_a_frame_on() -> None:
    desk = Desk(cells())
    said = heard(desk)
    desk.press(3, UPPER, SPLIT)
    np.testing.assert_array_equal(desk.labels, broken())
    assert said == [WholeChange("split", (3, 1), 3)]
    assert desk.graph == {}
    desk.check()
    desk.press(0, UPPER, JOIN)
    desk.press(5, UPPER, JOIN)
    np.testing.assert_array_equal(desk.labels, cells())
    for _ in range(2):
        desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, cells())
    assert not desk.errors


def test_a_merge_is_cancelled_or_ended_by_the_other_key() -> None:
    desk = Desk(broken())
    desk.press(1, UPPER, JOIN)
    desk.press(1, UPPER, "Escape")
    assert desk.binding.merging is None
    desk.press(3, UPPER, "J")
    said = heard(desk)
    desk.press(4, LOWER, JOIN)  # the second key decides
    assert said == [WholeChange("merge", (3, 2), 3, shared=3)]
    np.testing.assert_array_equal(desk.labels, np.where(broken() == 2, 3, broken()))
    desk.binding.undo()
    desk.press(3, UPPER, JOIN)
    desk.press(3, LOWER, "J")
    expected = broken()
    expected[3][expected[3] == 2] = 3
    np.testing.assert_array_equal(desk.labels, expected)
    assert not desk.errors


@pytest.mark.parametrize(
    ("presses", "message"),
    [
        ([(1, (35, 35), JOIN)], "no label at row 35, column 35 to merge"),
        ([(1, (35, 35), SPLIT)], "no label at row 35, column 35 to split"),
        ([(1, UPPER, JOIN), (2, UPPER, JOIN)], "first label of the merge again: 1"),
        ([(0, UPPER, SPLIT)], "label 1 begins on this plane"),
        ([(3, UPPER, SPLIT)], "label 3 begins on this plane"),
    ],
)
def test_what_makes_no_sense_is_refused(
    presses: list[tuple[int, tuple[int, int], str]], message: str
) -> None:
    desk = Desk(broken())
    for press in presses:
        desk.press(*press)
    (error,) = desk.errors
    assert message in str(error)
    np.testing.assert_array_equal(desk.labels, broken())
    assert not desk.binding.session.can_undo
    # A miss does not cancel the merge.
    assert desk.binding.merging == (1 if len(presses) > 1 else None)


def test_a_first_label_that_is_gone_is_not_merged_into() -> None:
    desk = Desk(broken())
    desk.press(1, UPPER, JOIN)
    desk.layer.data_setitem(tuple(np.argwhere(desk.labels == 1).T), 0)
    before = desk.labels.copy()
    desk.press(4, UPPER, JOIN)
    assert "deleted or replaced: 1" in str(desk.errors.pop())
    np.testing.assert_array_equal(desk.labels, before)


def flat() -> tuple[ViewerModel, Any, list[BaseException]]:
    """Bind an image of one plane."""
    viewer, errors = ViewerModel(), list[BaseException]()
    image = viewer.add_image(np.zeros((20, 20), np.uint8))
    labels = viewer.add_labels(np.eye(20, dtype=np.uint8) * 5)
    return viewer, bind(viewer, image, labels, on_error=errors.append), errors


@pytest.mark.parametrize("command", ["merge_everywhere", "split_from_here"])
def test_a_single_plane_is_said_to_be_one(command: str) -> None:
    viewer, binding, errors = flat()
    viewer.cursor.position = (3, 3)
    binding.commands[command]()
    assert "the image has only one plane" in str(errors.pop())
    assert binding.merging is None
    binding.commands["delete_everywhere"]()
    assert not binding.labels.data.any()
    assert not errors


class Volumes:
    """A binding on volumes through time, with a label on all planes."""

    def __init__(
        self, names: tuple[str, ...], labels: Any, session: LabelingSession | None = None
    ) -> None:
        self.viewer, self.errors = ViewerModel(), list[BaseException]()
        placed = {"axis_labels": names}
        self.image = self.viewer.add_image(np.zeros(labels.shape, np.uint8), **placed)
        self.layer = self.viewer.add_labels(labels, **placed)
        self.binding = bind(
            self.viewer,
            self.image,
            self.layer,
            session=session or LabelingSession(),
            on_error=self.errors.append,
        )

    def press(self, command: str, *place: int) -> None:
        self.viewer.dims.current_step = place
        self.viewer.cursor.position = self.layer.data_to_world(place)
        self.binding.commands[command]()
        assert not self.errors

    def target(self, plane: int) -> LayerTarget:
        return self.binding.sync.store.plane(PlaneIndex((1, 2), (plane,)))

    @property
    def labels(self) -> npt.NDArray[Any]:
        return np.array(self.layer.data)


def block() -> npt.NDArray[np.uint16]:
    labels = np.zeros((3, 4, 8, 8), np.uint16)
    labels[:, :, 2:5, 2:5] = 1
    return labels


def test_volumes_are_split_in_time_on_all_their_planes() -> None:
    desk = Volumes(("t", "z", "y", "x"), block())
    desk.press("split_from_here", 1, 2, 3, 3)
    expected = block()
    expected[1:] *= 2
    np.testing.assert_array_equal(desk.labels, expected)
    desk.press("merge_everywhere", 0, 0, 3, 3)
    desk.press("merge_everywhere", 2, 3, 3, 3)
    np.testing.assert_array_equal(desk.labels, block())


def test_positions_and_channels_keep_their_labels() -> None:
    for names in (("position", "z", "y", "x"), ("z", "c", "y", "x")):
        desk = Volumes(names, block())
        axis = names.index("z")
        place = [1, 1, 3, 3]
        desk.press("split_from_here", *place)
        expected = block()
        own, later = [slice(1, 2), slice(1, 2)], slice(1, None)
        own[axis] = later
        expected[tuple(own)] *= 2
        np.testing.assert_array_equal(desk.labels, expected)
        desk.press("delete_everywhere", *place)
        np.testing.assert_array_equal(desk.labels, np.where(expected == 2, 0, expected))


def test_planes_seen_from_the_side_are_split_there() -> None:
    desk = Volumes(("z", "y", "x"), block()[0])
    desk.viewer.dims.order = (1, 0, 2)
    desk.press("split_from_here", 2, 3, 3)
    expected = block()[0]
    expected[:, 3:] *= 2
    np.testing.assert_array_equal(desk.labels, expected)


@pytest.mark.parametrize("command", ["merge_everywhere", "split_from_here", "delete_everywhere"])
def test_a_label_that_is_being_propagated_is_left_alone(command: str, predictor: Predictor) -> None:
    waiting: list[Callable[[], None]] = []

    def submit(work: Any, done: Callable[[Any], None], report: Any) -> None:
        waiting.append(lambda: done(work(report)))

    labels = block()[0]
    labels[2:] = 0
    labels[:, 6, 6] = 2
    desk = Volumes(("z", "y", "x"), labels.copy(), LabelingSession(predictor, submit=submit))
    desk.viewer.dims.current_step = (1, 3, 3)
    desk.binding.session.propagate([1])
    with pytest.raises(AssertionError):
        desk.press(command, 1, 3, 3)
    assert "label 1 is still being propagated" in str(desk.errors.pop())
    np.testing.assert_array_equal(desk.labels, labels)
    assert desk.binding.merging is None
    desk.press(command, 1, 6, 6)  # another label
    desk.binding.session.propagating.cancel()
    desk.press("delete_everywhere", 1, 3, 3)
    assert not (desk.labels == 1).any()


def made_here() -> Volumes:
    """Return labels in a zarr array with the objects 1 and 2, each on two of its planes."""
    labels = zarr.array(np.zeros((50, 32, 32), np.uint16), chunks=(1, 32, 32))
    desk = Volumes(("z", "y", "x"), labels)
    desk.binding.journal.note_start()
    return desk


def accept(desk: Volumes) -> None:
    session = desk.binding.session
    square = PlaneMask.from_array(np.ones((5, 5), bool), 4, 4)
    for first in (10, 12):
        batch = session.begin_batch(desk.target(first))
        for target in (desk.target(first), desk.target(first + 1)):
            objects = [Instance(1, square, 0.9)]
            session.write_batch(batch, target.key, target, objects, Maker(), Rendering())


def test_a_label_made_here_is_looked_for_on_its_planes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = made_here()
    accept(desk)
    read, original = set[int](), LayerTarget.read

    def noting(target: LayerTarget, region: Any) -> Any:
        read.add(target.key.plane.index[0])  # type: ignore[attr-defined]
        return original(target, region)

    monkeypatch.setattr(LayerTarget, "read", noting)
    desk.press("merge_everywhere", 10, 5, 5)
    desk.press("merge_everywhere", 13, 5, 5)
    assert read == {10, 12, 13}
    whole = np.zeros((50, 32, 32), np.uint16)
    whole[10:14, 4:9, 4:9] = 1
    np.testing.assert_array_equal(desk.labels, whole)
    assert [one.id for one in desk.binding.session.objects] == [1, 1, 1, 1]
    # By the brush, it comes to one more plane.
    desk.viewer.dims.current_step = (20, 5, 5)
    desk.layer.paint((20, 5, 5), 1)
    desk.press("delete_everywhere", 13, 5, 5)
    assert not desk.labels.any()
    assert read == {10, 11, 12, 13, 20}


@pytest.mark.parametrize("stored", [False, True])
def test_whole_labels_outlive_a_crash(stored: bool, tmp_path: Path) -> None:
    def begin() -> Volumes:
        return made_here() if stored else Volumes(("t", "y", "x"), block()[0])

    desk = begin()
    start, binding = desk.labels, desk.binding
    binding.keep_journal(folder=tmp_path)
    if stored:
        accept(desk)
        desk.press("merge_everywhere", 10, 5, 5)
        desk.press("merge_everywhere", 13, 5, 5)
        desk.press("split_from_here", 11, 5, 5)
    else:
        desk.press("split_from_here", 1, 3, 3)
        desk.press("split_from_here", 3, 3, 3)
        desk.press("merge_everywhere", 0, 3, 3)
        desk.press("merge_everywhere", 3, 3, 3)
    assert len(np.unique(desk.labels)) == 3
    assert binding.journal.file is not None
    binding.save_session(tmp_path / "s.json")
    path = binding.journal.file.path
    binding.close()
    restored, replayed = begin(), begin()
    restored.binding.journal.note_start()
    restored.binding.restore_labels(path)
    replayed.binding.replay(tmp_path / "s.json")
    for other in (restored, replayed):
        np.testing.assert_array_equal(other.labels, desk.labels)
        assert len(other.binding.session.objects) == len(binding.session.objects)
        assert not other.errors
        other.binding.undo()
        np.testing.assert_array_equal(other.labels, start)


def test_only_planes_on_view_are_drawn() -> None:
    desk = Volumes(("z", "y", "x"), block()[0])
    drawn: list[int] = []
    desk.layer.events.set_data.connect(lambda: drawn.append(desk.viewer.dims.current_step[0]))
    desk.press("split_from_here", 2, 3, 3)
    moved = drawn.count(2) - 1  # by the slider
    assert drawn.count(2) == moved + 1
    drawn.clear()
    desk.binding.undo()
    assert drawn == [2]
    desk.viewer.dims.order = (1, 0, 2)
    drawn.clear()
    desk.binding.redo()
    assert len(drawn) == 2, "each plane crosses the one on view"
