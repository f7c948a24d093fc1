"""Collect the prompted and propagated masks of an object in a stack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.core.masks import PlaneMask
from napari_sam3.inference.tracking.sweeps import affected
from napari_sam3.labels.edits import find_mask_of_label

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.operations import Operation
    from napari_sam3.inference.tracking.propagate import Direction
    from napari_sam3.labels.targets import LabelTarget

    from .objects import ObjectRegistry
    from .stacks import PlaneStack

__all__ = ["FollowedObject", "follow_label", "lifetime", "mask_now", "was_shown"]


@dataclass(eq=False)
class FollowedObject:
    """An object in a stack.

    Attributes
    ----------
    label : int
        Id of the object.
    shown : dict of int to PlaneMask
        Masks made by the user with prompts, a brush or other tools, by plane.
    since : dict of int to str
        Times at which these were accepted, if known.
    found : dict of int to AcceptedObject
        Propagated objects, by plane.
    category : str
        Class of the object.
    """

    label: int
    shown: dict[int, PlaneMask] = field(default_factory=dict)
    since: dict[int, str] = field(default_factory=dict)
    found: dict[int, AcceptedObject] = field(default_factory=dict)
    category: str = ""

    def outdated(self, length: int) -> set[int]:
        """Return the planes that depend on masks newer than they are; all if none were found."""
        planes: set[int] = set()
        for plane in self.shown:
            depending = affected(self.shown, plane, length)
            since = self.since.get(plane)
            times = [one.time for at, one in self.found.items() if at in depending]
            if since is None or not any(time >= since for time in times):
                planes |= set(depending)
        return planes - self.shown.keys()

    def reached(self, direction: Direction, length: int) -> set[int]:
        """Return the planes to which it can be propagated."""
        first, last = min(self.shown), max(self.shown)
        planes = set(range(length)) - self.shown.keys()
        if direction == "forward":
            return {plane for plane in planes if plane > first}
        if direction == "backward":
            return {plane for plane in planes if plane < last}
        return planes


def follow_label(
    label: int,
    stack: PlaneStack,
    objects: ObjectRegistry,
    operations: Collection[Operation],
    here: int,
) -> FollowedObject:
    """Collect the masks of a label.

    Parameters
    ----------
    label : int
        Id of the object.
    stack : PlaneStack
        Planes of the stack.
    objects : ObjectRegistry
        Objects accepted or propagated before.
    operations : collection of Operation
        Operations on the labels; a painted plane is searched as a whole.
    here : int
        Current plane; its mask counts as made by the user if no other is known.
    """
    followed = FollowedObject(label)
    painted = {
        place
        for operation in operations
        if operation.kind == "paint"
        for write in operation.writes
        if (place := stack.place(write.plane)) is not None
    }
    source = stack.labels[here].source
    known = {
        place: accepted
        for accepted in objects.within(source)
        if accepted.id == label and (place := stack.place(accepted.plane)) is not None
    }
    for place in sorted(known.keys() | painted):
        accepted, target = known.get(place), stack.labels[place]
        mask = mask_now(target, label, None if place in painted else accepted)
        if mask is None:
            continue
        as_written = objects.is_as_written(target, label, mask)
        if accepted is None or not as_written or was_shown(accepted):
            followed.shown[place] = mask
            if accepted is not None and as_written:
                followed.since[place] = accepted.time
        else:
            followed.found[place] = accepted
        followed.category = followed.category or (accepted.category if accepted is not None else "")
    if not followed.shown:
        mask = mask_now(stack.labels[here], label, None)
        if mask is not None:
            followed.shown[here] = mask
            followed.found.pop(here, None)
    return followed


def lifetime(
    followed: FollowedObject,
    parents: Mapping[int, Collection[int]],
    follow: Callable[[int], FollowedObject],
    length: int,
) -> range:
    """Return the planes on which an object can be: after its parents, before its children.

    Parents last to their last plane before a child is shown. Where masks made by the user say
    otherwise, these count.

    Parameters
    ----------
    followed : FollowedObject
        The object.
    parents : mapping of int to collection of int
        Parents of each label that has any.
    follow : callable
        Called with a label, collects its masks.
    length : int
        Number of planes.
    """

    def division(parent: int) -> int:
        """Return the first plane on which a child is shown."""
        children = [child for child, of in parents.items() if parent in of]
        return min((min(follow(one).shown, default=length) for one in children), default=length)

    first, stop = 0, division(followed.label)
    for parent in parents.get(followed.label, ()):
        masks, until = follow(parent), division(parent)
        known = [plane for plane in (*masks.shown, *masks.found) if plane < until]
        first = max(first, max(known, default=-1) + 1)
    if first > min(followed.shown):
        first = 0
    return range(first, stop if stop > max(followed.shown) else length)


def mask_now(target: LabelTarget, label: int, known: AcceptedObject | None) -> PlaneMask | None:
    """Return the pixels of a label on a plane, or in the box of a known object; None if none."""
    if known is None:
        return find_mask_of_label(target, label)
    top, left, bottom, right = known.bbox
    values = target.read((slice(top, bottom), slice(left, right)))
    mask = PlaneMask.from_array(values == label, top, left)
    return None if mask.is_empty else mask


def was_shown(accepted: AcceptedObject) -> bool:
    """Whether a user made it by prompts, as opposed to propagation."""
    return bool(accepted.draft.turns) or accepted.draft.seed is not None
