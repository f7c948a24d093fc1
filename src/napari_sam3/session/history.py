"""The undo stack: every step that was taken, back to the start."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from napari_sam3.core.drafts import DraftSet
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.inference.questions import ObjectPrediction
from napari_sam3.labels.edits import Edit, LabelEdit, WrittenObject, find_mask_of_label

from .jobs import Job
from .links import Links
from .objects import ObjectRegistry

__all__ = ["History", "Ours", "Step", "last_step"]

# Logits are large; only the newest steps keep them to give masks back without predicting.
KEPT_PREDICTIONS = 20

#: Whether to take back a step, given its plane and the label image that it wrote to, if any.
Ours = Callable[[Hashable, Hashable], bool]


@dataclass(eq=False)
class Step:
    """One thing that can be undone: a change of drafts, or of the labels, or of both.

    Parameters
    ----------
    key : hashable
        Plane it happened on.
    before, after : DraftSet
        Drafts on that plane.
    predictions : tuple of ObjectPrediction
        Masks of the drafts before the step.
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
    source : hashable
        Identity of the label image that was written to.
    batch : hashable
        Steps in a row with the same batch, other than None, are undone and redone together.
    origin : hashable
        Plane from which it was done, where that is another one.
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
    _known: list[LabelWrite] = field(default_factory=list, init=False, repr=False)

    def joins(self, other: Step) -> bool:
        """Whether both are undone together."""
        return self.batch is not None and self.batch == other.batch

    def apply(self, edit: Edit) -> None:
        """Write an edit as a part of the step."""
        edit.apply()
        self.edits.append(edit)

    def note(self, written: WrittenObject) -> None:
        """Take an object that was written as a part of the step."""
        self.edits.append(written.edit)
        self._known = [*(write.updated(written.write) for write in self._known), written.write]

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return all regions that were touched, as they are now.

        What was just written is known, once; later it is read, since others may have changed it.
        """
        known, self._known = tuple(self._known), []
        if known and len(known) == len(self.edits):
            return known
        return tuple(write for edit in self.edits for write in edit.writes())


class History:
    """Steps done and undone, and the objects they added and removed.

    Parameters
    ----------
    objects : ObjectRegistry
        Kept in step with what is undone and redone.
    """

    def __init__(self, objects: ObjectRegistry) -> None:
        self.objects = objects
        self.links = Links()
        self.done: list[Step] = []
        self.undone: list[Step] = []
        #: By label image: what it held before the first step, from `describe_labels`.
        self.starts: dict[Hashable, str] = {}

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything that was done to labels and not undone, oldest first."""
        ours = (step.operation for step in self.done)
        return tuple(operation for operation in ours if operation is not None)

    def operations_in(self, source: Hashable) -> tuple[Operation, ...]:
        """Return everything that was done to one label image and not undone."""
        ours = (step.operation for step in self.done if step.source == source)
        return tuple(operation for operation in ours if operation is not None)

    @property
    def awaiting(self) -> tuple[Step, ...]:
        """Steps that wait for the masks they accept."""
        return tuple(step for step in self.done if step.job is not None)

    def clear(self) -> None:
        """Forget all steps and objects."""
        self.done.clear()
        self.undone.clear()
        self.objects.clear()
        self.links.clear()

    def forget(self, ours: Ours, source: Hashable) -> None:
        """Forget the steps on an image that is no longer there, and the objects of its labels."""
        self.done = [step for step in self.done if not ours(step.key, step.source)]
        self.undone = [step for step in self.undone if not ours(step.key, step.source)]
        self.objects.forget(source)

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
            self.objects.remove(step.source, gone)
        for accepted, mask in added:
            step.added.append(accepted)
            self.objects.add(step.source, accepted, mask)

    def push(self, step: Step, behind: Step | None = None) -> None:
        """Add a new step; what had been undone can no longer be redone.

        Parameters
        ----------
        step : Step
            The last one from now on.
        behind : Step, optional
            An earlier one that it continues: it goes right behind that, as long as it is there.
        """
        at = self.done.index(behind) + 1 if behind in self.done else len(self.done)
        self.done.insert(at, step)
        self.undone.clear()
        if len(self.done) > KEPT_PREDICTIONS:
            self.done[-1 - KEPT_PREDICTIONS].predictions = ()

    def savepoint(self) -> Callable[[], list[Step]]:
        """Return a function that takes back all that was done since, and returns those steps."""
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
        """Take a step out that came to nothing."""
        step.job = None
        if step in self.done:
            self.done.remove(step)

    def revert(self, step: Step) -> None:
        """Take out of labels and objects what a step has put there."""
        for edit in reversed(step.edits):
            edit.revert()
        self.objects.swap(step.source, step.added, step.removed)

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
        self.objects.swap(step.source, step.removed, step.added)
        return step

    def _check_still_free(self, step: Step, direction: str) -> None:
        """Refuse to bring an id back that somebody gave to another object meanwhile."""
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
                f"label {taken[0]} was given to another object since, and {direction} would use it "
                "a second time. Expected a free label. Give that object another label first"
            )


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
