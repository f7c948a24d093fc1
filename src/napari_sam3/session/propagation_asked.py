"""What is to be propagated: which labels of a plane, through which planes, and which are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam3.core.errors import NothingThereError
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.propagate import Direction, ObjectPrompt
from napari_sam3.labels.edits import mask_of_label
from sam3.errors import PromptError

from .followed import FollowedObject, follow_label
from .history import History
from .jobs import Plane
from .stacks import PlaneStack

__all__ = ["NOTHING", "PropagationAsked", "PropagationPlan"]

NOTHING = (
    "there is no object to propagate on this plane. Expected a mask or an accepted object; click "
    "on an object first."
)


@dataclass(frozen=True, eq=False)
class PropagationPlan:
    """What a run does.

    Attributes
    ----------
    followed : mapping of int to FollowedObject
        What is known, by label.
    only : mapping of int to set of int
        The planes that are found.
    """

    followed: Mapping[int, FollowedObject]
    only: Mapping[int, set[int]]

    @property
    def prompts(self) -> list[ObjectPrompt]:
        """Where the objects are shown."""
        return [
            ObjectPrompt(plane, label, mask=mask)
            for label, one in self.followed.items()
            for plane, mask in one.shown.items()
        ]


@dataclass(frozen=True, eq=False)
class PropagationAsked:
    """What somebody asks for.

    Parameters
    ----------
    stack : PlaneStack
        The planes.
    plane : Plane
        The one that is shown.
    direction : {"forward", "backward", "both"}
        Where to.
    rules : EndRules
        Where objects end.
    history : History
        What was done to the labels.
    reopened : tuple of int
        Labels among the drafts of the plane.

    Raises
    ------
    sam3.errors.PromptError
        If the plane is not in the stack, or there is no such direction.
    """

    stack: PlaneStack
    plane: Plane
    direction: Direction
    rules: EndRules
    history: History
    reopened: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check what it was made of."""
        if self.direction not in ("forward", "backward", "both"):
            raise PromptError(
                f"unknown direction: {self.direction!r}. Expected 'forward', 'backward' or 'both'."
            )
        if self.stack.place(self.plane.key) is None:
            raise PromptError(
                f"the plane of the session is not in the stack: {self.plane.key}. Expected one of "
                f"its {len(self.stack)} planes. Go to a plane of the stack first."
            )

    @property
    def here(self) -> int:
        """Index of the plane shown."""
        place = self.stack.place(self.plane.key)
        assert place is not None
        return place

    def labels_here(self) -> Sequence[int]:
        """Return which labels of the plane are propagated if nobody says so.

        Those accepted on it of which there is news; else all accepted on it; else those found
        there; else all that somebody else made.

        Raises
        ------
        NothingThereError
            If there is none.
        """
        target = self.plane.labels
        accepted = dict.fromkeys(
            one.id
            for one in self.history.objects.within(target.source)
            if one.plane == self.plane.key
        )
        followed = [one for one in map(self._follow, accepted) if one.shown]
        shown = [one for one in followed if self.here in one.shown]
        news = [one for one in shown if one.outdated(len(self.stack))]
        found = [one.label for one in news or shown or followed]
        if not found:
            height, width = target.shape
            values = np.unique(target.read((slice(0, height), slice(0, width))))
            found = [int(value) for value in values if value]
        if not found:
            raise NothingThereError(NOTHING)
        return found

    def plan(self, labels: Sequence[int]) -> PropagationPlan:
        """Decide what is found of labels: what there is news of, or all of it if there is none.

        Raises
        ------
        NothingThereError, LabelError
            If there is no label, or one is neither on the plane nor known.
        """
        if not labels:
            raise NothingThereError(NOTHING)
        length = len(self.stack)
        followed = {label: self._follow(label) for label in labels}
        for label, one in followed.items():
            if not one.shown:
                mask_of_label(self.plane.labels, label)  # says that it is not there
        reach = {label: one.reached(self.direction, length) for label, one in followed.items()}
        news = {label: one.outdated(length) & reach[label] for label, one in followed.items()}
        return PropagationPlan(followed, news if any(news.values()) else reach)

    def _follow(self, label: int) -> FollowedObject:
        history = self.history
        return follow_label(label, self.stack, history.objects, history.operations, self.here)
