"""Images and coordinates to the model's frame and masks back: the only rescaling code."""

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
#: Largest mask that is made, in px: 2 GB of logits on the way.
_MOST_MASK_PIXELS = 1 << 29
#: Pixels of a mask that are made at once: such bands of float32 fit a core's cache.
_BAND = 60_000


def rgb_image(image: Any) -> npt.NDArray[np.uint8]:
    """Turn any accepted image into 8-bit RGB.

    Parameters
    ----------
    image : PIL.Image.Image, ndarray or Tensor
        A PIL image of any mode; an array H x W or H x W x 1, 3 or 4; or a tensor C x H x W. Values
        are uint8, bool, floating point in [0, 1], or wider integers, which are stretched between
        their 0.1 and 99.9 percentiles, because 16-bit cameras seldom use their whole range. A
        fourth channel is taken for alpha and left out.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ImageError
        If the shape, the data type or the values are none of these.
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
            f"a {type(image).__name__} is no image ({error}); give an array of numbers."
        ) from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an image of shape {array.shape} cannot be encoded; expected height x width, or "
            "height x width x 1, 3 or 4 channels (torch tensors: channels first). Choose up to "
            "three channels."
        )
    if 0 in array.shape:
        raise ImageError(f"the image is empty (shape {array.shape}); give one with pixels.")
    if array.ndim == 2:
        array = array[..., None]
    array = _to_8_bits(array[..., :3])
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _from_pil(image: Image.Image) -> npt.NDArray[Any]:
    if image.mode.startswith(("I", "F")):
        array = np.asarray(image)
        # Float PIL images carry no range; treat them like wide integers.
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
            f"an image of data type {array.dtype} cannot be encoded; convert it to uint8, uint16, "
            "bool or floating point."
        )
    bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ImageError(
            f"the image holds {bad} values that are NaN or infinite; replace them, for example "
            "with numpy.nan_to_num."
        )
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"a floating-point image must lie in [0, 1], this one spans [{low:g}, {high:g}]; "
            "rescale it, for example with skimage.exposure.rescale_intensity."
        )
    return to_uint8(array, (0.0, 1.0))


def image_to_model(
    image: npt.NDArray[np.uint8], resolution: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Resize an RGB image to the model's square input and normalise it.

    The resizing runs on the CPU in uint8, bilinear with antialiasing, so that every device sees
    the same input. The aspect ratio is not kept.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    resolution : int
        Side of the model's input in pixels.
    device : torch.device or str
        Where the result is wanted.

    Returns
    -------
    Tensor, float32, shape (1, 3, resolution, resolution)
        In [-1, 1].
    """
    pixels = torch.tensor(image, device="cpu").permute(2, 0, 1)[None]
    # Not torchvision's resize, which calls this same function: importing torchvision loads triton,
    # and triton's LLVM beside the one of Mesa's OpenGL in a viewer ends the process.
    side = (resolution, resolution)
    resized = F.interpolate(pixels, size=side, mode="bilinear", antialias=True)
    return resized.to(device).float().div_(255).sub_(0.5).div_(0.5)


def to_model_frame(
    coords: npt.NDArray[np.floating[Any]], size: tuple[int, int], resolution: int
) -> npt.NDArray[np.float32]:
    """Scale coordinates of an image to the model's input.

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
        8-connected components of values <= 0 with at most this many pixels become foreground.

    Returns
    -------
    Tensor
        Filled pixels hold 10. The same tensor where there is nothing to fill.
    """
    flat = logits.detach().cpu().flatten(0, -3).numpy()
    filled = logits
    for number, mask in enumerate(flat):
        holes = _holes(mask <= 0, max_area)
        if holes is not None:
            if filled is logits:
                filled = logits.clone()
            (top, left), found = holes
            part = filled.flatten(0, -3)[number, top:, left:][: found.shape[0], : found.shape[1]]
            part.masked_fill_(torch.from_numpy(found).to(logits.device), _HOLE_LOGIT)
    return filled


