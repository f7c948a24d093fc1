"""What was accepted, which ids are used up, and every step back to the start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.drafts import Hand
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.inference.answers import ObjectPrediction
from napari_sam3.labels.edits import Edit, LabelEdit, mask_of_label, write_object
from napari_sam3.labels.targets import LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

    from .jobs import Job

__all__ = ["Ledger", "Ours", "Step", "drawn_region", "last_step"]

# The size of the last so many objects decides the level at which the next click starts.
RECENT_OBJECTS = 20
# Logits are large; only the newest steps keep them to give masks back without predicting.
KEPT_PREDICTIONS = 20

#: Whether to take back a step, given its plane and the label image that it wrote to, if any.
Ours = Callable[[Hashable, Hashable], bool]
#: Label image, plane, id.
ObjectKey = tuple[Hashable, Hashable, int]


@dataclass(eq=False)
class Step:
    """One thing that can be undone: a change of what is in hand, or of the labels, or of both.

    Parameters
    ----------
    key : hashable
        Plane it happened on.
    source : hashable
        Identity of the label image that was written to.
    before, after : Hand
        Objects in hand on that plane.
    predictions : tuple of ObjectPrediction
        Masks in hand before the step.
    edits : list of Edit
        What was written.
    added, removed : list of AcceptedObject
        What became of the objects.
    fresh : set of int
        Ids that the label image holds since this step only.
    operation : Operation, optional
        What was done to the labels.
    policy : {"keep", "overwrite", "inside"}
        In force when the step was taken.
    category : str
        Class chosen when the step was taken.
    job : Job, optional
        Work that will fill in the rest of an accept asked for before its masks were there.
    batch : hashable
        Steps in a row with the same batch, other than None, are undone and done again together.
    """

    key: Hashable
    before: Hand
    after: Hand
    predictions: tuple[ObjectPrediction, ...] = field(default=(), repr=False)
    edits: list[Edit] = field(default_factory=list)
    added: list[AcceptedObject] = field(default_factory=list)
    removed: list[AcceptedObject] = field(default_factory=list)
    fresh: set[int] = field(default_factory=set)
    operation: Operation | None = None
    policy: Policy = "keep"
    category: str = ""
    job: Job | None = None
    source: Hashable = None
    batch: Hashable = None

    def joins(self, other: Step) -> bool:
        """Whether both are one step to whoever takes steps back."""
        return self.batch is not None and self.batch == other.batch

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return all regions that were touched, as they are now."""
        return tuple(write for edit in self.edits for write in edit.writes())


