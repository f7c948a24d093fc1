"""Prompts of a batch, by plane and object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompt_rows import DECIMALS, object_of, read_shape
from napari_sam3.core.prompts import PromptSet, parse_polarity
from sam3.errors import PromptError

__all__ = ["MAX_ID", "BatchPrompts", "Position", "PromptEntry", "prompts_from_layers"]

#: Position of a plane on every axis before rows and columns; () for a 2-D image.
Position = tuple[int, ...]
MAX_ID = int(np.iinfo(np.uint32).max)


@dataclass(frozen=True)
class PromptEntry:
    """One prompt of a table or a layer.

    Parameters
    ----------
    position : tuple of int
        Position of its plane.
    prompts : PromptSet
        The prompt alone.
    object : int, optional
        Id of the object. Without one, `object_of` assigns the object started last on the plane, or
        a new one.
    place : str
        Its position in the table or layer, for messages.
    """

    position: Position
    prompts: PromptSet
    object: int | None = None
    place: str = "a prompt"


@dataclass(frozen=True)
class BatchPrompts:
    """Prompts by plane and object.

    Parameters
    ----------
    planes : mapping of tuple of int to mapping of int to PromptSet
        Prompts of each plane, by position, for each object, by id from 1. The same id on several
        planes is one object.

    Raises
    ------
    sam3.errors.PromptError
        If an id cannot be a label, or an object has no prompt that marks it.
    """

    planes: Mapping[Position, Mapping[int, PromptSet]]

    def __post_init__(self) -> None:
        """Check all ids and prompts, and sort them."""
        for position, objects in self.planes.items():
            for number, prompts in objects.items():
                if not 1 <= number <= MAX_ID:
                    raise PromptError(
                        f"object {number} on {_plane(position)} cannot be a label. Expected a "
                        f"whole number from 1 to {MAX_ID}. Give it another number."
                    )
                if not prompts.has_target:
                    raise PromptError(
                        f"object {number} on {_plane(position)} has background clicks only "
                        f"({len(prompts.points)}). Expected a foreground click or a box that "
                        "shows where it is. Add one."
                    )
        ordered = {
            position: dict(sorted(objects.items()))
            for position, objects in sorted(self.planes.items())
            if objects
        }
        object.__setattr__(self, "planes", ordered)

    @classmethod
    def from_rows(cls, rows: Iterable[PromptEntry]) -> BatchPrompts:
        """Group rows into objects, in the given order.

        Raises
        ------
        sam3.errors.PromptError
            With the row, if an object has two boxes on a plane, or a background click without
            object precedes all objects.
        """
        rows = list(rows)
        used = {row.object for row in rows if row.object is not None}
        free = (number for number in range(1, MAX_ID + 1) if number not in used)
        planes: dict[Position, dict[int, PromptSet]] = {}
        last: dict[Position, int] = {}
        for row in rows:
            number = row.object
            if number is None:
                number = object_of(row.prompts, last.get(row.position))
            if number is None and row.prompts.has_target:
                number = next(free)
            if number is None:
                raise PromptError(
                    f"{row.place}: a background click comes before any object of its plane. "
                    "Expected a click or box of the object first. Put it after the foreground "
                    "click or box it belongs to, or give it an object."
                )
            last[row.position] = number
            objects = planes.setdefault(row.position, {})
            before = objects.get(number, PromptSet())
            if before.box is not None and row.prompts.box is not None:
                raise PromptError(
                    f"{row.place}: object {number} has a second box on {_plane(row.position)}. "
                    "Expected one box per object and plane. Remove one."
                )
            objects[number] = before.joined(row.prompts)
        return cls(planes)

    @property
    def is_empty(self) -> bool:
        """Whether there are no prompts."""
        return not self.planes

    @property
    def objects(self) -> tuple[int, ...]:
        """All ids, ascending."""
        return tuple(sorted({number for objects in self.planes.values() for number in objects}))

    def on(self, position: Position) -> Mapping[int, PromptSet]:
        """Return the objects of a plane, possibly none."""
        return self.planes.get(position, {})

    def at(self, positions: Sequence[Position]) -> BatchPrompts:
        """Return the prompts of some planes."""
        return BatchPrompts({one: self.planes[one] for one in positions if one in self.planes})

    def rows(self) -> Iterator[PromptEntry]:
        """Yield single prompts by plane and object, boxes first."""
        for position, objects in self.planes.items():
            for number, prompts in objects.items():
                if prompts.box is not None:
                    whole = PromptSet(box=prompts.box, outline=prompts.outline)
                    yield PromptEntry(position, whole, number)
                for point, label in zip(prompts.points, prompts.labels, strict=True):
                    yield PromptEntry(position, PromptSet((point,), (label,)), number)

    def check_inside(self, shape: Sequence[int]) -> None:
        """Check that every prompt lies on a plane of an image, and inside it.

        Parameters
        ----------
        shape : sequence of int
            Shape of the image without colours, with rows and columns last.

        Raises
        ------
        sam3.errors.PromptError
            With the plane and the object.
        """
        leading, plane = tuple(shape[:-2]), (int(shape[-2]), int(shape[-1]))
        for position, objects in self.planes.items():
            if len(position) != len(leading) or any(
                not 0 <= at < length for at, length in zip(position, leading, strict=True)
            ):
                ranges = ", ".join(f"0 to {length - 1}" for length in leading)
                raise PromptError(
                    f"there are prompts on {_plane(position)}, which the image of shape "
                    f"{tuple(shape)} does not have. Expected {ranges or 'no plane number'}. "
                    "Correct the planes, or choose the image of these prompts."
                )
            for number, prompts in objects.items():
                try:
                    prompts.check_inside(plane)
                except PromptError as error:
                    raise PromptError(f"object {number} on {_plane(position)}: {error}") from error


def prompts_from_layers(
    points: npt.ArrayLike | None = None,
    polarity: Sequence[Any] | npt.NDArray[Any] | None = None,
    shapes: Sequence[npt.ArrayLike] = (),
    shape_types: Sequence[str] | str = "rectangle",
    *,
    ndim: int,
    point_objects: Sequence[int] | None = None,
    shape_objects: Sequence[int] | None = None,
) -> BatchPrompts:
    """Read the prompts of n-D Points and Shapes on all planes.

    Parameters
    ----------
    points : array-like, N x D, optional
        Rows of a Points layer in px of the image: (..., y, x).
    polarity : sequence of N, optional
        See `napari_sam3.core.prompts.parse_polarity`; by default all foreground.
    shapes : sequence of array-like, V x D
        Corners of each shape, all on one plane; lines are skipped.
    shape_types : sequence of str, or str
        In napari's terms: rectangle, ellipse, polygon.
    ndim : int
        Number D of axes of the image without colours.
    point_objects, shape_objects : sequence of int, optional
        Ids of the objects of the rows; 0 for a new object. See `PromptEntry`.

    Returns
    -------
    BatchPrompts

    Raises
    ------
    sam3.errors.PromptError
        If a row cannot be read.
    """
    rows: list[PromptEntry] = []
    types = [shape_types] * len(shapes) if isinstance(shape_types, str) else list(shape_types)
    for i, (corners, kind) in enumerate(zip(shapes, types, strict=True)):
        vertices = _positions(corners, ndim, f"shape {i}")
        position = _nearest(vertices[0]) if len(vertices) else ()
        plane = PlaneIndex((ndim - 2, ndim - 1), position)
        prompts = read_shape(vertices, kind, plane) if len(vertices) else None
        if prompts is not None:
            rows.append(PromptEntry(position, prompts, _id_of(shape_objects, i), f"shape {i}"))
    clicks = _positions([] if points is None else points, ndim, "points")
    labels = ["foreground"] * len(clicks) if polarity is None else list(polarity)
    if len(labels) != len(clicks):
        raise PromptError(
            f"{len(clicks)} points came with {len(labels)} polarities. Expected one polarity per "
            "point. Pass as many polarities as points."
        )
    for i, (at, label) in enumerate(zip(clicks, labels, strict=True)):
        click = PromptSet(((float(at[-1]), float(at[-2])),), (parse_polarity(label),))
        rows.append(PromptEntry(_nearest(at), click, _id_of(point_objects, i), f"point {i}"))
    return BatchPrompts.from_rows(rows)


def _positions(values: npt.ArrayLike, ndim: int, name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros((0, ndim))
    if array.ndim != 2 or array.shape[1] != ndim or not np.isfinite(array).all():
        raise PromptError(
            f"{name} of shape {array.shape} are not positions in an image of {ndim} axes. "
            f"Expected finite numbers, N x {ndim}. Pass one row per point."
        )
    return array.round(DECIMALS)


def _nearest(place: npt.NDArray[np.float64]) -> Position:
    return tuple(nearest(place[:-2]).tolist())


def _id_of(numbers: Sequence[int] | None, row: int) -> int | None:
    return (int(numbers[row]) or None) if numbers is not None else None


def _plane(position: Position) -> str:
    return f"plane {' '.join(map(str, position))}" if position else "the plane"
