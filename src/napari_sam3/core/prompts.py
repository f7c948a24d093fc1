"""Prompts of one object: immutable, in SAM's (x, y) order. No other module swaps axes."""

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

# Layers return positions with the rounding errors of their transforms. Rounding makes prompts equal
# that were written to a layer and read back.
DECIMALS = 4
# A single click with napari's rectangle tool leaves a rectangle of about two pixels.
MIN_BOX_SIDE = 2.5
ELLIPSE_CORNERS = 64


@dataclass(frozen=True)
class PromptSet:
    """All prompts of one object on one plane.

    Parameters
    ----------
    points : tuple of (x, y)
        Clicks in px of the plane; pixel centres are at integers.
    labels : tuple of int
        1 for foreground, 0 for background, one per point.
    box : tuple of float, optional
        (x0, y0, x1, y1) in px of the plane, with x0 < x1 and y0 < y1.
    outline : tuple of (x, y)
        Corners of a polygon around the object, in px of the plane, in addition to its box.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    outline: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts are consistent."""
        if len(self.points) != len(self.labels):
            raise PromptError(
                f"{len(self.points)} points have {len(self.labels)} labels. Expected one label "
                "per point: 1 for foreground, 0 for background. Correct the labels."
            )
        if not set(self.labels) <= {0, 1}:
            raise PromptError(
                f"invalid labels of points: {self.labels}. Expected 1 or 0. Correct them."
            )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (x0 < x1 and y0 < y1):
                raise PromptError(
                    f"the box {self.box} has no area. Expected x0 < x1 and y0 < y1. Correct its "
                    "corners."
                )

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
            Polarities (see `parse_polarity`); all foreground by default.
        box : array-like, 4, optional
            (x0, y0, x1, y1); corners may be swapped.

        Raises
        ------
        sam3.errors.PromptError
            If a shape is wrong, a value is not finite, or the box has no area.
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
                raise PromptError(
                    f"{len(flat)} boxes for one object. Expected (x0, y0, x1, y1). Pass one box "
                    "per object."
                )
            corners = _checked_box(*(float(value) for value in flat[0]))
        return cls(tuple((float(x), float(y)) for x, y in xy), polarity, corners)

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return not self.points and self.box is None

    @property
    def has_target(self) -> bool:
        """Whether a foreground click or a box marks the object."""
        return self.box is not None or 1 in self.labels

    @property
    def is_single_click(self) -> bool:
        """Whether there is only one foreground click, which is an ambiguous prompt."""
        return self.labels == (1,) and self.box is None

    @property
    def bounds(self) -> Box:
        """(x0, y0, x1, y1) around all points and the box."""
        xs, ys = self.corner_arrays()
        return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())

    @property
    def extent(self) -> float | None:
        """Longer side of the box in px, if there is one, as an estimate of the object's size."""
        return None if self.box is None else _longer_side(self.box)

    def corner_arrays(self) -> tuple[FloatArray, FloatArray]:
        """Return all x and all y of points and box corners."""
        corners = list(self.points)
        if self.box is not None:
            corners += [(self.box[0], self.box[1]), (self.box[2], self.box[3])]
        if not corners:
            raise PromptError(
                "there is no prompt. Expected at least one click or box. Click on an object or "
                "draw a box around it."
            )
        array = np.asarray(corners, np.float64)
        return array[:, 0], array[:, 1]

    def point_coords(self) -> FloatArray:
        """Return the points as an N x 2 array, (x, y) in px."""
        return np.asarray(self.points, np.float64).reshape(-1, 2)

    def point_labels(self) -> npt.NDArray[np.int64]:
        """Return the labels as an array of N."""
        return np.asarray(self.labels, np.int64)

    def with_point(self, x: float, y: float, label: int = 1) -> PromptSet:
        """Return these prompts with an additional click."""
        return replace(self, points=(*self.points, (x, y)), labels=(*self.labels, label))

    def with_outline(self, corners: npt.ArrayLike) -> PromptSet:
        """Return these prompts with a polygon (V x 2, (x, y) in px) and its box."""
        xy = _rows(corners, 2, "outline")
        if len(xy) < 3:
            raise PromptError(
                f"the outline has {len(xy)} corners. Expected at least 3. Add corners."
            )
        box = _checked_box(*xy.min(axis=0).tolist(), *xy.max(axis=0).tolist())
        return replace(self, box=box, outline=tuple((float(x), float(y)) for x, y in xy))

    def joined(self, other: PromptSet) -> PromptSet:
        """Return these prompts with others of the same object; the other box has precedence."""
        box, outline = (self.box, self.outline) if other.box is None else (other.box, other.outline)
        return PromptSet(self.points + other.points, self.labels + other.labels, box, outline)

    def extends(self, other: PromptSet) -> bool:
        """Tell whether these are the other prompts with at least one more."""
        own = set(zip(self.points, self.labels, strict=True))
        others = set(zip(other.points, other.labels, strict=True))
        same_shape = other.box in (None, self.box) and other.outline in ((), self.outline)
        return others <= own and same_shape and self != other

    def clipped(self, shape: tuple[int, int]) -> PromptSet:
        """Return these prompts with the box clipped to a plane of ``shape`` (height, width)."""
        if self.box is None:
            return self
        self.check_inside(shape)
        x0, y0, x1, y1 = self.box
        right, bottom = shape[1] - 0.5, shape[0] - 0.5
        box = max(x0, -0.5), max(y0, -0.5), min(x1, right), min(y1, bottom)
        return replace(self, box=box)

    def check_inside(self, shape: tuple[int, int]) -> None:
        """Check that every click lies in the image and the box intersects it.

        Parameters
        ----------
        shape : tuple of int
            (height, width) of the plane in px.

        Raises
        ------
        sam3.errors.PromptError
            With the coordinate and the extent of the image.
        """
        height, width = shape
        extent = f"the image (rows 0 to {height - 1}, columns 0 to {width - 1})"
        for x, y in self.points:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise MissedError(
                    f"the click at row {y:.1f}, column {x:.1f} lies outside {extent}. Expected a "
                    "click on the plane. Remove it, or click inside."
                )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
                raise MissedError(
                    f"the box from row {y0:.1f}, column {x0:.1f} to row {y1:.1f}, column {x1:.1f} "
                    f"lies outside {extent}. Expected a box that overlaps the plane. Draw it "
                    "around an object."
                )


