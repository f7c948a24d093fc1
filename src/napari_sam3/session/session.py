"""The commands of labelling. No napari, no Qt, no layers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft, Hand
from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import ObjectPrediction
from napari_sam3.inference.models import Loader, once
from napari_sam3.labels.targets import ArrayTarget, LabelTarget
from sam3.errors import PromptError, Sam3Error

from .batch_results import BatchSteps
from .jobs import Job, Plane
from .objects import Ledger
from .state import IDLE, UInt8Image

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["IDLE", "AcceptedObject", "LabelingSession"]


class LabelingSession(BatchSteps):
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
    mode : {"one", "many"}
        Whether one object is in hand at a time, or as many as there are boxes and foreground
        clicks; may be changed at any time.
    policy : {"keep", "overwrite", "inside"}
        Whether pixels of other labels are left alone or taken over on accepting, or only
        background inside the drawn box or outline is written; may be changed at any time.
    level : int, optional
        Pin the pyramid level of fields instead of choosing it by prompts and object size.
    look_ahead : int
        Fields of a plane to encode before they are asked for, when there is nothing else to do.

    Attributes
    ----------
    category : str
        Class of the objects accepted from now on; empty for none.
    paused : bool
        Encode nothing ahead for now, because the thread of `submit` has other things to do.
    plane_changed : Signal
        (key or None) after another plane was set.
    prompts_changed : Signal
        (key) after the objects in hand on a plane, or their prompts, changed.
    prediction_changed : Signal
        (ObjectPrediction or None) after masks in hand changed; the current object's is passed.
    accepted : Signal
        (AcceptedObject) after an object was written.
    labels_changed : Signal
        (LabelChange) after labels were written, by a command, a person's stroke, undo or redo.
    batch_ended : Signal
        After the last plane of a batch was written.
    busy_changed : Signal
        (stage) "idle", "loading model", "encoding" or "predicting".
    progress_changed : Signal
        (stage, share done or None, seconds left or None) while there is something to wait for.
    failed : Signal
        (exception) after a prediction or a delayed accept went wrong.
    """

    # ------------------------------------------------------------ model and plane

    def set_predictor(self, predictor: Predictor | Loader | None) -> None:
        """Use another model: a predictor, or a function without arguments that loads one."""
        self._queue.cancel_plain(abandon=True)
        self._model = once(predictor)
        self._predictions.clear()
        self._tell_prediction()

    def prepare(self) -> None:
        """Load the model, and encode what is likely to be clicked on, ahead of the first click."""
        if self._model is not None and self.predictor is None and not self.busy:
            self._queue.add(Job(self._generation, self._plane))
        else:
            self._look_ahead()

    def set_plane(
        self,
        plane: UInt8Image | PlaneImage,
        key: Hashable,
        labels: LabelTarget | npt.NDArray[Any],
    ) -> None:
        """Make a plane the current one. Objects in hand are kept for each plane.

        Parameters
        ----------
        plane : ndarray of uint8, H x W x 3, or PlaneImage
            From `napari_sam3.plane_from_array`, not to be changed afterwards; or an image that is
            read when it is needed.
        key : hashable
            Names the plane; prompts and objects carry it.
        labels : LabelTarget or ndarray of integers
            Where accepted objects are written: H x W, or a whole stack if `key` is the
            `PlaneIndex` of a plane of it.

        Raises
        ------
        sam3.errors.ImageError, LabelError
            If the pixels are no such array, or the labels do not have the plane's shape.
        """
        image = ArrayPlane(plane) if isinstance(plane, np.ndarray) else plane
        if isinstance(labels, np.ndarray):
            inside = key if isinstance(key, PlaneIndex) and labels.ndim > 2 else None
            target: LabelTarget = ArrayTarget(labels, key, inside)
        else:
            target = labels
        if target.shape != image.shape:
            raise LabelError(
                f"the labels have shape {target.shape}, but the image plane {image.shape}; "
                "choose labels made for this image"
            )
        self._change_plane(Plane(key, image, target))

    def clear_plane(self) -> None:
        """Have no plane, e.g. because its image is gone. Objects and history stay."""
        if self._plane is not None:
            self._change_plane(None)

    # ------------------------------------------------------------------ prompts

    def set_prompts(self, prompts: PromptSet) -> None:
        """Replace the prompts of the current object in hand. A step that can be undone.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane, hand = self._need_plane(), self.hand
        prompts.check_inside(plane.shape)
        draft = hand.draft
        if draft is None:
            draft = Draft(self.new_number())
        self._change_hand(plane.key, _with_prompts(hand, draft.asked(prompts)))

    def set_objects(
        self, objects: Mapping[int, PromptSet] | Iterable[PromptSet], current: int | None = None
    ) -> None:
        """Replace the prompts of all objects in hand. A step that can be undone.

        Parameters
        ----------
        objects : mapping from int to PromptSet, or iterable of PromptSet
            Prompts by the numbers of the objects (see `new_number`), or of new objects. Labels
            that were taken up again stay in hand without prompts.
        current : int, optional
            Number of the object that becomes the current one.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane, before = self._need_plane(), self.hand
        if not isinstance(objects, Mapping):
            objects = {self.new_number(): prompts for prompts in objects}
        for prompts in objects.values():
            prompts.check_inside(plane.shape)
        numbers = dict.fromkeys([*(draft.number for draft in before.drafts), *objects])
        hand, changed = Hand(), None
        for number in numbers:
            held = before.get(number)
            draft = (held or Draft(number)).asked(objects.get(number, PromptSet()))
            changed = changed if draft is held else number
            hand = _with_prompts(hand, draft)
        wanted = (current, changed, before.current, hand.current)
        current = next((number for number in wanted if hand.get(number) is not None), None)
        self._change_hand(plane.key, replace(hand, current=current))

    def predict(self) -> ObjectPrediction | None:
        """Ask for the masks of all objects in hand that have none.

        Returns
        -------
        ObjectPrediction or None
            The current object's mask if it was predicted at once; None if it is still to come, or
            if there are no prompts, which clears the mask.

        Raises
        ------
        sam3.errors.PromptError
            If there are only background clicks.
        sam3.errors.Sam3Error
            If there is no image or model; with the default `submit`, whatever went wrong.
        """
        plane, hand = self._need_plane(), self.hand
        asked = self._unanswered(hand)
        job = None
        if asked:
            if self._model is None:
                raise Sam3Error("no model is set; choose one, or call set_predictor first")
            job = self._ask(plane, asked)
        else:
            self._stop_plain()
        # Shown before the answer is there: what is in hand now may have no mask any more.
        self._tell_prediction()
        if job is not None and job.error is not None:
            raise job.error
        draft = hand.draft
        if draft is not None and not draft.has_target:
            raise PromptError(
                f"background clicks alone ({len(draft.prompts.points)} so far) do not say where "
                "the object is; add a foreground click (left button) or a box"
            )
        return self.prediction

    def choose(self, index: int) -> None:
        """Take another of the masks that the model offers for the current object in hand."""
        held, draft = self.prediction, self.hand.draft
        offered = len(held.candidates) if held is not None else 0
        if held is None or draft is None or not 0 <= index < offered:
            raise PromptError(f"there is no mask {index}; the model offers {offered}, from 0")
        if index == held.index:
            return
        chosen = draft.chosen(index)
        self._put_predictions((replace(held, draft=chosen, index=index),))
        self._put_hand(self.plane_key, self.hand.with_draft(chosen))
        self._tell_prediction()

    def reject(self) -> None:
        """Drop the current object in hand, with its prompts. A step that can be undone."""
        plane = self._need_plane()
        self._stop_plain()
        self._change_hand(plane.key, self.hand.without(self.hand.current))
        self._tell_prediction()
        if self._unanswered(self.hand):
            self.predict()

    # ------------------------------------------------------------------- labels

    def accept(self) -> AcceptedObject | None:
        """Write the masks of all objects in hand into the labels and start the next object.

        If masks are still being predicted, they are written as soon as they are there. An object
        that cannot be written stays in hand, while the others are accepted.

        Returns
        -------
        AcceptedObject or None
            The last one written; None if the masks are still to come.

        Raises
        ------
        LabelError
            If there is no mask, it is empty, no pixel is free, or the dtype has no next id.
        """
        plane, hand = self._need_plane(), self.hand
        wanted = tuple(draft for draft in hand.drafts if draft.has_target)
        if not wanted:
            raise NothingThereError("there is no mask to accept; click on an object first")
        if self._unanswered(hand) and self._awaited(hand) is None:
            self.predict()
        step, job = self._step(plane.key, hand, Hand()), self._awaited(hand)
        results: list[AcceptedObject] = []
        errors: list[Sam3Error] = []
        if not self._unanswered(hand):
            masks = [self._predictions[draft.number] for draft in wanted]
            results, errors = self._write(step, plane, masks)
        elif job is not None:
            step.job, job.step = job, step
        else:
            raise NothingThereError("there is no mask to accept; click on an object first")
        self._ledger.push(step)
        try:
            self._put_hand(plane.key, step.after)
            self._tell_prediction()
        finally:  # a listener that fails keeps nobody from hearing what was written
            self._tell_accepted(step, results, errors)
        return results[-1] if results else None

    def cancel(self) -> None:
        """Stop predicting; prompts, labels and the masks last shown stay."""
        for step in [step for step in self._ledger.done if step.job is not None]:
            self._take_back(step)
        self._queue.cancel_all()
        self._generation += 1

    def close(self) -> None:
        """Drop all work and features. No event is sent any more."""
        self._closed = True
        self._queue.cancel_all()
        self._ledger = Ledger()
        self.cache.clear()
        self._plane = None
        self._predictions.clear()


def _with_prompts(hand: Hand, draft: Draft) -> Hand:
    """Put a draft into a hand, or drop it if nothing is left of it."""
    if draft.prompts.is_empty and draft.seed is None:
        return hand.without(draft.number)
    return hand.with_draft(draft)
