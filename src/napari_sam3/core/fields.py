"""Fields: the square regions of a plane that are encoded, and the conversion of masks.

The model's input is a square of ``resolution`` px, so a plane is covered by square regions of side
``resolution * 2**level``. Level 0 is 1:1; negative levels enlarge small objects, positive ones
shrink large ones. Fields of a level overlap by half, so that every object smaller than half a field
lies entirely in one of them::

    |--- field 0 ---|       |--- field 2 ---|
            |--- field 1 ---|
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .masks import PlaneMask

if TYPE_CHECKING:
    from .prompts import Box
    from .rendering import PlaneImage

__all__ = [
    "FINEST_LEVEL",
    "FieldOfView",
    "FieldSizes",
    "central_span",
    "choose_field",
    "field_holds",
    "field_of_spans",
    "field_side",
    "field_spans",
    "mask_logits",
    "most_central_field",
    "resample_logits",
    "top_level",
    "touches_inner_border",
]

FINEST_LEVEL = -2
# Beyond this aspect ratio, squeezing a region into the model's square input distorts it too much.
MAX_ASPECT = 4 / 3
# Limits the padding of a very long, thin plane; beyond it, some distortion is accepted.
MAX_PADDED_PIXELS = 1 << 26
BOX_SHARE = 0.45
MARGIN_SHARE = 1 / 16
SMALLEST_SHARE, LARGEST_SHARE = 1 / 8, 1 / 3
# With a larger value the model keeps to the mask against the image; with a smaller it ignores it.
SEED_LOGIT = 2.5

Shape = tuple[int, int]


class FieldSizes(Protocol):
    """The parts of a model's configuration that determine its fields."""

    @property
    def resolution(self) -> int:
        """Side of the model's input in px."""

    @property
    def default_level(self) -> int:
        """Level at which clicks start."""


class HasPlace(Protocol):
    """Prompts or a draft, which have a position in a plane."""

    @property
    def bounds(self) -> Box:
        """(x0, y0, x1, y1) in px."""

    @property
    def extent(self) -> float | None:
        """Longer side of the object in px, if known."""


