"""One prediction in flight, the newest request next: the queue behind a session."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from .embeddings import EmbeddingCache
from .inference import ObjectPrediction, Question, answer
from .targets import LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

    from .ledger import Step

__all__ = ["Job", "JobQueue", "Loader", "Outcome", "Submit", "loaded", "run_now", "work"]

Loader = Callable[[], "Predictor"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a worker hands back.

    Parameters
    ----------
    predictor : Predictor, optional
        The one that was used, possibly loaded on the way.
    prediction : ObjectPrediction, optional
        None if the job was cancelled or asked for no mask.
    error : BaseException, optional
        What went wrong, as data: an exception that escapes a Qt worker may vanish.
    """

    predictor: Predictor | None = None
    prediction: ObjectPrediction | None = None
    error: BaseException | None = None


class Submit(Protocol):
    """Run work somewhere and call back on the thread that submitted it.

    `work` never raises; it is given a function to report its stage with, and `report` is called
    with each stage on the submitting thread as well.
    """

    def __call__(
        self,
        work: Callable[[Callable[[str], None]], Outcome],
        done: Callable[[Outcome], None],
        report: Callable[[str], None],
    ) -> None:
        """Start the work."""


def run_now(
    work: Callable[[Callable[[str], None]], Outcome],
    done: Callable[[Outcome], None],
    report: Callable[[str], None],
) -> None:
    """Run work at once on this thread: the default, for scripts and tests."""
    done(work(report))


@dataclass(eq=False)
class Job:
    """One request to the model.

    Parameters
    ----------
    generation : int
        Grows with each request; the answer to an older one than the newest is not shown.
    key : hashable
        Plane the request belongs to.
    labels : LabelTarget, optional
        Where its mask goes if it is accepted.
    question : Question, optional
        What to predict; None only loads the model.
    step : Step, optional
        Set when the user accepted the object before its mask was there. Such a job is never
        dropped for a newer one.
    """

    generation: int
    key: Hashable
    labels: LabelTarget | None = None
    question: Question | None = None
    step: Step | None = None
    error: BaseException | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop at the next stage, and drop the answer."""
        self._cancelled.set()


def loaded(model: Predictor | Loader | None) -> Predictor | None:
    """Return the model if it is a predictor already; told without importing torch."""
    return cast("Predictor", model) if hasattr(model, "predict") else None


def work(
    job: Job, model: Predictor | Loader, cache: EmbeddingCache, report: Callable[[str], None]
) -> Outcome:
    """Do a job on whatever thread this is called from; never raises."""
    predictor: Predictor | None = None
    try:
        predictor = loaded(model)
        if predictor is None:
            report("loading model")
            predictor = cast("Loader", model)()
        prediction = None
        if job.question is not None:
            prediction = answer(job.question, predictor, cache, report, lambda: job.cancelled)
        return Outcome(predictor, prediction)
    except BaseException as error:
        return Outcome(predictor, error=error)


class JobQueue:
    """Latest wins: one job runs, at most one plain job waits, accepted ones wait in order."""

    def __init__(self, start: Callable[[Job], None]) -> None:
        self._start = start
        self._waiting: deque[Job] = deque()
        self.running: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self.running is not None or bool(self._waiting)

    @property
    def newest(self) -> Job | None:
        """The request whose answer will be shown, if it is still to come."""
        jobs = [*([self.running] if self.running else []), *self._waiting]
        last = jobs[-1] if jobs else None
        return last if last and not last.cancelled and last.step is None else None

    def add(self, job: Job) -> None:
        """Put a job in; it replaces plain ones that came before."""
        self.cancel_plain()
        self._waiting.append(job)
        self.advance()

    def cancel_plain(self) -> None:
        """Drop every job that was not accepted."""
        self._waiting = deque(job for job in self._waiting if job.step is not None)
        if self.running is not None and self.running.step is None:
            self.running.cancel()

    def cancel(self, job: Job) -> None:
        """Drop one job."""
        job.cancel()
        if job in self._waiting:
            self._waiting.remove(job)

    def cancel_all(self) -> None:
        """Drop every job, accepted ones too."""
        for job in (*self._waiting, *([self.running] if self.running else [])):
            job.cancel()
        self._waiting.clear()

    def finished(self) -> None:
        """Note that the running job is done."""
        self.running = None

    def advance(self) -> None:
        """Start the next job if none runs."""
        while self.running is None and self._waiting:
            self.running = self._waiting.popleft()
            self._start(self.running)
