"""Changes of labels as data, for journals, session files and replay."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from sam3.errors import Sam3Error

if TYPE_CHECKING:
    from .masks import Region
    from .objects import AcceptedObject

__all__ = [
    "LabelChange",
    "LabelWrite",
    "Operation",
    "Policy",
    "ReplayError",
    "check_operation",
    "final_writes",
    "links_in_effect",
    "objects_in_effect",
]

Policy = Literal["keep", "overwrite", "inside"]
Kind = Literal["accept", "delete", "merge", "split", "paint", "batch", "link", "unlink"]


@dataclass(frozen=True, eq=False)
class LabelWrite:
    """Pixels of a region of one plane after a change.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : tuple of slice
        Rows and columns, with start and stop.
    values : ndarray of integers, h x w
        All labels of the region.
    """

    plane: Hashable
    region: Region
    values: npt.NDArray[Any] = field(repr=False)

    def updated(self, later: LabelWrite) -> LabelWrite:
        """Return the region after a later write on the same plane."""
        pairs = list(zip(self.region, later.region, strict=True))
        spans = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
        if any(start >= stop for start, stop in spans):
            return self
        own, other = (
            tuple(
                slice(start - part.start, stop - part.start)
                for (start, stop), part in zip(spans, region, strict=True)
            )
            for region in (self.region, later.region)
        )
        values = self.values.copy()
        values[own] = later.values[other]
        return replace(self, values=values)


@dataclass(frozen=True, eq=False)
class Operation:
    """One change of labels.

    Parameters
    ----------
    kind : {"accept", "delete", "merge", "split", "paint", "batch", "link", "unlink"}
        Kind of change. A batch is one operation per plane.
    plane : hashable
        Key of the changed plane.
    objects : tuple of AcceptedObject
        Accept, batch: the objects written, in this order.
    labels : tuple of int
        Delete: the deleted ids. Merge: the remaining id, which may be on other planes alone, then
        the ids merged into it. Split: the id that was split, then the new ones. Link: the parent,
        then its child, which loses any other parents. Unlink: the child, which loses all parents.
    policy : {"keep", "overwrite", "inside"}
        Accept, batch: treatment of pixels with other labels.
    writes : tuple of LabelWrite
        Paint: the pixels of the user's strokes. Batch: the pixels written, since a mask propagated
        from another plane cannot be reproduced. Link: pixels of the parent that became the child,
        a new id, if any. Empty for all other kinds.
    """

    kind: Kind
    plane: Hashable
    objects: tuple[AcceptedObject, ...] = ()
    labels: tuple[int, ...] = ()
    policy: Policy = "keep"
    writes: tuple[LabelWrite, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelChange:
    """An operation just done, undone or redone, with the pixels it wrote.

    Parameters
    ----------
    operation : Operation
        The operation.
    direction : {"do", "undo", "redo"}
        Undo applies to the last operation in effect, redo to the last one undone.
    writes : tuple of LabelWrite
        Every region written, with its present labels.
    more : bool
        Whether further changes of the same step follow, or probably do. A listener that only
        displays labels may wait for them, or for `batch_ended` of the session.
    """

    operation: Operation
    direction: Literal["do", "undo", "redo"]
    writes: tuple[LabelWrite, ...]
    more: bool = False


# Minimum and maximum numbers of labels of each kind; unlimited if it has no maximum.
_FEWEST_LABELS: Mapping[str, int] = {
    "accept": 0,
    "delete": 1,
    "merge": 2,
    "split": 2,
    "paint": 0,
    "batch": 0,
    "link": 2,
    "unlink": 1,
}
_MOST_LABELS: Mapping[str, int] = {"accept": 0, "paint": 0, "batch": 0, "link": 2, "unlink": 1}


class ReplayError(Sam3Error, ValueError):
    """An operation that is incomplete or contradictory, so that it cannot be replayed."""


def check_operation(operation: Operation, number: int = 0) -> None:
    """Raise if an operation cannot be replayed.

    Raises
    ------
    ReplayError
        With the number of the operation, from 0.
    """
    kind, labels = operation.kind, operation.labels
    if kind not in _FEWEST_LABELS:
        raise _error(number, f"is a {kind!r}", f"one of {', '.join(_FEWEST_LABELS)}")
    fewest, most = _FEWEST_LABELS[kind], _MOST_LABELS.get(kind, len(labels))
    if not fewest <= len(labels) <= most:
        expected = "none" if fewest == 0 else f"at least {fewest}"
        raise _error(number, f"({kind}) names {len(labels)} labels", expected)
    if len(set(labels)) != len(labels) or 0 in labels:
        raise _error(number, f"({kind}) names the labels {labels}", "unique ids other than 0")
    for kinds, name, parts in (
        (("accept", "batch"), "objects", operation.objects),
        (("paint", "batch"), "writes", operation.writes),
    ):
        if bool(parts) != (kind in kinds) and not (kind == "link" and name == "writes"):
            expected = "at least one" if kind in kinds else "none"
            raise _error(number, f"({kind}) has {len(parts)} {name}", expected)
    # A stroke of an n-D brush may lie on several planes.
    planes = {accepted.plane for accepted in operation.objects}
    planes |= {write.plane for write in operation.writes} if kind == "batch" else set()
    if not planes <= {operation.plane}:
        raise _error(number, f"({kind}) covers several planes", "one plane per operation")


def final_writes(writes: Sequence[LabelWrite]) -> tuple[LabelWrite, ...]:
    """Return the regions of successive writes on one plane with the pixels that all of them left.

    Parameters
    ----------
    writes : sequence of LabelWrite
        At least one, oldest first.
    """
    top, left, bottom, right = np.array(
        [[*(axis.start for axis in w.region), *(axis.stop for axis in w.region)] for w in writes]
    ).T
    first_row, first_column = int(top.min()), int(left.min())
    height, width = int(bottom.max()) - first_row, int(right.max()) - first_column
    if height * width < ((bottom - top) * (right - left)).sum():
        # They overlap: paste them all into one array, which takes less memory than they do.
        whole = np.zeros((height, width), writes[0].values.dtype)
        frame = whole, first_row, first_column
        for write in writes:
            _part(*frame, write.region)[:] = write.values
        return tuple(replace(write, values=_part(*frame, write.region)) for write in writes)
    final = []
    for number, write in enumerate(writes):
        rows, columns = write.region
        touching = (top < rows.stop) & (bottom > rows.start)
        touching &= (left < columns.stop) & (right > columns.start)
        touching[: number + 1] = False
        for later in np.flatnonzero(touching).tolist():
            write = write.updated(writes[later])
        final.append(write)
    return tuple(final)


def _part(whole: npt.NDArray[Any], row: int, column: int, region: Region) -> npt.NDArray[Any]:
    """Return the view of a region of the plane in an array that starts at a row and column."""
    rows, columns = region
    return whole[rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]


def objects_in_effect(operations: Iterable[Operation]) -> tuple[AcceptedObject, ...]:
    """Return the accepted objects in effect, in the order of acceptance.

    An object is dropped if its label was later deleted on its plane, merged into another label, or
    accepted there again.

    Parameters
    ----------
    operations : iterable of Operation
        In effect after undo, oldest first.
    """
    objects: dict[tuple[Hashable, int], AcceptedObject] = {}
    for operation in operations:
        removed = {"delete": operation.labels, "merge": operation.labels[1:]}
        gone = [
            objects.pop((operation.plane, label), None) for label in removed.get(operation.kind, ())
        ]
        if operation.kind == "merge":
            _keep_merged(objects, operation, gone)
        for accepted in operation.objects:
            objects.pop((accepted.plane, accepted.id), None)
            objects[accepted.plane, accepted.id] = accepted
        for write in operation.writes if operation.kind == "link" else ():
            parent, child = operation.labels
            known = objects.pop((write.plane, parent), None)
            if known is not None:
                objects[write.plane, child] = replace(known, id=child)
    return tuple(objects.values())


def _keep_merged(
    objects: dict[tuple[Hashable, int], AcceptedObject],
    operation: Operation,
    merged: Iterable[AcceptedObject | None],
) -> None:
    """Keep an object that was merged into a label which is on other planes alone, by its new id."""
    plane, kept = operation.plane, operation.labels[0]
    known = next((one for one in merged if one is not None), None)
    if known is not None and (plane, kept) not in objects:
        same = (one.category for one in objects.values() if one.id == kept)
        objects[plane, kept] = replace(known, id=kept, category=next(same, known.category))


def links_in_effect(operations: Iterable[Operation]) -> dict[int, int]:
    """Return the parent of each linked label.

    Parameters
    ----------
    operations : iterable of Operation
        In effect after undo, oldest first.
    """
    links: dict[int, int] = {}
    for operation in operations:
        if operation.kind == "link":
            parent, child = operation.labels
            links[child] = parent
        elif operation.kind == "unlink":
            links.pop(operation.labels[0], None)
    return links


def _error(number: int, problem: str, expected: str) -> ReplayError:
    return ReplayError(
        f"operation {number} {problem}. Expected {expected}. It cannot be replayed: leave it out."
    )
