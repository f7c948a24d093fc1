"""Rescaling of masks from model to image, drawn within their bounding boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sam3.errors import ImageError
from sam3.preprocess.device_holes import small_components

__all__ = [
    "MaskCrop",
    "UndrawnMask",
    "crop_mask",
    "crop_masks",
    "fill_holes",
    "upsample",
    "write_mask",
]

_HOLE_LOGIT = 10.0
_LARGEST_MASK = 1 << 29  # px; it takes 2 GB of logits to compute
_BAND = 60_000  # px of a mask computed at once: such bands of float32 fit a core's cache


def fill_holes(logits: Tensor, max_area: int) -> Tensor:
    """Fill small background components of masks.

    Parameters
    ----------
    logits : Tensor, shape (..., L, L)
    max_area : int
        8-connected components of values <= 0 with at most this many pixels are filled.

    Returns
    -------
    Tensor
        Filled pixels hold 10. Without holes, the same tensor unless it is on CUDA.
    """
    if max_area == 0:
        return logits
    if logits.is_cuda:  # without a copy to the CPU and back
        return logits.masked_fill(small_components(logits <= 0, max_area), _HOLE_LOGIT)
    flat = logits.detach().cpu().flatten(0, -3).numpy()
    filled = logits
    for number, mask in enumerate(flat):
        holes = _holes(mask <= 0, max_area)
        if holes is not None:
            if filled is logits:
                filled = logits.clone()
            (top, left), hole_mask = holes
            height, width = hole_mask.shape
            part = filled.flatten(0, -3)[number, top : top + height, left : left + width]
            part.masked_fill_(torch.from_numpy(hole_mask).to(logits.device), _HOLE_LOGIT)
    return filled


def _holes(
    outside: npt.NDArray[np.bool_], max_area: int
) -> tuple[tuple[int, int], npt.NDArray[np.bool_]] | None:
    """Find small 8-connected components; return the origin of a crop and their mask in it.

    ::

        +-----------------+     The crop is the foreground plus one pixel. A component that leaves
        |  [ ##   ## ]    |     it covers a whole line outside, and is too large to be a hole.
        |  [ # . ##  ]    |
        +-----------------+
    """
    spans = []
    for axis, length in enumerate(outside.shape):
        lines = np.flatnonzero(~outside.all(1 - axis))
        if not lines.size:
            return None if outside.size > max_area else ((0, 0), outside)
        can_crop = outside.shape[1 - axis] > max_area
        spans.append((max(0, lines[0] - 1), lines[-1] + 2) if can_crop else (0, length))
    (top, bottom), (left, right) = spans
    part = outside[top:bottom, left:right]
    components, count = ndimage.label(part, structure=np.ones((3, 3)))
    is_hole = np.bincount(components.ravel(), minlength=count + 1) <= max_area
    is_hole[0] = False
    # Exclude components that leave the crop.
    cropped = (top > 0, bottom < len(outside), left > 0, right < outside.shape[1])
    borders = components[0], components[-1], components[:, 0], components[:, -1]
    for is_cropped, border in zip(cropped, borders, strict=True):
        if is_cropped:
            is_hole[border] = False
    return ((top, left), is_hole[components]) if is_hole.any() else None


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Upsample low-resolution logits (B, C, L, L) to the image's (height, width), bilinearly."""
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """A mask as its bounding box and the pixels in it.

    Attributes
    ----------
    row, column : int
        Position of the crop's first pixel in the image; 0 if the mask is empty.
    pixels : ndarray of bool, shape (h, w)
        (0, 0) if the mask is empty.
    """

    row: int
    column: int
    pixels: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UndrawnMask:
    """A mask that is drawn on demand, since most candidates are never shown.

    Attributes
    ----------
    size : tuple of int
        (height, width) of the image.
    fill_area : int
        Largest background component, in low-resolution pixels, that is filled.
    logits : ndarray of float32, shape (L, L), optional
        Low-resolution logits; None if clamping does not change them, so that they are not stored
        twice.
    """

    size: tuple[int, int]
    fill_area: int
    logits: npt.NDArray[np.float32] | None

    def draw(self, clamped: npt.NDArray[np.float32]) -> MaskCrop:
        """Draw the mask, given the clamped logits (L, L) of the prediction."""
        logits = torch.from_numpy(clamped if self.logits is None else self.logits)
        return crop_mask(fill_holes(logits[None], self.fill_area)[0], self.size)


def crop_mask(logits: Tensor, size: tuple[int, int]) -> MaskCrop:
    """Upsample and threshold one mask within its bounding box only.

    Parameters
    ----------
    logits : Tensor, shape (L, L)
        Low-resolution logits on the CPU.
    size : tuple of int
        (height, width) of the image.

    Returns
    -------
    MaskCrop
        The same pixels as ``upsample(...) > 0``, except for logits within rounding of zero.

    Raises
    ------
    ImageError
        If the mask is too large for the memory.
    """
    inside = (logits > 0).numpy()
    lines = inside.any(1), inside.any(0)

    def draw(region: tuple[slice, slice]) -> npt.NDArray[np.bool_]:
        mask = np.empty([span.stop - span.start for span in region], np.bool_)
        _write_above_zero(mask, logits, size, region)
        return mask

    return _crop(_reach(lines, size), draw)


def crop_masks(logits: Tensor, size: tuple[int, int]) -> Iterator[MaskCrop]:
    """Do the same for masks (N, L, L) on the device of their logits, which only booleans leave."""
    inside = logits > 0
    rows, columns = (inside.any(axis).cpu().numpy() for axis in (2, 1))
    for mask, *lines in zip(logits, rows, columns, strict=True):
        yield _crop(_reach(lines, size), partial(_above_zero, mask, size))


def _crop(
    region: tuple[slice, slice] | None,
    draw: Callable[[tuple[slice, slice]], npt.NDArray[np.bool_]],
) -> MaskCrop:
    """Draw a mask in the region in which it can be, and crop it to its bounding box."""
    if region is None:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    height, width = (span.stop - span.start for span in region)
    if height * width > _LARGEST_MASK:
        raise ImageError(
            f"the mask is too large: about {height} x {width} px. Expected one that fits into "
            "memory. Zoom in on a smaller part of the image, or segment a copy of lower "
            "resolution."
        )
    mask = draw(region)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    top, left = int(rows[0]), int(columns[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1].copy()
    return MaskCrop(region[0].start + top, region[1].start + left, crop)


def write_mask(mask: npt.NDArray[np.bool_], logits: Tensor) -> None:
    """Upsample and threshold one mask into an array of zeros, within its bounding box only.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        All False on entry; overwritten with the mask.
    logits : Tensor, shape (L, L)
        Low-resolution logits on the CPU.
    """
    inside = (logits > 0).numpy()
    region = _reach((inside.any(1), inside.any(0)), mask.shape)
    if region is not None:
        _write_above_zero(mask[region], logits, mask.shape, region)


def _reach(lines: Sequence[Any], size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Bound the rows and columns of an image in which upsampled logits can be above zero.

    Parameters
    ----------
    lines : two ndarrays of bool, shape (L,)
        Rows and columns with logits above zero.
    size : tuple of int
        (height, width) of the image.
    """
    spans = []
    for line, length in zip(lines, size, strict=True):
        positive = np.flatnonzero(line)
        if not positive.size:
            return None
        # Interpolated values above zero lie less than one cell beyond the positive cells.
        scale = length / len(line)
        start = max(0, math.floor((positive[0] - 0.5) * scale) - 1)
        spans.append(slice(start, min(length, math.ceil((positive[-1] + 1.5) * scale) + 1)))
    return spans[0], spans[1]


def _above_zero(
    logits: Tensor, size: tuple[int, ...], region: tuple[slice, slice]
) -> npt.NDArray[np.bool_]:
    """Threshold upsampled logits (L, L) within a region of the image, on their device."""
    logits = logits.float()
    for axis, (span, length) in enumerate(zip(region, size, strict=True)):
        low, high, weight = (
            x.to(logits.device) for x in _neighbours(span, length, logits.shape[axis])
        )
        upper, lower = (logits.index_select(axis, index) for index in (low, high))
        logits = torch.lerp(upper, lower, weight[:, None] if axis == 0 else weight)
    return (logits > 0).cpu().numpy()


def _write_above_zero(
    mask: npt.NDArray[np.bool_],
    logits: Tensor,
    size: tuple[int, ...],
    region: tuple[slice, slice],
) -> None:
    """Threshold upsampled logits within a region of the image.

    Interpolation is separable: first along rows, then along columns in bands that stay in the
    cache. The bands are too small for threads to pay off, so numpy computes them.
    """
    rows, columns = region
    low, high, weight = _neighbours(rows, size[0], len(logits))
    first = int(low[0])
    lines = logits[first : int(high[-1]) + 1].float()
    if 2 * mask.shape[1] > size[1]:
        wide = F.interpolate(lines[None], size=size[1], mode="linear", align_corners=False)[0]
        lines = wide[:, columns]
    else:
        left, right, part = _neighbours(columns, size[1], logits.shape[1])
        weights = lines.new_zeros(int(right[-1] - left[0]) + 1, len(part))
        index = torch.arange(len(part), device=part.device)
        weights.index_put_((left - left[0], index), 1 - part, accumulate=True)
        weights.index_put_((right - left[0], index), part, accumulate=True)
        lines = lines[:, int(left[0]) : int(right[-1]) + 1] @ weights
    values, row_weights = lines.numpy(), weight.numpy()[:, None]
    upper, lower = (line.numpy() - first for line in (low, high))
    step = max(1, _BAND // mask.shape[1])
    for start in range(0, len(mask), step):
        band = slice(start, start + step)
        above, between = (values.take(line[band], axis=0) for line in (upper, lower))
        between -= above
        between *= row_weights[band]
        between += above
        np.greater(between, 0, out=mask[band])


def _neighbours(span: slice, length: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two cells between which each pixel of a span lies, and the second's weight.

    ::

        cells      |     0     |     1     |     2     |      along one axis
        pixels     |  0  |  1  |  2  |  3  |  4  |  5  |
                                  ^ pixel 2 lies between cells 0 and 1, with weight 0.75 for 1
    """
    pixels = torch.arange(span.start, span.stop, dtype=torch.float32, device="cpu")
    position = ((pixels + 0.5) * (cells / length) - 0.5).clamp(min=0)
    low = position.floor().long().clamp(max=cells - 1)
    return low, (low + 1).clamp(max=cells - 1), position - low
