"""Prompts of one object: immutable, in SAM's (x, y) order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import PromptError

from .errors import MissedError

__all__ = ["MIN_BOX_SIDE", "Box", "PromptSet", "checked_box", "parse_polarity"]

Box = tuple[float, float, float, float]
FloatArray = npt.NDArray[np.float64]

# A single click with napari's rectangle tool leaves a rectangle of about two pixels.
MIN_BOX_SIDE = 2.5


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
            corners = checked_box(*(float(value) for value in flat[0]))
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
        box = checked_box(*xy.min(axis=0).tolist(), *xy.max(axis=0).tolist())
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


def _longer_side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def checked_box(x0: float, y0: float, x1: float, y1: float) -> Box:
    """Return a box with its corners in order; raise MissedError for one that is too small."""
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
