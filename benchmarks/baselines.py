"""What a person without a model would use: at a click or a box, or for a whole image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, sobel, threshold_otsu
from skimage.segmentation import flood, watershed

__all__ = ["flood_fill", "grey_plane", "otsu_in_box", "otsu_watershed", "seeded_watershed"]

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


def otsu_watershed(grey: Grey, *, smallest: int = 30, distance: int = 5) -> npt.NDArray[np.int32]:
    """Label everything on the inner side of Otsu's threshold, touching objects cut apart.

    Parameters
    ----------
    grey : ndarray, H x W
        Brightness. The side that most of the image's edge is on is the ground.
    smallest : int
        Objects of fewer px are dropped.
    distance : int
        Px between the middles of objects, at least.
    """
    inside = grey > threshold_otsu(grey)
    edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if edge.mean() > 0.5:
        inside = ~inside
    components, _ = ndimage.label(ndimage.binary_fill_holes(inside))
    large = np.bincount(components.ravel()) >= smallest
    large[0] = False
    components[~large[components]] = 0
    depth = gaussian(ndimage.distance_transform_edt(components > 0), sigma=1)
    peaks = peak_local_max(depth, min_distance=distance, labels=components, exclude_border=False)
    markers = np.zeros(grey.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, markers, mask=components > 0), np.int32)
