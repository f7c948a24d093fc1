"""Operations done again: by the right command, and only if all of them can be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.drafts import Draft
from napari_sam3.core.fields import Field
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import (
    LabelWrite,
    Operation,
    Policy,
    ReplayError,
    check_operation,
    objects_in_effect,
)
from napari_sam3.core.rendering import Rendering
from napari_sam3.session.replay import replay
from tests.napari_sam3.record_samples import operations


class Recording:
    """Does nothing but note what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def accept(self, objects: Sequence[AcceptedObject], policy: Policy) -> None:
        self.calls.append(("accept", objects, policy))

    def delete(self, plane: Hashable, labels: Sequence[int]) -> None:
        self.calls.append(("delete", plane, labels))

    def merge(self, plane: Hashable, labels: Sequence[int]) -> None:
        self.calls.append(("merge", plane, labels))

    def split(self, plane: Hashable, labels: Sequence[int]) -> None:
        self.calls.append(("split", plane, labels))

    def paint(self, writes: Sequence[LabelWrite]) -> None:
        self.calls.append(("paint", writes))

    def batch(self, operation: Operation) -> None:
        self.calls.append(("batch", operation))


def made(label: int, plane: Hashable = "p") -> AcceptedObject:
    return AcceptedObject(
        id=label,
        plane=plane,
        bbox=(0, 0, 2, 2),
        area=4,
        score=0.5,
        draft=Draft(label),
        field=Field(0, (0, 9), (0, 9)),
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


def test_each_operation_goes_to_its_command_in_order() -> None:
    first, paint = accept(1, 2), Operation("paint", "p", writes=(WRITE,))
    do = Recording()
    done = replay(
        [
            replace(first, policy="inside"),
            Operation("delete", "p", labels=(1,)),
            paint,
            Operation("split", "q", labels=(2, 3, 4)),
            Operation("merge", "q", labels=(3, 4)),
        ],
        do,
    )
    assert done == 5
    assert do.calls == [
        ("accept", first.objects, "inside"),
        ("delete", "p", (1,)),
        ("paint", paint.writes),
        ("split", "q", (2, 3, 4)),
        ("merge", "q", (3, 4)),
    ]


@given(st.lists(operations(), max_size=4))
@settings(deadline=None)
def test_whatever_is_stored_can_be_done_again(some: list[Operation]) -> None:
    do = Recording()
    assert replay(iter(some), do) == len(some)
    assert [call[0] for call in do.calls] == [operation.kind for operation in some]


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (Operation("explode", "p"), "'explode'"),  # type: ignore[arg-type]
        (Operation("accept", "p"), "0 objects"),
        (replace(accept(1), labels=(1,)), "1 labels"),
        (replace(accept(1), writes=(WRITE,)), "1 writes"),
        (replace(accept(1), plane="q"), "several planes"),
        (Operation("delete", "p"), "0 labels"),
        (Operation("delete", "p", labels=(0,)), "no background"),
        (Operation("delete", "p", labels=(3,), objects=(made(3),)), "1 objects"),
        (Operation("merge", "p", labels=(1,)), "1 labels"),
        (Operation("merge", "p", labels=(1, 1)), "each once"),
        (Operation("split", "p", labels=(1,)), "1 labels"),
        (Operation("paint", "p"), "0 writes"),
        (replace(accept(1), kind="batch"), "0 writes"),
        (Operation("batch", "p", writes=(WRITE,)), "0 objects"),
        (replace(accept(1, plane="q"), kind="batch", plane="q", writes=(WRITE,)), "several planes"),
    ],
)
def test_nothing_is_done_if_one_operation_cannot_be(bad: Operation, match: str) -> None:
    do = Recording()
    with pytest.raises(ReplayError, match=f"operation 1 .*{match}"):
        replay([accept(1), bad], do)
    assert do.calls == []
    with pytest.raises(ReplayError, match="operation 0"):
        check_operation(bad)


def test_what_the_target_raises_comes_through() -> None:
    class Full(Recording):
        def delete(self, plane: Hashable, labels: Sequence[int]) -> None:
            raise OSError("full")

    do = Full()
    with pytest.raises(OSError, match="full"):
        replay([accept(1), Operation("delete", "p", labels=(1,)), accept(2)], do)
    assert len(do.calls) == 1


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
