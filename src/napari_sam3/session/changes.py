"""Changes of drafts and labels: taken as steps, told to listeners, undone and redone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal

from napari_sam3.core.drafts import DraftSet
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange, Operation
from napari_sam3.labels.edits import Edit

from .drafts import DraftsByPlane
from .events import SessionEvents
from .history import History, Ours, Step, last_step
from .jobs import Plane
from .options import SessionOptions
from .predictions import Predictions

__all__ = ["Changes"]

Direction = Literal["do", "undo", "redo"]


class Changes:
    """Everything that changes drafts or labels goes through here, so that it can be undone.

    Parameters
    ----------
    options : SessionOptions
        Policy and class that a step is taken with.
    events : SessionEvents
        Told of labels that changed.
    drafts : DraftsByPlane
        Changed by a step.
    history : History
        Keeps the steps.
    predictions : Predictions
        Make the masks again that undo brings back.
    """

    def __init__(
        self,
        options: SessionOptions,
        events: SessionEvents,
        drafts: DraftsByPlane,
        history: History,
        predictions: Predictions,
    ) -> None:
        self._options, self._events = options, events
        self._drafts, self._history, self._predictions = drafts, history, predictions
        # What is to be told once all steps of `all_or_nothing` are taken.
        self._held: list[Callable[[], object]] | None = None

    # ------------------------------------------------------------------- steps

    def begin(self, key: Hashable, after: DraftSet | None = None) -> Step:
        """Begin a step on a plane, which ends with other drafts if any are given."""
        before = self._drafts.on(key)
        return Step(
            key,
            before,
            before if after is None else after,
            self._drafts.masks_of(before),
            policy=self._options.policy,
            category=self._options.category,
        )

    def begin_edit(
        self, plane: Plane, operation: Operation, edits: Iterable[Edit], gone: Iterable[int] = ()
    ) -> Step:
        """Begin a step by writing edits; drafts made of labels that are gone are dropped."""
        after = self._drafts.on(plane.key)
        for draft in after.drafts:
            if draft.label in set(gone):
                after = after.without(draft.number)
        step = self.begin(plane.key, after)
        step.operation, step.source = operation, plane.labels.source
        for edit in edits:
            step.apply(edit)
        return step

    def finish(self, step: Step, *, more: bool = False, behind: Step | None = None) -> None:
        """End a step: it can be undone from now on, and listeners are told.

        Parameters
        ----------
        step : Step
            From `begin` or `begin_edit`.
        more : bool
            Others of the same kind are likely to follow; see `LabelChange`.
        behind : Step, optional
            See `History.push`.
        """
        self._history.push(step, behind)
        try:
            self._drafts.put(step.key, step.after)
        finally:
            self.tell(step, more=more)
        if step.key == self._drafts.key:
            self._drafts.tell_masks()

    def change_drafts(self, draft_set: DraftSet) -> None:
        """Replace the drafts of the current plane, as a step."""
        key = self._drafts.key
        if not draft_set.same_as(self._drafts.here):
            self._history.push(self.begin(key, draft_set))
        self._drafts.put(key, draft_set)

    def tell(self, step: Step, direction: Direction = "do", *, more: bool = False) -> None:
        """Tell what a step did to labels, if it did anything."""
        operation = step.operation
        if operation is not None:
            now = operation.writes if direction == "do" and operation.writes else step.writes()
            change = LabelChange(operation, direction, now, more)
            self._say(partial(self._events.labels_changed.emit, change))

    def tell_accepted(self, objects: Iterable[AcceptedObject]) -> None:
        """Tell of objects that were written."""
        for accepted in objects:
            self._say(partial(self._events.accepted.emit, accepted))

    def _say(self, emit: Callable[[], object]) -> None:
        if self._held is None:
            emit()
        else:
            self._held.append(emit)

    def tell_all(self, steps: Sequence[Step]) -> None:
        """Tell of several steps that belong together, of each even if a listener fails."""
        with ExitStack() as todo:
            for step in reversed(steps):  # the last one put in is called first
                todo.callback(self.tell, step, more=step is not steps[-1])

    @contextmanager
    def all_or_nothing(self) -> Iterator[Sequence[Step]]:
        """Take steps that are one for undo, and told at the end; an error takes all of them back.

        Yields the steps taken so far, this block's at the end.
        """
        done, plane = self._history.done, self._drafts.plane
        roll_back, count, self._held = self._history.savepoint(), len(done), []
        try:
            yield done
        except BaseException:
            self._held = None
            for step in reversed(roll_back()):
                self._drafts.put(step.key, step.before)
            if plane is not self._drafts.plane:
                self._predictions.stop(abandon=True)
                self._drafts.go_to(plane)
            raise
        held, self._held, together = self._held, None, object()
        for step in done[count:]:
            step.batch = together
        with ExitStack() as todo:  # all is told, even if a listener fails
            for emit in reversed(held):
                todo.callback(emit)

    # ----------------------------------------------------------- undo and redo

    def undo(self, ours: Ours | None = None) -> Hashable | None:
        """Take the last step back: labels, objects and prompts are what they were.

        Planes that a batch wrote in a row are one step.

        Parameters
        ----------
        ours : callable, optional
            Called with the plane and the label image (None for prompts) of a step; steps for which
            it is False are passed over.

        Returns
        -------
        hashable or None
            Key of the plane it happened on (of several, the present one if it is among them);
            None if there was nothing to undo.

        Raises
        ------
        LabelError
            If the labels it wrote to are gone; the step stays.
        """
        keys: list[Hashable] = []
        while step := self._history.undo(ours):
            if step.job is not None:
                self._predictions.queue.cancel(step.job)
            other = last_step(self._history.done, ours)
            more = other is not None and other.joins(step)
            self._show(step, step.before, "undo", more=more)
            keys += [step.key, *([] if step.origin is None else [step.origin])]
            if not more:
                break
        return self._nearest(keys)

    def redo(self, ours: Ours | None = None) -> Hashable | None:
        """Do the step again that was undone last; takes, returns and raises like `undo`."""
        keys: list[Hashable] = []
        while step := self._history.redo(ours):
            other = last_step(self._history.undone, ours)
            more = other is not None and other.joins(step)
            self._show(step, step.after, "redo", more=more)
            self.tell_accepted(step.added if step.batch is None else ())
            keys += [step.key, *([] if step.origin is None else [step.origin])]
            if not more:
                break
        return self._nearest(keys)

    def _nearest(self, keys: Sequence[Hashable]) -> Hashable | None:
        """Return the plane to look at, out of those that changed."""
        return self._drafts.key if self._drafts.key in keys else (keys or [None])[-1]

    def _show(self, step: Step, draft_set: DraftSet, direction: Direction, *, more: bool) -> None:
        """Show drafts after undo or redo, with the masks that are known, and request the others."""
        try:
            self.tell(step, direction, more=more)
        finally:
            # Where a step did not change drafts, those of steps since then stay as they are.
            unchanged = step.before is step.after
            self._show_drafts(
                step, self._drafts.on(step.key) if unchanged else draft_set, direction
            )

    def _show_drafts(self, step: Step, draft_set: DraftSet, direction: Direction) -> None:
        here = step.key == self._drafts.key
        if here:
            self._predictions.stop()
        self._drafts.put(step.key, draft_set)
        if direction == "undo":
            kept = (one for one in step.predictions if draft_set.get(one.draft.number) is not None)
            self._drafts.keep_masks(kept)
        if here:
            self._drafts.tell_masks()
            if self._drafts.without_mask(draft_set) and self._predictions.model is not None:
                self._predictions.predict()
