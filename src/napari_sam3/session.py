"""The state of labelling, and every command that changes it. No napari, no Qt, no layers."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError, PromptError, Sam3Error

from .errors import LabelError
from .inference import ObjectPrediction, Question
from .jobs import Job, Loader, Outcome, work
from .ledger import AcceptedObject, Ledger, Step
from .prompts import PromptSet
from .session_state import IDLE, Plane, SessionState, UInt8Image
from .targets import ArrayTarget, LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["IDLE", "AcceptedObject", "LabelingSession"]

logger = logging.getLogger(__name__)


class LabelingSession(SessionState):
    """Label the objects of one plane after another.

    Commands are called on the thread that made the session; all changes of state and all events
    happen there. Only prediction goes elsewhere, through `submit`.

    Parameters
    ----------
    predictor : Predictor or callable, optional
        A predictor, or a function without arguments that loads one when it is first needed.
    submit : Submit, optional
        Runs predictions; at once by default. With the default, `predict` raises what went wrong.
    cache : EmbeddingCache, optional
        Features of fields already encoded; may be shared.
    policy : {"keep", "overwrite"}
        Whether pixels of other labels are left alone or taken over on accepting.
    level : int, optional
        Pin the pyramid level of fields instead of choosing it by prompts and object size.

    Attributes
    ----------
    plane_changed : Signal
        (key or None) after another plane was set.
    prompts_changed : Signal
        (key, PromptSet) after the prompts of the object in hand on a plane changed.
    prediction_changed : Signal
        (ObjectPrediction or None) after the mask in hand changed.
    accepted : Signal
        (AcceptedObject) after an object was written.
    labels_changed : Signal
        (key, region) after labels were written, by accept, undo or redo.
    busy_changed : Signal
        (stage) "idle", "loading model", "encoding" or "predicting".
    failed : Signal
        (exception) after a prediction or a delayed accept went wrong.
    """

    def set_predictor(self, predictor: Predictor | Loader | None) -> None:
        """Use another model: a predictor, or a function without arguments that loads one."""
        self._queue.cancel_plain()
        self._model = predictor
        self._set_prediction(None)

    def prepare(self) -> None:
        """Load the model ahead of the first click."""
        if self._model is not None and self.predictor is None and not self.busy:
            self._queue.add(self._job(None))

    def set_plane(
        self, pixels: UInt8Image, key: Hashable, labels: LabelTarget | npt.NDArray[Any]
    ) -> None:
        """Make a plane the current one. Prompts of the object in hand are kept for each plane.

        Parameters
        ----------
        pixels : ndarray of uint8, H x W x 3
            From `napari_sam3.plane_from_array`. Not to be changed afterwards.
        key : hashable
            Names the plane; prompts and objects carry it.
        labels : LabelTarget or ndarray of integers, H x W
            Where accepted objects are written.

        Raises
        ------
        sam3.errors.ImageError, LabelError
            If the pixels are no such array, or the labels do not have the plane's shape.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ImageError(
                f"a plane must be H x W x 3 uint8, got {pixels.dtype} of shape {pixels.shape}; "
                "make one with napari_sam3.plane_from_array"
            )
        target = ArrayTarget(labels) if isinstance(labels, np.ndarray) else labels
        if target.shape != pixels.shape[:2]:
            raise LabelError(
                f"the labels have shape {target.shape}, but the image plane {pixels.shape[:2]}; "
                "choose labels made for this image"
            )
        self._change_plane(Plane(key, pixels, target))

    def clear_plane(self) -> None:
        """Have no plane, e.g. because its image is gone. Objects and history stay."""
        if self._plane is not None:
            self._change_plane(None)

    def set_prompts(self, prompts: PromptSet) -> None:
        """Replace the prompts of the object in hand. A step that can be undone.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane = self._need_plane()
        prompts.check_inside(plane.shape)
        if prompts != self.prompts:
            self._ledger.push(Step(plane.key, self.prompts, prompts, prediction=self._prediction))
            self._put_prompts(plane.key, prompts)

    def predict(self) -> ObjectPrediction | None:
        """Ask for the mask of the object in hand.

        Returns
        -------
        ObjectPrediction or None
            The mask if it was predicted at once; None if it is still to come, or if there are
            no prompts, which clears the mask.

        Raises
        ------
        sam3.errors.PromptError
            If there are only background clicks.
        sam3.errors.Sam3Error
            If there is no image or model; with the default `submit`, whatever went wrong.
        """
        plane, prompts = self._need_plane(), self.prompts
        if not prompts.has_target:
            self._stop_plain()
            self._set_prediction(None)
            if prompts.is_empty:
                return None
            raise PromptError(
                f"{len(prompts.points)} background click(s) alone do not say where the object "
                "is; add a foreground click (left button) or a box"
            )
        if self._model is None:
            raise Sam3Error("no model is set; choose one, or call set_predictor first")
        prompts = prompts.clipped(plane.shape)
        previous = self._prediction
        if previous is not None and not prompts.extends(previous.prompts):
            previous = None
        job = self._job(Question(plane.pixels, prompts, previous, self.level))
        self._queue.add(job)
        if job.error is not None:
            raise job.error
        return self._current_prediction()

    def choose(self, index: int) -> None:
        """Take another of the masks that the model offers for the object in hand."""
        offered = len(self._prediction.candidates) if self._prediction else 0
        if self._prediction is None or not 0 <= index < offered:
            raise PromptError(f"there is no mask {index}; the model offers {offered}, from 0")
        self._set_prediction(replace(self._prediction, index=index))

    def accept(self) -> AcceptedObject | None:
        """Write the mask in hand into the labels and start the next object.

        If the mask is still being predicted, it is written as soon as it is there.

        Returns
        -------
        AcceptedObject or None
            None if the mask is still to come.

        Raises
        ------
        LabelError
            If there is no mask, it is empty, no pixel is free, or the dtype has no next id.
        """
        plane = self._need_plane()
        prediction, job = self._current_prediction(), self._queue.newest
        if prediction is None and job is None and self.prompts.has_target:
            prediction, job = self.predict(), self._queue.newest
        step = Step(plane.key, self.prompts, prediction=prediction)
        result = None
        if prediction is not None:
            result = self._write(step, prediction, plane.labels)
        elif job is not None and job.question is not None:
            step.job, job.step = job, step
        else:
            raise LabelError("there is no mask to accept; click on an object first")
        self._ledger.push(step)
        self._set_prediction(None)
        self._put_prompts(plane.key, PromptSet())
        if result is not None:
            self.accepted.emit(result)
        return result

    def reject(self) -> None:
        """Drop the prompts and the mask in hand. A step that can be undone."""
        plane = self._need_plane()
        self._stop_plain()
        if not self.prompts.is_empty:
            self._ledger.push(Step(plane.key, self.prompts, prediction=self._prediction))
        self._set_prediction(None)
        self._put_prompts(plane.key, PromptSet())

    def undo(self) -> Hashable | None:
        """Take the last step back: labels, objects and prompts are what they were.

        Returns
        -------
        hashable or None
            Key of the plane it happened on; None if there was nothing to undo.

        Raises
        ------
        LabelError
            If the labels it wrote to are gone; the step stays.
        """
        step = self._ledger.undo()
        if step is None:
            return None
        if step.job is not None:
            self._queue.cancel(step.job)
            step.job = None
        self._show_step(step, step.before, step.prediction)
        return step.key

    def redo(self) -> Hashable | None:
        """Do the step again that was undone last; returns and raises like `undo`."""
        step = self._ledger.redo()
        if step is None:
            return None
        self._show_step(step, step.after, None)
        if step.accepted is not None:
            self.accepted.emit(step.accepted)
        return step.key

    def cancel(self) -> None:
        """Stop predicting; prompts, labels and the mask last shown stay."""
        for step in [step for step in self._ledger.done if step.job is not None]:
            self._take_back(step)
        self._queue.cancel_all()

    def close(self) -> None:
        """Drop all work and features. No event is sent any more."""
        self._closed = True
        self._queue.cancel_all()
        self._ledger = Ledger()
        self.cache.clear()
        self._plane = self._prediction = None

    # ----------------------------------------------------------------- inside

    def _need_plane(self) -> Plane:
        if self._plane is None:
            raise ImageError("there is no image to work on; open an image and choose it first")
        return self._plane

    def _change_plane(self, plane: Plane | None) -> None:
        self._stop_plain()
        self._plane = plane
        self._set_prediction(None)
        self.plane_changed.emit(self.plane_key)

    def _current_prediction(self) -> ObjectPrediction | None:
        """Return the mask in hand if it answers the present prompts."""
        plane, held = self._plane, self._prediction
        if plane is None or held is None or held.prompts != self.prompts.clipped(plane.shape):
            return None
        return held

    def _stop_plain(self) -> None:
        self._queue.cancel_plain()
        # An answer still on its way was asked for something that is no longer there.
        self._generation += 1

    def _job(self, question: Question | None) -> Job:
        self._generation += 1
        key, labels = (self._plane.key, self._plane.labels) if self._plane else (None, None)
        return Job(self._generation, key, labels, question)

    def _start(self, job: Job) -> None:
        model, cache = self._model, self.cache
        if model is None:
            self._finish(job, None, Outcome(error=Sam3Error("no model is set; choose one")))
            return
        if self.predictor is None:
            # Before the work gets to say so itself, it has to import torch.
            self._set_stage("loading model")
        if job.question is not None:
            # Only now: objects accepted ahead of this one have been written by now, so that the
            # same clicks give the same masks however fast they come.
            size = self._ledger.typical_size()
            job.question = replace(job.question, typical_size=size)
        self._submit(
            lambda report: work(job, model, cache, report),
            lambda outcome: self._finish(job, model, outcome),
            self._set_stage,
        )

    def _finish(self, job: Job, model: Predictor | Loader | None, outcome: Outcome) -> None:
        self._queue.finished()
        if self._closed:
            return
        if outcome.predictor is not None and self._model is model:
            self._model = outcome.predictor
        try:
            if not job.cancelled:
                self._take_answer(job, outcome)
        finally:
            self._queue.advance()
            if not self.busy:
                self._set_stage(IDLE)

    def _take_answer(self, job: Job, outcome: Outcome) -> None:
        job.error = outcome.error
        if job.step is not None and outcome.prediction is not None:
            job.step.job, job.step.prediction = None, outcome.prediction
            assert job.labels is not None
            try:
                result = self._write(job.step, outcome.prediction, job.labels)
            except Sam3Error as error:
                job.error = error
            else:
                self.accepted.emit(result)
        elif outcome.prediction is not None and job.generation == self._generation:
            self._set_prediction(outcome.prediction)
        if job.error is not None:
            logger.debug("prediction failed", exc_info=job.error)
            if job.step is not None:
                self._take_back(job.step)
            elif job.question is not None:
                self._set_prediction(None)
            self.failed.emit(job.error)

    def _take_back(self, step: Step) -> None:
        """Hand prompts back whose object was not written, unless others took their place."""
        self._ledger.drop(step)
        if self.prompts_on(step.key).is_empty:
            self._put_prompts(step.key, step.before)

    def _write(
        self, step: Step, prediction: ObjectPrediction, labels: LabelTarget
    ) -> AcceptedObject:
        predictor = self.predictor
        assert predictor is not None, "a mask came from a predictor"
        result = self._ledger.write(step, prediction, labels, self.policy, predictor)
        assert step.edit is not None
        self.labels_changed.emit(step.key, step.edit.region)
        return result

    def _show_step(
        self, step: Step, prompts: PromptSet, prediction: ObjectPrediction | None
    ) -> None:
        """Show prompts again after undo or redo, with their mask or by asking for it anew."""
        if step.edit is not None:
            self.labels_changed.emit(step.key, step.edit.region)
        if step.key == self.plane_key:
            self._stop_plain()
        self._put_prompts(step.key, prompts)
        if step.key == self.plane_key:
            self._set_prediction(prediction)
            if prediction is None and prompts.has_target and self._model is not None:
                self.predict()
