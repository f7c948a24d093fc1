"""The prompts of a batch: which objects are shown to the model on which planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompt_rows import object_of
from napari_sam3.core.prompts import DECIMALS, PromptSet, parse_polarity, read_shape
from sam3.errors import PromptError

__all__ = ["MAX_ID", "BatchPrompts", "Position", "PromptEntry", "prompts_from_layers"]

#: Place of a plane on every axis before rows and columns; () for a 2-D image.
Position = tuple[int, ...]
MAX_ID = int(np.iinfo(np.uint32).max)


@dataclass(frozen=True)
class PromptEntry:
    """One prompt of a table or layer.

    Parameters
    ----------
    position : tuple of int
        Its plane.
    prompts : PromptSet
        Nothing but that prompt.
    object : int, optional
        The object's id. Without one it is that of `object_of`, by what was started last on its
        plane.
    place : str
        Where it stands, for messages.
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
        Objects by their ids, 1 or more, of each plane by its position. An id that stands on several
        planes is one object.

    Raises
    ------
    sam3.errors.PromptError
        If an id cannot be a label, or nothing says where an object is.
    """

    planes: Mapping[Position, Mapping[int, PromptSet]]

    def __post_init__(self) -> None:
        """Check what every mode relies on, and put everything in order."""
        for position, objects in self.planes.items():
            for number, prompts in objects.items():
                if not 1 <= number <= MAX_ID:
                    raise PromptError(
                        f"object {number} on {_plane(position)} cannot be a label; expected a "
                        f"whole number from 1 to {MAX_ID}"
                    )
                if not prompts.has_target:
                    raise PromptError(
                        f"object {number} on {_plane(position)} has background clicks only "
                        f"({len(prompts.points)}); add a foreground click or a box that says "
                        "where it is"
                    )
        ordered = {
            position: dict(sorted(objects.items()))
            for position, objects in sorted(self.planes.items())
            if objects
        }
        object.__setattr__(self, "planes", ordered)

    @classmethod
    def from_rows(cls, rows: Iterable[PromptEntry]) -> BatchPrompts:
        """Gather rows into objects, in the order given.

        Raises
        ------
        sam3.errors.PromptError
            Naming the row, if an object has two boxes on a plane, or a background click without
            an object comes before any.
        """
        rows = list(rows)
        taken = {row.object for row in rows if row.object is not None}
        free = (number for number in range(1, MAX_ID + 1) if number not in taken)
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
                    f"{row.place}: a background click comes before any object of its plane; put "
                    "it after the foreground click or box it belongs to, or give it an object"
                )
            last[row.position] = number
            objects = planes.setdefault(row.position, {})
            before = objects.get(number, PromptSet())
            if before.box is not None and row.prompts.box is not None:
                raise PromptError(
                    f"{row.place}: object {number} has a second box on {_plane(row.position)}; "
                    "give it one"
                )
            objects[number] = before.joined(row.prompts)
        return cls(planes)

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return not self.planes

    @property
    def objects(self) -> tuple[int, ...]:
        """All ids, ascending."""
        return tuple(sorted({number for objects in self.planes.values() for number in objects}))

    def on(self, position: Position) -> Mapping[int, PromptSet]:
        """Return the objects of a plane; none is an empty mapping."""
        return self.planes.get(position, {})

    def at(self, positions: Sequence[Position]) -> BatchPrompts:
        """Return the prompts of these planes only."""
        return BatchPrompts({one: self.planes[one] for one in positions if one in self.planes})

    def rows(self) -> Iterator[PromptEntry]:
        """Yield the prompts one by one, by plane and object, the box first."""
        for position, objects in self.planes.items():
            for number, prompts in objects.items():
                if prompts.box is not None:
                    whole = PromptSet(box=prompts.box, outline=prompts.outline)
                    yield PromptEntry(position, whole, number)
                for point, label in zip(prompts.points, prompts.labels, strict=True):
                    yield PromptEntry(position, PromptSet((point,), (label,)), number)

    def check_inside(self, shape: Sequence[int]) -> None:
        """Check that every prompt lies on a plane of an image, and in it.

        Parameters
        ----------
        shape : sequence of int
            Of the image without colours, rows and columns last.

        Raises
        ------
        sam3.errors.PromptError
            Naming the plane and the object.
        """
        leading, plane = tuple(shape[:-2]), (int(shape[-2]), int(shape[-1]))
        for position, objects in self.planes.items():
            if len(position) != len(leading) or any(
                not 0 <= at < length for at, length in zip(position, leading, strict=True)
            ):
                ranges = ", ".join(f"0 to {length - 1}" for length in leading)
                raise PromptError(
                    f"there are prompts on {_plane(position)}, which the image of shape "
                    f"{tuple(shape)} does not have; expected {ranges or 'no plane number'}"
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
    """Read the prompts that stand on all planes of n-D Points and Shapes.

    Parameters
    ----------
    points : array-like, N x D, optional
        Rows of a Points layer in px of the image: (..., y, x).
    polarity : sequence of N, optional
        See `napari_sam3.core.prompts.parse_polarity`; all foreground if not given.
    shapes : sequence of array-like, V x D
        Corners of each shape, all of one shape on one plane; lines are passed over.
    shape_types : sequence of str, or str
        As napari names them: rectangle, ellipse, polygon.
    ndim : int
        D, the number of axes of the image without colours.
    point_objects, shape_objects : sequence of int, optional
        Ids of the objects that rows belong to; 0 where there is none yet. See `PromptEntry`.

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
        found = read_shape(vertices, kind, plane) if len(vertices) else None
        if found is not None:
            rows.append(PromptEntry(position, found, _given(shape_objects, i), f"shape {i}"))
    places = _positions([] if points is None else points, ndim, "points")
    labels = ["foreground"] * len(places) if polarity is None else list(polarity)
    if len(labels) != len(places):
        raise PromptError(f"{len(places)} points came with {len(labels)} polarities; give one each")
    for i, (place, label) in enumerate(zip(places, labels, strict=True)):
        click = PromptSet(((float(place[-1]), float(place[-2])),), (parse_polarity(label),))
        rows.append(PromptEntry(_nearest(place), click, _given(point_objects, i), f"point {i}"))
    return BatchPrompts.from_rows(rows)


def _positions(values: npt.ArrayLike, ndim: int, name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros((0, ndim))
    if array.ndim != 2 or array.shape[1] != ndim or not np.isfinite(array).all():
        raise PromptError(
            f"{name} of shape {array.shape} are not positions in an image of {ndim} axes; expected "
            f"finite numbers, N x {ndim}"
        )
    return array.round(DECIMALS)


def _nearest(place: npt.NDArray[np.float64]) -> Position:
    return tuple(nearest(place[:-2]).tolist())


def _given(numbers: Sequence[int] | None, row: int) -> int | None:
    return (int(numbers[row]) or None) if numbers is not None else None


def _plane(position: Position) -> str:
    return f"plane {' '.join(map(str, position))}" if position else "the plane"
