"""How a session asks its model: requests, answers and progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.models import Loader, ModelHandle
from napari_sam3.inference.questions import ObjectPrediction, Question
from sam3.errors import PromptError, Sam3Error

from .drafts import DraftsByPlane
from .events import SessionEvents
from .jobs import Job, JobQueue, Outcome, Plane, Submit, work
from .objects import ObjectRegistry
from .options import SessionOptions

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["IDLE", "Predictions"]

logger = logging.getLogger(__name__)

IDLE = "idle"


class Predictions:
    """Asks the model for the masks of drafts, one request after the other.

    Parameters
    ----------
    model : Predictor or callable, optional
        The model, or what loads it.
    submit : Submit
        Runs the work.
    cache : EmbeddingCache
        Features of fields already encoded.
    options : SessionOptions
        A pinned level.
    events : SessionEvents
        Told of progress and failures.
    drafts : DraftsByPlane
        Get the masks.
    objects : ObjectRegistry
        The size of accepted objects decides the level of a click.

    Attributes
    ----------
    queue : JobQueue
        Requests that run and wait.
    seconds_to_encode : float or None
        How long a field took the last time.
    when_idle : callable
        Called with whether the last request failed, once nothing runs or waits any more.
    """

    def __init__(
        self,
        model: Predictor | Loader | None,
        *,
        submit: Submit,
        cache: EmbeddingCache,
        options: SessionOptions,
        events: SessionEvents,
        drafts: DraftsByPlane,
        objects: ObjectRegistry,
    ) -> None:
        self._model = None if model is None else ModelHandle.of(model)
        self._submit, self.cache = submit, cache
        self._options, self._events = options, events
        self._drafts, self._objects = drafts, objects
        self.queue = JobQueue(self._start)
        self.when_idle: Callable[[bool], None] = _do_nothing
        self.seconds_to_encode: float | None = None
        self._generation = 0
        self._stage = IDLE
        self._started = 0.0
        self._encoding_since: float | None = None
        self._closed = False

    # ------------------------------------------------------------------- model

    @property
    def model(self) -> ModelHandle | None:
        """The model, loaded or not."""
        return self._model

    @property
    def predictor(self) -> Predictor | None:
        """The predictor, once it is loaded."""
        return None if self._model is None else self._model.predictor

    def use(self, model: Predictor | Loader | None) -> None:
        """Use another model; masks of the one before are forgotten."""
        self.queue.cancel_plain(abandon=True)
        self._model = None if model is None else ModelHandle.of(model)
        self._drafts.forget_masks()
        self._drafts.tell_masks()

    def load(self) -> bool:
        """Begin to load the model, if it is not loaded and nothing else runs; whether it began."""
        if self._model is None or self.predictor is not None or self.busy:
            return False
        self.queue.add(Job(self._generation, self._drafts.plane))
        return True

    # ---------------------------------------------------------------- requests

    @property
    def stage(self) -> str:
        """What is going on: "idle", "loading model", "encoding" or "predicting"."""
        return self._stage

    @property
    def busy(self) -> bool:
        """Whether a prediction runs or waits."""
        return self.queue.busy

    def predict(self) -> ObjectPrediction | None:
        """Request the masks of all drafts that have none.

        Returns
        -------
        ObjectPrediction or None
            The current draft's mask if it was predicted at once; None if it is still to come, or
            if there are no prompts, which clears the mask.

        Raises
        ------
        sam3.errors.PromptError
            If there are only background clicks.
        sam3.errors.Sam3Error
            If there is no image or model; with the default `submit`, whatever went wrong.
        """
        plane, draft_set = self._drafts.need_plane(), self._drafts.here
        wanted = self._drafts.without_mask(draft_set)
        job = None
        if wanted:
            if self._model is None:
                raise Sam3Error("no model is set; choose one, or call set_predictor first")
            job = self._request(plane, wanted)
        else:
            self.stop()
        # Shown before the answer is there: drafts as they are now may have no mask any more.
        self._drafts.tell_masks()
        if job is not None and job.error is not None:
            raise job.error
        draft = draft_set.draft
        if draft is not None and not draft.has_target:
            raise PromptError(
                f"background clicks alone ({len(draft.prompts.points)} so far) do not say where "
                "the object is; add a foreground click (left button) or a box"
            )
        return self._drafts.current_mask

    def answer_now(self, question: Question) -> tuple[ObjectPrediction, ...]:
        """Answer a question on this thread, whatever `submit` does."""
        if self._model is None:
            raise Sam3Error("no model is set; choose one, or call set_predictor first")
        job = Job(self._generation, self._drafts.plane, question)
        outcome = work(job, self._model, self.cache, _ignore)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.predictions is not None, "nobody cancelled it"
        return outcome.predictions

    def encode_ahead(self, plane: Plane, field: FieldOfView, *, first: bool) -> None:
        """Request the features of a field before anybody needs them."""
        self.queue.add(Job(self._generation, plane, ahead=field, first=first))

    def awaited(self, draft_set: DraftSet) -> Job | None:
        """Return the request that will give all drafts their masks, if it is on its way."""
        job = self.queue.newest
        if job is None or job.question is None:
            return None
        asked = {draft.number: draft for draft in job.question.drafts}
        covered = all(
            draft.number in asked and draft.same_as(asked[draft.number])
            for draft in self._drafts.without_mask(draft_set)
        )
        return job if covered else None

    def stop(self, *, abandon: bool = False) -> None:
        """Drop every request but those whose masks were accepted."""
        self.queue.cancel_plain(abandon=abandon)
        # An answer still on its way belongs to something that is no longer there.
        self._generation += 1

    def cancel_all(self) -> None:
        """Drop every request."""
        self.queue.cancel_all()
        self._generation += 1

    def close(self) -> None:
        """Drop all work and features. No event is sent any more."""
        self._closed = True
        self.queue.cancel_all()
        self.cache.clear()

    # ------------------------------------------------------------------ inside

    def _request(self, plane: Plane, drafts: tuple[Draft, ...]) -> Job:
        """Request the masks of drafts; a later request replaces this one."""
        self._generation += 1
        question = Question(plane.image, drafts, self._drafts.known_masks, self._options.level)
        job = Job(self._generation, plane, question)
        self.queue.stop_ahead(self._first_field(plane, drafts[0]))
        self.queue.add(job)
        return job

    def _first_field(self, plane: Plane, draft: Draft) -> FieldOfView | None:
        if self.predictor is None or not draft.turns:
            return None
        size = self._objects.typical_size()
        draft = draft.with_present(draft.prompts.clipped(plane.shape))
        return choose_field(plane.shape, draft, self.predictor.config, self._options.level, size)

    def _start(self, job: Job) -> None:
        model, cache = self._model, self.cache
        self._started = time.monotonic()
        if model is None:
            self._finish(job, Outcome(error=Sam3Error("no model is set; choose one")))
            return
        ready = self.predictor is not None
        if not ready:
            # Before the work gets to say so itself, it has to import torch.
            self._report("loading model", None)
        if job.question is not None:
            # Only now: objects accepted ahead of this one have been written by now, so that the
            # same clicks give the same masks however fast they come.
            job.question = replace(job.question, typical_size=self._objects.typical_size())
        wait_for_it = self._submit(
            lambda report: work(job, model, cache, report),
            lambda outcome: self._finish(job, outcome),
            self._report if job.ahead is None else partial(self._report_ahead, job),
        )
        if wait_for_it is not None and ready and job.question is not None:
            # Clicks on what is encoded are answered so soon that the click and its mask are drawn
            # together, once; drawing the click meanwhile would make the mask wait for that.
            wait_for_it()

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self.queue.finished()
        if self._closed:
            return
        if job.ahead is not None and outcome.error is None and not job.abandoned:
            self.seconds_to_encode = time.monotonic() - self._started
        try:
            if not job.cancelled:
                self._take(job, outcome)
        finally:
            if problem := self.cache.take_problem():
                self._events.failed.emit(problem)
            self.queue.advance()
            if not self.busy:
                self._show_stage(IDLE)
                self._encoding_since = None
                self.when_idle(outcome.error is not None)

    def _take(self, job: Job, outcome: Outcome) -> None:
        job.error = outcome.error
        if job.kept is not None:
            job.error = job.kept(outcome)
        elif outcome.predictions is not None and job.generation == self._generation:
            self._drafts.keep_masks(outcome.predictions)
            self._drafts.tell_masks()
        if job.error is not None:
            logger.debug("prediction failed", exc_info=job.error)
            self._events.failed.emit(job.error)

    # ---------------------------------------------------------------- progress

    def _report(self, stage: str, fraction: float | None) -> None:
        now = time.monotonic()
        if stage != "encoding" or fraction is None:
            self._encoding_since = now if stage == "encoding" else None
        left = self.seconds_to_encode
        if stage == "encoding" and fraction and self._encoding_since is not None:
            spent = now - self._encoding_since
            left = spent * (1 - fraction) / fraction
            if fraction == 1:
                self.seconds_to_encode = spent
        self._show_stage(stage)
        seconds_left = left if stage == "encoding" else None
        self._events.progress_changed.emit(stage, fraction, seconds_left)

    def _report_ahead(self, job: Job, stage: str, fraction: float | None) -> None:
        """Show that a plane is made ready, and what a click waits for, and nothing else."""
        if self.queue.busy or job.first:
            self._report(stage, fraction)

    def _show_stage(self, stage: str) -> None:
        if stage != self._stage and not self._closed:
            self._stage = stage
            self._events.busy_changed.emit(stage)


def _do_nothing(_failed: bool) -> None:
    """Be idle."""


def _ignore(_stage: str, _fraction: float | None) -> None:
    """Hear of work that nobody waits for."""
