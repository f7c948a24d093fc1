"""Prompts from rows of layers and tables, and the objects that they belong to.

No other module swaps axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .planes import PlaneIndex, nearest
from .prompts import MIN_BOX_SIDE, Box, FloatArray, PromptSet, checked_box, parse_polarity

__all__ = ["DECIMALS", "box_from_vertices", "object_of", "on_plane", "read_points", "read_shape"]

# Layers return positions with the rounding errors of their transforms. Rounding makes prompts equal
# that were written to a layer and read back.
DECIMALS = 4
ELLIPSE_CORNERS = 64


def object_of(
    prompt: PromptSet, current: int | None, *, hit: int | None = None, one: bool = False
) -> int | None:
    """Return the number of the object that a prompt belongs to; None if there is none yet.

    A box starts an object, and so does a foreground click, unless it lies on one. A background
    click belongs to the object that it lies on, or else to the current one.

    Parameters
    ----------
    prompt : PromptSet
        Nothing but one click, box or outline.
    current : int, optional
        The object that was started last.
    hit : int, optional
        The object that the prompt lies on.
    one : bool
        All prompts belong to the current object.
    """
    if one:
        return current
    if hit is not None and prompt.box is None:
        return hit
    return None if prompt.has_target else current


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
    return checked_box(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def _left_by_a_click(vertices: FloatArray, plane: PlaneIndex) -> bool:
    sides = np.ptp(vertices[:, list(plane.axes)], axis=0)
    return bool((sides < MIN_BOX_SIDE).all())
