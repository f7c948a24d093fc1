"""Operations done again, one after the other, by whatever can do them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from napari_sam3.core.operations import AcceptedObject, LabelWrite, Operation, Policy
from sam3.errors import Sam3Error

__all__ = ["ReplayError", "ReplayTarget", "check_operation", "objects_in_effect", "replay"]

# How many labels and which parts each kind has; see `Operation`.
_FEWEST_LABELS = {"accept": 0, "delete": 1, "merge": 2, "split": 2, "paint": 0, "batch": 0}
_MOST_LABELS = {"accept": 0, "paint": 0, "batch": 0}


class ReplayError(Sam3Error, ValueError):
    """An operation that says not enough, or contradicts itself, and so cannot be done again."""


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


def check_operation(operation: Operation, number: int = 0) -> None:
    """Refuse an operation that cannot be done again.

    Raises
    ------
    ReplayError
        Naming the operation by its number, from 0.
    """
    kind, labels = operation.kind, operation.labels
    if kind not in _FEWEST_LABELS:
        raise _error(number, f"is a {kind!r}", f"one of {', '.join(_FEWEST_LABELS)}")
    fewest, most = _FEWEST_LABELS[kind], _MOST_LABELS.get(kind, len(labels))
    if not fewest <= len(labels) <= most:
        wanted = "none" if fewest == 0 else f"at least {fewest}"
        raise _error(number, f"({kind}) names {len(labels)} labels", wanted)
    if len(set(labels)) != len(labels) or 0 in labels:
        raise _error(number, f"({kind}) names the labels {labels}", "each once, and no background")
    for kinds, name, parts in (
        (("accept", "batch"), "objects", operation.objects),
        (("paint", "batch"), "writes", operation.writes),
    ):
        if bool(parts) != (kind in kinds):
            expected = "at least one" if kind in kinds else "none"
            raise _error(number, f"({kind}) comes with {len(parts)} {name}", expected)
    # A stroke of an n-D brush may lie on several planes.
    planes = {accepted.plane for accepted in operation.objects}
    planes |= {write.plane for write in operation.writes} if kind == "batch" else set()
    if not planes <= {operation.plane}:
        raise _error(number, f"({kind}) lies on several planes", "one plane an operation")


def objects_in_effect(operations: Iterable[Operation]) -> tuple[AcceptedObject, ...]:
    """Return the accepted objects that are still there, in the order of acceptance.

    An object is gone once its label was deleted on its plane, was merged into another one, or was
    accepted there anew.

    Parameters
    ----------
    operations : iterable of Operation
        Net of undo, oldest first.
    """
    objects: dict[tuple[Hashable, int], AcceptedObject] = {}
    for operation in operations:
        gone = {"delete": operation.labels, "merge": operation.labels[1:]}.get(operation.kind, ())
        for label in gone:
            objects.pop((operation.plane, label), None)
        for accepted in operation.objects:
            objects.pop((accepted.plane, accepted.id), None)
            objects[accepted.plane, accepted.id] = accepted
    return tuple(objects.values())


def _error(number: int, found: str, expected: str) -> ReplayError:
    return ReplayError(
        f"operation {number} {found}; expected {expected}. It cannot be done again; leave it out"
    )
