"""Operations done again, one after the other, by whatever can do them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy, check_operation

__all__ = ["ReplayTarget", "replay"]


class ReplayTarget(Protocol):
    """What a session offers to have operations done again."""

    def accept(self, objects: Sequence[AcceptedObject], policy: Policy) -> object:
        """Make these objects again from their drafts and write them, in order."""

    def delete(self, plane: Hashable, labels: Sequence[int]) -> object:
        """Take labels out of a plane."""

    def merge(self, plane: Hashable, labels: Sequence[int]) -> object:
        """Give the first label to all pixels of the others."""

    def split(self, plane: Hashable, labels: Sequence[int]) -> object:
        """Divide the first label into its parts; the others are the ids the new ones had."""

    def paint(self, writes: Sequence[LabelWrite]) -> object:
        """Write pixels as a person left them."""

    def batch(self, operation: Operation) -> object:
        """Write pixels of a plane as a batch left them, and note its objects."""


def replay(operations: Iterable[Operation], do: ReplayTarget) -> int:
    """Do operations again, oldest first.

    All are checked before the first is done. What the target raises comes through; the operations
    before that one have been done then.

    Parameters
    ----------
    operations : iterable of Operation
        Net of undo, as journals and session files give them.
    do : ReplayTarget
        Told what to do.

    Returns
    -------
    int
        How many were done.

    Raises
    ------
    ReplayError
        If one of them cannot be done; none has been done then.
    """
    todo = tuple(operations)
    for number, operation in enumerate(todo):
        check_operation(operation, number)
    for operation in todo:
        match operation.kind:
            case "accept":
                do.accept(operation.objects, operation.policy)
            case "delete":
                do.delete(operation.plane, operation.labels)
            case "merge":
                do.merge(operation.plane, operation.labels)
            case "split":
                do.split(operation.plane, operation.labels)
            case "paint":
                do.paint(operation.writes)
            case "batch":
                do.batch(operation)
    return len(todo)
