"""Rescaling of images, coordinates and masks between image and model; nothing else rescales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sam3.errors import ImageError
from sam3.preprocess.contrast import percentile_limits, to_uint8

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MaskCrop",
    "UndrawnMask",
    "crop_mask",
    "fill_holes",
    "image_to_model",
    "rgb_image",
    "to_model_frame",
    "upsample",
    "write_mask",
]

_HOLE_LOGIT = 10.0
_LARGEST_MASK = 1 << 29  # px; it takes 2 GB of logits to compute
_BAND = 60_000  # px of a mask computed at once: such bands of float32 fit a core's cache


def rgb_image(image: Any) -> npt.NDArray[np.uint8]:
    """Convert an image to 8-bit RGB.

    Parameters
    ----------
    image : PIL.Image.Image, ndarray or Tensor
        A PIL image of any mode; an array H x W or H x W x 1, 3 or 4; or a tensor C x H x W. Values
        are uint8, bool, floating point in [0, 1], or wider integers. Wider integers are stretched
        between their 0.1 and 99.9 percentiles, since 16-bit cameras rarely use their whole range.
        A fourth channel is taken for alpha and dropped.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ImageError
        If the shape, the data type or the values are different.
    """
    if isinstance(image, Image.Image):
        image = _from_pil(image)
    elif isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.movedim(0, -1) if image.dim() == 3 else image).numpy()
    try:
        array = np.asarray(image)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"a {type(image).__name__} is not an image ({error}). Expected an array of numbers. "
            "Convert it."
        ) from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an image of shape {array.shape} cannot be encoded. Expected height x width, or "
            "height x width x 1, 3 or 4 channels (torch tensors: channels first). Choose up to "
            "three channels."
        )
    if 0 in array.shape:
        raise ImageError(
            f"the image is empty: shape {array.shape}. Expected at least one pixel. Choose "
            "another image."
        )
    if array.ndim == 2:
        array = array[..., None]
    array = _to_8_bits(array[..., :3])
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _from_pil(image: Image.Image) -> npt.NDArray[Any]:
    if image.mode.startswith(("I", "F")):
        array = np.asarray(image)
        # PIL's float images have no fixed range, so they are stretched like wide integers.
        return to_uint8(array, percentile_limits(array))
    return np.asarray(image.convert("RGB"))


def _to_8_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.integer):
        return to_uint8(array, percentile_limits(array))
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"an image of data type {array.dtype} cannot be encoded. Expected uint8, uint16, bool "
            "or floating point. Convert it."
        )
    invalid = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
    if invalid:
        raise ImageError(
            f"the image holds {invalid} values that are NaN or infinite. Expected finite values. "
            "Replace them, for example with numpy.nan_to_num."
        )
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"the floating-point image spans [{low:g}, {high:g}]. Expected values in [0, 1]. "
            "Rescale it, for example with skimage.exposure.rescale_intensity."
        )
    return to_uint8(array, (0.0, 1.0))


def image_to_model(
    image: npt.NDArray[np.uint8], resolution: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Resize an RGB image to the model's square input and normalise it.

    Resizing is bilinear with antialiasing, in uint8 on the CPU, so that the input is the same on
    every device. The aspect ratio is not preserved.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    resolution : int
        Side of the model's input in pixels.
    device : torch.device or str
        Device of the result.

    Returns
    -------
    Tensor, float32, shape (1, 3, resolution, resolution)
        In [-1, 1].
    """
    pixels = torch.tensor(image, device="cpu").permute(2, 0, 1)[None]
    # torchvision's resize calls this same function. But importing torchvision loads Triton, whose
    # LLVM and the one of Mesa's OpenGL crash a process that shows a viewer.
    side = (resolution, resolution)
    resized = F.interpolate(pixels, size=side, mode="bilinear", antialias=True)
    return resized.to(device).float().div_(255).sub_(0.5).div_(0.5)


def to_model_frame(
    coords: npt.NDArray[np.floating[Any]], size: tuple[int, int], resolution: int
) -> npt.NDArray[np.float32]:
    """Scale coordinates from the image to the model's input.

    Parameters
    ----------
    coords : ndarray, shape (..., 2)
        (x, y) in pixels of the image.
    size : tuple of int
        (height, width) of the image.
    resolution : int
        Side of the model's input in pixels.

    Returns
    -------
    ndarray of float32, shape (..., 2)
        (x, y) in pixels of the model's input.
    """
    height, width = size
    scale = np.array([resolution / width, resolution / height])
    return np.asarray(np.asarray(coords, np.float64) * scale, np.float32)


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
        Filled pixels hold 10. Without holes, the same tensor.
    """
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
    region = _reach(logits, size)
    if region is None:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height * width > _LARGEST_MASK:
        raise ImageError(
            f"the mask is too large: about {height} x {width} px. Expected one that fits into "
            "memory. Zoom in on a smaller part of the image, or segment a copy of lower "
            "resolution."
        )
    mask = np.empty((height, width), np.bool_)
    _write_above_zero(mask, logits, size, region)
    mask_rows, mask_columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not mask_rows.size:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    top, left = int(mask_rows[0]), int(mask_columns[0])
    crop = mask[top : mask_rows[-1] + 1, left : mask_columns[-1] + 1].copy()
    return MaskCrop(rows.start + top, columns.start + left, crop)


def write_mask(mask: npt.NDArray[np.bool_], logits: Tensor) -> None:
    """Upsample and threshold one mask into an array of zeros, within its bounding box only.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        All False on entry; overwritten with the mask.
    logits : Tensor, shape (L, L)
        Low-resolution logits on the CPU.
    """
    region = _reach(logits, mask.shape)
    if region is not None:
        _write_above_zero(mask[region], logits, mask.shape, region)


def _reach(logits: Tensor, size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Bound the rows and columns of an image in which upsampled logits can be above zero."""
    inside = (logits > 0).numpy()
    spans = []
    for axis, length in enumerate(size):
        positive = np.flatnonzero(inside.any(1 - axis))
        if not positive.size:
            return None
        # Interpolated values above zero lie less than one cell beyond the positive cells.
        scale = length / len(logits)
        start = max(0, math.floor((positive[0] - 0.5) * scale) - 1)
        spans.append(slice(start, min(length, math.ceil((positive[-1] + 1.5) * scale) + 1)))
    return spans[0], spans[1]


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
