"""One object written into labels, so that it can be taken out again exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt

from .errors import LabelError
from .masks import PlaneMask, Region
from .targets import LabelTarget, check_id_fits

__all__ = ["LabelEdit", "Policy"]

Policy = Literal["keep", "overwrite"]


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """One object written into labels.

    Parameters
    ----------
    target : LabelTarget
        Plane written to.
    written : PlaneMask
        Pixels that changed.
    label : int
        Id they were given.
    before : ndarray, optional
        Labels of the bounding box before; None where all written pixels were background.
    """

    target: LabelTarget
    written: PlaneMask
    label: int
    before: npt.NDArray[Any] | None = field(repr=False)

    @classmethod
    def prepare(cls, target: LabelTarget, mask: PlaneMask, label: int, policy: Policy) -> LabelEdit:
        """Work out what would be written, without writing.

        Raises
        ------
        LabelError
            If the mask is empty, has no free pixel under the policy, or the id does not fit.
        """
        if mask.is_empty:
            raise LabelError(
                "the mask in hand is empty, so there is nothing to accept; add a foreground "
                "click or draw a box around the object"
            )
        check_id_fits(label, target.dtype)
        before = target.read(mask.region)
        free = mask.crop if policy == "overwrite" else mask.crop & (before == 0)
        if not free.any():
            raise LabelError(
                f"all {mask.area} px of the mask already belong to accepted labels; undo those "
                'first, or choose the policy "overwrite"'
            )
        written = PlaneMask.from_array(free, mask.row, mask.column)
        before = target.read(written.region)
        kept = before if before[written.crop].any() else None
        return cls(target, written, label, kept)

    @property
    def region(self) -> Region:
        """Slices of the plane that are touched."""
        return self.written.region

    def apply(self) -> None:
        """Write the id, leaving pixels alone that were painted since it was prepared."""
        values = self.target.read(self.region)
        same = values == (0 if self.before is None else self.before)
        values[self.written.crop & same] = self.label
        self.target.write(self.region, values)

    def revert(self) -> None:
        """Put back what was there, leaving pixels alone that were painted over since."""
        values = self.target.read(self.region)
        ours = self.written.crop & (values == self.label)
        values[ours] = 0 if self.before is None else self.before[ours]
        self.target.write(self.region, values)
