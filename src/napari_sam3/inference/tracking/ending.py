"""Where an object ends: rules that weigh the evidence on each plane."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.masks import PlaneMask

from .carry import CarryRules, why_ended
from .evidence import FEATURES, Look, evidence, look_at

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam3.core.rendering import PlaneImage

    from .followers import FoundMask

__all__ = ["EndRules", "Trail"]


@dataclass(frozen=True)
class EndRules:
    """When an object has ended.

    Parameters
    ----------
    weights : tuple of float
        Of :data:`evidence.FEATURES`, then of 1, for the logit that the object is there; without
        any, each mask is taken. They count for objects that stand out from their surroundings
        where they are shown.
    flat : CarryRules, optional
        Limits for other objects, of which contrast says nothing.
    least : float
        Probability that the object is there, below which a mask is not taken.
    least_contrast : float
        Contrast of an object that stands out, as a share of that where it was shown, below which
        a mask is not taken.
    gap : int
        Planes in a row without the object that are bridged before it has ended, as for a blink
        or a bad plane of a time series.
    min_area : int
        Masks of fewer px are not taken.
    """

    weights: tuple[float, ...] = ()
    flat: CarryRules | None = None
    least: float = 0.32
    least_contrast: float = 0.03
    gap: int = 0
    min_area: int = 8

    @classmethod
    def calibrated(cls, gap: int = 0) -> EndRules:
        """Rules calibrated on real stacks; see docs/propagation.md."""
        return cls(_WEIGHTS, CarryRules(), gap=gap)

    def probability(self, features: npt.NDArray[np.float64]) -> float:
        """Return the probability that an object that stands out is on a plane."""
        if not self.weights:
            return 1.0
        logit = float(np.dot(self.weights[:-1], features)) + self.weights[-1]
        return 1 / (1 + math.exp(-logit))


# In the order of FEATURES; printed by `python -m benchmarks.ending` for sets of nuclei.
_WEIGHTS = (1.96, 2.477, -1.642, 2.273, 0.898, 0.257, -1.879, 0.012, 0.695, 0.0, -3.205)


@dataclass(eq=False)
class Trail:
    """An object on its way: its last mask, and the one that it was shown by.

    Attributes
    ----------
    mask : PlaneMask
        The last that was taken.
    """

    mask: PlaneMask
    plane: InitVar[PlaneImage]
    rules: EndRules
    missed: int = 0
    prompted: tuple[PlaneMask, Look] = field(init=False)
    before: tuple[PlaneMask, Look] = field(init=False)

    def __post_init__(self, plane: PlaneImage) -> None:
        """Measure the mask that the object was shown by, on its plane."""
        self.before = self.prompted = self.mask, look_at(self.mask, plane)

    def judge(self, found: FoundMask, plane: PlaneImage) -> tuple[PlaneMask, str]:
        """Return the mask that is taken on a plane, maybe an empty one, and why it ended if so."""
        reason = self._doubt(found, plane)
        if not reason:
            self.missed = 0
            return self.mask, ""
        self.missed += 1
        return PlaneMask(
            0, 0, np.zeros((0, 0), bool)
        ), reason if self.missed > self.rules.gap else ""

    def _doubt(self, found: FoundMask, plane: PlaneImage) -> str:
        """Say why a mask is not taken; take it otherwise."""
        area = found.mask.area
        if area < max(1, self.rules.min_area):
            return f"only {area} px were found"
        flat = self.rules.flat
        if flat is not None and not self.prompted[1].stands_out:
            reason = why_ended(self.mask, found.mask, found.score, flat)
            if not reason:
                self.mask = found.mask
            return reason
        look = look_at(found.mask, plane)
        now = found.mask, look, found.score
        features = evidence(now, self.before, self.prompted, found.presence)
        contrast = features[FEATURES.index("contrast")]
        if self.rules.weights and contrast < self.rules.least_contrast:
            return f"the contrast fell to {contrast:.0%} of that where it was shown"
        chance = self.rules.probability(features)
        if chance < self.rules.least:
            return f"the evidence fell to {chance:.2f}"
        self.mask, self.before = found.mask, (found.mask, look)
        return ""
