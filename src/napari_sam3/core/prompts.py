"""Prompts for one object: immutable, in SAM's (x, y) order. The only place axes are flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import PromptError

from .errors import MissedError
from .planes import PlaneIndex, nearest

__all__ = [
    "MIN_BOX_SIDE",
    "Box",
    "PromptSet",
    "box_from_vertices",
    "on_plane",
    "parse_polarity",
    "read_points",
    "read_shape",
]

Box = tuple[float, float, float, float]
FloatArray = npt.NDArray[np.float64]

# Layers hand positions back with the rounding errors of their transforms; prompts that went to
# a layer and came back have to be equal to what they were.
DECIMALS = 4
# A plain click with napari's rectangle tool leaves a rectangle of about two pixels.
MIN_BOX_SIDE = 2.5
ELLIPSE_CORNERS = 64


@dataclass(frozen=True)
class PromptSet:
    """All prompts of one object on one plane.

    Parameters
    ----------
    points : tuple of (x, y)
        Clicks in px of the plane, pixel centres at integers.
    labels : tuple of int
        1 for a foreground click, 0 for a background click, one for each point.
    box : tuple of float, optional
        (x0, y0, x1, y1) in px of the plane, x0 < x1 and y0 < y1.
    outline : tuple of (x, y)
        Corners of a polygon drawn around the object, in px of the plane; it comes with its box.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    outline: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if len(self.points) != len(self.labels):
            raise PromptError(
                f"{len(self.points)} points came with {len(self.labels)} labels; give one "
                "label for each point (1 foreground, 0 background)"
            )
        if not set(self.labels) <= {0, 1}:
            raise PromptError(f"labels must be 1 or 0 for each point, got {self.labels}")
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (x0 < x1 and y0 < y1):
                raise PromptError(f"the box {self.box} has no area; expected x0 < x1 and y0 < y1")

    @classmethod
    def from_arrays(
        cls,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
    ) -> PromptSet:
        """Build prompts from arrays.

        Parameters
        ----------
        points : array-like, N x 2, optional
            (x, y) in px of the plane.
        labels : array-like, N, optional
            Polarities (see `parse_polarity`); all foreground if not given.
        box : array-like, 4, optional
            (x0, y0, x1, y1); corners may be swapped.

        Raises
        ------
        sam3.errors.PromptError
            If a shape is wrong, a value not finite, or the box has no area.
        """
        xy = _rows(points, 2, "points")
        if labels is None:
            polarity: tuple[int, ...] = (1,) * len(xy)
        else:
            given = labels if isinstance(labels, list | tuple) else np.atleast_1d(labels).tolist()
            polarity = tuple(map(parse_polarity, given))
        corners = None
        if box is not None:
            flat = _rows(box, 4, "box")
            if len(flat) != 1:
                raise PromptError(f"one object has one box (x0, y0, x1, y1), got {len(flat)}")
            corners = _checked_box(*(float(value) for value in flat[0]))
        return cls(tuple((float(x), float(y)) for x, y in xy), polarity, corners)

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return not self.points and self.box is None

    @property
    def has_target(self) -> bool:
        """Whether something says where the object is: a foreground click or a box."""
        return self.box is not None or 1 in self.labels

    @property
    def is_single_click(self) -> bool:
        """Whether this is one foreground click and nothing else (an ambiguous prompt)."""
        return self.labels == (1,) and self.box is None

    @property
    def bounds(self) -> Box:
        """(x0, y0, x1, y1) around all points and the box."""
        xs, ys = self.corner_arrays()
        return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())

    @property
    def extent(self) -> float | None:
        """Longer side in px of the box, if there is one: about how large the object is."""
        return None if self.box is None else _longer_side(self.box)

    def corner_arrays(self) -> tuple[FloatArray, FloatArray]:
        """All x and all y of points and box corners."""
        corners = list(self.points)
        if self.box is not None:
            corners += [(self.box[0], self.box[1]), (self.box[2], self.box[3])]
        if not corners:
            raise PromptError("there is no prompt; click on an object or draw a box around it")
        array = np.asarray(corners, np.float64)
        return array[:, 0], array[:, 1]

    def point_coords(self) -> FloatArray:
        """Points as an N x 2 array, (x, y) in px."""
        return np.asarray(self.points, np.float64).reshape(-1, 2)

    def point_labels(self) -> npt.NDArray[np.int64]:
        """Labels as an array of N."""
        return np.asarray(self.labels, np.int64)

    def with_point(self, x: float, y: float, label: int = 1) -> PromptSet:
        """Return these prompts with one more click."""
        return replace(self, points=(*self.points, (x, y)), labels=(*self.labels, label))

    def with_outline(self, corners: npt.ArrayLike) -> PromptSet:
        """Return these prompts with a polygon (V x 2, (x, y) in px) and its box."""
        xy = _rows(corners, 2, "outline")
        if len(xy) < 3:
            raise PromptError(f"an outline of {len(xy)} corners encloses nothing; draw at least 3")
        box = _checked_box(*xy.min(axis=0).tolist(), *xy.max(axis=0).tolist())
        return replace(self, box=box, outline=tuple((float(x), float(y)) for x, y in xy))

    def joined(self, other: PromptSet) -> PromptSet:
        """Return these prompts and others of the same object; the other's box takes over."""
        box, outline = (self.box, self.outline) if other.box is None else (other.box, other.outline)
        return PromptSet(self.points + other.points, self.labels + other.labels, box, outline)

    def extends(self, other: PromptSet) -> bool:
        """Whether these are `other` with at least one prompt more."""
        mine = set(zip(self.points, self.labels, strict=True))
        theirs = set(zip(other.points, other.labels, strict=True))
        same_shape = other.box in (None, self.box) and other.outline in ((), self.outline)
        return theirs <= mine and same_shape and self != other

    def clipped(self, shape: tuple[int, int]) -> PromptSet:
        """Return these prompts with the box cut to a plane of ``shape`` (height, width)."""
        if self.box is None:
            return self
        self.check_inside(shape)
        x0, y0, x1, y1 = self.box
        right, bottom = shape[1] - 0.5, shape[0] - 0.5
        box = max(x0, -0.5), max(y0, -0.5), min(x1, right), min(y1, bottom)
        return replace(self, box=box)

    def check_inside(self, shape: tuple[int, int]) -> None:
        """Check that every click lies in the image and the box meets it.

        Parameters
        ----------
        shape : tuple of int
            (height, width) of the plane in px.

        Raises
        ------
        sam3.errors.PromptError
            Naming the coordinate and the extent of the image.
        """
        height, width = shape
        extent = f"the image (rows 0 to {height - 1}, columns 0 to {width - 1})"
        for x, y in self.points:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise MissedError(
                    f"the click at row {y:.1f}, column {x:.1f} lies outside {extent}; "
                    "remove it or click inside"
                )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
                raise MissedError(
                    f"the box from row {y0:.1f}, column {x0:.1f} to row {y1:.1f}, column "
                    f"{x1:.1f} lies outside {extent}; draw it around an object"
                )


