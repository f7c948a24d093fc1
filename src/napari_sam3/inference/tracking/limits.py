"""Limits by which objects end, and the draft of a mask for the next plane."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask, overlap
from napari_sam3.core.prompts import PromptSet
from sam3.errors import PromptError

__all__ = ["EndLimits", "box_draft", "check_ranges", "mask_draft", "why_ended"]

_RANGES = (
    ("min_score", 0, 1),
    ("max_change", 1, float("inf")),
    ("min_overlap", 0, 1),
    ("min_area", 1, float("inf")),
)


@dataclass(frozen=True)
class EndLimits:
    """Criteria by which an object ends, from its masks on two consecutive planes.

    Parameters
    ----------
    min_score : float
        Minimum predicted IoU.
    max_change : float
        Maximum factor by which the area grows or shrinks.
    min_overlap : float
        Minimum overlap, as a fraction of the smaller of the two masks.
    min_area : int
        Minimum area in px.
    """

    min_score: float = 0.7
    max_change: float = 2.0
    min_overlap: float = 0.7
    min_area: int = 8

    def __post_init__(self) -> None:
        """Validate the limits."""
        check_ranges(self, _RANGES)


def check_ranges(rules: object, ranges: tuple[tuple[str, float, float], ...]) -> None:
    """Raise PromptError for values outside their ranges (name, minimum, maximum)."""
    for name, low, high in ranges:
        value = getattr(rules, name)
        try:
            inside = low <= value <= high
        except TypeError:
            inside = False
        if not inside:
            raise PromptError(
                f"{name} is {value!r}. Expected {low:g} to {high:g}. Choose a number in this range."
            )


def mask_draft(number: int, mask: PlaneMask, boxed: bool = False) -> Draft:
    """Return a draft with the mask on the previous plane, and maybe its box, as prompts."""
    return Draft(number, (Turn(_box(mask) if boxed else PromptSet()),), mask)


def box_draft(number: int, mask: PlaneMask) -> Draft:
    """Return a draft with the box of the mask on the previous plane as its prompt."""
    return Draft(number, (Turn(_box(mask)),))


def _box(mask: PlaneMask) -> PromptSet:
    row, column, row_stop, column_stop = mask.bbox
    return PromptSet(box=(column - 0.5, row - 0.5, column_stop - 0.5, row_stop - 0.5))


def why_ended(before: PlaneMask, now: PlaneMask, score: float, limits: EndLimits) -> str:
    """Return the reason why an object ends at a mask; "" if it does not."""
    old, new = before.area, now.area
    if new < limits.min_area:
        return f"only {new} px were found"
    if score < limits.min_score:
        return f"the score fell to {score:.2f}"
    if max(old, new) > limits.max_change * min(old, new):
        return f"the area changed from {old} to {new} px"
    if overlap(before, now) < limits.min_overlap * min(old, new):
        return "it overlaps too little with the plane before"
    return ""