def _holes(
    outside: npt.NDArray[np.bool_], max_area: int
) -> tuple[tuple[int, int], npt.NDArray[np.bool_]] | None:
    """Small 8-connected components, in a part of the array and where that begins."""
    spans = []
    for axis, length in enumerate(outside.shape):
        found = np.flatnonzero(~outside.all(1 - axis))
        if not found.size:
            return None if outside.size > max_area else ((0, 0), outside)
        # What goes on beyond the first line without a mask has at least a whole line there.
        wide = outside.shape[1 - axis] > max_area
        spans.append((max(0, found[0] - 1), found[-1] + 2) if wide else (0, length))
    (top, bottom), (left, right) = spans
    part = outside[top:bottom, left:right]
    components, count = ndimage.label(part, structure=np.ones((3, 3)))
    small = np.bincount(components.ravel(), minlength=count + 1) <= max_area
    small[0] = False
    # Components at a border that is not the array's own.
    ends = (top > 0, bottom < len(outside), left > 0, right < outside.shape[1])
    borders = components[0], components[-1], components[:, 0], components[:, -1]
    for cut, border in zip(ends, borders, strict=True):
        if cut:
            small[border] = False
    return ((top, left), small[components]) if small.any() else None


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Bring low-resolution logits (B, C, L, L) to the image's (height, width), bilinearly."""
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """A mask as its bounding box and the pixels in it.

    Attributes
    ----------
    row, column : int
        Place in the image of the crop's first pixel; 0 where the mask is empty.
    pixels : ndarray of bool, shape (h, w)
        (0, 0) where the mask is empty.
    """

    row: int
    column: int
    pixels: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UndrawnMask:
    """A mask that is made when it is wanted: of several candidates, most never are.

    Attributes
    ----------
    size : tuple of int
        (height, width) of the image.
    fill_area : int
        Holes of at most this many low-resolution pixels are filled.
    logits : ndarray of float32, shape (L, L), optional
        Low-resolution logits; None where clamping has not changed them, so that they need not be
        kept twice.
    """

    size: tuple[int, int]
    fill_area: int
    logits: npt.NDArray[np.float32] | None

    def draw(self, clamped: npt.NDArray[np.float32]) -> MaskCrop:
        """Make the mask; `clamped` (L, L) are the logits that were handed out with it."""
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
        The same pixels as ``upsample(...) > 0`` gives, but for logits within rounding of zero.

    Raises
    ------
    ImageError
        If the mask is too large to be made in memory.
    """
    place = _reach(logits, size)
    if place is None:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    rows, columns = place
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height * width > _MOST_MASK_PIXELS:
        raise ImageError(
            f"the mask is about {height} x {width} px, which is too large; look at a smaller part "
            "of the image, or segment a copy of lower resolution"
        )
    mask = np.empty((height, width), np.bool_)
    _write_above_zero(mask, logits, size, place)
    found, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not found.size:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    crop = mask[found[0] : found[-1] + 1, across[0] : across[-1] + 1].copy()
    return MaskCrop(rows.start + int(found[0]), columns.start + int(across[0]), crop)


def write_mask(mask: npt.NDArray[np.bool_], logits: Tensor) -> None:
    """Upsample and threshold one mask into an array of zeros, touching its bounding box only.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        All zero; filled.
    logits : Tensor, shape (L, L)
        Low-resolution logits on the CPU.
    """
    place = _reach(logits, mask.shape)
    if place is not None:
        _write_above_zero(mask[place], logits, mask.shape, place)


def _reach(logits: Tensor, size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns of an image of `size` in which upsampled logits may be above zero."""
    inside = (logits > 0).numpy()
    spans = []
    for axis, length in enumerate(size):
        found = np.flatnonzero(inside.any(1 - axis))
        if not found.size:
            return None
        # Bilinear values above zero reach less than one cell beyond the cells that are.
        scale = length / len(logits)
        start = max(0, math.floor((found[0] - 0.5) * scale) - 1)
        spans.append(slice(start, min(length, math.ceil((found[-1] + 1.5) * scale) + 1)))
    return spans[0], spans[1]


def _write_above_zero(
    mask: npt.NDArray[np.bool_],
    logits: Tensor,
    size: tuple[int, ...],
    place: tuple[slice, slice],
) -> None:
    """Write where upsampled logits are above zero within a part of the image.

    One axis is interpolated after the other, the second in bands that stay in a cache. They are
    too small to be worth sharing among threads, so numpy does them.
    """
    rows, columns = place
    low, high, share = _between(rows, size[0], len(logits))
    first = int(low[0])
    lines = logits[first : int(high[-1]) + 1].float()
    if 2 * mask.shape[1] > size[1]:
        wide = F.interpolate(lines[None], size=size[1], mode="linear", align_corners=False)[0]
        lines = wide[:, columns]
    else:
        left, right, part = _between(columns, size[1], logits.shape[1])
        weights = lines.new_zeros(int(right[-1] - left[0]) + 1, len(part))
        index = torch.arange(len(part), device=part.device)
        weights.index_put_((left - left[0], index), 1 - part, accumulate=True)
        weights.index_put_((right - left[0], index), part, accumulate=True)
        lines = lines[:, int(left[0]) : int(right[-1]) + 1] @ weights
    values, shares = lines.numpy(), share.numpy()[:, None]
    upper, lower = (line.numpy() - first for line in (low, high))
    step = max(1, _BAND // mask.shape[1])
    for start in range(0, len(mask), step):
        band = slice(start, start + step)
        above, between = (values.take(line[band], axis=0) for line in (upper, lower))
        between -= above
        between *= shares[band]
        between += above
        np.greater(between, 0, out=mask[band])


def _between(span: slice, length: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Between which two of an axis's cells the pixels of a span lie, and how near the second."""
    pixels = torch.arange(span.start, span.stop, dtype=torch.float32, device="cpu")
    place = ((pixels + 0.5) * (cells / length) - 0.5).clamp(min=0)
    low = place.floor().long().clamp(max=cells - 1)
    return low, (low + 1).clamp(max=cells - 1), place - low
