"""Validation of prompts and conversion to the form that the model takes, with numpy only."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import PromptError

__all__ = ["Prompts", "check_boxes", "check_prompts"]

_LOG = logging.getLogger(__name__)
_PADDING, _BOX_START, _BOX_END = -1, 2, 3


@dataclass(frozen=True)
class Prompts:
    """Validated prompts of B objects.

    Attributes
    ----------
    coords : ndarray of float64, shape (B, N, 2)
        (x, y) in pixels of the image: box corners, clicks, and a padding point.
    labels : ndarray of int64, shape (B, N)
        2 and 3 for box corners, 1 foreground, 0 background, -1 padding.
    mask : ndarray of float32, shape (B, 1, L, L), optional
        Previous logits.
    """

    coords: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    mask: npt.NDArray[np.float32] | None

    @property
    def objects(self) -> int:
        """Number B of objects."""
        return len(self.coords)

    def part(self, objects: slice) -> Prompts:
        """Return the prompts of a slice of the objects."""
        mask = None if self.mask is None else self.mask[objects]
        return Prompts(self.coords[objects], self.labels[objects], mask)


def check_prompts(
    point_coords: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    box: npt.ArrayLike | None,
    mask_input: npt.ArrayLike | None,
    *,
    size: tuple[int, int],
    mask_size: int,
) -> Prompts:
    """Check and convert the prompts of one call.

    Parameters
    ----------
    point_coords, point_labels, box, mask_input
        As for :meth:`sam3.predictor.Predictor.predict`.
    size : tuple of int
        (height, width) of the image.
    mask_size : int
        Side L of mask prompts.

    Returns
    -------
    Prompts

    Raises
    ------
    PromptError
            With the value, what was expected and what to do.
    """
    points = None
    if point_coords is not None or point_labels is not None:
        points = _points(point_coords, point_labels, size)
    boxes = None if box is None else check_boxes(box, size)
    mask = None if mask_input is None else _mask(mask_input, mask_size)
    counts = {
        name: len(value)
        for name, value in (
            ("point_coords", None if points is None else points[0]),
            ("box", boxes),
            ("mask_input", mask),
        )
        if value is not None
    }
    if not counts:
        raise PromptError(
            "no prompt was given. Expected at least one. Pass point_coords, box or mask_input."
        )
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise PromptError(
            f"the prompts are for different numbers of objects: {listing}. Expected the same "
            "leading axis B. Pad missing points with label -1."
        )
    return _join(points, boxes, mask, next(iter(counts.values())))


def _join(
    points: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None,
    boxes: npt.NDArray[np.float64] | None,
    mask: npt.NDArray[np.float32] | None,
    objects: int,
) -> Prompts:
    coords, labels = [], []
    if boxes is not None:
        coords.append(boxes.reshape(objects, 2, 2))
        labels.append(np.tile(np.array([_BOX_START, _BOX_END]), (objects, 1)))
    if points is not None:
        coords.append(points[0])
        labels.append(points[1])
    # A mask alone is a prompt without points; with any point, the model expects a padding point.
    if coords:
        coords.append(np.zeros((objects, 1, 2)))
        labels.append(np.full((objects, 1), _PADDING))
    else:
        coords.append(np.zeros((objects, 0, 2)))
        labels.append(np.zeros((objects, 0), np.int64))
    return Prompts(np.concatenate(coords, 1), np.concatenate(labels, 1).astype(np.int64), mask)


def _array(value: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"{name} is not an array of numbers: {value!r}. Expected numbers. Correct it."
        ) from error
    if not np.isfinite(array).all():
        raise PromptError(
            f"{name} holds NaN or infinity: {value!r}. Expected finite numbers. Correct them."
        )
    return array


def _points(
    point_coords: npt.ArrayLike | None, point_labels: npt.ArrayLike | None, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    if point_coords is None or point_labels is None:
        given = "point_coords" if point_labels is None else "point_labels"
        raise PromptError(
            f"only {given} was given. Expected both point_coords and point_labels, with one label "
            "(1 foreground, 0 background) per point. Pass both."
        )
    coords = _array(point_coords, "point_coords")
    labels = _array(point_labels, "point_labels")
    if coords.ndim not in (2, 3) or coords.shape[-1] != 2:
        raise PromptError(
            f"point_coords has the shape {coords.shape}. Expected (N, 2) for one object or (B, N, "
            "2) for B objects, with (x, y) in each row. Reshape it."
        )
    if labels.shape != coords.shape[:-1]:
        raise PromptError(
            f"point_labels has the shape {labels.shape} for point_coords of {coords.shape}. "
            f"Expected one label per point: {coords.shape[:-1]}. Reshape them."
        )
    if coords.shape[-2] == 0 or coords.shape[0] == 0:
        raise PromptError(
            f"point_coords is empty: shape {coords.shape}. Expected at least one point. Pass None "
            "for no points."
        )
    bad = sorted(set(labels.ravel().tolist()) - {-1.0, 0.0, 1.0})
    if bad:
        raise PromptError(
            f"point_labels holds {bad}. Expected 1 (foreground), 0 (background) or -1 (padding). "
            "Correct them."
        )
    coords, labels = coords.reshape(-1, *coords.shape[-2:]), labels.reshape(-1, labels.shape[-1])
    _check_inside(coords[labels >= 0], size)
    return coords, labels.astype(np.int64)


def _check_inside(points: npt.NDArray[np.float64], size: tuple[int, int]) -> None:
    """Raise an error for points more than a pixel outside the image."""
    height, width = size
    outside = (points < -1).any(1) | (points[:, 0] > width) | (points[:, 1] > height)
    if outside.any():
        x, y = points[outside][0]
        raise PromptError(
            f"the point (x={x:g}, y={y:g}) lies outside the image of width {width} and height "
            f"{height}. Expected (x, y) in pixels, not (row, column). Correct the point."
        )


def check_boxes(box: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return boxes (4,) or (B, 4) of x0, y0, x1, y1 as (B, 4) with their corners in order.

    Raises
    ------
    PromptError
        If a box has no area or lies outside the image of this (height, width).
    """
    boxes = _array(box, "box")
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4 or boxes.size == 0:
        raise PromptError(
            f"box has the shape {boxes.shape}. Expected (4,) or (B, 4), with x0, y0, x1, y1 in "
            "each row. Reshape it."
        )
    corners = boxes.reshape(-1, 2, 2)
    ordered = np.sort(corners, axis=1)
    if (ordered != corners).any():
        _LOG.info("reordered the corners of boxes: %s", boxes.tolist())
    flat = (ordered[:, 0] == ordered[:, 1]).any(1)
    if flat.any():
        raise PromptError(
            f"the box {corners[flat][0].ravel().tolist()} has no area. Expected x0 < x1 and y0 < "
            "y1. Correct its corners."
        )
    limit = np.array([size[1], size[0]])
    outside = (ordered[:, 1] < 0).any(1) | (ordered[:, 0] > limit).any(1)
    if outside.any():
        raise PromptError(
            f"the box {corners[outside][0].ravel().tolist()} lies outside the image of width "
            f"{size[1]} and height {size[0]}. Expected x0, y0, x1, y1 in pixels. Correct the box."
        )
    return ordered.reshape(-1, 4)


def _mask(mask_input: Any, mask_size: int) -> npt.NDArray[np.float32]:
    mask = _array(mask_input, "mask_input").astype(np.float32)
    expected = (1, mask_size, mask_size)
    if mask.shape == expected:
        return mask[None]
    if mask.ndim == 4 and mask.shape[1:] == expected and len(mask):
        return mask
    raise PromptError(
        f"mask_input has the shape {mask.shape}. Expected {expected} or B x {expected}: the "
        "low-resolution logits of an earlier prediction, one mask per object. Pass such logits."
    )