class Ledger:
    """Accepted objects, running ids, and the steps done and undone."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self._objects: dict[ObjectKey, AcceptedObject] = {}
        self._digests: dict[ObjectKey, bytes] = {}
        self._highest: dict[Hashable, int] = {}

    @property
    def objects(self) -> tuple[AcceptedObject, ...]:
        """Objects in the labels, oldest first."""
        return tuple(self._objects.values())

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything that was done to labels and not undone, oldest first."""
        ours = (step.operation for step in self.done)
        return tuple(operation for operation in ours if operation is not None)

    def objects_in(self, source: Hashable) -> tuple[AcceptedObject, ...]:
        """Objects in one label image, oldest first."""
        return tuple(one for key, one in self._objects.items() if key[0] == source)

    def find(self, labels: LabelTarget, label: int) -> AcceptedObject | None:
        """Return the object with a label on a plane, if it was accepted here."""
        return self._objects.get((labels.source, labels.key, label))

    def is_as_written(self, labels: LabelTarget, label: int, mask: PlaneMask) -> bool:
        """Whether an object's pixels are the ones that were written."""
        return self._digests.get((labels.source, labels.key, label)) == _digest(mask)

    def next_id(self, labels: LabelTarget) -> int:
        """Use up an id above every one seen in the labels so far, undone ones included."""
        label = self._free_id(labels)
        self._highest[labels.source] = label
        return label

    def use_up(self, labels: LabelTarget, label: int) -> None:
        """Note that an id was given, and all below it."""
        self._highest[labels.source] = max(self._highest.get(labels.source, 0), label)

    def highest(self, labels: LabelTarget) -> int:
        """Return the largest id that was ever seen in the labels or given there."""
        return max(self._highest.get(labels.source, 0), labels.maximum())

    def _free_id(self, labels: LabelTarget) -> int:
        return self.highest(labels) + 1

    def typical_size(self) -> float | None:
        """Return the median of the recent objects' longer sides in px, if there are any."""
        recent = [one.bbox for one in list(self._objects.values())[-RECENT_OBJECTS:]]
        if not recent:
            return None
        return float(median(max(y1 - y0, x1 - x0) for y0, x0, y1, x1 in recent))

    def write(
        self,
        step: Step,
        prediction: ObjectPrediction,
        labels: LabelTarget,
        predictor: Predictor,
        rendering: Rendering,
        label: int | None = None,
    ) -> AcceptedObject | None:
        """Write a mask into labels and note it in a step, under a given id or the next free one.

        Returns
        -------
        AcceptedObject or None
            None if an object that was taken up again stays as it is.

        Raises
        ------
        LabelError
            If it cannot be written; nothing has changed then.
        """
        draft = prediction.draft
        step.source = labels.source
        earlier = None if draft.label is None else self.find(labels, draft.label)
        fresh = label is None and draft.label is None
        if label is None:
            label = draft.label if draft.label is not None else self._free_id(labels)
        edit = write_object(
            labels,
            prediction.mask,
            label,
            step.policy,
            allowed=drawn_region(prediction.prompts, labels.shape),
            replaced=None if draft.label is None else _pixels(labels, draft.label),
        )
        if edit is None:
            return None
        edit.apply()
        self.use_up(labels, label)
        written = PlaneMask.from_array(
            labels.read(prediction.mask.region) == label,
            prediction.mask.row,
            prediction.mask.column,
        )
        accepted = AcceptedObject(
            id=label,
            plane=step.key,
            bbox=written.bbox,
            area=written.area,
            score=prediction.score,
            draft=draft,
            field=prediction.field,
            candidate=prediction.index,
            level=prediction.level,
            typical_size=prediction.typical_size,
            model=predictor.config.name,
            fingerprint=predictor.fingerprint,
            precision=str(predictor.dtype).removeprefix("torch."),
            rendering=rendering,
            category=step.category or (earlier.category if earlier else ""),
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        step.edits.append(edit)
        step.fresh |= {label} if fresh else set()
        self.exchange(step, [earlier] if earlier else [], [(accepted, written)])
        return accepted

    def exchange(
        self,
        step: Step,
        removed: Iterable[AcceptedObject],
        added: Iterable[tuple[AcceptedObject, PlaneMask | None]],
    ) -> None:
        """Note in a step that objects took the place of others.

        An object without a mask has other pixels than its prompts stand for.
        """
        for gone in removed:
            step.removed.append(gone)
            self._objects.pop((step.source, gone.plane, gone.id), None)
        for accepted, mask in added:
            key = step.source, accepted.plane, accepted.id
            step.added.append(accepted)
            self._objects[key] = accepted
            self._digests[key] = b"" if mask is None else _digest(mask)

    def push(self, step: Step) -> None:
        """Add a new step; what had been undone can no longer be redone."""
        self.done.append(step)
        self.undone.clear()
        if len(self.done) > KEPT_PREDICTIONS:
            self.done[-1 - KEPT_PREDICTIONS].predictions = ()

    def drop(self, step: Step) -> None:
        """Take a step out that came to nothing."""
        step.job = None
        if step in self.done:
            self.done.remove(step)

    def revert(self, step: Step) -> None:
        """Take out of labels and objects what a step has put there."""
        for edit in reversed(step.edits):
            edit.revert()
        self._swap(step.source, step.added, step.removed)

    def undo(self, ours: Ours | None = None) -> Step | None:
        """Take the last step back; if its labels are gone, LabelError is raised and it stays."""
        step = last_step(self.done, ours)
        if step is None:
            return None
        self._check_still_free(step, "undo")
        self.revert(step)
        self.done.remove(step)
        if step.job is None:
            self.undone.append(step)
        return step

    def redo(self, ours: Ours | None = None) -> Step | None:
        """Do the step again that was undone last; like `undo`."""
        step = last_step(self.undone, ours)
        if step is None:
            return None
        self._check_still_free(step, "redo")
        for edit in step.edits:
            edit.apply()
        self.undone.remove(step)
        self.done.append(step)
        self._swap(step.source, step.removed, step.added)
        return step

    def _check_still_free(self, step: Step, direction: str) -> None:
        """Refuse to bring an id back that somebody gave to another object meanwhile."""
        edit = next((edit for edit in step.edits if isinstance(edit, LabelEdit)), None)
        taken: list[int] = []
        if edit is not None and direction == "redo":
            known = {label for source, _, label in self._objects if source == step.source}
            taken = [label for label in sorted(step.fresh - known) if edit.target.holds(label)]
        elif edit is not None and step.operation is not None and step.operation.kind == "delete":
            taken = [one for one in step.operation.labels if _pixels(edit.target, one) is not None]
        if taken:
            raise LabelError(
                f"label {taken[0]} was given to another object since, and {direction} would use it "
                "a second time. Expected a free label. Give that object another label first"
            )

    def _swap(
        self, source: Hashable, gone: Iterable[AcceptedObject], back: Iterable[AcceptedObject]
    ) -> None:
        for one in gone:
            self._objects.pop((source, one.plane, one.id), None)
        self._objects |= {(source, one.plane, one.id): one for one in back}


def last_step(steps: Sequence[Step], ours: Ours | None = None) -> Step | None:
    """Return the last of some steps; None if there is none.

    Parameters
    ----------
    steps : sequence of Step
        Oldest first.
    ours : callable, optional
        Steps for which it is False are passed over, and with those that wrote to labels, the
        prompts on the same plane that led there.
    """
    passed = set()
    for step in reversed(steps):
        wrote = step.source is not None
        if ours is None or (ours(step.key, step.source) and (wrote or step.key not in passed)):
            return step
        passed.add(step.key)
    return None


def drawn_region(prompts: PromptSet, shape: tuple[int, int]) -> PlaneMask | None:
    """Return the outline or box that was drawn around an object."""
    if prompts.outline:
        return PlaneMask.from_outline(prompts.outline, shape)
    box = prompts.clipped(shape).box
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return PlaneMask.from_outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], shape)


def _pixels(labels: LabelTarget, label: int) -> PlaneMask | None:
    """Return where a label is, or None if it was erased since it was taken up."""
    try:
        return mask_of_label(labels, label)
    except LabelError:
        return None


def _digest(mask: PlaneMask) -> bytes:
    digest = hashlib.blake2b(repr(mask.bbox).encode(), digest_size=16)
    digest.update(np.packbits(mask.crop).tobytes())
    return digest.digest()
