"""Plan how labels of a journal come back: into free pixels alone, under free ids alone.

    journal      labels now    after
    1 1 . .      . . . .       2 2 . .     1 came back as 2, because there is another 1;
    1 1 2 2      . . 1 1       2 2 1 1     2 was left out, because its pixels are in use.

Without napari.
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
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Operation, links_in_effect
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.targets import LabelTarget, check_id_fits
from napari_sam3.records.packed import PackedWrite

if TYPE_CHECKING:
    from napari_sam3.records.recovery import Restored

__all__ = ["RestorePlan", "RestoreResult", "RestoredPlane", "Start", "plan_restore"]

Start = Literal["same", "empty", "given"]
Values = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RestoreResult:
    """What a journal brought back.

    Parameters
    ----------
    objects : int
        Accepted objects that are in the labels now.
    partly : tuple of int
        Labels of the journal of which some pixels are in use by other labels.
    left_out : tuple of int
        Labels of the journal that were not restored, because all of their pixels are in use, or
        because they were changes of labels that stood there before.
    renumbered : bool
        Some labels came back under other ids.
    """

    objects: int
    partly: tuple[int, ...]
    left_out: tuple[int, ...]
    renumbered: bool


@dataclass(frozen=True, eq=False)
class RestoredPlane:
    """What is to be done on a plane.

    Parameters
    ----------
    target : LabelTarget
        The plane.
    edit : LabelEdit or None
        What is written there.
    objects : tuple of (AcceptedObject, PlaneMask or None)
        What is noted, each with its mask if that is the one it was accepted with.
    """

    target: LabelTarget
    edit: LabelEdit | None
    objects: tuple[tuple[AcceptedObject, PlaneMask | None], ...]


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """All of it; nothing was written yet.

    Parameters
    ----------
    planes : tuple of RestoredPlane
        Those on which there is something to do.
    fresh : frozenset of int
        Ids that the labels do not hold yet.
    result : RestoreResult
        What will have come of it.
    links : tuple of (LabelTarget, int, int)
        A plane of the labels, a parent and its child.
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
    """Work out what a journal brings back into labels as they are now.

    Parameters
    ----------
    restored : Restored
        From `read_journal`, with `PlaneIndex` as the keys of planes.
    target_of : callable
        Called with a plane; returns its labels.
    highest_in : callable
        Called with the labels of any plane; returns the largest id that is in the label image or
        was given there.
    start : {"same", "empty", "given"}
        The labels are the ones that the journal began with, so that all of it can be done again;
        or the journal began with no labels; or with others, of which nothing is known.

    Raises
    ------
    LabelError
        If the labels cannot hold the ids.
    RecordError
        If pixels cannot be unpacked.
    """
    planes: dict[PlaneIndex, list[PackedWrite]] = defaultdict(list)
    for write in restored.stored:
        for plane in _planes_of(write):
            planes[plane].append(write)
    highest = max((highest_in(target_of(plane)) for plane in list(planes)[:1]), default=0)
    work = _Work(restored.operations, restored.objects, highest, start)
    for plane, writes in planes.items():
        work.compare(_Canvas.of(plane, writes), target_of(plane))
    found = [
        work.place(_Canvas.of(plane, writes), target_of(plane), plane)
        for plane, writes in planes.items()
    ]
    found += work.place_across(planes.keys(), target_of)
    kept = tuple(plane for plane in found if plane.edit is not None or plane.objects)
    links = tuple(work.links(target_of))
    return RestorePlan(kept, work.fresh(), work.result(kept, target_of), links)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """What a journal left on a plane: its labels, and which pixels it says anything about."""

    region: Region
    values: Values
    touched: Bools

    @classmethod
    def of(cls, plane: PlaneIndex, writes: Iterable[PackedWrite]) -> _Canvas:
        """Paint the writes of a plane one over the other."""
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


