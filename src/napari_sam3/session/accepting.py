"""Write masks into labels as accepted objects: at once, when predicted, or on replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.masks import PlaneMask, is_same_object
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Operation, Policy
from napari_sam3.inference.questions import ObjectPrediction, Question
from napari_sam3.labels.edits import find_mask_of_label, write_object
from sam3.errors import Sam3Error

if TYPE_CHECKING:
    from napari_sam3.core.prompts import PromptSet
    from napari_sam3.core.rendering import Rendering
    from napari_sam3.labels.targets import LabelTarget

    from .changes import Changes
    from .drafts import DraftsByPlane
    from .ended import EndedObject
    from .events import SessionEvents
    from .history import History, Step
    from .jobs import Outcome, Plane
    from .predictions import Predictions

__all__ = ["Accepting", "drawn_region"]

NO_MASK = "no mask to accept. Expected a draft with a mask. Click on an object first."


class Accepting:
    """Accept drafts: each becomes an object in the labels.

    Parameters
    ----------
    changes : Changes
        Records the steps.
    events : SessionEvents
        Emits accepted objects, and errors of those that cannot be written.
    drafts : DraftsByPlane
        Drafts to accept.
    history : History
        Registry of objects and the undo stack.
    predictions : Predictions
        Predicts masks that are still missing.
    """

    def __init__(
        self,
        changes: Changes,
        events: SessionEvents,
        drafts: DraftsByPlane,
        history: History,
        predictions: Predictions,
    ) -> None:
        self._changes, self._events = changes, events
        self._drafts, self._history, self._predictions = drafts, history, predictions

    def accept(self, ended: Iterable[EndedObject] = ()) -> AcceptedObject | None:
        """Write the masks of all drafts into the labels and start the next object.

        Masks that are still being predicted are written when they arrive. A draft that cannot be
        written stays, while the others are accepted.

        Parameters
        ----------
        ended : iterable of EndedObject
            Propagated objects; a mask like the last one of one of these is written under its id.

        Returns
        -------
        AcceptedObject or None
            The last one written; None if the masks are still being predicted.

        Raises
        ------
        LabelError
            If a mask is missing or empty, no pixel is free, or the dtype has no next id.
        """
        drafts, plane = self._drafts, self._drafts.need_plane()
        draft_set = drafts.here
        wanted = tuple(draft for draft in draft_set.drafts if draft.has_target)
        if not wanted:
            raise NothingThereError(NO_MASK)
        if drafts.without_mask(draft_set) and self._predictions.awaited(draft_set) is None:
            self._predictions.predict()
        step, job = self._changes.begin(plane.key, DraftSet()), self._predictions.awaited(draft_set)
        step.ended = tuple(ended)
        results: list[AcceptedObject] = []
        errors: list[Sam3Error] = []
        if not drafts.without_mask(draft_set):
            masks = [mask for draft in wanted if (mask := drafts.mask_of(draft)) is not None]
            results, errors = self._write_all(step, plane, masks)
        elif job is not None:
            step.job, job.kept = job, partial(self._fill, step, plane)
        else:
            raise NothingThereError(NO_MASK)
        self._history.push(step)
        try:
            drafts.put(plane.key, step.after)
            drafts.emit_masks()
        finally:  # emitted even if a listener of the drafts fails
            self._emit(step, results, errors)
        return results[-1] if results else None

    def make_again(self, objects: Sequence[AcceptedObject], policy: Policy) -> None:
        """Predict objects of the plane again from their recorded prompts, and write them.

        Parameters
        ----------
        objects : sequence of AcceptedObject
            Objects to predict; they keep their ids.
        policy : {"keep", "overwrite", "inside"}
            Policy with which they were accepted.

        Raises
        ------
        sam3.errors.Sam3Error
            If a mask cannot be predicted or written; nothing has changed then.
        """
        plane = self._drafts.need_plane()
        step = self._changes.begin(plane.key)
        step.policy = policy
        predictions = [
            prediction
            for (level, size), alike in groupby(objects, lambda one: (one.level, one.typical_size))
            for prediction in self._predictions.answer_now(
                Question(plane.image, tuple(one.draft for one in alike), (), level, size)
            )
        ]
        written = []
        for known, prediction in zip(objects, predictions, strict=True):
            step.category = known.category
            try:
                accepted = self._write(step, plane, prediction, known.id)
            except LabelError:
                self._history.revert(step)
                raise
            written += [accepted] if accepted is not None else []
        step.operation = Operation("accept", plane.key, objects=tuple(written), policy=policy)
        self._changes.finish(step)
        self._changes.emit_accepted(written)

    def cancel(self) -> None:
        """Return the prompts of objects that wait for their masks to the drafts."""
        for step in self._history.awaiting:
            self._restore_prompts(step)

    # ------------------------------------------------------------ delayed accepts

    def _fill(self, step: Step, plane: Plane, outcome: Outcome) -> BaseException | None:
        """Write objects that were accepted before their masks arrived; return the error, if any."""
        error = outcome.error
        if outcome.predictions is not None:
            try:
                self._write_later(step, plane, outcome.predictions)
            except Sam3Error as refused:
                error = refused
        if error is not None:
            self._restore_prompts(step)
        return error

    def _write_later(
        self, step: Step, plane: Plane, predictions: Sequence[ObjectPrediction]
    ) -> None:
        found = {
            prediction.draft.number: prediction for prediction in (*step.predictions, *predictions)
        }
        masks = [found[draft.number] for draft in step.before.drafts if draft.number in found]
        step.job, step.predictions = None, tuple(masks)
        results, errors = self._write_all(step, plane, masks)
        draft_set = self._drafts.on(step.key)
        for draft in step.after.drafts:
            draft_set = draft_set.with_draft(draft)
        try:
            self._drafts.put(step.key, draft_set)
        finally:
            self._emit(step, results, errors)

    def _restore_prompts(self, step: Step) -> None:
        """Restore the prompts of objects that were not written, unless there are new drafts."""
        self._history.drop(step)
        if not self._drafts.on(step.key).drafts:
            self._drafts.put(step.key, step.before)

    # ----------------------------------------------------------------- writing

    def _write_all(
        self, step: Step, plane: Plane, predictions: Iterable[ObjectPrediction]
    ) -> tuple[list[AcceptedObject], list[Sam3Error]]:
        """Write masks; drafts that cannot be written stay. Raises if none can be.

        Returns
        -------
        (list of AcceptedObject, list of Sam3Error)
            The objects written, and the first error, if any.
        """
        results: list[AcceptedObject] = []
        errors: list[Sam3Error] = []
        unchanged = False
        for prediction in predictions:
            if not prediction.predicted:  # reopened and not changed
                unchanged = True
                continue
            try:
                accepted = self._write(step, plane, prediction)
            except Sam3Error as error:
                errors.append(error)
                step.after = step.after.with_draft(prediction.draft)
                continue
            if accepted is None:
                unchanged = True
            else:
                results.append(accepted)
        if errors and not results and not unchanged:
            raise errors[0]
        if step.edits:
            step.operation = Operation(
                "accept", step.key, objects=tuple(results), policy=step.policy
            )
        return results, errors[:1]

    def _write(
        self, step: Step, plane: Plane, prediction: ObjectPrediction, label: int | None = None
    ) -> AcceptedObject | None:
        """Write a mask under a given id or the next free one, and record it in a step.

        Returns
        -------
        AcceptedObject or None
            None if a reopened object is unchanged.

        Raises
        ------
        LabelError
            If it cannot be written; nothing has changed then.
        """
        labels, objects = plane.labels, self._history.objects
        rendering = plane.image.rendering  # before writing, since reading it may fail
        step.source = labels.source
        reopened = prediction.draft.label
        earlier = None if reopened is None else objects.find(labels, reopened)
        draft, replaced = self._as_labels_are(labels, prediction.draft, again=label is not None)
        goes_on = _continued(step, prediction.mask, draft.label)
        if goes_on is not None:
            draft = replace(draft, label=goes_on.label)
        prediction = replace(prediction, draft=draft)
        fresh = label is None and draft.label is None
        if label is None:
            label = draft.label if draft.label is not None else objects.free_id(labels)
        written = write_object(
            labels,
            prediction.mask,
            label,
            step.policy,
            allowed=drawn_region(prediction.prompts, labels.shape),
            replaced=replaced,
        )
        if written is None:
            return None
        step.note(written)
        objects.use_up(labels, label)
        category = step.category or (earlier.category if earlier else "")
        if goes_on is not None:
            category = goes_on.category
            step.ended = tuple(one for one in step.ended if one is not goes_on)
        accepted = replace(
            self._describe(step, prediction, rendering, written.mask), id=label, category=category
        )
        step.fresh |= {label} if fresh else set()
        self._history.exchange(step, [earlier] if earlier else [], [(accepted, written.mask)])
        return accepted

    def _as_labels_are(
        self, labels: LabelTarget, draft: Draft, *, again: bool
    ) -> tuple[Draft, PlaneMask | None]:
        """Return a draft and the current pixels of its label.

        The label may have been removed since it was reopened, and its id given to another object.
        That object is then left unchanged, and the draft becomes a new object. A draft that is
        made `again` was reopened in another session.
        """
        if draft.label is None:
            return draft, None
        now = find_mask_of_label(labels, draft.label)
        before = None if again else self._drafts.reopened.get(draft.number)
        known = (accepted.id for accepted in self._history.objects.within(labels.source))
        if before is None or (now is not None and is_same_object(before, now)):
            return draft, now
        if now is None and (draft.label in known or not labels.holds(draft.label)):
            return draft, None
        return replace(draft, label=None), None

    def _describe(
        self, step: Step, prediction: ObjectPrediction, rendering: Rendering, written: PlaneMask
    ) -> AcceptedObject:
        """Describe an object that was written; the caller sets its id and class."""
        predictor = self._predictions.predictor
        assert predictor is not None, "a predictor made the mask"
        return AcceptedObject(
            id=0,
            plane=step.key,
            bbox=written.bbox,
            area=written.area,
            score=prediction.score,
            draft=prediction.draft,
            field=prediction.field,
            candidate=prediction.index,
            level=prediction.level,
            typical_size=prediction.typical_size,
            model=predictor.config.name,
            fingerprint=predictor.fingerprint,
            precision=str(predictor.dtype).removeprefix("torch."),
            rendering=rendering,
            category="",
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    def _emit(
        self, step: Step, results: Iterable[AcceptedObject], errors: Iterable[Sam3Error]
    ) -> None:
        """Emit accepted objects and the errors of the others; called after the push of the step."""
        self._changes.emit(step)
        for error in errors:
            self._events.failed.emit(error)
        self._changes.emit_accepted(results)


def _continued(step: Step, mask: PlaneMask, label: int | None) -> EndedObject | None:
    """Return the object of a step that ended before, and continues with a mask."""
    if not step.ended:
        return None
    from .ended import continued_by

    return continued_by(mask, label, step.ended)


def drawn_region(prompts: PromptSet, shape: tuple[int, int]) -> PlaneMask | None:
    """Return the outline or box that was drawn around an object."""
    if prompts.outline:
        return PlaneMask.from_outline(prompts.outline, shape)
    box = prompts.clipped(shape).box
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return PlaneMask.from_outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], shape)
