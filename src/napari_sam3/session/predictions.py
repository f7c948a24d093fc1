"""Requests to the model of a session, their results and progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.inference.models import Loader, ModelHandle
from napari_sam3.inference.questions import ObjectPrediction, Question
from sam3.errors import PromptError, Sam3Error

from .early_answer import EarlyAnswer
from .jobs import Job, JobQueue, Outcome, Plane, Submit, work

if TYPE_CHECKING:
    from napari_sam3.core.drafts import Draft, DraftSet
    from napari_sam3.inference.cache import EmbeddingCache
    from sam3.predictor import Predictor

    from .drafts import DraftsByPlane
    from .events import SessionEvents
    from .objects import ObjectRegistry
    from .options import SessionOptions

__all__ = ["IDLE", "Predictions"]

logger = logging.getLogger(__name__)

IDLE = "idle"
NO_MODEL = (
    "no model is set: None. Expected a model to predict with. Choose one, or call set_predictor "
    "first."
)


class Predictions:
    """Predict the masks of drafts, one request at a time.

    Parameters
    ----------
    model : Predictor or callable, optional
        The model, or a function that loads it.
    submit : Submit
        Runs the requests.
    cache : EmbeddingCache
        Features of encoded fields.
    options : SessionOptions
        Pinned level.
    events : SessionEvents
        Emits progress and failures.
    drafts : DraftsByPlane
        Drafts to predict; store the masks.
    objects : ObjectRegistry
        Accepted objects, whose size decides the level of a click.

    Attributes
    ----------
    queue : JobQueue
        Running and waiting requests.
    seconds_to_encode : float or None
        Duration of the last encoding.
    when_idle : callable
        Called with whether the last request failed, once the queue is empty.
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
        self._early = EarlyAnswer(submit, cache)
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

    def need_model(self) -> ModelHandle:
        """Return the model, or raise Sam3Error."""
        if self._model is None:
            raise Sam3Error(NO_MODEL)
        return self._model

    def use(self, model: Predictor | Loader | None) -> None:
        """Change the model; masks of the old one are dropped."""
        self.queue.cancel_plain(abandon=True)
        self._early.drop()
        self._model = None if model is None else ModelHandle.of(model)
        self._drafts.forget_masks()
        self._drafts.emit_masks()

    def load(self) -> bool:
        """Start loading the model if it is not loaded and idle; whether loading started."""
        if self._model is None or self.predictor is not None or self.busy:
            return False
        self.queue.add(Job(self._generation, self._drafts.plane))
        return True

    # ---------------------------------------------------------------- requests

    @property
    def stage(self) -> str:
        """Current stage: "idle", "loading model", "encoding" or "predicting"."""
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
            The current draft's mask if it was predicted at once; None if it is pending, or if
            there are no prompts.

        Raises
        ------
        sam3.errors.PromptError
            If there are only background clicks.
        sam3.errors.Sam3Error
            Without an image or model; with the default `submit`, any error of the prediction.
        """
        plane, draft_set = self._drafts.need_plane(), self._drafts.here
        wanted = self._drafts.without_mask(draft_set)
        job = None
        if wanted:
            self.need_model()
            job = self._request(plane, wanted)
        else:
            self.stop()
        # Emitted before the result arrives, since changed drafts have lost their masks.
        self._drafts.emit_masks()
        if job is not None and job.error is not None:
            raise job.error
        draft = draft_set.draft
        if draft is not None and not draft.has_target:
            raise PromptError(
                f"the draft has background clicks only: {len(draft.prompts.points)}. Expected a "
                "foreground click or a box as well. Add one (left button)."
            )
        return self._drafts.current_mask

    def expect(self, draft: Draft) -> None:
        """Predict the mask of a draft that `predict` is likely to need next, if that is quick."""
        plane = self._drafts.plane
        if plane is None or self._model is None or self.predictor is None or self.queue.running:
            return
        self._early.begin(self._question(plane, (draft,)), self._model)

    def answer_now(self, question: Question) -> tuple[ObjectPrediction, ...]:
        """Predict on this thread, without `submit`."""
        job = Job(self._generation, self._drafts.plane, question)
        outcome = work(job, self.need_model(), self.cache, _ignore)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.predictions is not None, "not cancelled"
        return outcome.predictions

    def encode_ahead(self, plane: Plane, field: FieldOfView, *, first: bool) -> None:
        """Encode a field ahead of time."""
        self.queue.add(Job(self._generation, plane, ahead=field, first=first))

    def awaited(self, draft_set: DraftSet) -> Job | None:
        """Return the pending request that covers all drafts without a mask, if any."""
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
        """Cancel every request except those whose masks were accepted."""
        self.queue.cancel_plain(abandon=abandon)
        # The result of a running request is outdated.
        self._generation += 1

    def cancel_all(self) -> None:
        """Cancel every request."""
        self.queue.cancel_all()
        self._generation += 1

    def close(self) -> None:
        """Cancel all work and drop the features. No more events are emitted."""
        self._closed = True
        self._early.drop()
        self.queue.cancel_all()
        self.cache.clear()

    # ------------------------------------------------------------------ inside

    def _question(self, plane: Plane, drafts: tuple[Draft, ...]) -> Question:
        size = self._objects.typical_size()
        return Question(plane.image, drafts, self._drafts.known_masks, self._options.level, size)

    def _request(self, plane: Plane, drafts: tuple[Draft, ...]) -> Job:
        """Request the masks of drafts, replacing earlier requests."""
        self._generation += 1
        job = Job(self._generation, plane, self._question(plane, drafts))
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
        model = self._model
        self._started = time.monotonic()
        if model is None:
            self._finish(job, Outcome(error=Sam3Error(NO_MODEL)))
            return
        ready = self.predictor is not None
        if not ready:
            # The work itself reports only after torch is imported.
            self._report("loading model", None)
        if job.question is not None:
            # Set only now, when earlier objects are written, so that masks do not depend on the
            # speed of clicking.
            job.question = replace(job.question, typical_size=self._objects.typical_size())
        wait_for_it = self._submit(
            self._early.work(job, model),
            lambda outcome: self._finish(job, outcome),
            self._report if job.ahead is None else partial(self._report_ahead, job),
        )
        if wait_for_it is not None and ready and job.question is not None:
            # With cached features the mask arrives so soon that click and mask are drawn
            # together; drawing the click first would delay the mask.
            wait_for_it()

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self.queue.finished()
        if self._closed:
            return
        if job.ahead is not None and outcome.error is None and not job.abandoned:
            self.seconds_to_encode = time.monotonic() - self._started
        try:
            if not job.cancelled:
                self._on_outcome(job, outcome)
        finally:
            if problem := self.cache.take_problem():
                self._events.failed.emit(problem)
            self.queue.advance()
            if not self.busy:
                self._show_stage(IDLE)
                self._encoding_since = None
                self.when_idle(outcome.error is not None)

    def _on_outcome(self, job: Job, outcome: Outcome) -> None:
        job.error = outcome.error
        if job.kept is not None:
            job.error = job.kept(outcome)
        elif outcome.predictions is not None and job.generation == self._generation:
            self._drafts.keep_masks(outcome.predictions)
            self._drafts.emit_masks()
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
        """Report encoding ahead only for the first field, or while a request waits for it."""
        if self.queue.busy or job.first:
            self._report(stage, fraction)

    def _show_stage(self, stage: str) -> None:
        if stage != self._stage and not self._closed:
            self._stage = stage
            self._events.busy_changed.emit(stage)


def _do_nothing(_failed: bool) -> None:
    """Do nothing when idle."""


def _ignore(_stage: str, _fraction: float | None) -> None:
    """Ignore progress."""
