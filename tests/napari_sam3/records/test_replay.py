"""Operations done again: by the right command, and only if all of them can be."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psygnal import EmitLoopError

from napari_sam3.core.drafts import Draft
from napari_sam3.core.errors import LabelError
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import (
    LabelWrite,
    Operation,
    ReplayError,
    check_operation,
    objects_in_effect,
)
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.rendering import PlaneImage, Rendering
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.targets import ArrayTarget, LabelTarget
from napari_sam3.session.replay import replay_into
from napari_sam3.session.session import LabelingSession
from tests.napari_sam3.record_samples import operations


class Stack:
    """A session without a model, and two planes of labels."""

    def __init__(self) -> None:
        self.session = LabelingSession()
        self.labels = {key: np.zeros((6, 8), np.uint8) for key in "pq"}
        self.labels["q"][1, 1:3], self.labels["q"][4, 5:7] = 2, 2
        self.said: list[tuple[str, Hashable]] = []
        self.session.labels_changed.connect(
            lambda change: self.said.append((change.operation.kind, change.operation.plane))
        )

    def plane(self, key: Hashable) -> tuple[PlaneImage, LabelTarget]:
        if key not in self.labels:
            raise OSError(f"no plane {key}")
        labels = self.labels[str(key)]
        image = ArrayPlane(plane_from_array(np.zeros(labels.shape)))
        return image, ArrayTarget(labels, key)

    def replay(self, some: Iterable[Operation]) -> int:
        return replay_into(self.session, some, self.plane)


def made(label: int, plane: Hashable = "p") -> AcceptedObject:
    return AcceptedObject(
        id=label,
        plane=plane,
        bbox=(0, 0, 2, 2),
        area=4,
        score=0.5,
        draft=Draft(label),
        field=FieldOfView(0, (0, 9), (0, 9)),
        candidate=0,
        level=None,
        typical_size=None,
        model="tiny",
        fingerprint="",
        precision="float32",
        rendering=Rendering(),
        category="",
        time="",
    )


WRITE = LabelWrite("p", (slice(0, 1), slice(0, 1)), np.ones((1, 1), int))


def accept(*labels: int, plane: Hashable = "p") -> Operation:
    return Operation("accept", plane, tuple(made(label, plane) for label in labels))


def paint(plane: str, row: int, label: int) -> Operation:
    """Return a stroke of 1 x 2 px at the left border."""
    region = slice(row, row + 1), slice(0, 2)
    values = np.full((1, 2), label, np.uint8)
    return Operation("paint", plane, writes=(LabelWrite(plane, region, values),))


def test_each_operation_goes_to_its_command_in_order() -> None:
    stack = Stack()
    done = replay_into(
        stack.session,
        [
            paint("p", 2, 7),
            paint("p", 3, 9),
            Operation("delete", "p", labels=(7,)),
            Operation("split", "q", labels=(2, 5)),
            paint("q", 0, 4),
            Operation("merge", "q", labels=(5, 4)),
        ],
        stack.plane,
        same_start=True,
    )
    assert done == 6
    assert [kind for kind, _ in stack.said] == [
        *["paint", "paint", "delete", "split", "paint", "merge"]
    ]
    assert [plane for _, plane in stack.said] == list("pppqqq")
    p, q = stack.labels["p"], stack.labels["q"]
    assert sorted(set(p.flat)) == [0, 9]
    assert (q[0, :2] == 5).all()
    assert sorted(set(q.flat)) == [0, 2, 5]


def test_a_batch_on_several_planes_is_one_step_again() -> None:
    stack = Stack()
    writes = [paint(plane, 2, label).writes for plane, label in (("p", 7), ("q", 8))]
    objects = [made(7, "p"), made(8, "q")]
    steps = [
        Operation("batch", one.plane, (one,), writes=write)
        for one, write in zip(objects, writes, strict=True)
    ]
    assert stack.replay(steps) == 2
    assert [one.id for one in stack.session.objects] == [7, 8]
    stack.session.undo()
    assert not stack.session.objects
    assert not stack.labels["p"].any()


@given(st.lists(operations(), max_size=4))
@settings(deadline=None)
def test_whatever_is_stored_can_be_done_again(some: list[Operation]) -> None:
    for number, operation in enumerate(some):
        check_operation(operation, number)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (Operation("explode", "p"), "'explode'"),  # type: ignore[arg-type]
        (Operation("accept", "p"), "0 objects"),
        (replace(accept(1), labels=(1,)), "1 labels"),
        (replace(accept(1), writes=(WRITE,)), "1 writes"),
        (replace(accept(1), plane="q"), "several planes"),
        (Operation("delete", "p"), "0 labels"),
        (Operation("delete", "p", labels=(0,)), "unique ids other than 0"),
        (Operation("delete", "p", labels=(3,), objects=(made(3),)), "1 objects"),
        (Operation("merge", "p", labels=(1,)), "1 labels"),
        (Operation("merge", "p", labels=(1, 1)), "unique ids other than 0"),
        (Operation("split", "p", labels=(1,)), "1 labels"),
        (Operation("paint", "p"), "0 writes"),
        (replace(accept(1), kind="batch"), "0 writes"),
        (Operation("batch", "p", writes=(WRITE,)), "0 objects"),
        (replace(accept(1, plane="q"), kind="batch", plane="q", writes=(WRITE,)), "several planes"),
    ],
)
def test_nothing_is_done_if_one_operation_cannot_be(bad: Operation, match: str) -> None:
    stack = Stack()
    with pytest.raises(ReplayError, match=f"operation 1 .*{match}"):
        stack.replay([paint("p", 2, 7), bad])
    assert not stack.labels["p"].any()
    assert not stack.said
    with pytest.raises(ReplayError, match="operation 0"):
        check_operation(bad)


def test_what_goes_wrong_on_the_way_comes_through_and_leaves_everything_as_it_was() -> None:
    stack = Stack()
    image, labels = stack.plane("q")
    stack.session.set_plane(image, "q", labels)
    stack.session.delete(2)
    stack.session.undo()
    before = {key: labels.copy() for key, labels in stack.labels.items()}
    stack.said.clear()
    some = [paint("p", 2, 7), Operation("delete", "gone", labels=(1,)), paint("p", 3, 8)]
    with pytest.raises(OSError, match="no plane gone"):
        stack.replay(some)
    assert stack.said == []
    assert all(np.array_equal(stack.labels[key], before[key]) for key in before)
    assert stack.session.plane_key == "q"
    assert not stack.session.can_undo
    stack.session.redo()  # what was undone before can still be done again
    assert not stack.labels["q"].any()


def test_ids_of_a_replay_that_failed_are_free_again() -> None:
    stack = Stack()
    with pytest.raises(LabelError, match="label 77 is not on this plane"):
        replay_into(
            stack.session,
            [Operation("split", "q", labels=(2, 50)), Operation("delete", "q", labels=(77,))],
            stack.plane,
            same_start=True,
        )
    image, labels = stack.plane("q")
    stack.session.set_plane(image, "q", labels)
    assert stack.session.split(2) == (2, 3)


def test_a_replay_is_one_step_and_told_in_order_although_a_listener_fails() -> None:
    stack = Stack()
    heard: list[str] = []

    def fail(change: object) -> None:
        heard.append("fail")
        raise OSError("a listener")

    stack.session.labels_changed.connect(fail)
    some = [paint("p", 2, 7), Operation("delete", "p", labels=(7,)), paint("q", 0, 9)]
    with pytest.raises(EmitLoopError):
        stack.replay(some)
    assert [kind for kind, _ in stack.said] == ["paint", "delete", "paint"]
    assert len(heard) == 3
    stack.session.labels_changed.disconnect(fail)
    stack.session.undo()
    assert not stack.session.can_undo
    assert not stack.labels["q"][0].any()


@pytest.mark.parametrize("kind", ["delete", "merge", "split", "paint"])
def test_labels_that_a_session_did_not_make_change_only_where_they_are_known(kind: str) -> None:
    some = {
        "delete": Operation("delete", "q", labels=(2,)),
        "merge": Operation("merge", "q", labels=(3, 2)),
        "split": Operation("split", "q", labels=(2, 5)),
        "paint": paint("q", 1, 5),
    }[kind]
    stack = Stack()
    stack.labels["q"][2, 0] = 3
    before = stack.labels["q"].copy()
    with pytest.raises(ReplayError, match=r"other labels .*: [23, ]+\. .* Replay into a new"):
        stack.replay([paint("p", 2, 7), some])
    assert np.array_equal(stack.labels["q"], before)
    assert not stack.labels["p"].any()
    done = replay_into(stack.session, [paint("p", 2, 7), some], stack.plane, same_start=True)
    assert done == 2
    assert not np.array_equal(stack.labels["q"], before)


def test_objects_in_effect_are_those_not_deleted_merged_away_or_made_anew() -> None:
    again = accept(3)
    objects = objects_in_effect(
        [
            accept(1, 2, 3),
            accept(4),
            accept(1, plane="q"),
            Operation("delete", "p", labels=(1, 99)),
            Operation("merge", "p", labels=(4, 2)),
            Operation("split", "p", labels=(4, 5)),
            Operation("paint", "p", writes=(WRITE,)),
            again,
        ]
    )
    assert [(one.plane, one.id) for one in objects] == [("p", 4), ("q", 1), ("p", 3)]
    assert objects[-1] is again.objects[0]
