"""Where an object went between two planes, by its own pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["moved"]

_REACH, _MARGIN = 1.0, 4  # of the longer side of the object, plus px; px around the object
_PENALTY = 0.25  # of correlation, for a distance of the longer side
_GAIN = 0.05  # of correlation, below which the object stays where it is
_LONGEST = 256  # px of the region that is searched; larger ones are thinned out
_LEAST_SPREAD = 1e-3  # grey levels


def moved(mask: PlaneMask, before: PlaneImage, now: PlaneImage) -> PlaneMask:
    """Return a mask moved to where its pixels are on another plane.

    Its surroundings on its own plane are searched for by normalized cross-correlation (J. P. Lewis,
    Fast Normalized Cross-Correlation, 1995, as in scikit-image), at most as far as it is long. It
    stays where it is unless they fit clearly better elsewhere.

    Parameters
    ----------
    mask : PlaneMask
        A mask that is not empty.
    before, now : PlaneImage
        The plane that it lies on, and the other one.

    Returns
    -------
    PlaneMask
        The same mask at another place, whole on the plane; `mask` itself if it stays.
    """
    height, width = now.shape
    row, column, row_stop, column_stop = mask.bbox
    longest = max(mask.crop.shape)
    reach = math.ceil(_REACH * longest) + _MARGIN
    area = _clipped(mask, reach, now.shape)
    inner = _clipped(mask, _MARGIN, now.shape)
    step = max(1, -(-max(part.stop - part.start for part in area) // _LONGEST))
    template, searched = _grey(before, inner, step), _grey(now, area, step)
    larger = all(n > m for n, m in zip(searched.shape, template.shape, strict=True))
    if not larger or template.std() < _LEAST_SPREAD or searched.std() < _LEAST_SPREAD:
        return mask
    here = tuple(
        min((small.start - large.start) // step, n - m)
        for small, large, n, m in zip(inner, area, searched.shape, template.shape, strict=True)
    )
    window = tuple(slice(at, at + m) for at, m in zip(here, template.shape, strict=True))
    if _correlation(template, searched[window]) > 1 - _GAIN:  # nowhere can it be clearly higher
        return mask
    from skimage.feature import match_template  # slow to import

    fit = match_template(searched, template)
    rows, columns = np.ogrid[: fit.shape[0], : fit.shape[1]]
    distance = step * np.hypot(rows - here[0], columns - here[1])
    merit = fit - _PENALTY * distance / longest
    best = np.unravel_index(int(merit.argmax()), merit.shape)
    if merit[best] < fit[here] + _GAIN:
        return mask
    down, right = (step * (int(place) - start) for place, start in zip(best, here, strict=True))
    down, right = _within(down, row, row_stop, height), _within(right, column, column_stop, width)
    return PlaneMask(row + down, column + right, mask.crop)


def _correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Return the correlation of the pixels of two regions, 0 if one of them is even."""
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
    return float(np.vdot(a, b)) / spread if spread else 0.0


def _within(shift: int, start: int, stop: int, length: int) -> int:
    """Limit a shift, which a thinned region rounds, so that nothing leaves the plane."""
    return min(max(shift, -start), length - stop)


def _clipped(mask: PlaneMask, margin: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    row, column, row_stop, column_stop = mask.bbox
    return (
        slice(max(0, row - margin), min(shape[0], row_stop + margin)),
        slice(max(0, column - margin), min(shape[1], column_stop + margin)),
    )


def _grey(plane: PlaneImage, region: tuple[slice, slice], step: int) -> npt.NDArray[np.float32]:
    pixels = plane.region(*region).mean(axis=2, dtype=np.float32)
    return np.asarray(pixels[::step, ::step], np.float32)
