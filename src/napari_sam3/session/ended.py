"""Propagated objects that ended before a plane, and how they continue there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.tracking.limits import EndLimits, why_ended
from napari_sam3.labels.edits import find_mask_of_label

from .followed import mask_now, was_shown

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import AcceptedObject

    from .objects import ObjectRegistry
    from .stacks import PlaneStack

__all__ = ["EndedObject", "continued_by", "ended_objects"]

#: Maximum distance in planes from the last mask of an object to the plane where it continues.
REACH = 3
# The user asks to continue, so that a low score does not end the object, nor a change as of a cell
# in time.
_LIMITS = EndLimits(min_score=0, max_change=3, min_overlap=0.5)


@dataclass(frozen=True, eq=False)
class EndedObject:
    """An object that was propagated, and ended before the current plane.

    Attributes
    ----------
    label : int
        Id of the object.
    last, here : int
        Plane of its last mask, and the current plane.
    mask : PlaneMask
        Its last mask.
    category : str
        Class of the object.
    """

    label: int
    last: int
    here: int
    mask: PlaneMask
    category: str

    def planes(self, length: int) -> set[int]:
        """Return the planes of a stack from its end on, except the current one."""
        forward = self.here > self.last
        beyond = range(self.last + 1, length) if forward else range(self.last)
        return set(beyond) - {self.here}

    def draft(self, number: int) -> Draft:
        """Return a draft that predicts the object on the current plane from its last mask."""
        return Draft(number, (Turn(PromptSet()),), self.mask, self.label)


def ended_objects(stack: PlaneStack, here: int, objects: ObjectRegistry) -> tuple[EndedObject, ...]:
    """Return the objects that ended at most `REACH` planes before a plane, in either direction."""
    target = stack.labels[here]
    planes: dict[int, dict[int, AcceptedObject]] = {}
    for accepted in objects.within(target.source):
        place = stack.place(accepted.plane)
        if place is not None:
            planes.setdefault(accepted.id, {})[place] = accepted
    found = []
    for label, known in planes.items():
        last = min(known, key=lambda place: abs(place - here))
        # Within the object, or too far from its end.
        if here in known or min(known) < here < max(known) or abs(last - here) > REACH:
            continue
        # Never propagated, so that it has not ended.
        if all(was_shown(accepted) for accepted in known.values()):
            continue
        mask = mask_now(stack.labels[last], label, known[last])
        if mask is not None and find_mask_of_label(target, label) is None:
            found.append(EndedObject(label, last, here, mask, known[last].category))
    return tuple(found)


def continued_by(
    mask: PlaneMask, label: int | None, ended: Iterable[EndedObject]
) -> EndedObject | None:
    """Return the object of a label, or the one whose last mask is most similar to a mask in area.

    None if no last mask overlaps the mask within the limits of `EndLimits`.
    """
    if label is not None:
        return next((one for one in ended if one.label == label), None)
    alike: Mapping[EndedObject, float] = {
        one: abs(one.mask.area - mask.area) / max(one.mask.area, mask.area)
        for one in ended
        if not why_ended(one.mask, mask, 1.0, _LIMITS)
    }
    return min(alike, key=lambda one: alike[one], default=None)
