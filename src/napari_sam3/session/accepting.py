"""The steps of a session: what is in hand changes, labels are written, and both can be undone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import ExitStack
from typing import Literal

from napari_sam3.core.drafts import Draft, Hand
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange, Operation
from napari_sam3.inference.answers import ObjectPrediction
from napari_sam3.labels.edits import Edit
from sam3.errors import ImageError, Sam3Error

from .jobs import Job, Outcome, Plane
from .objects import Ours, Step, last_step
from .predictions import Predicting

__all__ = ["History"]


class History(Predicting):
    """The part of `LabelingSession` that takes steps, forwards and back."""

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
        while step := self._ledger.undo(ours):
            if step.job is not None:
                self._queue.cancel(step.job)
            other = last_step(self._ledger.done, ours)
            more = other is not None and other.joins(step)
            self._show_step(step, step.before, "undo", more=more)
            keys.append(step.key)
            if not more:
                break
        return self._nearest(keys)

    def redo(self, ours: Ours | None = None) -> Hashable | None:
        """Do the step again that was undone last; takes, returns and raises like `undo`."""
        keys: list[Hashable] = []
        while step := self._ledger.redo(ours):
            other = last_step(self._ledger.undone, ours)
            more = other is not None and other.joins(step)
            self._show_step(step, step.after, "redo", more=more)
            for one in step.added if step.batch is None else ():
                self.accepted.emit(one)
            keys.append(step.key)
            if not more:
                break
        return self._nearest(keys)

    def _nearest(self, keys: Sequence[Hashable]) -> Hashable | None:
        """Return the plane to look at, out of those that changed."""
        return self.plane_key if self.plane_key in keys else (keys or [None])[-1]

    def predict(self) -> ObjectPrediction | None:
        """Ask for masks; see `LabelingSession`."""
        raise NotImplementedError

    # ----------------------------------------------------------------- inside

    def _need_plane(self) -> Plane:
        if self._plane is None:
            raise ImageError("there is no image to work on; open an image and choose it first")
        return self._plane

    def _change_plane(self, plane: Plane | None) -> None:
        self._stop_plain(abandon=True)
        self._plane = plane
        if plane is not None and self._images.get(plane.key) is not plane.image:
            # Masks of these pixels are not known, even if the plane was here before.
            for draft in self.hand.drafts:
                self._predictions.pop(draft.number, None)
            kept = {key: image for key, image in self._images.items() if key in self._hands}
            self._images = {**kept, plane.key: plane.image}
        self.plane_changed.emit(self.plane_key)
        self._tell_prediction()

    def _unanswered(self, hand: Hand) -> tuple[Draft, ...]:
        """Drafts that say where their object is, and have no mask for their present prompts."""
        drafts = (draft for draft in hand.drafts if draft.has_target)
        return tuple(draft for draft in drafts if self._answer_to(draft) is None)

    def _awaited(self, hand: Hand) -> Job | None:
        """Return the request that will answer everything in hand, if it is on its way."""
        job = self._queue.newest
        if job is None or job.question is None:
            return None
        asked = {draft.number: draft for draft in job.question.drafts}
        covered = all(
            draft.number in asked and draft.same_as(asked[draft.number])
            for draft in self._unanswered(hand)
        )
        return job if covered else None

    def _step(self, key: Hashable, before: Hand, after: Hand) -> Step:
        held = tuple(one for draft in before.drafts if (one := self._answer_to(draft)) is not None)
        return Step(key, before, after, held, policy=self.policy, category=self.category)

    def _change_hand(self, key: Hashable, hand: Hand) -> None:
        before = self.hand_on(key)
        if not hand.same_as(before):
            self._ledger.push(self._step(key, before, hand))
        self._put_hand(key, hand)

    def _curate(
        self, plane: Plane, operation: Operation, edits: Iterable[Edit], gone: Iterable[int] = ()
    ) -> Step:
        """Write edits as a step to be finished; objects in hand made of gone labels are dropped."""
        before = after = self.hand_on(plane.key)
        for draft in before.drafts:
            if draft.label in set(gone):
                after = after.without(draft.number)
        step = self._step(plane.key, before, after)
        step.operation, step.source = operation, plane.labels.source
        for edit in edits:
            edit.apply()
            step.edits.append(edit)
        return step

    def _finish_step(self, step: Step, *, more: bool = False) -> None:
        self._ledger.push(step)
        try:
            self._put_hand(step.key, step.after)
        finally:
            self._tell_labels(step, "do", more=more)
        if step.key == self.plane_key:
            self._tell_prediction()

    def _write(
        self, step: Step, plane: Plane, predictions: Iterable[ObjectPrediction]
    ) -> tuple[list[AcceptedObject], list[Sam3Error]]:
        """Write masks; those that cannot be written stay in hand. Raises if none can be.

        Returns
        -------
        (list of AcceptedObject, list of Sam3Error)
            What was written, and the first error of the others, if any.
        """
        predictor = self.predictor
        results: list[AcceptedObject] = []
        errors: list[Sam3Error] = []
        unchanged = False
        for prediction in predictions:
            if not prediction.predicted:  # taken up and left as it is
                unchanged = True
                continue
            assert predictor is not None, "a mask came from a predictor"
            try:
                rendering = plane.image.rendering
                one = self._ledger.write(step, prediction, plane.labels, predictor, rendering)
            except Sam3Error as error:
                errors.append(error)
                step.after = step.after.with_draft(prediction.draft)
                continue
            if one is None:
                unchanged = True
            else:
                results.append(one)
        if errors and not results and not unchanged:
            raise errors[0]
        if step.edits:
            step.operation = Operation(
                "accept", step.key, objects=tuple(results), policy=step.policy
            )
        return results, errors[:1]

    def _tell_accepted(
        self, step: Step, results: Iterable[AcceptedObject], errors: Iterable[Sam3Error]
    ) -> None:
        """Tell what was accepted, and why the rest was not, once the step can be undone."""
        self._tell_labels(step, "do")
        for error in errors:
            self.failed.emit(error)
        for one in results:
            self.accepted.emit(one)

    def _fill_step(self, job: Job, step: Step, outcome: Outcome) -> None:
        """Write what was accepted before its masks were there."""
        assert job.plane is not None
        found = {one.draft.number: one for one in (*step.predictions, *(outcome.predictions or ()))}
        masks = [found[draft.number] for draft in step.before.drafts if draft.number in found]
        step.job, step.predictions = None, tuple(masks)
        try:
            results, errors = self._write(step, job.plane, masks)
        except Sam3Error as error:
            job.error = error
            return
        hand = self.hand_on(step.key)
        for draft in step.after.drafts:
            hand = hand.with_draft(draft)
        try:
            self._put_hand(step.key, hand)
        finally:
            self._tell_accepted(step, results, errors)

    def _take_back(self, step: Step) -> None:
        """Hand prompts back whose objects were not written, unless others took their place."""
        self._ledger.drop(step)
        if not self.hand_on(step.key).drafts:
            self._put_hand(step.key, step.before)

    def _show_step(
        self, step: Step, hand: Hand, direction: Literal["undo", "redo"], *, more: bool
    ) -> None:
        """Show what is in hand after undo or redo, with its masks or by asking for them anew."""
        try:
            self._tell_labels(step, direction, more=more)
        finally:
            self._show_hand_of(step, hand, direction)

    def _show_hand_of(self, step: Step, hand: Hand, direction: Literal["undo", "redo"]) -> None:
        here = step.key == self.plane_key
        if here:
            self._stop_plain()
        self._put_hand(step.key, hand)
        if direction == "undo":
            kept = (one for one in step.predictions if hand.get(one.draft.number) is not None)
            self._put_predictions(tuple(kept))
        if here:
            self._tell_prediction()
            if self._unanswered(hand) and self._model is not None:
                self.predict()

    def _tell_labels(
        self, step: Step, direction: Literal["do", "undo", "redo"], *, more: bool = False
    ) -> None:
        operation = step.operation
        if operation is not None:
            now = operation.writes if direction == "do" and operation.writes else step.writes()
            self.labels_changed.emit(LabelChange(operation, direction, now, more))

    def _tell_all(self, steps: Sequence[Step]) -> None:
        """Tell of several steps that belong together, of each even if a listener fails."""
        with ExitStack() as todo:
            for step in reversed(steps):  # the last one put in is called first
                todo.callback(self._tell_labels, step, "do", more=step is not steps[-1])
