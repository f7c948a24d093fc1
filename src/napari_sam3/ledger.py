"""What was accepted, which ids are used up, and every step back to the start."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from .edits import LabelEdit, Policy
from .fields import Field
from .inference import ObjectPrediction
from .prompts import PromptSet
from .targets import LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

    from .jobs import Job

__all__ = ["AcceptedObject", "Ledger", "Step"]

# The size of the last so many objects decides the level at which the next click starts.
RECENT_OBJECTS = 20
# Logits are large; only the newest steps keep them to give the mask back without predicting.
KEPT_PREDICTIONS = 20


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object written into the labels, with what is needed to make it again.

    Parameters
    ----------
    id : int
        Its label.
    plane : hashable
        Key of its plane.
    bbox : tuple of int
        (row, column, row, column): first and one past the last pixel written.
    area : int
        Number of pixels written.
    score : float
        The model's estimate of the IoU of the whole mask.
    prompts : PromptSet
        What it was made of.
    field : Field
        Region in which it was answered.
    candidate : int
        Which of the model's masks was taken.
    model, fingerprint : str
        Name of the model's configuration and hash of its weights.
    """

    id: int
    plane: Hashable
    bbox: tuple[int, int, int, int]
    area: int
    score: float
    prompts: PromptSet
    field: Field
    candidate: int
    model: str
    fingerprint: str


@dataclass(eq=False)
class Step:
    """One thing that can be undone: a change of prompts, with or without an accepted object.

    Parameters
    ----------
    key : hashable
        Plane it happened on.
    before, after : PromptSet
        Prompts of the object in hand on that plane.
    edit : LabelEdit, optional
        What was written.
    accepted : AcceptedObject, optional
        The object that was added.
    prediction : ObjectPrediction, optional
        The mask in hand before the step.
    job : Job, optional
        Work that will fill in the rest of an accept asked for before its mask was there.
    """

    key: Hashable
    before: PromptSet
    after: PromptSet = field(default_factory=PromptSet)
    edit: LabelEdit | None = None
    accepted: AcceptedObject | None = None
    prediction: ObjectPrediction | None = field(default=None, repr=False)
    job: Job | None = None


class Ledger:
    """Accepted objects, running ids, and the steps done and undone.

    Parameters
    ----------
    objects : list of AcceptedObject
        In the order of acceptance, without undone ones.
    """

    def __init__(self) -> None:
        self.objects: list[AcceptedObject] = []
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self._highest: dict[Hashable, int] = {}

    def next_id(self, labels: LabelTarget) -> int:
        """Return an id above every one seen in the labels so far, undone ones included."""
        highest = max(self._highest.get(labels.source, 0), labels.maximum())
        self._highest[labels.source] = highest
        return highest + 1

    def typical_size(self) -> float | None:
        """Return the median of the recent objects' longer sides in px, if there are any."""
        recent = self.objects[-RECENT_OBJECTS:]
        if not recent:
            return None
        return float(median(max(o.bbox[2] - o.bbox[0], o.bbox[3] - o.bbox[1]) for o in recent))

    def write(
        self,
        step: Step,
        prediction: ObjectPrediction,
        labels: LabelTarget,
        policy: Policy,
        predictor: Predictor,
    ) -> AcceptedObject:
        """Write a mask into labels and note it in a step.

        Raises
        ------
        LabelError
            If it cannot be written; nothing has changed then.
        """
        edit = LabelEdit.prepare(labels, prediction.mask, self.next_id(labels), policy)
        edit.apply()
        self._highest[labels.source] = edit.label
        step.edit = edit
        step.accepted = AcceptedObject(
            id=edit.label,
            plane=step.key,
            bbox=edit.written.bbox,
            area=edit.written.area,
            score=prediction.score,
            prompts=prediction.prompts,
            field=prediction.field,
            candidate=prediction.index,
            model=predictor.config.name,
            fingerprint=predictor.fingerprint,
        )
        self.objects.append(step.accepted)
        return step.accepted

    def push(self, step: Step) -> None:
        """Add a new step; what had been undone can no longer be redone."""
        self.done.append(step)
        self.undone.clear()
        if len(self.done) > KEPT_PREDICTIONS:
            self.done[-1 - KEPT_PREDICTIONS].prediction = None

    def drop(self, step: Step) -> None:
        """Take a step out that came to nothing."""
        step.job = None
        if step in self.done:
            self.done.remove(step)

    def undo(self) -> Step | None:
        """Take the last step back; if its labels are gone, LabelError is raised and it stays."""
        if not self.done:
            return None
        step = self.done[-1]
        if step.edit is not None:
            step.edit.revert()
        self.done.pop()
        if step.accepted is not None:
            self.objects.remove(step.accepted)
        if step.job is None:
            self.undone.append(step)
        return step

    def redo(self) -> Step | None:
        """Do the step again that was undone last; like `undo`."""
        if not self.undone:
            return None
        step = self.undone[-1]
        if step.edit is not None:
            step.edit.apply()
        self.undone.pop()
        self.done.append(step)
        if step.accepted is not None:
            self.objects.append(step.accepted)
        return step
