"""Masks found on the next plane, of one prediction or several that are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from napari_sam3.core.fields import FieldOfView, resample_logits
from napari_sam3.core.masks import PlaneMask, iou_of, overlap
from napari_sam3.inference.questions import ObjectPrediction

__all__ = ["FoundMask", "above_logit", "alike", "apart", "joined"]

# Low-resolution pixels, and logits, by which outlines are smoothed. Chosen on training nuclei.
_SMOOTHING, _SMOOTHED_LOGITS = 1.0, 2.0
_REACH = 8  # low-resolution pixels around a mask; no farther is anything above after smoothing


@dataclass(frozen=True, eq=False)
class FoundMask:
    """An object predicted on a plane.

    Attributes
    ----------
    mask : PlaneMask
        May be empty.
    score : float
        Predicted IoU.
    presence : float, optional
        Object score of the tracker, a logit; None without memory.
    expected : PlaneMask, optional
        The last mask, moved to where the pixels of the object are on this plane.
    above : callable, optional
        Called with a logit, returns the part of the mask that the model is as sure of.
    """

    mask: PlaneMask
    score: float
    presence: float | None = None
    expected: PlaneMask | None = None
    above: Callable[[float], PlaneMask] | None = field(default=None, repr=False)


def joined(
    several: Sequence[ObjectPrediction], expected: PlaneMask, fill_area: int, *, smooth: bool = True
) -> FoundMask:
    """Return one mask of one or more predictions of an object, with a smooth outline or not."""
    region = several[0].field
    logits = [
        one.logits if one.field == region else resample_logits(one.logits, one.field, region)
        for one in several
    ]
    above = partial(above_logit, region, np.mean(logits, axis=0)[0], fill_area)
    return FoundMask(
        above(0.0) if smooth else several[0].mask,
        float(np.mean([one.score for one in several])),
        expected=expected,
        above=above,
    )


def alike(several: Sequence[ObjectPrediction], expected: PlaneMask) -> Sequence[ObjectPrediction]:
    """Return the predictions of an object without one that went to another object.

    Those stay whose IoU with the mask of the plane before is at least half as high as the best.
    """
    if len(several) == 1:
        return several
    agreement = [iou_of(one.mask, expected) for one in several]
    most = max(agreement)
    return [one for one, share in zip(several, agreement, strict=True) if 2 * share >= most]


def apart(found: Mapping[int, FoundMask]) -> dict[int, FoundMask]:
    """Give pixels that two objects claim to the one that was there on the plane before.

    Both keep them where both or neither of them were, and if one lies within the other, such as a
    nucleus in its cell.
    """
    parted, numbers = dict(found), list(found)
    boxes = np.array([one.mask.bbox for one in found.values()]).reshape(-1, 4)
    for i, a in enumerate(numbers):
        starts, stops = boxes[i + 1 :, :2], boxes[i + 1 :, 2:]
        meet = (starts < boxes[i, 2:]).all(1) & (stops > boxes[i, :2]).all(1)
        for b in (numbers[i + 1 + j] for j in np.flatnonzero(meet)):
            parted[a], parted[b] = _without(parted[a], found[b]), _without(parted[b], found[a])
    return parted


def _without(one: FoundMask, other: FoundMask) -> FoundMask:
    """Return a mask without the pixels of another object that were the other's alone before."""
    mine, theirs = one.expected, other.expected
    if mine is None or theirs is None or not overlap(one.mask, theirs):
        return one
    if 2 * overlap(mine, theirs) > min(mine.area, theirs.area):
        return one

    def cut(mask: PlaneMask) -> PlaneMask:
        region = mask.region
        taken = other.mask.within(region) & theirs.within(region) & ~mine.within(region)
        left = mask.crop & ~taken
        return PlaneMask.from_array(left, region[0].start, region[1].start).without_islands([])

    above = one.above
    cut_above = None if above is None else lambda logit: cut(above(logit))
    return replace(one, mask=cut(one.mask), above=cut_above)


def above_logit(
    region: FieldOfView, logits: npt.NDArray[np.float32], fill_area: int, logit: float
) -> PlaneMask:
    """Return the part of a mask whose logits are higher, with a smooth outline, no small holes."""
    from scipy import ndimage

    from sam3.preprocess.masks import UndrawnMask

    smooth = np.full_like(logits, -_SMOOTHED_LOGITS)
    if inside := ndimage.find_objects((logits > logit).astype(np.int8)):
        part = tuple(slice(max(0, s.start - _REACH), s.stop + _REACH) for s in inside[0])
        # Of logits within narrow limits, the outline is smoothed instead of moved.
        near = np.clip(logits[part] - logit, -_SMOOTHED_LOGITS, _SMOOTHED_LOGITS)
        smooth[part] = ndimage.gaussian_filter(near, _SMOOTHING)
    crop = UndrawnMask(region.encoded_shape, fill_area, None).draw(smooth)
    return region.paste(crop.pixels, crop.row, crop.column).without_islands([])