@dataclass(frozen=True)
class FieldOfView:
    """A region of a plane that is encoded at once.

    ::

        [ pad | rows and columns of the plane | pad ]     the encoded image, along each axis

    Parameters
    ----------
    level : int
        Level; the side is ``resolution * 2**level`` px, unless the plane is smaller.
    rows, columns : tuple of int
        Start and stop in px of the plane.
    pad_rows, pad_columns : tuple of int
        Px of reflected padding before and after, in the encoded image only.
    """

    level: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    pad_rows: tuple[int, int] = (0, 0)
    pad_columns: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> Shape:
        """(height, width) of the region in px of the plane."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def encoded_shape(self) -> Shape:
        """(height, width) of the encoded image: the region and its padding."""
        height, width = self.shape
        return height + sum(self.pad_rows), width + sum(self.pad_columns)

    @property
    def origin(self) -> tuple[float, float]:
        """Row and column in the plane of the encoded image's first pixel."""
        return float(self.rows[0] - self.pad_rows[0]), float(self.columns[0] - self.pad_columns[0])

    def extract(self, plane: PlaneImage) -> npt.NDArray[np.uint8]:
        """Read the image to encode (h x w x 3) from a plane.

        It covers `encoded_shape`, possibly with fewer pixels for a coarse field of a pyramid.
        """
        rows, columns = slice(*self.rows), slice(*self.columns)
        # The model reduces the image by this factor anyway.
        region = plane.region(rows, columns, 2**self.level if self.level > 0 else 1)
        if any(self.pad_rows) or any(self.pad_columns):
            pads = [
                tuple(round(pad * n / length) for pad in pair)
                for pair, n, length in zip(
                    (self.pad_rows, self.pad_columns), region.shape, self.shape, strict=False
                )
            ]
            region = np.pad(region, (*pads, (0, 0)), mode="symmetric")
        return np.ascontiguousarray(region)

    def to_field(self, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Convert (..., 2) positions (x, y) from the plane to the encoded image."""
        row, column = self.origin
        return np.asarray(xy - np.array([column, row]))

    def paste(self, mask: npt.NDArray[np.bool_], row: int = 0, column: int = 0) -> PlaneMask:
        """Convert a mask of the encoded image to the plane, cropping the padding.

        Parameters
        ----------
        mask : ndarray of bool, h x w
            A mask or a part of one.
        row, column : int
            Position of its first pixel in the encoded image.
        """
        top, left = row - self.pad_rows[0], column - self.pad_columns[0]
        height, width = self.shape
        inside = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        return PlaneMask.from_array(
            inside, self.rows[0] + max(0, top), self.columns[0] + max(0, left)
        )


def field_side(resolution: int, level: int) -> int:
    """Return the side of a field in px."""
    return max(1, round(resolution * 2.0**level))


def top_level(shape: Shape, resolution: int) -> int:
    """Return the lowest level at which one field covers a whole plane of ``shape`` (H, W)."""
    level = FINEST_LEVEL
    while field_side(resolution, level) < max(shape):
        level += 1
    return level


def choose_field(
    plane_shape: Shape,
    prompts: HasPlace,
    config: FieldSizes,
    level: int | None = None,
    typical_size: float | None = None,
) -> FieldOfView:
    """Choose the field for an object's prompts.

    Parameters
    ----------
    plane_shape : tuple of int
        (height, width) of the plane in px.
    prompts : PromptSet or Draft
        Of one object.
    config : FieldSizes
        The model's input size and its initial level for clicks.
    level : int, optional
        Lowest level to use; by default determined from the prompts.
    typical_size : float, optional
        Longer side in px of the objects accepted so far, to which clicks adapt.

    Returns
    -------
    FieldOfView
        The lowest suitable level at which a field holds all prompts with a margin, and there the
        field in which they are most central. The top level has one field, the whole plane.
    """
    top = top_level(plane_shape, config.resolution)
    if level is None:
        level = _starting_level(prompts, config, typical_size)
    level = min(max(level, FINEST_LEVEL), top)
    while True:
        field = most_central_field(plane_shape, prompts.bounds, config.resolution, level)
        if level >= top or field_holds(field, prompts, plane_shape):
            return field
        level += 1


def field_holds(field: FieldOfView, prompts: HasPlace, plane_shape: Shape) -> bool:
    """Tell whether all prompts lie in a field, with a margin to its borders inside the plane."""
    x0, y0, x1, y1 = prompts.bounds
    return all(
        (start == 0 or low >= start + MARGIN_SHARE * (stop - start))
        and (stop == size or high <= stop - 1 - MARGIN_SHARE * (stop - start))
        for (start, stop), low, high, size in (
            (field.rows, y0, y1, plane_shape[0]),
            (field.columns, x0, x1, plane_shape[1]),
        )
    )


def touches_inner_border(
    mask: npt.NDArray[np.bool_] | PlaneMask, field: FieldOfView, plane_shape: Shape
) -> bool:
    """Tell whether an object is cut off by its field rather than by the edge of the plane.

    Parameters
    ----------
    mask : ndarray of bool or PlaneMask
        Mask of the encoded image, or already converted to the plane.
    field : FieldOfView
        Field of the mask.
    plane_shape : tuple of int
        (height, width) of the plane in px.
    """
    pasted = mask if isinstance(mask, PlaneMask) else field.paste(mask)
    if pasted.is_empty:
        return False
    y0, x0, y1, x1 = pasted.bbox
    (top, bottom), (left, right) = field.rows, field.columns
    return bool(
        (top > 0 and y0 == top)
        or (left > 0 and x0 == left)
        or (bottom < plane_shape[0] and y1 == bottom)
        or (right < plane_shape[1] and x1 == right)
    )


def resample_logits(
    logits: npt.NDArray[np.float32], old: FieldOfView, new: FieldOfView
) -> npt.NDArray[np.float32]:
    """Convert a C x L x L mask prompt from one field to another.

    Logits cover a field's encoded image evenly. Outside the old field the result is 0, the logit of
    "unknown".
    """
    size = logits.shape[-1]
    rows, columns = (
        _axis_weights(size, old.origin[axis], old.encoded_shape[axis], new.origin[axis],
                      new.encoded_shape[axis])
        for axis in (0, 1)
    )  # fmt: skip
    return np.asarray(rows @ logits @ columns.T, np.float32)


def mask_logits(mask: PlaneMask, field: FieldOfView, size: int) -> npt.NDArray[np.float32]:
    """Convert a mask of the plane to a mask prompt (1 x size x size) for a field.

    The logit of each low-resolution pixel depends on the fraction of it that the mask covers, from
    -`SEED_LOGIT` for 0 to `SEED_LOGIT` for 1.
    """
    height, width = field.encoded_shape
    row, column = field.origin
    inside = np.zeros((size, size), np.float32)
    if not mask.is_empty:
        rows = _coverage(size, row, height, mask.row, mask.crop.shape[0])
        columns = _coverage(size, column, width, mask.column, mask.crop.shape[1])
        inside = rows @ mask.crop.astype(np.float32) @ columns.T
    return np.asarray(SEED_LOGIT * (2 * inside - 1), np.float32)[None]


def _coverage(
    size: int, start: float, length: float, first: int, count: int
) -> npt.NDArray[np.float32]:
    """Return the fraction of each of `size` cells of an axis that each of `count` pixels covers.

    ::

        cells      |     0     |     1     |      size = 2
        pixels        | 0 | 1 | 2 |               count = 3; pixel 2 covers the edge of cell 1
    """
    edges = (np.arange(first, first + count + 1) - start) * size / length
    cells = np.arange(size)[:, None]
    low = np.clip(edges[:-1], cells, cells + 1)
    return np.asarray(np.clip(edges[1:], cells, cells + 1) - low, np.float32)


def _axis_weights(
    size: int, old_start: float, old_length: int, new_start: float, new_length: int
) -> npt.NDArray[np.float32]:
    centres = new_start + (np.arange(size) + 0.5) * new_length / size
    position = (centres - old_start) * size / old_length
    inside = (position >= 0) & (position < size)
    position = np.clip(position - 0.5, 0, size - 1)
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = (position - low) * inside
    weights = np.zeros((size, size), np.float32)
    row = np.arange(size)
    weights[row, low] += inside - fraction
    weights[row, high] += fraction
    return weights


def _starting_level(prompts: HasPlace, config: FieldSizes, typical_size: float | None) -> int:
    # The size of a box or mask decides.
    extent = prompts.extent
    if extent is not None:
        level = FINEST_LEVEL
        while extent > BOX_SHARE * field_side(config.resolution, level):
            level += 1
        return level
    # Clicks start at the default level, adapted to the objects accepted so far.
    if not typical_size:
        return config.default_level
    level = config.default_level
    while level > FINEST_LEVEL and typical_size < SMALLEST_SHARE * field_side(
        config.resolution, level
    ):
        level -= 1
    while typical_size > LARGEST_SHARE * field_side(config.resolution, level):
        level += 1
    return level


def most_central_field(shape: Shape, bounds: Box, resolution: int, level: int) -> FieldOfView:
    """Return the field of a level in which ``bounds`` (x0, y0, x1, y1) are most central."""
    side = field_side(resolution, level)
    x0, y0, x1, y1 = bounds
    rows = central_span(field_spans(shape[0], side), (y0 + y1) / 2)
    columns = central_span(field_spans(shape[1], side), (x0 + x1) / 2)
    return field_of_spans(level, rows, columns)


def central_span(spans: list[tuple[int, int]], middle: float) -> tuple[int, int]:
    """Return the span (start, stop) in which a position is most central, the first of equals."""
    return min(spans, key=lambda span: (abs(sum(span) - 1 - 2 * middle), span))


def field_spans(length: int, side: int) -> list[tuple[int, int]]:
    """Return half-overlapping spans (start, stop) along an axis, the last one at the edge."""
    if length <= side:
        return [(0, length)]
    stride = max(1, side // 2)
    count = math.ceil((length - side) / stride) + 1
    return [
        (start, start + side) for start in (min(i * stride, length - side) for i in range(count))
    ]


def field_of_spans(level: int, rows: tuple[int, int], columns: tuple[int, int]) -> FieldOfView:
    """Return the field of two spans, padded if it is too elongated."""
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    longest = max(height, width)
    shortest = math.ceil(longest / MAX_ASPECT)
    shortest = min(shortest, max(1, MAX_PADDED_PIXELS // longest))
    return FieldOfView(level, rows, columns, _padding(height, shortest), _padding(width, shortest))


def _padding(length: int, shortest: int) -> tuple[int, int]:
    missing = max(0, shortest - length)
    return missing // 2, missing - missing // 2
