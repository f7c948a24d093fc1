"""Request and plan of a propagation: which labels of a plane to propagate, to which planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.errors import NothingThereError
from napari_sam3.inference.tracking.propagate import Direction, ObjectPrompt
from napari_sam3.labels.edits import mask_of_label
from sam3.errors import PromptError

from .ended import EndedObject, ended_objects
from .followed import FollowedObject, follow_label, lifetime

if TYPE_CHECKING:
    from napari_sam3.inference.tracking.ending import EndRules

    from .history import History
    from .jobs import Plane
    from .stacks import PlaneStack

__all__ = ["NOTHING", "PropagationRequest", "PropagationPlan"]

NOTHING = (
    "no object to propagate on this plane. Expected a mask or an accepted object. Click on an "
    "object first."
)


@dataclass(frozen=True, eq=False)
class PropagationPlan:
    """The objects and planes of a run.

    Attributes
    ----------
    followed : mapping of int to FollowedObject
        Known masks, by label.
    only : mapping of int to set of int
        Planes to predict, by label.
    """

    followed: Mapping[int, FollowedObject]
    only: Mapping[int, set[int]]

    @property
    def prompts(self) -> list[ObjectPrompt]:
        """Masks made by the user, as prompts."""
        return [
            ObjectPrompt(plane, label, mask=mask)
            for label, followed in self.followed.items()
            for plane, mask in followed.shown.items()
        ]


@dataclass(frozen=True, eq=False)
class PropagationRequest:
    """A request to propagate.

    Parameters
    ----------
    stack : PlaneStack
        The planes.
    plane : Plane
        The current plane.
    direction : {"forward", "backward", "both"}
        Direction of propagation.
    rules : EndRules
        Rules for where objects end.
    history : History
        Operations on the labels.
    reopened : tuple of int
        Reopened labels among the drafts of the plane.
    ended : tuple of EndedObject
        Propagated objects that may continue from the plane.

    Raises
    ------
    sam3.errors.PromptError
        If the plane is not in the stack, or the direction is unknown.
    """

    stack: PlaneStack
    plane: Plane
    direction: Direction
    rules: EndRules
    history: History
    reopened: tuple[int, ...] = ()
    ended: tuple[EndedObject, ...] = ()

    def __post_init__(self) -> None:
        """Validate the direction and the plane."""
        if self.direction not in ("forward", "backward", "both"):
            raise PromptError(
                f"unknown direction: {self.direction!r}. Expected 'forward', 'backward' or 'both'. "
                "Choose one."
            )
        if self.stack.place(self.plane.key) is None:
            raise PromptError(
                f"the current plane is not in the stack: {self.plane.key}. Expected one of its "
                f"{len(self.stack)} planes. Go to a plane of the stack first."
            )

    @property
    def here(self) -> int:
        """Index of the current plane."""
        place = self.stack.place(self.plane.key)
        assert place is not None
        return place

    def with_ended(self) -> PropagationRequest:
        """Return the request with the objects that ended before the plane."""
        return replace(self, ended=ended_objects(self.stack, self.here, self.history.objects))

    def shown_here(self) -> list[int]:
        """Return the labels accepted on the plane since they were propagated; otherwise all."""
        shown = [one for one in self._accepted_here() if self.here in one.shown]
        news = [one for one in shown if one.outdated(len(self.stack))]
        return [one.label for one in news or shown]

    def labels_here(self) -> Sequence[int]:
        """Return the labels of the plane that are propagated by default.

        These are `shown_here`; otherwise the objects propagated to it; otherwise all labels on it.

        Raises
        ------
        NothingThereError
            If there is none.
        """
        found = self.shown_here()
        target = self.plane.labels
        found = found or [one.label for one in self._accepted_here()]
        if not found:
            height, width = target.shape
            values = np.unique(target.read((slice(0, height), slice(0, width))))
            found = [int(value) for value in values if value]
        if not found:
            raise NothingThereError(NOTHING)
        return found

    def plan(self, labels: Sequence[int]) -> PropagationPlan:
        """Plan a run: planes that depend on new masks, or all of them if there are none.

        Raises
        ------
        NothingThereError, LabelError
            If no label is given, or one is neither on the plane nor known.
        """
        if not labels:
            raise NothingThereError(NOTHING)
        length = len(self.stack)
        followed = {label: self._follow(label) for label in labels}
        for label, followed_object in followed.items():
            if not followed_object.shown:
                mask_of_label(self.plane.labels, label)  # raises LabelError
        parents = self.history.links.within(self.plane.labels.source)
        reach = {
            label: followed_object.reached(self.direction, length).intersection(
                lifetime(followed_object, parents, self._follow, length)
            )
            for label, followed_object in followed.items()
        }
        news = {
            label: followed_object.outdated(length) & reach[label]
            for label, followed_object in followed.items()
        }
        for ended in self.ended:
            if ended.label in labels:
                news[ended.label] = reach[ended.label] = ended.planes(length)
        return PropagationPlan(followed, news if any(news.values()) else reach)

    def _accepted_here(self) -> list[FollowedObject]:
        """Return the objects accepted on the plane or propagated to it."""
        accepted = dict.fromkeys(
            accepted.id
            for accepted in self.history.objects.within(self.plane.labels.source)
            if accepted.plane == self.plane.key
        )
        return [followed for followed in map(self._follow, accepted) if followed.shown]

    def _follow(self, label: int) -> FollowedObject:
        history = self.history
        return follow_label(label, self.stack, history.objects, history.operations, self.here)