def parse_polarity(value: Any) -> int:
    """Read a polarity: 1 for foreground, 0 for background.

    Parameters
    ----------
    value : str, bool or int
        "foreground" or "background" (any case), True or False, 1 or 0.

    Raises
    ------
    sam3.errors.PromptError
        For anything else.
    """
    if isinstance(value, str):
        known = {"foreground": 1, "background": 0, "1": 1, "0": 0, "true": 1, "false": 0}
        if value.strip().lower() in known:
            return known[value.strip().lower()]
    elif isinstance(value, bool | int | float | np.generic) and value in (0, 1):
        return int(value)
    raise PromptError(
        f"{value!r} is not a polarity; expected 'foreground' or 'background', True or False, 1 or 0"
    )


def on_plane(rows: FloatArray, plane: PlaneIndex) -> npt.NDArray[np.bool_]:
    """Select the n-D rows that lie on a plane.

    Parameters
    ----------
    rows : ndarray, N x D
        Positions in px of the image data, all D axes in the data's order.
    plane : PlaneIndex
        A plane of data with D axes.

    Returns
    -------
    ndarray of bool, N
    """
    if not plane.index:
        return np.ones(len(rows), bool)
    # Layers give positions with noise in the last digits, which must not decide on halves.
    places = nearest(rows[:, list(plane.other_axes)].round(DECIMALS))
    return np.asarray((places == np.asarray(plane.index)).all(axis=1))


