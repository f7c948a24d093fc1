"""The undo stack: all steps of a session."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.core.errors import LabelError
from napari_sam3.core.operations import final_writes
from napari_sam3.labels.edits import (
    Edit,
    LabelEdit,
    WrittenObject,
    apply_all,
    find_mask_of_label,
    revert_all,
)

from .links import Links

if TYPE_CHECKING:
    from napari_sam3.core.drafts import DraftSet
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.operations import LabelWrite, Operation, Policy
    from napari_sam3.inference.questions import ObjectPrediction

    from .ended import EndedObject
    from .jobs import Job
    from .objects import ObjectRegistry

__all__ = ["History", "Ours", "Step", "last_step", "packed"]

# Only the newest steps keep predictions, which are large, to restore masks without the model.
KEPT_PREDICTIONS = 20

#: Whether a step may be undone, given its plane and the label image that it wrote to, if any.
Ours = Callable[[Hashable, Hashable], bool]


@dataclass(eq=False)
class Step:
    """A change of drafts, labels or both, as one entry of the undo stack.

    Parameters
    ----------
    key : hashable
        Key of the changed plane.
    before, after : DraftSet
        Drafts on that plane.
    predictions : tuple of ObjectPrediction
        Masks of the drafts before the step.
    edits : list of Edit
        Written pixels and links.
    added, removed : list of AcceptedObject
        Objects that the step added and removed.
    fresh : set of int
        Ids that first appear in the label image with this step.
    operation : Operation, optional
        Operation on the labels.
    policy : {"keep", "overwrite", "inside"}
        Write policy at the time of the step.
    category : str
        Class chosen at the time of the step.
    job : Job, optional
        Pending request, if the masks of an accept are still being predicted.
    source : hashable
        Identity of the label image that was written to.
    batch : hashable
        Consecutive steps with the same value, other than None, are undone and redone together.
    origin : hashable
        Key of the plane on which the user acted, if it is another one.
    ended : tuple of EndedObject
        Propagated objects that continue where the step writes a mask like theirs.
    """

    key: Hashable
    before: DraftSet
    after: DraftSet
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
    origin: Hashable = None
    ended: tuple[EndedObject, ...] = ()
    _known: list[LabelWrite] = field(default_factory=list, init=False, repr=False)

    def joins(self, other: Step) -> bool:
        """Whether both are undone together."""
        return self.batch is not None and self.batch == other.batch

    def apply(self, edit: Edit) -> None:
        """Write an edit as a part of the step; if that fails, those before it are reverted."""
        try:
            edit.apply()
        except Exception:
            earlier, self.edits = self.edits, []
            revert_all(earlier)
            raise
        self.edits.append(edit)

    def note(self, written: WrittenObject) -> None:
        """Record a written object as a part of the step."""
        self.edits.append(written.edit)
        self._known.append(written.write)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return all changed regions with their current pixels."""
        # Pixels just written are known once; later they are read, since they may have changed.
        known, self._known = self._known, []
        if known and len(known) == len(self.edits):
            return final_writes(known)
        return tuple(write for edit in self.edits for write in edit.writes())


