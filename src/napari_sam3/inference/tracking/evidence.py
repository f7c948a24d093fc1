"""Whether an object is on a plane: evidence in the image, not the model's word alone.

::

      prompted plane           a later plane
      . . . . . . .            . . . . . . .      contrast of the mask with its surroundings, as a
      . r r r r r .            . r r r r r .      share of that on the prompted plane; overlap with
      . r m m m r .            . r m m m r .      the mask before; area; the predicted IoU; and the
      . r r r r r .            . r r r r r .      tracker's object score, where there is one
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask, overlap

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["FEATURES", "Look", "evidence", "look_at"]

#: What is measured, in this order; see :func:`evidence`.
FEATURES = (
    "score",
    "contrast",
    "contrast_before",
    "signal_to_noise",
    "brightness",
    "overlap",
    "area",
    "area_before",
    "agreement",
    "presence",
)
_GAP, _RING = 0.1, 0.35  # of the root of the area: between mask and ring, and its width
_LEAST_RING = 2
_MOST_PIXELS = 1 << 22  # of a region that is looked at; larger ones are thinned out
_LEAST_SIGNAL, _LEAST_NOISE = 1.5, 2.0  # contrast over noise; grey levels
_LEAST_CONTRAST = 2.0  # grey levels of 255; less on the prompted plane is no measure
_PRESENCE_LIMIT = 6.0


@dataclass(frozen=True)
class Look:
    """How a mask stands out from its surroundings on its plane.

    Attributes
    ----------
    inside, outside : float
        Median grey values of the mask and of a ring around it, 0 to 255.
    noise : float
        Spread of the ring.
    """

    inside: float
    outside: float
    noise: float

    @property
    def contrast(self) -> float:
        """Difference of the medians."""
        return self.inside - self.outside

    @property
    def stands_out(self) -> bool:
        """Whether the contrast says something, as of nuclei, but not of packed cells."""
        return abs(self.contrast) >= _LEAST_SIGNAL * (self.noise + _LEAST_NOISE)


def look_at(mask: PlaneMask, plane: PlaneImage) -> Look:
    """Measure a mask that is not empty; only its surroundings are read.

    Parameters
    ----------
    mask : PlaneMask
    plane : PlaneImage
        The plane that it lies on.
    """
    from scipy import ndimage

    root = math.sqrt(mask.area)
    gap = max(1, round(_GAP * root))
    width = max(_LEAST_RING, round(_RING * root))
    room = gap + width
    row, column, row_stop, column_stop = mask.bbox
    height, length = plane.shape
    rows = slice(max(0, row - room), min(height, row_stop + room))
    columns = slice(max(0, column - room), min(length, column_stop + room))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    step = max(1, math.isqrt(area // _MOST_PIXELS))
    grey = plane.region(rows, columns).mean(axis=2)[::step, ::step]
    inside = mask.within((rows, columns))[::step, ::step]
    distance = ndimage.distance_transform_edt(~inside) * step
    ring = grey[(distance > gap) & (distance <= room)]
    if not ring.size or not inside.any():
        return Look(float(np.median(grey)), float(np.median(grey)), 1.0)
    spread = np.subtract(*np.percentile(ring, (75, 25))) / 1.35
    return Look(float(np.median(grey[inside])), float(np.median(ring)), float(spread))


def evidence(
    now: tuple[PlaneMask, Look, float],
    before: tuple[PlaneMask, Look],
    prompted: tuple[PlaneMask, Look],
    presence: float | None,
) -> npt.NDArray[np.float64]:
    """Return the :data:`FEATURES` of a mask that is not empty.

    Parameters
    ----------
    now : tuple of (PlaneMask, Look, float)
        The mask, how it stands out, and its predicted IoU.
    before, prompted : tuple of (PlaneMask, Look)
        On the plane before, and where it was prompted.
    presence : float, optional
        The tracker's object score, a logit.
    """
    mask, look, score = now
    shared = overlap(mask, before[0])
    union = mask.area + before[0].area - shared
    return np.array(
        [
            score,
            _share(look, prompted[1]),
            _share(look, before[1]),
            min(abs(look.contrast) / (look.noise + _LEAST_NOISE), 5.0) / 5,
            _brightness(look, prompted[1]),
            shared / min(mask.area, before[0].area),
            _ratio(mask.area, prompted[0].area),
            abs(_ratio(mask.area, before[0].area)),
            shared / union,
            0.0
            if presence is None
            else min(max(presence, -_PRESENCE_LIMIT), _PRESENCE_LIMIT) / _PRESENCE_LIMIT,
        ]
    )


def _share(look: Look, reference: Look) -> float:
    """Contrast as a share of another, -1 to 1.5; negative where it is turned round."""
    least = math.copysign(max(abs(reference.contrast), _LEAST_CONTRAST), reference.contrast)
    return min(max(look.contrast / least, -1.0), 1.5)


def _brightness(look: Look, reference: Look) -> float:
    """Place of the mask's grey value between the reference's surroundings, 0, and mask, 1."""
    least = math.copysign(max(abs(reference.contrast), _LEAST_CONTRAST), reference.contrast)
    return min(max((look.inside - reference.outside) / least, -1.0), 2.0)


def _ratio(area: int, reference: int) -> float:
    """Logarithm of the ratio of two areas, -2 to 2."""
    return min(max(math.log(area / reference), -2.0), 2.0)
