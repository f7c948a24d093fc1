"""Whether an object is on a plane: evidence in the image besides the model's own estimates.

::

      shown plane              a later plane
      . . . . . . . .          . . . . . . . .     c: core of the mask, its inner half
      . r r r r r r .          . r r r r r r .     e: edge of the mask, where the gradient is
      . r e e e e r .          . r r e e r r .        measured: out of focus it is flat
      . r e c c e r .          . r e c c e r .     r: ring around the mask
      . r e e e e r .          . r r e e r r .
      . r r r r r r .          . r r r r r r .     contrast: median of c less median of r
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["FEATURES", "Look", "Place", "contrast_of", "evidence", "look_of"]

#: Names of the evidence, in order; see :func:`evidence`.
FEATURES = (
    "score",
    "contrast",
    "contrast_at_mask_before",
    "edge",
    "edge_to_before",
    "change_from_before",
    "brightness",
    "area",
    "presence",
    "growth",
)
_GAP, _RING = 0.1, 0.35  # of the root of the area: between mask and ring, and its width
_LEAST_RING = 2
_CORE = 0.5  # of the largest distance to the rim
_EDGE = 1.5  # px on both sides of the rim
_SMOOTHING = 0.05  # of the root of the area, at least 1 px, for gradients
_MOST_PIXELS = 1 << 22  # of a region that is measured; larger ones are thinned out
_LEAST_SIGNAL, _LEAST_NOISE = 0.7, 2.0  # contrast over noise; grey levels
_LEAST_CONTRAST, _LEAST_EDGE = 2.0, 0.5  # grey levels of 255; less is no reference
_PRESENCE_LIMIT = 6.0


@dataclass(frozen=True)
class Look:
    """How a mask stands out from its surroundings on its plane.

    Attributes
    ----------
    inside, core, outside : float
        Median grey values of the mask, of its inner half and of a ring around it, 0 to 255.
    noise : float
        Spread of the ring.
    edge : float
        Mean magnitude of the gradient along the rim, grey levels per smoothing width.
    """

    inside: float
    core: float
    outside: float
    noise: float
    edge: float

    @property
    def contrast(self) -> float:
        """Difference of the medians of core and ring."""
        return self.core - self.outside

    @property
    def stands_out(self) -> bool:
        """Whether the contrast says something, as of nuclei, but not of packed cells."""
        return abs(self.inside - self.outside) >= _LEAST_SIGNAL * (self.noise + _LEAST_NOISE)


def look_of(mask: PlaneMask, plane: PlaneImage, place: Place | None = None) -> Look:
    """Measure a mask that is not empty; only its surroundings are read.

    Parameters
    ----------
    mask : PlaneMask
    plane : PlaneImage
        The plane that it lies on.
    place : Place, optional
        Its place on planes of this shape, if known.
    """
    from scipy import ndimage

    place = place or Place(mask, plane.shape)
    grey = place.grey(plane)
    if place.is_flat:
        middle = float(np.median(grey))
        return Look(middle, middle, middle, noise=1.0, edge=0.0)
    sigma = max(1.0, _SMOOTHING * math.sqrt(mask.area) / place.step)
    slope = sigma * ndimage.gaussian_gradient_magnitude(grey, sigma)
    spread = np.subtract(*np.percentile(grey[place.ring], (75, 25))) / 1.35
    core, outside = place.core_and_outside(grey)
    return Look(
        inside=float(np.median(grey[place.inside])),
        core=core,
        outside=outside,
        noise=float(spread),
        edge=float(slope[place.edge].mean()),
    )


def contrast_of(mask: PlaneMask, plane: PlaneImage, place: Place | None = None) -> float:
    """Return the contrast alone of a `Look`, in less time than :func:`look_of`."""
    place = place or Place(mask, plane.shape)
    core, outside = (0.0, 0.0) if place.is_flat else place.core_and_outside(place.grey(plane))
    return core - outside


class Place:
    """The pixels that are measured for a mask, of a region that is thinned out if it is large.

    Parameters
    ----------
    mask : PlaneMask
        A mask that is not empty.
    shape : tuple of int
        (height, width) of its plane.

    Attributes
    ----------
    is_flat : bool
        Whether nothing is inside, or nothing outside.
    step : int
        Pixels of the plane per pixel of the region.
    inside, core, edge, ring : ndarray of bool
        See the module; all but `inside` only if it is not flat.
    """

    def __init__(self, mask: PlaneMask, shape: tuple[int, int]) -> None:
        from scipy import ndimage

        self.shape = shape
        root = math.sqrt(mask.area)
        gap = max(1, round(_GAP * root))
        margin = gap + max(_LEAST_RING, round(_RING * root))
        row, column, row_stop, column_stop = mask.bbox
        self._rows = slice(max(0, row - margin), min(shape[0], row_stop + margin))
        self._columns = slice(max(0, column - margin), min(shape[1], column_stop + margin))
        length = self._columns.stop - self._columns.start
        area = (self._rows.stop - self._rows.start) * length
        self.step = step = max(1, math.isqrt(area // _MOST_PIXELS))
        self.inside = mask.within((self._rows, self._columns))[::step, ::step]
        self.is_flat = not self.inside.any() or bool(self.inside.all())
        if self.is_flat:
            return
        depth = ndimage.distance_transform_edt(self.inside)
        distance = ndimage.distance_transform_edt(~self.inside)
        self.core = depth >= _CORE * depth.max()
        self.edge = (depth <= _EDGE) & (distance <= _EDGE)
        ring = (distance * step > gap) & (distance * step <= margin)
        self.ring = ring if ring.any() else ~self.inside

    def grey(self, plane: PlaneImage) -> npt.NDArray[np.float32]:
        """Read the region from a plane."""
        pixels = plane.region(self._rows, self._columns).mean(axis=2, dtype=np.float32)
        return np.asarray(pixels[:: self.step, :: self.step], np.float32)

    def core_and_outside(self, grey: npt.NDArray[np.float32]) -> tuple[float, float]:
        """Return the medians of the inner half and of the ring."""
        from scipy import ndimage

        smooth = ndimage.gaussian_filter(grey, 1)
        return float(np.median(smooth[self.core])), float(np.median(smooth[self.ring]))


def evidence(
    now: tuple[PlaneMask, Look, float],
    contrast_at_mask_before: float,
    before: tuple[PlaneMask, Look],
    shown: tuple[PlaneMask, Look],
    presence: float | None,
) -> npt.NDArray[np.float64]:
    """Return the :data:`FEATURES` of a mask that is not empty.

    Parameters
    ----------
    now : tuple of (PlaneMask, Look, float)
        The mask, how it stands out, and its predicted IoU.
    contrast_at_mask_before : float
        Of the mask of the plane before, on this plane.
    before : tuple of (PlaneMask, Look)
        The mask of the plane before, and how it stands out there.
    shown : tuple of (PlaneMask, Look)
        The mask where the object was shown.
    presence : float, optional
        The tracker's object score, a logit.

    Returns
    -------
    ndarray of float64
        Contrasts, changes and brightness as shares of the contrast where the object was shown,
        edges as ratios, area and growth, which is the area compared with the plane before, as
        logarithms of ratios, the presence from -1 to 1.
    """
    mask, look, score = now
    last, first = before[1], shown[1]
    reference = math.copysign(max(abs(first.contrast), _LEAST_CONTRAST), first.contrast)
    return np.array(
        [
            score,
            _limited(look.contrast / reference, 2),
            _limited(contrast_at_mask_before / reference, 2),
            _limited(look.edge / max(first.edge, _LEAST_EDGE), 2),
            _limited(look.edge / max(last.edge, _LEAST_EDGE), 2),
            _limited((look.core - last.core) / reference, 2),
            _limited((look.core - first.outside) / reference, 2),
            _limited(math.log(mask.area / shown[0].area), 2),
            0.0 if presence is None else _limited(presence / _PRESENCE_LIMIT, 1),
            _limited(math.log(mask.area / before[0].area), 2),
        ]
    )


def _limited(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
