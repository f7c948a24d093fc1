"""Rescaling of images and coordinates from image to model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sam3.errors import ImageError
from sam3.preprocess.contrast import percentile_limits, to_uint8

__all__ = ["image_to_model", "rgb_image", "to_model_frame"]


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
