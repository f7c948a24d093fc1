"""Changes of labels on one plane, so that they can be taken back exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .errors import LabelError
from .masks import PlaneMask, Region, around
from .operations import LabelWrite, Policy
from .targets import LabelTarget, check_id_fits

__all__ = ["Edit", "LabelEdit", "mask_of_label", "write_object"]

# Rows looked at together when a label is searched for in a plane.
_BAND = 1024


class Edit(Protocol):
    """Something done to labels that can be taken back and done again."""

    def apply(self) -> None:
        """Do it again, leaving pixels alone that others have changed since."""

    def revert(self) -> None:
        """Take it back, leaving pixels alone that others have changed since."""

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the regions it touches, as they are now."""


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """Pixels of one plane that got other labels.

    Parameters
    ----------
    target : LabelTarget
        Plane written to.
    changed : PlaneMask
        Pixels that changed.
    before, after : int or ndarray
        Labels of the bounding box before and after; one number where all changed pixels share it.
    """

    target: LabelTarget
    changed: PlaneMask
    before: int | npt.NDArray[Any] = field(repr=False)
    after: int | npt.NDArray[Any] = field(repr=False)

    @classmethod
    def between(
        cls, target: LabelTarget, region: Region, after: npt.NDArray[Any]
    ) -> LabelEdit | None:
        """Work out what would be written to make a region `after`; None if nothing changes."""
        before = target.read(region)
        changed = PlaneMask.from_array(before != after, region[0].start, region[1].start)
        if changed.is_empty:
            return None
        inner = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip(changed.region, region, strict=True)
        )
        crop = changed.crop
        return cls(target, changed, _compact(before[inner], crop), _compact(after[inner], crop))

    def apply(self) -> None:
        """Write, leaving pixels alone that others have changed since it was prepared."""
        self._replace(self.before, self.after)

    def revert(self) -> None:
        """Put back what was there, leaving pixels alone that others have changed since."""
        self._replace(self.after, self.before)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the region, as it is now."""
        region = self.changed.region
        return (LabelWrite(self.target.key, region, self.target.read(region)),)

    def _replace(self, old: int | npt.NDArray[Any], new: int | npt.NDArray[Any]) -> None:
        region = self.changed.region
        values = self.target.read(region)
        ours = self.changed.crop & (values == old)
        values[ours] = new[ours] if isinstance(new, np.ndarray) else new
        self.target.write(region, values)


def write_object(
    target: LabelTarget,
    mask: PlaneMask,
    label: int,
    policy: Policy,
    *,
    allowed: PlaneMask | None = None,
    replaced: PlaneMask | None = None,
) -> LabelEdit | None:
    """Work out what writing an object would change, without writing.

    Parameters
    ----------
    target : LabelTarget
        Plane to write to.
    mask : PlaneMask
        The object.
    label : int
        Its id.
    policy : {"keep", "overwrite", "inside"}
        Leave pixels of other labels alone, take them over, or write background only, and that
        only inside the region that was drawn.
    allowed : PlaneMask, optional
        The drawn region.
    replaced : PlaneMask, optional
        Where the object was so far, if it was taken up again; what it no longer covers becomes
        background.

    Returns
    -------
    LabelEdit or None
        None if an object that was taken up again stays as it is.

    Raises
    ------
    LabelError
        If the mask is empty, has no free pixel under the policy, or the id does not fit.
    """
    if mask.is_empty:
        raise LabelError(
            "the mask in hand is empty, so there is nothing to accept; add a foreground click or "
            "draw a box around the object"
        )
    check_id_fits(label, target.dtype)
    parts = [mask] if replaced is None or replaced.is_empty else [mask, replaced]
    region = around(parts)
    values = target.read(region)
    if replaced is not None:
        values[replaced.within(region) & (values == label)] = 0
    free = mask.within(region)
    if policy != "overwrite":
        free &= values == 0
    if policy == "inside":
        if allowed is None:
            raise LabelError(
                'the policy "inside" writes only inside a drawn region, and this object has none; '
                "draw a box or an outline around it, or choose another policy"
            )
        free &= allowed.within(region)
    if not free.any():
        raise LabelError(
            f"all {mask.area} px of the mask already belong to accepted labels or lie outside the "
            'drawn region; undo those first, or choose the policy "overwrite"'
        )
    values[free] = label
    return LabelEdit.between(target, region, values)


def mask_of_label(target: LabelTarget, label: int) -> PlaneMask:
    """Find all pixels of a label on a plane.

    Raises
    ------
    LabelError
        If there are none, or it is the background.
    """
    if label == 0:
        raise LabelError("0 is the background and no label; choose a label that is on this plane")
    height, width = target.shape
    found: list[PlaneMask] = []
    for start in range(0, height, _BAND):
        band = slice(start, min(height, start + _BAND)), slice(0, width)
        part = PlaneMask.from_array(target.read(band) == label, start, 0)
        if not part.is_empty:
            found.append(part)
    if not found:
        raise LabelError(f"there is no label {label} on this plane; click on one that is there")
    region = around(found)
    whole = np.zeros([part.stop - part.start for part in region], bool)
    for part in found:
        whole |= part.within(region)
    return PlaneMask.from_array(whole, region[0].start, region[1].start)


def _compact(values: npt.NDArray[Any], changed: npt.NDArray[np.bool_]) -> int | npt.NDArray[Any]:
    """Return the one value of all changed pixels, or else a copy of the values."""
    inside = values[changed]
    return int(inside[0]) if (inside == inside[0]).all() else values.copy()