class History:
    """Steps done and undone, and the objects they added and removed.

    Parameters
    ----------
    objects : ObjectRegistry
        Updated on undo and redo.
    """

    def __init__(self, objects: ObjectRegistry) -> None:
        self.objects = objects
        self.links = Links()
        self.done: list[Step] = []
        self.undone: list[Step] = []
        #: Description of each label image before the first step, from `describe_labels`.
        self.starts: dict[Hashable, str] = {}

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Operations on labels that are not undone, oldest first."""
        ours = (step.operation for step in self.done)
        return tuple(operation for operation in ours if operation is not None)

    def operations_in(self, source: Hashable) -> tuple[Operation, ...]:
        """Return the operations on one label image that are not undone."""
        ours = (step.operation for step in self.done if step.source == source)
        return tuple(operation for operation in ours if operation is not None)

    def planes_of(self, source: Hashable, label: int) -> set[Hashable] | None:
        """Return the keys of all planes that may hold a label of an image.

        None if no step made the label, so that it may be on any plane.
        """
        steps = [step for step in self.done if step.source == source]
        if not any(label in step.fresh for step in steps):
            return None
        keys = {one.plane for one in self.objects.within(source) if one.id == label}
        for step in steps:
            if step.operation is None:
                continue
            # These write objects, which are known; restored from a journal, painted labels as well.
            if step.operation.kind not in ("accept", "batch") or label in step.fresh:
                edits = (edit for edit in step.edits if isinstance(edit, LabelEdit))
                keys |= {write.plane for write in step.operation.writes}
                keys |= {step.operation.plane, *(edit.target.key for edit in edits)}
        return keys

    @property
    def awaiting(self) -> tuple[Step, ...]:
        """Steps whose masks are still being predicted."""
        return tuple(step for step in self.done if step.job is not None)

    def clear(self) -> None:
        """Remove all steps and objects."""
        self.done.clear()
        self.undone.clear()
        self.objects.clear()
        self.links.clear()

    def forget(self, ours: Ours, source: Hashable) -> None:
        """Remove the steps on a deleted image, and the objects of its labels."""
        self.done = [step for step in self.done if not ours(step.key, step.source)]
        self.undone = [step for step in self.undone if not ours(step.key, step.source)]
        self.objects.forget(source)

    def exchange(
        self,
        step: Step,
        removed: Iterable[AcceptedObject],
        added: Iterable[tuple[AcceptedObject, PlaneMask | None]],
    ) -> None:
        """Replace objects by others as a part of a step.

        An object without a mask has pixels other than its prompts predict.
        """
        for gone in removed:
            step.removed.append(gone)
            self.objects.remove(step.source, gone)
        for accepted, mask in added:
            step.added.append(accepted)
            self.objects.add(step.source, accepted, mask)

    def push(self, step: Step, behind: Step | None = None) -> None:
        """Add a new step; undone steps can no longer be redone.

        Parameters
        ----------
        step : Step
            The new step.
        behind : Step, optional
            Earlier step that it continues, behind which it is inserted if it is still done.
        """
        at = self.done.index(behind) + 1 if behind in self.done else len(self.done)
        self.done.insert(at, step)
        self.undone.clear()
        if len(self.done) > KEPT_PREDICTIONS:
            self.done[-1 - KEPT_PREDICTIONS].predictions = ()

    def savepoint(self) -> Callable[[], list[Step]]:
        """Return a function that reverts and returns all steps done since this call."""
        count, undone, ids = len(self.done), list(self.undone), self.objects.ids_used()

        def roll_back() -> list[Step]:
            steps = self.done[count:]
            for step in reversed(steps):
                self.revert(step)
                self.done.remove(step)
            self.undone[:] = undone
            self.objects.reset_ids(ids)
            return steps

        return roll_back

    def drop(self, step: Step) -> None:
        """Remove a step that changed nothing."""
        step.job = None
        if step in self.done:
            self.done.remove(step)

    def revert(self, step: Step) -> None:
        """Revert the changes of a step in labels and objects."""
        revert_all(step.edits)
        self.objects.swap(step.source, step.added, step.removed)

    def undo(self, ours: Ours | None = None) -> Step | None:
        """Undo the last step; if its labels were deleted, LabelError is raised and it stays."""
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
        """Redo the step that was undone last; like `undo`."""
        step = last_step(self.undone, ours)
        if step is None:
            return None
        self._check_still_free(step, "redo")
        apply_all(step.edits)
        self.undone.remove(step)
        self.done.append(step)
        self.objects.swap(step.source, step.removed, step.added)
        return step

    def _check_still_free(self, step: Step, direction: str) -> None:
        """Raise LabelError if an id to be restored belongs to another object now."""
        edit = next((edit for edit in step.edits if isinstance(edit, LabelEdit)), None)
        taken: list[int] = []
        if edit is not None and direction == "redo":
            known = {accepted.id for accepted in self.objects.within(step.source)}
            taken = [label for label in sorted(step.fresh - known) if edit.target.holds(label)]
        elif edit is not None and step.operation is not None and step.operation.kind == "delete":
            labels = step.operation.labels
            taken = [one for one in labels if find_mask_of_label(edit.target, one) is not None]
        if taken:
            raise LabelError(
                f"{direction} would use a label twice: {taken[0]} belongs to another object now. "
                "Expected a free label. Give that object another label first."
            )


def last_step(steps: Sequence[Step], ours: Ours | None = None) -> Step | None:
    """Return the last step, or None.

    Parameters
    ----------
    steps : sequence of Step
        Oldest first.
    ours : callable, optional
        Steps for which it returns False are skipped, and with those that wrote to labels, the
        earlier prompts on the same plane.
    """
    skipped = set()
    for step in reversed(steps):
        wrote = step.source is not None
        if ours is None or (ours(step.key, step.source) and (wrote or step.key not in skipped)):
            return step
        skipped.add(step.key)
    return None


def packed(writes: Iterable[LabelWrite]) -> tuple[LabelWrite, ...]:
    """Compress the pixels of writes."""
    from napari_sam3.records.packed import PackedWrite

    return tuple(PackedWrite.of(write) for write in writes)
