"""Record changes of drafts and labels as steps, emit them, undo and redo them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from napari_sam3.core.operations import LabelChange, Operation
from sam3.errors import Sam3Error

from .history import History, Ours, Step, last_step

if TYPE_CHECKING:
    from psygnal import SignalInstance

    from napari_sam3.core.drafts import DraftSet
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.labels.edits import Edit
    from napari_sam3.labels.targets import LabelTarget

    from .drafts import DraftsByPlane
    from .events import SessionEvents
    from .options import SessionOptions
    from .predictions import Predictions

__all__ = ["Changes"]

Direction = Literal["do", "undo", "redo"]


class Changes:
    """Record every change of drafts and labels, so that it can be undone.

    Parameters
    ----------
    options : SessionOptions
        Policy and class of new steps.
    events : SessionEvents
        Emits changes of labels.
    drafts : DraftsByPlane
        Drafts that steps change.
    history : History
        The undo stack.
    predictions : Predictions
        Predicts masks again that undo restores.
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
        # Events to emit when all steps of `all_or_nothing` are done.
        self._held: list[tuple[SignalInstance, AcceptedObject | LabelChange]] | None = None

    # ------------------------------------------------------------------- steps

    def begin(self, key: Hashable, after: DraftSet | None = None) -> Step:
        """Begin a step on a plane; `after` are the drafts at its end, if they change."""
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
        self,
        labels: LabelTarget,
        operation: Operation,
        edits: Iterable[Edit],
        gone: Iterable[int] = (),
    ) -> Step:
        """Begin a step by writing edits; drafts of labels that are `gone` are dropped."""
        after = self._drafts.on(operation.plane)
        for draft in after.drafts:
            if draft.label in set(gone):
                after = after.without(draft.number)
        step = self.begin(operation.plane, after)
        step.operation, step.source = operation, labels.source
        for edit in edits:
            step.apply(edit)
        return step

    def finish(self, step: Step, *, more: bool = False, behind: Step | None = None) -> None:
        """End a step: push it to the undo stack, and emit the change.

        Parameters
        ----------
        step : Step
            From `begin` or `begin_edit`.
        more : bool
            More steps of the same kind are likely to follow; see `LabelChange`.
        behind : Step, optional
            See `History.push`.
        """
        self._history.push(step, behind)
        try:
            self._drafts.put(step.key, step.after)
        finally:
            self.emit(step, more=more)
        if step.key == self._drafts.key:
            self._drafts.emit_masks()

    def change_drafts(self, draft_set: DraftSet) -> None:
        """Replace the drafts of the current plane, as one step."""
        key = self._drafts.key
        if not draft_set.same_as(self._drafts.here):
            self._history.push(self.begin(key, draft_set))
        self._drafts.put(key, draft_set)

    def emit(self, step: Step, direction: Direction = "do", *, more: bool = False) -> None:
        """Emit the change of labels that a step made, if any."""
        operation = step.operation
        if operation is not None:
            now = operation.writes if direction == "do" and operation.writes else step.writes()
            change = LabelChange(operation, direction, now, more)
            self._emit(self._events.labels_changed, change)

    def emit_accepted(self, objects: Iterable[AcceptedObject]) -> None:
        """Emit objects that were accepted."""
        for accepted in objects:
            self._emit(self._events.accepted, accepted)

    def _emit(self, signal: SignalInstance, value: AcceptedObject | LabelChange) -> None:
        if self._held is None:
            signal.emit(value)
        else:
            self._held.append((signal, value))

    @contextmanager
    def all_or_nothing(self) -> Iterator[Sequence[Step]]:
        """Record the steps of the block as one undo step; an error reverts all of them.

        Events are emitted at the end of the block. Within another such block, it is a part of that
        one. Yields the undo stack.
        """
        if self._held is not None:
            yield self._history.done
            return
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
        more = False
        with ExitStack() as todo:  # all are emitted, even if a listener fails
            for signal, value in reversed(held):
                if isinstance(value, LabelChange):
                    value, more = replace(value, more=value.more or more), True
                todo.callback(signal.emit, value)

    # ----------------------------------------------------------- undo and redo

    def undo(self, ours: Ours | None = None) -> Hashable | None:
        """Undo the last step: restore labels, objects and prompts.

        Consecutive planes of a batch are one step.

        Parameters
        ----------
        ours : callable, optional
            Called with the plane and the label image (None for prompts) of a step; steps for
            which it returns False are skipped.

        Returns
        -------
        hashable or None
            Key of the changed plane; of several, the current one if it is among them. None if
            there was nothing to undo.

        Raises
        ------
        LabelError
            If its labels were deleted, or cannot be read or written; the step stays, whole.
        """
        return self._walk("undo", ours)

    def redo(self, ours: Ours | None = None) -> Hashable | None:
        """Redo the step that was undone last; arguments and errors as for `undo`."""
        return self._walk("redo", ours)

    def _walk(self, direction: Literal["undo", "redo"], ours: Ours | None) -> Hashable | None:
        history, keys, walked = self._history, list[Hashable](), list[Step]()
        while step := self._next(direction, ours, walked):
            if step.job is not None:
                self._predictions.queue.cancel(step.job)
            left = history.done if direction == "undo" else history.undone
            other = last_step(left, ours)
            more = other is not None and other.joins(step)
            self._show(step, direction, more=more)
            if direction == "redo":
                self.emit_accepted(step.added if step.batch is None else ())
            keys += [step.key, *([] if step.origin is None else [step.origin])]
            walked.append(step)
            if not more:
                break
        return self._nearest(keys)

    def _next(
        self, direction: Literal["undo", "redo"], ours: Ours | None, walked: Sequence[Step]
    ) -> Step | None:
        """Undo or redo the next step; if that fails, go back on those walked already."""
        forth, back = self._history.undo, self._history.redo
        if direction == "redo":
            forth, back = back, forth
        try:
            return forth(ours)
        except Sam3Error:
            for step in reversed(walked):
                back(ours)
                self._show(
                    step, "redo" if direction == "undo" else "undo", more=step is not walked[0]
                )
            raise

    def _nearest(self, keys: Sequence[Hashable]) -> Hashable | None:
        """Return the plane to show, out of those that changed."""
        return self._drafts.key if self._drafts.key in keys else (keys or [None])[-1]

    def _show(self, step: Step, direction: Direction, *, more: bool) -> None:
        """Restore drafts after undo or redo with known masks, and predict the others."""
        draft_set = step.before if direction == "undo" else step.after
        try:
            self.emit(step, direction, more=more)
        finally:
            # If the step did not change drafts, later changes of them stay.
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
            self._drafts.keep_masks(
                mask for mask in step.predictions if draft_set.get(mask.draft.number) is not None
            )
        if here:
            self._drafts.emit_masks()
            if self._drafts.without_mask(draft_set) and self._predictions.model is not None:
                self._predictions.predict()
