"""Plan how to restore the labels of a journal: only into free pixels, only under free ids.

    journal      labels now    after
    1 1 . .      . . . .       2 2 . .     1 became 2, since the labels have another 1;
    1 1 2 2      . . 1 1       2 2 1 1     2 was omitted, since its pixels are in use.

Ids stay as they are if the labels are those that the journal began with.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask, Region
from napari_sam3.core.operations import Operation, links_in_effect
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.targets import LabelTarget, check_id_fits, largest_id

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.records.packed import PackedWrite
    from napari_sam3.records.recovery import Restored

__all__ = ["RestorePlan", "RestoreResult", "RestoredPlane", "Start", "plan_restore"]

Start = Literal["same", "empty", "given"]
Values = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RestoreResult:
    """The result of restoring a journal.

    Parameters
    ----------
    objects : int
        Number of accepted objects in the labels now.
    partly : tuple of int
        Labels of the journal that were restored in part, since other labels use some pixels.
    left_out : tuple of int
        Labels of the journal that were not restored: all their pixels are in use, or they are
        changes of labels from before the journal.
    renumbered : bool
        Whether some labels were restored under other ids.
    """

    objects: int
    partly: tuple[int, ...]
    left_out: tuple[int, ...]
    renumbered: bool


@dataclass(frozen=True, eq=False)
class RestoredPlane:
    """The changes planned for a plane.

    Parameters
    ----------
    target : LabelTarget
        The plane.
    edit : LabelEdit or None
        Pixels to write.
    objects : tuple of (AcceptedObject, PlaneMask or None)
        Objects to register, with their masks if these are as accepted.
    """

    target: LabelTarget
    edit: LabelEdit | None
    objects: tuple[tuple[AcceptedObject, PlaneMask | None], ...]


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """The planned changes of all planes; nothing is written yet.

    Parameters
    ----------
    planes : tuple of RestoredPlane
        Planes with changes.
    fresh : frozenset of int
        Ids that the labels do not hold yet.
    result : RestoreResult
        Result of writing them.
    links : tuple of (LabelTarget, int, int)
        Links to restore: a plane of the labels, a parent and its child.
    """

    planes: tuple[RestoredPlane, ...]
    fresh: frozenset[int]
    result: RestoreResult
    links: tuple[tuple[LabelTarget, int, int], ...] = ()


def plan_restore(
    restored: Restored,
    target_of: Callable[[PlaneIndex], LabelTarget],
    highest_in: Callable[[LabelTarget], int],
    start: Start,
) -> RestorePlan:
    """Plan how to restore a journal into the current labels.

    Parameters
    ----------
    restored : Restored
        From `read_journal`, with `PlaneIndex` as the keys of planes.
    target_of : callable
        Called with a plane; returns its labels.
    highest_in : callable
        Called with the labels of any plane; returns the largest id that is in the label image or
        was assigned there.
    start : {"same", "empty", "given"}
        "same" if the labels are those the journal began with, so that everything can be restored;
        "empty" if the journal began without labels; "given" if it began with unknown labels.

    Raises
    ------
    LabelError
        If the labels cannot hold the ids.
    RecordError
        If pixels cannot be decompressed.
    """
    planes: dict[PlaneIndex, list[PackedWrite]] = defaultdict(list)
    for write in restored.stored:
        for plane in _planes_of(write):
            planes[plane].append(write)
    highest = max((highest_in(target_of(plane)) for plane in list(planes)[:1]), default=0)
    planner = _Planner(restored.operations, restored.objects, highest, start)
    for plane, writes in planes.items():
        planner.compare(_Canvas.of(plane, writes), target_of(plane))
    found = [
        planner.place(_Canvas.of(plane, writes), target_of(plane), plane)
        for plane, writes in planes.items()
    ]
    found += planner.place_across(planes.keys(), target_of)
    kept = tuple(plane for plane in found if plane.edit is not None or plane.objects)
    links = tuple(planner.links(target_of))
    return RestorePlan(kept, planner.fresh(), planner.result(kept, target_of), links)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """The labels of a journal on a plane, and the pixels that it wrote."""

    region: Region
    values: Values
    touched: Bools

    @classmethod
    def of(cls, plane: PlaneIndex, writes: Iterable[PackedWrite]) -> _Canvas:
        """Paint the writes of a plane in order."""
        todo = list(writes)
        bounds = [_bounds(write)[-2:] for write in todo]
        low, high = np.min(bounds, axis=(0, 2)), np.max(bounds, axis=(0, 2))
        size = tuple((high - low).tolist())
        values, touched = np.zeros(size, np.int64), np.zeros(size, bool)
        for write in todo:
            spans = _bounds(write)
            whole = write.values.reshape([stop - start for start, stop in spans])
            lead = zip(plane.index, spans, strict=False)
            part = whole[tuple(at - start for at, (start, _) in lead)]
            inside = tuple(
                slice(start - first, stop - first)
                for (start, stop), first in zip(spans[-2:], low.tolist(), strict=True)
            )
            values[inside], touched[inside] = part, True
        rows, columns = zip(low.tolist(), high.tolist(), strict=True)
        return cls((slice(*rows), slice(*columns)), values, touched)


class _Planner:
    """Assign ids to labels of the journal, and count their restored pixels."""

    def __init__(
        self,
        operations: tuple[Operation, ...],
        objects: tuple[AcceptedObject, ...],
        highest: int,
        start: Start,
    ) -> None:
        self.operations, self.objects = operations, objects
        self.highest, self.exact = highest, start == "same"
        # In the original labels, objects without pixels of their own are restored, too.
        self.all = self.exact or (start == "empty" and highest == 0)
        self.created = None if start == "empty" else _created(operations)
        self.seen: set[int] = set()
        self.there: set[int] = set()
        self.ids: dict[int, int] = {}
        self.wanted: defaultdict[int, int] = defaultdict(int)
        self.placed: defaultdict[int, int] = defaultdict(int)
        self._free: Iterator[int] | None = None
        self.linked = links_in_effect(operations)

    def compare(self, canvas: _Canvas, target: LabelTarget) -> None:
        """Record the labels of a plane, and those that exist there with the same pixels."""
        labels, places = np.unique(canvas.values, return_inverse=True)
        places = places.reshape(canvas.values.shape)
        self.seen |= {int(label) for label in labels if label > 0}
        known = labels[(labels > 0) & (labels <= self.highest)]
        if self.exact or not known.size:
            return
        # With a margin, so that a part of a larger object does not count as the same.
        now, inside = _read_around(canvas, target)
        equal = np.bincount(places[now[inside] == canvas.values], minlength=labels.size)
        wanted = np.bincount(places.ravel(), minlength=labels.size)
        for at in np.flatnonzero(np.isin(labels, known) & (equal == wanted)):
            if np.count_nonzero(now == labels[at]) == wanted[at]:
                self.there.add(int(labels[at]))

    def place(self, canvas: _Canvas, target: LabelTarget, plane: PlaneIndex) -> RestoredPlane:
        """Plan the changes of a plane."""
        now = target.read(canvas.region)
        labels, places = np.unique(canvas.values, return_inverse=True)
        places = places.reshape(canvas.values.shape)
        ours = canvas.touched & (canvas.values > 0)
        back = ours if self.exact else ours & self._may_come_back(labels, places, now, ours)
        wanted, placed = (np.bincount(places[part], minlength=labels.size) for part in (ours, back))
        new = np.zeros(labels.size, np.int64)
        for at in np.flatnonzero(wanted):
            label = int(labels[at])
            self.wanted[label] += int(wanted[at])
            self.placed[label] += int(placed[at])
            if placed[at]:
                new[at] = self._id_of(label, target)
        after = np.where(canvas.touched, 0, now) if self.exact else now.copy()
        np.copyto(after, new[places], where=back, casting="unsafe")
        noted = [
            self._noted(accepted, target, canvas, back)
            for accepted in self.objects
            if accepted.plane == plane and (self.all or self.ids.get(accepted.id) in new[new > 0])
        ]
        return RestoredPlane(target, LabelEdit.between(target, canvas.region, after), tuple(noted))

    def _noted(
        self, accepted: AcceptedObject, target: LabelTarget, canvas: _Canvas, back: Bools
    ) -> tuple[AcceptedObject, PlaneMask | None]:
        """Describe an object with its current pixels, and its mask if these are as accepted."""
        renamed = _renamed(accepted, target, self._id_of(accepted.id, target))
        mine = back & (canvas.values == accepted.id)
        if not mine.any():  # overwritten by other objects
            return renamed, None
        mask = PlaneMask.from_array(mine, canvas.region[0].start, canvas.region[1].start)
        if (mask.bbox, mask.area) == (accepted.bbox, accepted.area):
            return renamed, mask
        return replace(renamed, bbox=mask.bbox, area=mask.area), None

    def place_across(
        self, planes: Container[object], target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> list[RestoredPlane]:
        """Register objects on planes across the written ones."""
        across = [one for one in self.objects if one.plane not in planes and one.id in self.ids]
        return [
            RestoredPlane(target, None, ((_renamed(one, target, self.ids[one.id]), None),))
            for one in across
            for target in [target_of(_index(one.plane))]
        ]

    def links(
        self, target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> Iterator[tuple[LabelTarget, int, int]]:
        """Yield the links whose labels are restored, or existed before."""
        for operation in self.operations:
            if (
                operation.kind != "link"
                or self.linked.get(operation.labels[1]) != operation.labels[0]
            ):
                continue
            target = target_of(_index(operation.plane))
            parent, child = (
                self.ids.get(label, label if target.holds(label) else 0)
                for label in operation.labels
            )
            if parent and child:
                yield target, parent, child

    def fresh(self) -> frozenset[int]:
        """Return the ids that the labels do not hold yet."""
        return frozenset(self.ids.values()) - (self.seen if self.exact else self.there)

    def result(
        self, planes: Iterable[RestoredPlane], target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> RestoreResult:
        """Count restored and omitted labels."""
        back = {operation.id for plane in planes for operation, _ in plane.objects}
        lost = {label for label, count in self.wanted.items() if self.placed[label] < count}
        partly = {label for label in lost if self.placed[label]}
        gone = set()
        if not self.exact and self.created is not None:
            # Labels from before the journal that were deleted, or merged into others.
            for operation in self.operations:
                taken = {"delete": operation.labels, "merge": operation.labels[1:]}.get(
                    operation.kind, ()
                )
                target = target_of(_index(operation.plane)) if taken else None
                gone |= {
                    label
                    for label in taken
                    if label not in self.created and target is not None and target.holds(label)
                }
        renumbered = any(label != new for label, new in self.ids.items())
        left_out = (lost - partly) | gone
        return RestoreResult(len(back), tuple(sorted(partly)), tuple(sorted(left_out)), renumbered)

    def _may_come_back(self, labels: Values, places: Values, now: Values, ours: Bools) -> Bools:
        """Return the pixels that are free, or hold the same object already."""
        same = ours & (now == labels[places])
        free: Bools = (now == 0) | (same & np.isin(labels, list(self.there))[places])
        if self.created is not None:
            # Not labels from before the journal that the journal changed.
            met = np.bincount(places[same], minlength=labels.size) > 0
            free &= ~(met & ~np.isin(labels, list(self.created | self.there)))[places]
        return free

    def _id_of(self, label: int, target: LabelTarget) -> int:
        """Return the id under which a label is restored: its own, unless that is in use."""
        if label not in self.ids:
            if self._free is None:
                self._free = itertools.count(max((self.highest, *self.seen)) + 1)
            own = self.exact or label in self.there or label > self.highest
            self.ids[label] = label if own else next(self._free)
            limit = largest_id(target.dtype)
            if own and label > limit:
                raise LabelError(
                    f"a label of the journal is too large for dtype {target.dtype}: {label}. "
                    f"Expected at most {limit}. Choose a new layer."
                )
            check_id_fits(self.ids[label], target.dtype)
        return self.ids[label]


def _created(operations: Iterable[Operation]) -> set[int]:
    """Return the labels that operations created, not those that they changed."""
    made: set[int] = set()
    for operation in operations:
        made |= {accepted.id for accepted in operation.objects if accepted.draft.label is None}
        if operation.kind == "split" or (operation.kind == "link" and operation.writes):
            made |= set(operation.labels[1:])
    return made


def _renamed(accepted: AcceptedObject, target: LabelTarget, label: int) -> AcceptedObject:
    return replace(accepted, id=label, plane=target.key, draft=replace(accepted.draft, label=None))


def _index(plane: object) -> PlaneIndex:
    assert isinstance(plane, PlaneIndex), "the keys of a journal are indices"
    return plane


def _bounds(write: PackedWrite) -> list[tuple[int, int]]:
    """Return the start and stop of a write along each axis of the labels, in px."""
    plane = _index(write.plane)
    fixed = dict(zip(plane.other_axes, plane.index, strict=True))
    spans = [(part.start, part.stop) for part in write.region]
    free = dict(zip(plane.axes, spans, strict=True))
    return [
        free[axis] if axis in free else (fixed[axis], fixed[axis] + 1) for axis in range(plane.ndim)
    ]


def _planes_of(write: PackedWrite) -> Iterator[PlaneIndex]:
    """Yield the planes of the last two axes that a write, on any plane, touches."""
    lead = _bounds(write)[:-2]
    axes = len(lead), len(lead) + 1
    return (
        PlaneIndex(axes, index) for index in itertools.product(*(range(*span) for span in lead))
    )


def _read_around(canvas: _Canvas, target: LabelTarget) -> tuple[Values, tuple[slice, ...]]:
    """Read a region with a margin of 1 px; return the labels, and the region within them."""
    wide = tuple(
        slice(max(0, part.start - 1), min(length, part.stop + 1))
        for part, length in zip(canvas.region, target.shape, strict=True)
    )
    inside = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(canvas.region, wide, strict=True)
    )
    return target.read((wide[0], wide[1])), inside
