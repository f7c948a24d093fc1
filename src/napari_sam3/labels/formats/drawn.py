"""Objects read from vector formats, painted into a label image."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .object_table import ObjectTable, plane_text

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.core.masks import PlaneMask

    from .label_planes import Position

__all__ = ["STACK", "DrawnObject", "Drawing", "label_type", "paint", "warn_of_no_area"]

#: Key of the plane number in a stack.
STACK = "stack"


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """One object on one plane.

    Parameters
    ----------
    mask : callable
        Called with (height, width) of the plane; returns the PlaneMask clipped to it.
    place : tuple of int, or mapping of str to int
        Index of the plane along the axes before rows and columns. Or a mapping from z, t and c,
        where a missing letter means every plane, and `STACK` is the number of the plane in a stack
        whose channels change fastest, then depth.
    label : int, optional
        Label stated by the file.
    known : mapping
        Further values: "class", "score" and so on.
    """

    mask: Callable[[tuple[int, int]], PlaneMask] = field(repr=False)
    place: Position | Mapping[str, int] = ()
    label: int | None = None
    known: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Drawing:
    """The objects of a file.

    Parameters
    ----------
    objects : sequence of DrawnObject
        In the order of the file.
    shape : tuple of int, optional
        Shape of the label image, if stated.
    axes : ImageAxes, optional
        Axes of the label image, if stated.
    plane_shape : tuple of int, optional
        (height, width), if only these are stated.
    in_parts : bool
        Objects on one plane with the same label are parts of one object. Otherwise the first
        keeps the label, and the others get new ones.
    """

    objects: Sequence[DrawnObject]
    shape: tuple[int, ...] | None = None
    axes: ImageAxes | None = None
    plane_shape: tuple[int, int] | None = None
    in_parts: bool = False


def paint(
    drawing: Drawing, shape: Sequence[int], axes: ImageAxes
) -> tuple[npt.NDArray[Any], ObjectTable]:
    """Paint a drawing into a label image.

    Smaller objects are painted over larger ones. Objects without a label are numbered in the order
    of the file, starting after the largest stated label. Objects are clipped to the image. A
    warning counts overlaps, and objects that are hidden or outside.

    Parameters
    ----------
    drawing : Drawing
        The objects.
    shape : sequence of int
        Shape of the label image.
    axes : ImageAxes
        Axes of the label image.

    Returns
    -------
    labels : ndarray of integers
        Of the type from `label_type`.
    table : ObjectTable
        Values of the objects.

    Raises
    ------
    sam3.errors.ImageError
        If an object lies on a plane outside the image, or the image does not fit into memory.
    """
    placed = [
        (one, position)
        for one in drawing.objects
        for position in _positions(one.place, tuple(shape[:-2]), axes)
    ]
    numbers = _numbers(placed, drawing.in_parts)
    try:
        labels: npt.NDArray[Any] = np.zeros(tuple(shape), label_type(numbers))
    except (MemoryError, ValueError) as error:
        raise ImageError(
            f"labels of shape {tuple(shape)} do not fit into memory. Expected the size of the "
            "image. Check the file and the given size."
        ) from error
    rows: dict[tuple[int, str], Mapping[str, Any]] = {}
    by_plane: dict[Position, list[tuple[int, DrawnObject]]] = {}
    for (one, position), number in zip(placed, numbers, strict=True):
        by_plane.setdefault(position, []).append((number, one))
        if one.known:
            key = number, plane_text(position)
            rows[key] = {**one.known, **rows.get(key, {})}
    counts = np.zeros(3, np.int64)
    for position, objects in by_plane.items():
        counts += _paint_plane(labels[position], objects)
    _warn(*counts.tolist())
    return labels, ObjectTable(rows)


def _paint_plane(
    plane: npt.NDArray[Any], objects: Sequence[tuple[int, DrawnObject]]
) -> tuple[int, int, int]:
    """Paint the objects of a plane; count px of overlap, hidden objects, and objects outside."""
    height, width = plane.shape
    drawn = [(number, one.mask((height, width))) for number, one in objects]
    inside = [(number, mask) for number, mask in drawn if not mask.is_empty]
    overlaps = 0
    for number, mask in sorted(inside, key=lambda pair: -pair[1].area):
        region = plane[mask.region]
        overlaps += int(np.count_nonzero(mask.crop & (region != 0) & (region != number)))
        region[mask.crop] = number
    painted = {number for number, _ in inside}
    covered = len(painted) - len(painted.intersection(np.unique(plane).tolist()))
    return overlaps, covered, len(drawn) - len(inside)


def _positions(
    place: Position | Mapping[str, int], lengths: tuple[int, ...], axes: ImageAxes
) -> list[Position]:
    """Return the planes of an object."""
    ranges = _by_letter(place, lengths, axes) if isinstance(place, Mapping) else [
        range(at, at + 1) for at in (place or (0,) * lengths.count(1))
    ]  # fmt: skip
    inside = len(ranges) == len(lengths) and all(
        one.start >= 0 and one.stop <= length for one, length in zip(ranges, lengths, strict=True)
    )
    if not inside:
        where = f"on the plane {dict(place) if isinstance(place, Mapping) else place}"
        raise ImageError(
            f"the file has an object {where if place else 'of a single plane'}, which labels with "
            f"{lengths or 'no'} planes before rows and columns do not have. Expected a file of the "
            "same image. Choose the image that it belongs to."
        )
    return list(itertools.product(*ranges))


def _by_letter(
    place: Mapping[str, int], lengths: tuple[int, ...], axes: ImageAxes
) -> Sequence[range]:
    """Return the indices along each axis; an invalid range if the labels lack the plane."""
    letters = axes.letters(lengths)
    at = dict(place)
    number = at.pop(STACK, None)
    if number is not None:
        order = sorted(range(len(lengths)), key=lambda axis: "tzc".find(letters[axis]))
        size = math.prod(lengths)
        if not 0 <= number < size:
            return [range(-1, 0)]
        for axis in reversed(order):
            number, at[letters[axis]] = divmod(number, lengths[axis])
    if any(n > 0 for letter, n in at.items() if letter not in letters):
        return [range(-1, 0)]
    return [
        range(at[letter], at[letter] + 1) if letter in at else range(length)
        for letter, length in zip(letters, lengths, strict=True)
    ]


def label_type(labels: Collection[int]) -> Any:
    """Return the smallest of uint16, uint32, uint64, or int64 for negative labels, that fits."""
    low, high = min(labels, default=0), max(labels, default=0)
    types = (np.uint16, np.uint32, np.uint64) if low >= 0 else (np.int64,)
    return next(kind for kind in types if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)


def _numbers(placed: Sequence[tuple[DrawnObject, Position]], in_parts: bool) -> list[int]:
    """Return the label of each object."""
    used: set[tuple[int, Position]] = set()
    stated: list[int | None] = []
    negative = any(one.label is not None and one.label < 0 for one, _ in placed)
    limits = np.iinfo(np.int64 if negative else np.uint64)
    for one, position in placed:
        label = one.label if one.label and limits.min <= one.label <= limits.max else None
        if label is not None and (label, position) in used and not in_parts:
            label = None
        if label is not None:
            used.add((label, position))
        stated.append(label)
    following = max((0, *(label for label in stated if label is not None))) + 1
    if following + len(placed) > limits.max:  # numbers that no object has
        following = _gap({label for label in stated if label is not None}, len(placed))
    given: dict[int, int] = {}  # an object on every plane is one object
    numbers = []
    for (one, _), label in zip(placed, stated, strict=True):
        if label is None:
            label = given.setdefault(id(one), following)
            following = max(following, label + 1)
        numbers.append(label)
    return numbers


def _gap(labels: set[int], length: int) -> int:
    """Return the first label of a gap between labels of this length."""
    ends = sorted(label for label in labels if label >= 0)
    return next(low + 1 for low, high in pairwise([0, *ends]) if high - low > length)


def _warn(overlaps: int, covered: int, outside: int) -> None:
    texts = []
    if overlaps:
        texts.append(
            f"objects overlap in {overlaps} px, where the smaller object is kept (a label image "
            "has one label per pixel)"
        )
    if covered:
        texts.append(f"{covered} object(s) are hidden by others and skipped")
    if outside:
        texts.append(f"{outside} object(s) lie outside the image and are skipped")
    if texts:
        warnings.warn("; ".join(texts), stacklevel=4)


def warn_of_no_area(count: int) -> None:
    """Warn that objects without area are skipped."""
    warnings.warn(
        f"{count} object(s) have no area, such as points, lines and boxes, and are skipped",
        stacklevel=3,
    )
