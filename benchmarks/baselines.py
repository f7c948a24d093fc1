"""What a person without a model would use: flood fill and seeded watershed at the click."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import gaussian, sobel, threshold_otsu
from skimage.segmentation import flood, watershed

__all__ = ["flood_fill", "grey_plane", "otsu_in_box", "seeded_watershed"]

Grey = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Click = tuple[float, float]


def grey_plane(plane: npt.NDArray[np.uint8]) -> Grey:
    """Brightness of an H x W x 3 plane, slightly smoothed, in [0, 1]."""
    return np.asarray(gaussian(plane.mean(-1) / 255, sigma=1), np.float64)


def flood_fill(grey: Grey, click: Click, tolerance: float) -> Mask:
    """Pixels connected to the click (x, y) within a tolerance of its brightness."""
    x, y = (round(value) for value in click)
    return np.asarray(flood(grey, (y, x), tolerance=tolerance), np.bool_)


def seeded_watershed(grey: Grey, click: Click) -> Mask:
    """Watershed of the gradient from the click against the other side of Otsu's threshold."""
    x, y = (round(value) for value in click)
    level = threshold_otsu(grey)
    same = (grey > level) == (grey[y, x] > level)
    markers = np.zeros(grey.shape, np.int32)
    markers[~ndimage.binary_dilation(same, iterations=2)] = 1
    markers[y, x] = 2
    return np.asarray(watershed(sobel(grey), markers) == 2, np.bool_)


def otsu_in_box(grey: Grey, box: tuple[float, float, float, float]) -> Mask:
    """Largest component within a box that lies on the box centre's side of its own threshold."""
    x0, y0, x1, y1 = (max(0, round(value)) for value in box)
    part = grey[y0 : y1 + 1, x0 : x1 + 1]
    centre = part[part.shape[0] // 2, part.shape[1] // 2]
    level = threshold_otsu(part)
    components, count = ndimage.label((part > level) == (centre > level))
    mask = np.zeros(grey.shape, np.bool_)
    if count:
        largest = np.bincount(components.ravel())[1:].argmax() + 1
        mask[y0 : y1 + 1, x0 : x1 + 1] = components == largest
    return mask
