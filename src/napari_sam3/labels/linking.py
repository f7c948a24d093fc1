"""Linking of labels through a stack: from objects of each plane to objects in 3-D or time.

    plane    0     1     2     3     4
             a --- b --- c           e      1. neighbouring planes, by overlap
                               d
             a --- b --- c --------- e      2. ends and beginnings across a gap
             1     1     1     0     1      3. chains of too few planes (d) are dropped

On each pair of planes the links are the assignment with the largest sum of IoU (linear sum
assignment, as in Jaqaman et al., Nature Methods 2008, who close gaps in a second step as well).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError

__all__ = ["LinkSettings", "Linked", "check_axis", "link_labels", "link_planes", "relabel"]

Labels = npt.NDArray[Any]
_Ids = npt.NDArray[np.int64]
_LARGEST = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class LinkSettings:
    """Which labels of different planes are one object.

    The defaults were chosen on nuclei that the embedded model found in training stacks.

    Parameters
    ----------
    min_iou : float
        Minimum IoU of two labels on neighbouring planes, above 0 and at most 1.
    gap : int
        Planes in a row on which an object may be missing.
    min_planes : int
        Minimum number of planes of an object, or all where there are fewer; labels of shorter
        ones are removed.

    Raises
    ------
    LabelError
        If a value is out of range.
    """

    min_iou: float = 0.7
    gap: int = 0
    min_planes: int = 4

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.min_iou <= 1:
            raise LabelError(
                f"the minimum IoU is {self.min_iou!r}. Expected a number above 0 and up to 1, such "
                "as 0.7. Choose another one."
            )
        for name, value, least in (
            ("gap", self.gap, 0),
            ("minimum number of planes", self.min_planes, 1),
        ):
            if value < least:
                raise LabelError(
                    f"the {name} is {value}. Expected at least {least}. Choose a larger one."
                )


@dataclass(frozen=True, eq=False)
class Linked:
    """Which label became which.

    Parameters
    ----------
    planes : tuple of dict from int to int
        For each plane, the new id of each label; 0 for those that are removed.
    """

    planes: tuple[dict[int, int], ...] = field(repr=False)

    @property
    def objects(self) -> int:
        """Number of linked objects."""
        return len({new for plane in self.planes for new in plane.values()} - {0})

    @property
    def labels(self) -> int:
        """Number of labels before, each plane counted on its own."""
        return sum(map(len, self.planes))

    @property
    def removed(self) -> int:
        """Number of labels, counted alike, that are removed."""
        return sum(new == 0 for plane in self.planes for new in plane.values())


def link_planes(
    planes: Iterable[Labels], settings: LinkSettings | None = None, used: set[int] | None = None
) -> Linked:
    """Link the labels of a stack through its planes.

    Parameters
    ----------
    planes : iterable of ndarray of integers, H x W
        In order; a few of them are in memory at a time. Two labels of one plane are never linked.
        The same label on neighbouring planes counts as one object where the two overlap at all.
    settings : LinkSettings, optional
        Which labels are one object.
    used : set of int, optional
        Ids that are not given; those that are given are added.

    Returns
    -------
    Linked
        Each object has the label of its first plane, or the next free one where two begin with
        the same.
    """
    settings = settings or LinkSettings()
    stack = _Stack(settings.gap + 1)
    for plane in planes:
        stack.add(plane)
    following = np.full(len(stack.labels), -1)
    preceding = following.copy()
    for distance in range(1, settings.gap + 2):
        first, second, iou = stack.overlaps(distance)
        same = stack.labels[first] == stack.labels[second]
        usable = (iou >= settings.min_iou) | (same & (distance == 1))
        # What is one object already stays one.
        weight = iou + same
        usable &= (following[first] < 0) & (preceding[second] < 0)
        for a, b in _assign(first[usable], second[usable], weight[usable]):
            following[a], preceding[b] = b, a
    # A stack of few planes asks for all of them.
    fewest = min(settings.min_planes, len(stack))
    kept = [chain for chain in _chains(following, preceding) if len(chain) >= fewest]
    return Linked(stack.split(_number(stack.labels, kept, set() if used is None else used)))


def link_labels(data: Any, settings: LinkSettings | None = None, axis: int = -1) -> Labels:
    """Link the labels of an array along one of its axes.

    Parameters
    ----------
    data : array-like of integers, ... x H x W
        Anything with ``shape`` and basic indexing, such as a zarr array.
    settings : LinkSettings, optional
        Which labels are one object.
    axis : int
        Which of the axes before rows and columns; the last one by default. Along the others,
        objects are never the same.

    Returns
    -------
    ndarray
        The labels, of a larger type where the ids need one.

    Raises
    ------
    LabelError
        If there is no such axis, or a label is negative.
    """
    axis = check_axis(data.shape, axis)
    leading = tuple(int(n) for n in data.shape[:-2])
    linked = np.zeros(data.shape, np.int64)
    used: set[int] = set()
    for place in np.ndindex(*(1 if at == axis else n for at, n in enumerate(leading))):
        along = [(*place[:axis], at, *place[axis + 1 :]) for at in range(leading[axis])]
        found = link_planes((np.asarray(data[index]) for index in along), settings, used)
        for index, ids in zip(along, found.planes, strict=True):
            linked[index] = relabel(np.asarray(data[index]).astype(np.int64), ids)
    dtype = np.promote_types(data.dtype, np.min_scalar_type(int(linked.max(initial=0))))
    return linked.astype(dtype)


def check_axis(shape: Sequence[int], axis: int = -1) -> int:
    """Return the number of an axis to link along; raises LabelError if there is no such one."""
    count = len(shape) - 2
    if not -count <= axis < count:
        raise LabelError(
            f"labels of shape {tuple(shape)} cannot be linked along axis {axis}. Expected one "
            "of the axes before rows and columns. Choose another axis, or give a stack."
        )
    return axis % count


def relabel(labels: Labels, ids: Mapping[int, int]) -> Labels:
    """Return labels with other ids.

    Parameters
    ----------
    labels : ndarray of integers
        Of any shape.
    ids : mapping from int to int
        The new id of each label; labels that are not in it stay.
    """
    present, places = np.unique(labels, return_inverse=True)
    new = np.array([ids.get(label, label) for label in present.tolist()], labels.dtype)
    return new[places].reshape(labels.shape)


class _Stack:
    """Labels of all planes in a row, numbered through, and the overlaps of those near each other.

    Parameters
    ----------
    reach : int
        Largest distance of planes that are compared.
    """

    def __init__(self, reach: int) -> None:
        self._before: deque[tuple[npt.NDArray[np.intp], int]] = deque(maxlen=reach)
        self._labels: list[_Ids] = []
        self._areas: list[_Ids] = []
        self._pairs: dict[int, list[tuple[_Ids, _Ids, _Ids]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self._labels)

    @property
    def labels(self) -> _Ids:
        """Labels of all planes, one plane after the other."""
        return np.concatenate([np.zeros(0, np.int64), *self._labels])

    def add(self, plane: Labels) -> None:
        """Add the next plane; raises LabelError for a label that cannot be linked."""
        present, places, areas = np.unique(plane, return_inverse=True, return_counts=True)
        for label in map(int, present[[0, -1]] if len(present) else ()):
            if not 0 <= label <= _LARGEST:
                raise LabelError(
                    f"the label cannot be linked: {label}. Expected 0 for the background and "
                    f"labels from 1 to {_LARGEST}. Give the object another label."
                )
        # Numbers of the labels among those of all planes; the background is -1.
        shift = int(present[:1].tolist() == [0])
        numbers = places.reshape(plane.shape) - shift
        self._labels.append(present[shift:].astype(np.int64))
        self._areas.append(areas[shift:].astype(np.int64))
        for distance, (other, start) in enumerate(reversed(self._before), start=1):
            both = (other >= 0) & (numbers >= 0)
            joint = other[both].astype(np.int64) * max(len(present), 1) + numbers[both]
            pairs, shared = np.unique(joint, return_counts=True)
            first, second = np.divmod(pairs, max(len(present), 1))
            found = first + start, second + self._count, shared.astype(np.int64)
            self._pairs.setdefault(distance, []).append(found)
        self._before.append((numbers, self._count))
        self._count += len(present) - shift

    def overlaps(self, distance: int) -> tuple[_Ids, _Ids, npt.NDArray[np.float64]]:
        """Return numbers of overlapping labels at a distance of planes, and their IoU."""
        none = (np.zeros(0, np.int64),) * 3
        first, second, shared = (
            np.concatenate(parts)
            for parts in zip(none, *self._pairs.get(distance, ()), strict=True)
        )
        areas = np.concatenate([none[0], *self._areas])
        return first, second, shared / (areas[first] + areas[second] - shared)

    def split(self, ids: list[int]) -> tuple[dict[int, int], ...]:
        """Return ids of the labels, plane by plane."""
        given = iter(ids)
        return tuple({label: next(given) for label in plane.tolist()} for plane in self._labels)


def _assign(
    first: _Ids, second: _Ids, weight: npt.NDArray[np.float64]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs with the largest sum of weights in which each number comes once at most."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, i = np.unique(first, return_inverse=True)
    columns, j = np.unique(second, return_inverse=True)
    size = len(rows) + len(columns)
    graph = coo_array((np.ones(len(i)), (i, j + len(rows))), (size, size))
    _, groups = connected_components(graph, directed=False)
    # Few labels compete for each other, so that a large stack is many small problems.
    order = np.argsort(groups[i], kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(groups[i][order])) + 1):
        a, at_row = np.unique(i[part], return_inverse=True)
        b, at_column = np.unique(j[part], return_inverse=True)
        table = np.zeros((len(a), len(b)))
        table[at_row, at_column] = weight[part]
        for row, column in zip(*linear_sum_assignment(table, maximize=True), strict=True):
            if table[row, column]:
                yield int(rows[a[row]]), int(columns[b[column]])


def _chains(following: _Ids, preceding: _Ids) -> Iterator[list[int]]:
    """Yield the linked labels, in the order of their planes."""
    for start in np.flatnonzero(preceding < 0).tolist():
        chain = [start]
        while (after := int(following[chain[-1]])) >= 0:
            chain.append(after)
        yield chain


def _number(labels: _Ids, chains: Iterable[list[int]], used: set[int]) -> list[int]:
    """Return an id for each label: that of its chain, 0 where it is in none."""
    ids = [0] * len(labels)
    free = max(int(labels.max(initial=0)), *used, 0) + 1
    for chain in chains:
        number = int(labels[chain[0]])
        if number in used:
            number, free = free, free + 1
        used.add(number)
        for at in chain:
            ids[at] = number
    return ids
