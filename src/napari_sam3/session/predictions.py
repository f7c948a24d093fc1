"""How a session asks its model: requests, answers, progress, and looking ahead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft
from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import Field, choose_field
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import ObjectPrediction, Question
from napari_sam3.inference.models import Loader
from sam3.errors import Sam3Error

from .jobs import Job, Outcome, Plane, work
from .objects import Step
from .state import IDLE, SessionState

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["Predicting"]

logger = logging.getLogger(__name__)

# Fields of places further off, in sides of a field, are not encoded ahead.
_NEAR_FIELDS = 3
SLOW_ENCODING = 5.0  # seconds


class Predicting(SessionState):
    """The part of `LabelingSession` between its commands and the model."""

    _stopped = False
    _ahead_since = 0.0
    _seconds_to_encode: float | None = None
    _encoding_since: float | None = None
    _encoded_ahead: tuple[Plane | None, set[tuple[PlaneImage, Field]]] = (None, set())
    #: Gives the images of the planes beside the present one, the next to be looked at.
    beside: Callable[[], Sequence[PlaneImage]] | None = None

    def _ask(self, plane: Plane, drafts: tuple[Draft, ...]) -> Job:
        """Ask for the masks of drafts; a later question replaces this one."""
        known = tuple(self._predictions.values())
        self._stopped = False
        self._generation += 1
        question = Question(plane.image, drafts, known, self.level)
        job = Job(self._generation, plane, question)
        self._queue.stop_ahead(self._first_field(plane, drafts[0]))
        self._queue.add(job)
        return job

    def _answer_now(self, question: Question) -> tuple[ObjectPrediction, ...]:
        """Answer a question on this thread, whatever `submit` does."""
        if self._model is None:
            raise Sam3Error("no model is set; choose one, or call set_predictor first")
        job = Job(self._generation, self._plane, question)
        outcome = work(job, self._model, self.cache, self._ignore)
        self._model = outcome.predictor if outcome.predictor is not None else self._model
        if outcome.error is not None:
            raise outcome.error
        assert outcome.predictions is not None, "nobody cancelled it"
        return outcome.predictions

    def _first_field(self, plane: Plane, draft: Draft) -> Field | None:
        if self.predictor is None or not draft.turns:
            return None
        size = self._ledger.typical_size()
        draft = draft.with_present(draft.prompts.clipped(plane.shape))
        return choose_field(plane.shape, draft, self.predictor.config, self.level, size)

    def _stop_plain(self, *, abandon: bool = False) -> None:
        self._queue.cancel_plain(abandon=abandon)
        # An answer still on its way was asked for something that is no longer there.
        self._generation += 1

    def _start(self, job: Job) -> None:
        model, cache = self._model, self.cache
        if model is None:
            self._finish(job, None, Outcome(error=Sam3Error("no model is set; choose one")))
            return
        if self.predictor is None:
            # Before the work gets to say so itself, it has to import torch.
            self._report("loading model", None)
        if job.question is not None:
            # Only now: objects accepted ahead of this one have been written by now, so that the
            # same clicks give the same masks however fast they come.
            size = self._ledger.typical_size()
            job.question = replace(job.question, typical_size=size)
        self._submit(
            lambda report: work(job, model, cache, report),
            lambda outcome: self._finish(job, model, outcome),
            self._report if job.ahead is None else self._report_ahead,
        )

    def _finish(self, job: Job, model: Predictor | Loader | None, outcome: Outcome) -> None:
        self._queue.finished()
        if self._closed:
            return
        if job.ahead is not None and outcome.error is None and not job.abandoned:
            self._seconds_to_encode = time.monotonic() - self._ahead_since
        if outcome.predictor is not None and self._model is model:
            self._model = outcome.predictor
        try:
            if not job.cancelled:
                self._take_answer(job, outcome)
        finally:
            if problem := self.cache.take_problem():
                self.failed.emit(problem)
            self._queue.advance()
            if not self.busy:
                self._set_stage(IDLE)
                self._encoding_since = None
                self._look_ahead(failed=outcome.error is not None)

    def _take_answer(self, job: Job, outcome: Outcome) -> None:
        job.error = outcome.error
        if outcome.predictions is not None:
            if job.step is not None:
                self._fill_step(job, job.step, outcome)
            elif job.generation == self._generation:
                self._put_predictions(outcome.predictions)
                self._tell_prediction()
        if job.error is not None:
            logger.debug("prediction failed", exc_info=job.error)
            if job.step is not None:
                self._take_back(job.step)
            self.failed.emit(job.error)

    def _fill_step(self, job: Job, step: Step, outcome: Outcome) -> None:
        raise NotImplementedError

    def _take_back(self, step: Step) -> None:
        raise NotImplementedError

    # -------------------------------------------------------------- progress

    def _report(self, stage: str, fraction: float | None) -> None:
        now = time.monotonic()
        if stage != "encoding" or fraction is None:
            self._encoding_since = now if stage == "encoding" else None
        left = self._seconds_to_encode
        if stage == "encoding" and fraction and self._encoding_since is not None:
            spent = now - self._encoding_since
            left = spent * (1 - fraction) / fraction
            if fraction == 1:
                self._seconds_to_encode = spent
        self._set_stage(stage)
        self.progress_changed.emit(stage, fraction, left if stage == "encoding" else None)

    def _report_ahead(self, stage: str, fraction: float | None) -> None:
        """Show that a plane is made ready, and what a click waits for, and nothing else."""
        if self._queue.busy or len(self._encoded_ahead[1]) == 1:
            self._report(stage, fraction)

    def _ignore(self, stage: str, fraction: float | None) -> None:
        """Hear of work that nobody waits for."""

    # ---------------------------------------------------------- looking ahead

    def _look_ahead(self, *, failed: bool = False) -> None:
        """Encode the next field near where the user works, as long as nothing else is to do.

        Fields of the plane come first, then the same places on the planes beside it.
        """
        plane, predictor = self._plane, self.predictor
        idle = not self._queue.busy and self._queue.running is None
        if (
            self._stopped
            or self.paused
            or failed
            or not self.look_ahead
            or plane is None
            or predictor is None
            or not idle
        ):
            return
        if self._encoded_ahead[0] is not plane:
            self._encoded_ahead = plane, set()
        done = self._encoded_ahead[1]
        # A model that takes seconds for a field is kept to the one that is needed first.
        slow = (self._seconds_to_encode or 0) > SLOW_ENCODING
        if (
            len(done) >= (1 if slow else self.look_ahead)
            or self.cache.nbytes > self.cache.limit_bytes / 2
        ):
            return
        fields = self._near_fields(plane, predictor)
        beside = self.beside() if self.beside is not None else ()
        wanted = [(plane.image, region) for region in fields]
        wanted += [(image, fields[0]) for image in beside if image.shape == plane.shape]
        for image, region in wanted:
            if (image, region) not in done:
                done.add((image, region))
                ahead = Plane(plane.key, image, plane.labels)
                self._ahead_since = time.monotonic()
                self._queue.add(Job(self._generation, ahead, ahead=region))
                return

    def _near_fields(self, plane: Plane, predictor: Predictor) -> list[Field]:
        """Fields of the level at which a click would start, the nearest to the last one first."""
        height, width = plane.shape
        recent = [one.bbox for one in self.objects[-1:] if one.plane == plane.key]
        y, x = (height - 1) / 2, (width - 1) / 2
        if recent:
            y, x = (recent[0][0] + recent[0][2]) / 2, (recent[0][1] + recent[0][3]) / 2
        click = PromptSet(((x, y),), (1,))
        size = self._ledger.typical_size()
        first = choose_field(plane.shape, click, predictor.config, self.level, size)
        reach = _NEAR_FIELDS * max(first.shape)

        def distance(region: Field) -> float:
            return max(abs(sum(region.rows) / 2 - y), abs(sum(region.columns) / 2 - x))

        rows, columns = (
            (max(0, int(middle) - reach), min(length, int(middle) + reach))
            for middle, length in ((y, height), (x, width))
        )
        resolution = predictor.config.resolution
        fields = fields_over(plane.shape, resolution, first.level, rows, columns)
        return [first, *sorted(fields, key=distance)]