def parse_polarity(value: Any) -> int:
    """Parse a polarity: 1 for foreground, 0 for background.

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
        values = {"foreground": 1, "background": 0, "1": 1, "0": 0, "true": 1, "false": 0}
        if value.strip().lower() in values:
            return values[value.strip().lower()]
    elif isinstance(value, bool | int | float | np.generic) and value in (0, 1):
        return int(value)
    raise PromptError(
        f"invalid polarity: {value!r}. Expected 'foreground' or 'background', True or False, 1 or "
        "0. Choose one."
    )


def on_plane(rows: FloatArray, plane: PlaneIndex) -> npt.NDArray[np.bool_]:
    """Select the rows that lie on a plane.

    Parameters
    ----------
    rows : ndarray, N x D
        Positions in px of the image data, with all D axes in the order of the data.
    plane : PlaneIndex
        A plane of data with D axes.

    Returns
    -------
    ndarray of bool, N
    """
    if not plane.index:
        return np.ones(len(rows), bool)
    # The rounding errors of layers must not decide about halves.
    positions = nearest(rows[:, list(plane.other_axes)].round(DECIMALS))
    return np.asarray((positions == np.asarray(plane.index)).all(axis=1))


def read_points(
    points: npt.ArrayLike, polarity: Sequence[Any] | npt.NDArray[Any], plane: PlaneIndex
) -> dict[int, PromptSet]:
    """Read the clicks that lie on one plane from rows of layer data.

    Parameters
    ----------
    points : array-like, N x D
        Rows of a Points layer in px of the image data, in napari's order of axes.
    polarity : sequence of N
        One polarity per row.
    plane : PlaneIndex
        The displayed plane; prompts on other planes are ignored.

    Returns
    -------
    dict from int to PromptSet
        One click per row on the plane, by the index of the row.

    Raises
    ------
    sam3.errors.PromptError
        If a polarity is invalid.
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
        Corners as stored by napari, in px of the image data.
    kind : str
        A rectangle becomes a box; ellipses, polygons and rotated rectangles an outline and its box.
    plane : PlaneIndex
        The displayed plane.

    Returns
    -------
    PromptSet or None
        None for a shape on another plane, the trace of a single click, or a line.

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
    # A rectangle is upright if consecutive corners share a coordinate.
    if kind == "rectangle" and (np.isclose(np.roll(xy, -1, 0), xy).any(axis=1)).all():
        return PromptSet(box=box_from_vertices(rows, plane))
    # napari stores the corners of an ellipse's bounding rectangle.
    if kind == "ellipse":
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
            f"the box of {x1 - x0:.1f} x {y1 - y0:.1f} px is too small. Expected sides of at least "
            f"{MIN_BOX_SIDE} px. Draw it around the object."
        )
    return x0, y0, x1, y1


def _rows(values: npt.ArrayLike | None, columns: int, name: str) -> FloatArray:
    if values is None:
        return np.zeros((0, columns))
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"invalid {name}: {values!r}. Expected N x {columns} numbers. Pass such an array."
        ) from error
    if array.size == 0:
        return np.zeros((0, columns))
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != columns:
        raise PromptError(
            f"invalid {name}: shape {array.shape}. Expected N x {columns}. Reshape the array."
        )
    if not np.isfinite(array).all():
        raise PromptError(
            f"invalid {name}: {array.tolist()}. Expected finite numbers. Remove the others."
        )
    return array
