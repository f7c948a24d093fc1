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

from sam3.contrast import percentile_limits, to_uint8
from sam3.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MaskCrop",
    "crop_mask",
    "fill_holes",
    "image_to_model",
    "rgb_image",
    "to_model_frame",
    "upsample",
]

_HOLE_LOGIT = 10.0
#: Largest mask that is made, in px: 2 GB of logits on the way.
_MOST_MASK_PIXELS = 1 << 29


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


def image_to_model(image: npt.NDArray[np.uint8], resolution: int) -> Tensor:
    """Resize an RGB image to the model's square input and normalise it.

    The resizing runs on the CPU in uint8, bilinear with antialiasing, so that every device sees
    the same input. The aspect ratio is not kept.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    resolution : int
        Side of the model's input in pixels.

    Returns
    -------
    Tensor, float32, shape (1, 3, resolution, resolution)
        In [-1, 1].
    """
    pixels = torch.tensor(image).permute(2, 0, 1)[None]
    # Not torchvision's resize, which calls this same function: importing torchvision loads triton,
    # and triton's LLVM beside the one of Mesa's OpenGL in a viewer ends the process.
    side = (resolution, resolution)
    resized = F.interpolate(pixels, size=side, mode="bilinear", antialias=True)
    return resized.float().div_(255).sub_(0.5).div_(0.5)


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
        A copy; filled pixels hold 10.
    """
    flat = logits.detach().cpu().flatten(0, -3).numpy()
    holes = np.zeros(flat.shape, np.bool_)
    for mask, hole in zip(flat, holes, strict=True):
        components, _ = ndimage.label(mask <= 0, structure=np.ones((3, 3)))
        small = np.bincount(components.ravel()) <= max_area
        small[0] = False
        hole[:] = small[components]
    found = torch.from_numpy(holes).view(logits.shape).to(logits.device)
    return logits.masked_fill(found, _HOLE_LOGIT)


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
    inside = (logits > 0).numpy()
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    spans, weights = [], []
    for found, length in ((rows, size[0]), (columns, size[1])):
        # Bilinear values above zero reach less than one cell beyond the cells that are.
        scale = length / len(logits)
        start = max(0, math.floor((found[0] - 0.5) * scale) - 1)
        stop = min(length, math.ceil((found[-1] + 1.5) * scale) + 1)
        spans.append(start)
        weights.append(_bilinear_weights(start, stop, length, len(logits)))
    height, width = (len(one) for one in weights)
    if height * width > _MOST_MASK_PIXELS:
        raise ImageError(
            f"the mask is about {height} x {width} px, which is too large; look at a smaller part "
            "of the image, or segment a copy of lower resolution"
        )
    mask = (weights[0] @ logits.float() @ weights[1].T > 0).numpy()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return MaskCrop(0, 0, np.zeros((0, 0), np.bool_))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return MaskCrop(spans[0] + int(rows[0]), spans[1] + int(columns[0]), crop)


def _bilinear_weights(start: int, stop: int, length: int, cells: int) -> Tensor:
    """Weights (stop - start, cells) of the pixels start..stop of an axis of `length` pixels."""
    pixels = torch.arange(start, stop, dtype=torch.float32)
    place = ((pixels + 0.5) * (cells / length) - 0.5).clamp(min=0)
    low = place.floor().long().clamp(max=cells - 1)
    high = (low + 1).clamp(max=cells - 1)
    share = place - low
    weights = torch.zeros(stop - start, cells)
    index = torch.arange(stop - start)
    weights.index_put_((index, low), 1 - share, accumulate=True)
    weights.index_put_((index, high), share, accumulate=True)
    return weights
