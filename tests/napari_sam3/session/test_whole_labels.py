"""Labels merged and split through a whole series: steps, links, objects, records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.operations import LabelWrite, objects_in_effect
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.core.tracks import TrackError
from napari_sam3.records.journal import Journal
from napari_sam3.records.recovery import read_journal
from napari_sam3.records.session_file import read_session, write_session
from napari_sam3.session.describing import Maker
from tests.napari_sam3.session.test_lineage import IMAGE, Desk

Labels = npt.NDArray[np.uint16]
FRAMES = range(6)
CLICK = PromptSet(((3.0, 3.0),), (1,))
STACKS = arrays(np.uint16, (6, 3, 3), elements=st.integers(0, 3)).map(
    lambda labels: np.pad(labels, ((0, 0), (0, 17), (0, 17)))
)
PARENTS = st.fixed_dictionaries({}, optional={2: st.just((1,)), 3: st.sampled_from([(1,), (2,)])})


def broken() -> Labels:
    """Return a cell that is 1, and 2 from frame 3 on, where 1 is another cell for one frame."""
    labels = np.zeros((6, 20, 20), np.uint16)
    labels[:3, 2:6, 2:6] = 1
    labels[3:, 2:6, 2:6] = 2
    labels[3, 12:16, 2:6] = 1
    return labels


def write(desk: Desk, label: int, category: str, frames: Any) -> None:
    """Accept the pixels of a label as objects, with a click each."""
    desk.session.category = category
    for frame in frames:
        batch = desk.session.begin_batch(desk.target(frame))
        desk.labels[frame], mask = (
            np.where(desk.labels[frame] == label, 0, desk.labels[frame]),
            PlaneMask.from_array(desk.labels[frame] == label, 0, 0),
        )
        batch.ids[1], target = label, desk.target(frame)
        found = [Instance(1, mask, 0.9, CLICK)]
        desk.session.write_batch(batch, target.key, target, found, Maker("m"), Rendering())


def described(desk: Desk) -> set[tuple[Any, ...]]:
    """Describe the objects: id, frame, class, clicks, and whether they are as accepted."""
    return {
        (one.id, one.plane.index[0], one.category, one.prompts.points)  # type: ignore[attr-defined]
        for one in desk.session.objects
    }


def join(desk: Desk, first: int, second: int) -> tuple[int, int]:
    counts: tuple[int, int] = desk.lineage.join(first, second, [desk.target(at) for at in FRAMES])
    return counts


def split(desk: Desk, label: int, frame: int) -> tuple[int, int]:
    found: tuple[int, int] = desk.lineage.split_off(
        label, [desk.target(at) for at in FRAMES if at >= frame]
    )
    return found


def test_a_label_becomes_another_one_on_all_planes_in_one_step() -> None:
    desk = Desk(broken())
    desk.show(5)
    assert join(desk, 1, 2) == (3, 1)  # both are on frame 3
    np.testing.assert_array_equal(desk.labels, broken() > 0)
    assert [one.more for one in desk.changes] == [True, True, False]
    desk.session.undo()
    np.testing.assert_array_equal(desk.labels, broken())
    assert not desk.session.can_undo
    desk.session.redo()
    np.testing.assert_array_equal(desk.labels, broken() > 0)


def test_objects_keep_their_clicks_and_get_one_class() -> None:
    desk = Desk(broken())
    write(desk, 1, "a", (0, 1))
    write(desk, 2, "b", (3, 4))
    click = CLICK.points
    before = described(desk)
    assert before == {
        (1, 0, "a", click),
        (1, 1, "a", click),
        (2, 3, "b", click),
        (2, 4, "b", click),
    }
    join(desk, 1, 2)
    # Where two labels were merged, no click stands for both.
    after = {(1, 0, "a", click), (1, 1, "a", click), (1, 3, "a", ()), (1, 4, "a", click)}
    assert described(desk) == after
    known = {
        (one.id, one.plane.index[0], one.category)  # type: ignore[attr-defined]
        for one in objects_in_effect(desk.session.operations)
    }
    assert known == {one[:3] for one in after}
    desk.show(4)
    desk.session.reopen(1)
    assert desk.session.prompts == CLICK
    desk.session.undo()
    desk.session.undo()
    assert described(desk) == before
    split(desk, 2, 4)
    assert described(desk) == (before - {(2, 4, "b", click)}) | {(3, 4, "b", click)}


def test_links_follow_a_merged_label() -> None:
    desk = Desk(broken())
    desk.labels[0, 9, 9] = desk.labels[5, 9, 9] = 7
    desk.labels[5, 11, 11] = 8
    desk.lineage.begin(id(desk.labels), {2: (7,), 8: (2,), 6: (2,), 9: (8,)})
    join(desk, 1, 2)
    # The link of 6, which has no pixels, is not known to be one.
    assert desk.parents == {1: (7,), 8: (1,), 6: (2,), 9: (8,)}
    desk.session.undo()
    assert desk.parents == {2: (7,), 8: (2,), 6: (2,), 9: (8,)}
    join(desk, 2, 1)
    assert desk.parents == {2: (7,), 8: (2,), 6: (2,), 9: (8,)}
    desk.session.undo()
    join(desk, 8, 2)  # its own parent
    assert desk.parents == {8: (7,), 6: (2,), 9: (8,)}


def test_parents_of_the_first_label_stay() -> None:
    desk = Desk(broken())
    desk.labels[0, 9, 9], desk.labels[0, 11, 11] = 7, 8
    desk.lineage.begin(id(desk.labels), {1: (7,), 2: (8,)})
    join(desk, 1, 2)
    assert desk.parents == {1: (7,)}


def test_a_circle_of_links_changes_nothing() -> None:
    desk = Desk(broken())
    desk.labels[3, 9, 9] = 7
    desk.lineage.begin(id(desk.labels), {7: (1,), 2: (7,)})
    before = desk.labels.copy()
    with pytest.raises(TrackError, match="circle"):
        join(desk, 1, 2)
    np.testing.assert_array_equal(desk.labels, before)
    assert desk.parents == {7: (1,), 2: (7,)}
    assert not desk.session.can_undo


def test_a_later_part_is_a_track_of_its_own_with_the_daughters() -> None:
    desk = Desk(broken())
    desk.labels[5, 9, 9] = 7
    desk.labels[0, 11, 11] = 8
    desk.lineage.begin(id(desk.labels), {7: (2,), 2: (8,), 6: (2,)})
    before = desk.labels.copy()
    assert split(desk, 2, 4) == (9, 2)
    after = before.copy()
    after[4:][after[4:] == 2] = 9
    np.testing.assert_array_equal(desk.labels, after)
    assert desk.parents == {2: (8,), 7: (9,), 6: (2,)}
    desk.session.undo()
    np.testing.assert_array_equal(desk.labels, before)
    assert desk.parents == {7: (2,), 2: (8,), 6: (2,)}
    assert not desk.session.can_undo


def test_reopened_labels_are_left_where_they_get_another_id() -> None:
    desk = Desk(broken())
    for frame in (3, 5):
        desk.show(frame)
        desk.session.reopen(2)
    split(desk, 2, 4)
    assert not desk.session.draft_set.drafts
    assert desk.session.draft_set_on(desk.target(3).key).drafts
    desk.session.undo()
    assert [one.label for one in desk.session.draft_set.drafts] == [2]


def test_impossible_changes_change_nothing() -> None:
    desk = Desk(broken())
    for first, second, message in (
        (1, 1, "at least two different labels"),
        (0, 1, "none of them 0"),
        (1, 77, "label 77 is not on this plane"),
        (70000, 1, "70000"),
    ):
        with pytest.raises(LabelError, match=message):
            join(desk, first, second)
    with pytest.raises(TrackError, match="without pixels cannot be linked: 77"):
        split(desk, 77, 3)
    with pytest.raises(LabelError, match="label 1 is not on this plane"):
        split(desk, 1, 4)
    desk.show(5)
    with pytest.raises(LabelError, match="label 1 is not on this plane"):
        desk.session.merge([1, 2])
    np.testing.assert_array_equal(desk.labels, broken())
    assert not desk.session.can_undo


def test_planes_of_a_label_are_known_if_it_was_made_here() -> None:
    desk = Desk(broken())
    source = id(desk.labels)
    assert desk.lineage.planes_of(source, 2) is None
    new, _ = split(desk, 2, 4)
    assert desk.lineage.planes_of(source, new) == {desk.target(at).key for at in (3, 4, 5)}
    desk.session.undo()
    assert desk.lineage.planes_of(source, new) is None


@pytest.fixture
def worked() -> Desk:
    """Return a desk on which all was done: merged, split, with objects and links."""
    desk = Desk(broken())
    write(desk, 2, "b", (3, 4, 5))
    desk.labels[5, 9, 9] = 7
    return desk


def change(desk: Desk) -> None:
    desk.lineage.link(2, 7)
    new, _ = split(desk, 2, 4)
    join(desk, 1, new)
    desk.session.undo()
    desk.session.redo()


def test_a_session_file_is_replayed(worked: Desk, tmp_path: Path) -> None:
    start = worked.labels.copy()
    count = len(worked.session.operations)
    change(worked)
    operations = worked.session.operations[count:]
    path = write_session(tmp_path / "s.json", operations, IMAGE)
    again = Desk(start.copy())
    assert again.replay(read_session(path).operations) == len(operations)
    np.testing.assert_array_equal(again.labels, worked.labels)
    assert again.parents == worked.parents == {7: (1,)}
    again.session.undo()
    np.testing.assert_array_equal(again.labels, start)


def test_a_journal_is_restored(worked: Desk, tmp_path: Path) -> None:
    start = worked.labels.copy()
    journal = Journal(IMAGE, start.shape, np.uint16, start="given", folder=tmp_path)
    worked.session.labels_changed.connect(journal.append)
    change(worked)
    journal.close()
    again = Desk(start.copy())
    again.restore(journal.path)
    np.testing.assert_array_equal(again.labels, worked.labels)
    assert again.parents == worked.parents
    again.session.undo()
    np.testing.assert_array_equal(again.labels, start)


def test_painted_labels_of_a_journal_are_looked_for_on_all_its_planes(tmp_path: Path) -> None:
    desk = Desk(np.zeros((6, 20, 20), np.uint16))
    journal = Journal(IMAGE, desk.labels.shape, np.uint16, start="given", folder=tmp_path)
    desk.session.labels_changed.connect(journal.append)
    desk.labels[1, 2:6, 2:6] = 1
    write(desk, 1, "a", [1])
    region, brush = (slice(9, 12), slice(9, 12)), np.full((3, 3), 5, np.uint16)
    for frame in (1, 3):  # with the object, and alone
        desk.show(frame)
        desk.session.paint(LabelWrite(desk.target(frame).key, region, brush))
    journal.close()
    again = Desk(np.zeros_like(desk.labels))
    again.session.restore(
        read_journal(journal.path), lambda plane: again.target(plane.index[0]), "empty"
    )
    np.testing.assert_array_equal(again.labels, desk.labels)
    planes = again.lineage.planes_of(id(again.labels), 5)
    assert planes is None or planes >= {again.target(frame).key for frame in (1, 3)}


@settings(max_examples=60, deadline=None)
@given(labels=STACKS, parents=PARENTS, first=st.integers(1, 3), second=st.integers(1, 3))
def test_undo_takes_a_merge_back(
    labels: Labels, parents: dict[int, tuple[int, ...]], first: int, second: int
) -> None:
    desk = Desk(labels.copy())
    desk.lineage.begin(id(desk.labels), parents)
    try:
        join(desk, first, second)
    except (LabelError, TrackError):
        assert not desk.session.can_undo
    else:
        np.testing.assert_array_equal(desk.labels, np.where(labels == second, first, labels))
        assert second not in {one for many in desk.parents.values() for one in many} - {second}
        done = desk.labels.copy(), desk.parents
        desk.session.undo()
        desk.session.redo()
        np.testing.assert_array_equal(desk.labels, done[0])
        assert desk.parents == done[1]
        desk.session.undo()
    np.testing.assert_array_equal(desk.labels, labels)
    assert desk.parents == parents


@settings(max_examples=60, deadline=None)
@given(labels=STACKS, parents=PARENTS, label=st.integers(1, 3), frame=st.integers(0, 5))
def test_a_split_label_is_merged_again(
    labels: Labels, parents: dict[int, tuple[int, ...]], label: int, frame: int
) -> None:
    desk = Desk(labels.copy())
    # A new label may have the id of one without pixels, whose links end.
    known = {child: many for child, many in parents.items() if (labels == child).any()}
    desk.lineage.begin(id(desk.labels), known)
    try:
        new, _ = split(desk, label, frame)
    except (LabelError, TrackError):
        pass
    else:
        if (desk.labels == label).any():
            join(desk, label, new)
        else:
            desk.session.undo()
    np.testing.assert_array_equal(desk.labels, labels)
    assert desk.parents == known