def read_points(
    points: npt.ArrayLike, polarity: Sequence[Any] | npt.NDArray[Any], plane: PlaneIndex
) -> dict[int, PromptSet]:
    """Read the clicks that lie on one plane from rows of layer data.

    Parameters
    ----------
    points : array-like, N x D
        Rows of a Points layer, in px of the image data, napari's axis order.
    polarity : sequence of N
        One polarity for each row.
    plane : PlaneIndex
        The plane shown; prompts on any other plane are left out.

    Returns
    -------
    dict from int to PromptSet
        One click for each row on the plane, by the row's number.

    Raises
    ------
    sam3.errors.PromptError
        For a polarity that cannot be read.
    """
    rows = np.asarray(points, np.float64).reshape(-1, plane.ndim).round(DECIMALS)
    row_axis, column_axis = plane.axes
    return {
        i: PromptSet(
            ((float(rows[i, column_axis]), float(rows[i, row_axis])),),
            (parse_polarity(polarity[i]),),
        )
        for i in np.flatnonzero(on_plane(rows, plane)).tolist()
    }


def read_shape(vertices: npt.ArrayLike, kind: str, plane: PlaneIndex) -> PromptSet | None:
    """Read a drawn shape as a prompt.

    Parameters
    ----------
    vertices : array-like, V x D
        Its corners as napari keeps them, in px of the image data.
    kind : str
        A rectangle is a box. Ellipses, polygons and turned rectangles are an outline and its box.
    plane : PlaneIndex
        The plane shown.

    Returns
    -------
    PromptSet or None
        None for a shape on another plane, one that a plain click left behind, or a line.

    Raises
    ------
    sam3.errors.PromptError
        If a side is shorter than `MIN_BOX_SIDE` px.
    """
    rows = np.asarray(vertices, np.float64).reshape(-1, plane.ndim).round(DECIMALS)
    if kind not in ("rectangle", "ellipse", "polygon") or not on_plane(rows, plane).all():
        return None
    if _left_by_a_click(rows, plane):
        return None
    xy = rows[:, [plane.axes[1], plane.axes[0]]]
    if kind == "rectangle" and (np.isclose(np.roll(xy, -1, 0), xy).any(axis=1)).all():
        return PromptSet(box=box_from_vertices(rows, plane))
    if kind == "ellipse":
        # napari keeps the corners of the rectangle around it.
        turn = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
        middle, u, v = (xy[0] + xy[2]) / 2, (xy[1] - xy[0]) / 2, (xy[3] - xy[0]) / 2
        xy = (middle + u * np.cos(turn) + v * np.sin(turn)).round(DECIMALS)
    return PromptSet().with_outline(xy)


def box_from_vertices(vertices: FloatArray, plane: PlaneIndex) -> Box:
    """Return the box (x0, y0, x1, y1) around a rectangle's V x D corners.

    Raises
    ------
    sam3.errors.PromptError
        If a side is shorter than `MIN_BOX_SIDE` px.
    """
    y, x = vertices[:, plane.axes[0]], vertices[:, plane.axes[1]]
    return _checked_box(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def _longer_side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _left_by_a_click(vertices: FloatArray, plane: PlaneIndex) -> bool:
    sides = np.ptp(vertices[:, list(plane.axes)], axis=0)
    return bool((sides < MIN_BOX_SIDE).all())


def _checked_box(x0: float, y0: float, x1: float, y1: float) -> Box:
    x0, x1 = sorted((x0, x1))
    y0, y1 = sorted((y0, y1))
    if x1 - x0 < MIN_BOX_SIDE or y1 - y0 < MIN_BOX_SIDE:
        raise MissedError(
            f"a box of {x1 - x0:.1f} x {y1 - y0:.1f} px has no usable area; draw one of at "
            f"least {MIN_BOX_SIDE} px a side around the object"
        )
    return x0, y0, x1, y1


def _rows(values: npt.ArrayLike | None, columns: int, name: str) -> FloatArray:
    if values is None:
        return np.zeros((0, columns))
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be N x {columns} numbers, got {values!r}") from error
    if array.size == 0:
        return np.zeros((0, columns))
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != columns:
        raise PromptError(f"{name} must be N x {columns}, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers, got {array.tolist()}")
    return array