class _Work:
    """The ids that labels of the journal get, and how many of their pixels come back."""

    def __init__(
        self,
        operations: tuple[Operation, ...],
        objects: tuple[AcceptedObject, ...],
        highest: int,
        start: Start,
    ) -> None:
        self.operations, self.objects = operations, objects
        self.highest, self.exact = highest, start == "same"
        # In labels as they were at first, objects whose pixels others took come back, too.
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
        """Note the labels of a plane, and those that stand there already, pixel by pixel."""
        labels, places = np.unique(canvas.values, return_inverse=True)
        places = places.reshape(canvas.values.shape)
        self.seen |= {int(label) for label in labels if label > 0}
        known = labels[(labels > 0) & (labels <= self.highest)]
        if self.exact or not known.size:
            return
        # With a margin, so that a part of a larger object is not taken for all of it.
        now, inside = _read_around(canvas, target)
        equal = np.bincount(places[now[inside] == canvas.values], minlength=labels.size)
        wanted = np.bincount(places.ravel(), minlength=labels.size)
        for at in np.flatnonzero(np.isin(labels, known) & (equal == wanted)):
            if np.count_nonzero(now == labels[at]) == wanted[at]:
                self.there.add(int(labels[at]))

    def place(self, canvas: _Canvas, target: LabelTarget, plane: PlaneIndex) -> RestoredPlane:
        """Work out what is written on a plane."""
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
            self._noted(one, target, canvas, back)
            for one in self.objects
            if one.plane == plane and (self.all or self.ids.get(one.id) in new[new > 0])
        ]
        return RestoredPlane(target, LabelEdit.between(target, canvas.region, after), tuple(noted))

    def _noted(
        self, one: AcceptedObject, target: LabelTarget, canvas: _Canvas, back: Bools
    ) -> tuple[AcceptedObject, PlaneMask | None]:
        """Describe an object as it is now, with its mask if it is the one it was accepted with."""
        renamed = _renamed(one, target, self._id_of(one.id, target))
        mine = back & (canvas.values == one.id)
        if not mine.any():  # others took all of its pixels, as "overwrite" allows
            return renamed, None
        mask = PlaneMask.from_array(mine, canvas.region[0].start, canvas.region[1].start)
        if (mask.bbox, mask.area) == (one.bbox, one.area):
            return renamed, mask
        return replace(renamed, bbox=mask.bbox, area=mask.area), None

    def place_across(
        self, planes: Container[object], target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> list[RestoredPlane]:
        """Note objects of planes that lie across those that are written."""
        across = [one for one in self.objects if one.plane not in planes and one.id in self.ids]
        return [
            RestoredPlane(target, None, ((_renamed(one, target, self.ids[one.id]), None),))
            for one in across
            for target in [target_of(_index(one.plane))]
        ]

    def links(
        self, target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> Iterator[tuple[LabelTarget, int, int]]:
        """Yield the links whose labels come back, or stood there before."""
        for one in self.operations:
            if one.kind != "link" or self.linked.get(one.labels[1]) != one.labels[0]:
                continue
            target = target_of(_index(one.plane))
            parent, child = (
                self.ids.get(label, label if target.holds(label) else 0) for label in one.labels
            )
            if parent and child:
                yield target, parent, child

    def fresh(self) -> frozenset[int]:
        """Return the ids that the labels do not hold yet."""
        return frozenset(self.ids.values()) - (self.seen if self.exact else self.there)

    def result(
        self, planes: Iterable[RestoredPlane], target_of: Callable[[PlaneIndex], LabelTarget]
    ) -> RestoreResult:
        """Count what comes back and what does not."""
        back = {one.id for plane in planes for one, _ in plane.objects}
        lost = {label for label, count in self.wanted.items() if self.placed[label] < count}
        partly = {label for label in lost if self.placed[label]}
        gone = set()
        if not self.exact and self.created is not None:
            # Labels from before the journal that were deleted, or merged into others.
            for one in self.operations:
                taken = {"delete": one.labels, "merge": one.labels[1:]}.get(one.kind, ())
                target = target_of(_index(one.plane)) if taken else None
                gone |= {
                    label
                    for label in taken
                    if label not in self.created and target is not None and target.holds(label)
                }
        renumbered = any(label != new for label, new in self.ids.items())
        left_out = (lost - partly) | gone
        return RestoreResult(len(back), tuple(sorted(partly)), tuple(sorted(left_out)), renumbered)

    def _may_come_back(self, labels: Values, places: Values, now: Values, ours: Bools) -> Bools:
        """Return the pixels that are free, or hold the very same object already."""
        same = ours & (now == labels[places])
        free: Bools = (now == 0) | (same & np.isin(labels, list(self.there))[places])
        if self.created is not None:
            # A label that stood there before the journal began, and that the journal changed.
            met = np.bincount(places[same], minlength=labels.size) > 0
            free &= ~(met & ~np.isin(labels, list(self.created | self.there)))[places]
        return free

    def _id_of(self, label: int, target: LabelTarget) -> int:
        """Return the id that a label gets: its own, unless that is in use."""
        if label not in self.ids:
            if self._free is None:
                self._free = itertools.count(max((self.highest, *self.seen)) + 1)
            own = self.exact or label in self.there or label > self.highest
            self.ids[label] = label if own else next(self._free)
            limit = int(np.iinfo(target.dtype).max)
            if own and label > limit:
                raise LabelError(
                    f"the journal holds the label {label}, but labels of dtype {target.dtype} end "
                    f"at {limit}; choose a new layer"
                )
            check_id_fits(self.ids[label], target.dtype)
        return self.ids[label]


def _created(operations: Iterable[Operation]) -> set[int]:
    """Return the labels that operations made, in contrast to those that they found and changed."""
    made: set[int] = set()
    for one in operations:
        made |= {accepted.id for accepted in one.objects if accepted.draft.label is None}
        if one.kind == "split" or (one.kind == "link" and one.writes):
            made |= set(one.labels[1:])
    return made


def _renamed(one: AcceptedObject, target: LabelTarget, label: int) -> AcceptedObject:
    return replace(one, id=label, plane=target.key, draft=replace(one.draft, label=None))


def _index(plane: object) -> PlaneIndex:
    assert isinstance(plane, PlaneIndex), "journals name planes by their index"
    return plane


def _bounds(write: PackedWrite) -> list[tuple[int, int]]:
    """Return the first and one past the last px of a write along each axis of the labels."""
    plane = _index(write.plane)
    fixed = dict(zip(plane.other_axes, plane.index, strict=True))
    spans = [(part.start, part.stop) for part in write.region]
    free = dict(zip(plane.axes, spans, strict=True))
    return [
        free[axis] if axis in free else (fixed[axis], fixed[axis] + 1) for axis in range(plane.ndim)
    ]


def _planes_of(write: PackedWrite) -> Iterator[PlaneIndex]:
    """Yield the planes of the last two axes that a write lies on, whatever its own plane is."""
    lead = _bounds(write)[:-2]
    axes = len(lead), len(lead) + 1
    return (
        PlaneIndex(axes, index) for index in itertools.product(*(range(*span) for span in lead))
    )


def _read_around(canvas: _Canvas, target: LabelTarget) -> tuple[Values, tuple[slice, ...]]:
    """Read a region with a margin of 1 px; returns the labels, and where in them the region is."""
    wide = tuple(
        slice(max(0, part.start - 1), min(length, part.stop + 1))
        for part, length in zip(canvas.region, target.shape, strict=True)
    )
    inside = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(canvas.region, wide, strict=True)
    )
    return target.read((wide[0], wide[1])), inside
