"""Divisions and links as steps of a session: done, undone, recorded, replayed and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.operations import (
    LabelChange,
    Operation,
    ReplayError,
    check_operation,
    links_in_effect,
)
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.core.tracks import TrackError
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.records.journal import Journal
from napari_sam3.records.recovery import read_journal
from napari_sam3.records.session_file import read_session, write_session
from napari_sam3.session.replay import replay_into
from napari_sam3.session.restoring import RestoreResult
from napari_sam3.session.session import LabelingSession
from tests.napari_sam3.record_samples import same

Labels = npt.NDArray[np.uint16]
KEPT = Path(__file__).parent.parent / "records" / "kept_links"
IMAGE = ImageIdentity("division", (6, 20, 20), "uint8", "0f" * 16)


def cells() -> Labels:
    """Return a cell 1 on all frames, which is a daughter from 3 on, and the other daughter, 2."""
    labels = np.zeros((6, 20, 20), np.uint16)
    labels[:, 2:6, 2:6] = 1
    labels[3:, 12:16, 2:6] = 2
    return labels


class Desk:
    """A session on labels of six frames, all of whose changes are heard."""

    def __init__(self, labels: Labels) -> None:
        self.labels, self.session = labels, LabelingSession()
        self.changes: list[LabelChange] = []
        self.session.labels_changed.connect(self.changes.append)
        self.show(3)

    @property
    def lineage(self) -> Any:
        return self.session.lineage

    @property
    def parents(self) -> dict[int, tuple[int, ...]]:
        found: dict[int, tuple[int, ...]] = self.lineage.parents_in(id(self.labels))
        return found

    def target(self, frame: int) -> ArrayTarget:
        plane = PlaneIndex((1, 2), (frame,))
        return ArrayTarget(self.labels, plane, plane)

    def show(self, frame: int) -> None:
        target = self.target(frame)
        self.session.set_plane(np.zeros((20, 20, 3), np.uint8), target.key, target)

    def divide(self) -> tuple[int, ...]:
        daughters: tuple[int, ...] = self.lineage.divide(
            1, 2, [self.target(at) for at in (3, 4, 5)]
        )
        return daughters

    def replay(self, operations: Any) -> int:
        def plane(key: Any) -> tuple[PlaneImage, ArrayTarget]:
            return ArrayPlane(np.zeros((20, 20, 3), np.uint8)), self.target(key.index[0])

        return replay_into(self.session, operations, plane, same_start=True)

    def restore(self, path: Path) -> RestoreResult:
        result: RestoreResult = self.session.restore(
            read_journal(path), lambda plane: self.target(plane.index[0]), "same"
        )
        return result


@pytest.fixture
def desk() -> Desk:
    return Desk(cells())


def divided() -> Labels:
    """Return the labels after the division: what was 1 from frame 3 on is 3."""
    labels = cells()
    labels[3:][labels[3:] == 1] = 3
    return labels


def test_both_daughters_get_ids_and_the_parent_ends(desk: Desk) -> None:
    assert desk.divide() == (2, 3)
    np.testing.assert_array_equal(desk.labels, divided())
    assert desk.parents == {2: (1,), 3: (1,)}
    assert [one.operation.kind for one in desk.changes] == ["link", "link"]


def test_a_division_is_one_step(desk: Desk) -> None:
    desk.divide()
    desk.session.undo()
    np.testing.assert_array_equal(desk.labels, cells())
    assert desk.parents == {}
    assert not desk.session.can_undo
    desk.session.redo()
    np.testing.assert_array_equal(desk.labels, divided())
    assert desk.parents == {2: (1,), 3: (1,)}
    desk.lineage.unlink(2)
    assert desk.parents == {3: (1,)}
    desk.lineage.unlink(2)  # has none
    desk.session.undo()
    assert desk.parents == {2: (1,), 3: (1,)}


def test_later_daughters_go_along(desk: Desk) -> None:
    desk.labels[5][desk.labels[5] == 1] = 7
    desk.lineage.link(1, 7)
    tail = [desk.target(at) for at in (3, 4)]
    assert desk.lineage.divide(1, 2, tail, [7]) == (2, 8)
    assert desk.parents == {2: (1,), 8: (1,), 7: (8,)}
    desk.session.undo()
    assert desk.parents == {7: (1,)}


def test_a_label_has_one_parent(desk: Desk) -> None:
    desk.labels[0, 18, 18] = 5
    desk.lineage.link(1, 2)
    desk.lineage.link(5, 2)
    desk.lineage.link(5, 2)  # as it is: no step
    assert desk.parents == {2: (5,)}
    desk.session.undo()
    assert desk.parents == {2: (1,)}


def test_what_cannot_be_changes_nothing(desk: Desk) -> None:
    desk.lineage.link(1, 2)
    for parent, child, message in (
        (2, 1, "in a circle"),
        (1, 1, "in a circle"),
        (9, 1, "cannot be linked: 9"),
        (1, 9, "cannot be linked: 9"),
        (0, 1, "cannot be linked: 0"),
    ):
        with pytest.raises(TrackError, match=message):
            desk.lineage.link(parent, child)
    with pytest.raises(TrackError, match="without pixels"):
        desk.lineage.divide(1, 9, [desk.target(4)])
    np.testing.assert_array_equal(desk.labels, cells())
    assert desk.parents == {2: (1,)}
    assert len(desk.session.operations) == 1


def test_links_of_label_images_are_their_own(desk: Desk) -> None:
    desk.lineage.begin(id(desk.labels), {4: (2,)})
    desk.lineage.begin(id(desk.labels), {9: (2,)})  # too late
    other = cells()
    desk.lineage.begin(id(other), {9: (1,)})
    desk.lineage.link(1, 2)
    assert desk.parents == {4: (2,), 2: (1,)}
    assert desk.lineage.parents_in(id(other)) == {9: (1,)}


def done(desk: Desk) -> tuple[Operation, ...]:
    """Divide, divide otherwise, take one link away."""
    desk.divide()
    desk.lineage.link(1, 2)
    desk.lineage.unlink(2)
    return desk.session.operations


def test_a_session_file_is_replayed(desk: Desk, tmp_path: Path) -> None:
    path = write_session(tmp_path / "s.json", done(desk), IMAGE)
    again = Desk(cells())
    assert again.replay(read_session(path).operations) == 3
    np.testing.assert_array_equal(again.labels, divided())
    assert again.parents == desk.parents == {3: (1,)}
    again.session.undo()
    np.testing.assert_array_equal(again.labels, cells())


def test_a_journal_is_restored(desk: Desk, tmp_path: Path) -> None:
    journal = Journal(IMAGE, desk.labels.shape, np.uint16, start="given", folder=tmp_path)
    desk.session.labels_changed.connect(journal.append)
    done(desk)
    desk.session.undo()  # the link that was taken away is there again
    journal.close()
    again = Desk(cells())
    again.restore(journal.path)
    np.testing.assert_array_equal(again.labels, divided())
    assert again.parents == desk.parents == {2: (1,), 3: (1,)}
    again.session.undo()
    np.testing.assert_array_equal(again.labels, cells())
    assert again.parents == {}


def test_files_kept_from_earlier_versions_open() -> None:
    operations = read_session(KEPT / "session.json").operations
    assert same(operations, done(Desk(cells())))
    desk = Desk(cells())
    desk.restore(KEPT / "labels.journal")
    np.testing.assert_array_equal(desk.labels, divided())
    assert desk.parents == {2: (1,), 3: (1,)}


@pytest.mark.parametrize(
    ("kind", "labels"), [("link", (1,)), ("link", (1, 2, 3)), ("link", (2, 2)), ("unlink", (1, 2))]
)
def test_incomplete_records_are_refused(kind: Any, labels: tuple[int, ...]) -> None:
    with pytest.raises(ReplayError, match=f"operation 0 \\({kind}\\) names"):
        check_operation(Operation(kind, "plane", labels=labels))


def test_links_in_effect_are_the_last_ones() -> None:
    plane = "plane"
    operations = [
        Operation("link", plane, labels=(1, 2)),
        Operation("link", plane, labels=(1, 3)),
        Operation("link", plane, labels=(4, 2)),
        Operation("unlink", plane, labels=(3,)),
        Operation("unlink", plane, labels=(9,)),
    ]
    assert links_in_effect(operations) == {2: 4}
