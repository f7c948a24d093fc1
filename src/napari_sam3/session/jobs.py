"""One prediction in flight, the newest request next: the queue behind a session."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped
from napari_sam3.inference.models import ModelHandle
from napari_sam3.inference.questions import ObjectPrediction, Question
from napari_sam3.labels.targets import ArrayTarget, LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["Job", "JobQueue", "Outcome", "Plane", "Report", "Submit"]
__all__ += ["run_now", "work"]

#: Told a stage, and which share of it is done, if that is known.
Report = Callable[[str, float | None], None]


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane being worked on: its key, its image and where its labels go."""

    key: Hashable
    image: PlaneImage
    labels: LabelTarget

    def __post_init__(self) -> None:
        """Check that image and labels fit together."""
        if self.labels.shape != self.image.shape:
            raise LabelError(
                f"the labels have shape {self.labels.shape}, but the image plane "
                f"{self.image.shape}; choose labels made for this image"
            )

    @classmethod
    def of(
        cls,
        key: Hashable,
        image: PlaneImage | npt.NDArray[np.uint8],
        labels: LabelTarget | npt.NDArray[Any],
    ) -> Plane:
        """Take arrays as well; labels may be a whole stack if the key is a `PlaneIndex`.

        Raises
        ------
        sam3.errors.ImageError, LabelError
            If the pixels are no plane, or the labels do not have the plane's shape.
        """
        if isinstance(image, np.ndarray):
            image = ArrayPlane(image)
        if isinstance(labels, np.ndarray):
            inside = key if isinstance(key, PlaneIndex) and labels.ndim > 2 else None
            labels = ArrayTarget(labels, key, inside)
        return cls(key, image, labels)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self.image.shape


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a worker hands back.

    Parameters
    ----------
    predictor : Predictor, optional
        The one that was used, possibly loaded on the way.
    predictions : tuple of ObjectPrediction, optional
        None if the job was cancelled or asked for no mask.
    error : BaseException, optional
        What went wrong, as data: an exception that escapes a Qt worker may vanish.
    """

    predictor: Predictor | None = None
    predictions: tuple[ObjectPrediction, ...] | None = None
    error: BaseException | None = None


class Submit(Protocol):
    """Run work somewhere and call back on the thread that submitted it.

    `work` never raises; it is given a function to report its stage with, and `report` is called
    with each stage on the submitting thread as well.
    """

    def __call__(
        self,
        work: Callable[[Report], Outcome],
        done: Callable[[Outcome], None],
        report: Report,
    ) -> Callable[[], None] | None:
        """Start the work; returns how to wait for its answer for a blink, where that is possible.

        `done` may be called while the function that is returned runs.
        """


def run_now(
    work: Callable[[Report], Outcome],
    done: Callable[[Outcome], None],
    report: Report,
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
    plane : Plane, optional
        What the request belongs to.
    question : Question, optional
        What to predict; None only loads the model or encodes ahead.
    ahead : FieldOfView, optional
        Region of the plane to encode before anybody asks for it.
    first : bool
        Of fields encoded ahead, the one that a click on the plane is likely to wait for.
    kept : callable, optional
        Called with the outcome in place of showing it, and returns what went wrong with that, if
        anything: set when objects were accepted before their masks were there. Such a job is
        never dropped for a newer one.
    """

    generation: int
    plane: Plane | None = None
    question: Question | None = None
    ahead: FieldOfView | None = None
    first: bool = False
    kept: Callable[[Outcome], BaseException | None] | None = None
    error: BaseException | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._cancelled.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether nobody wants the features either."""
        return self._abandoned.is_set()

    def cancel(self, *, abandon: bool = False) -> None:
        """Drop the answer; stop at once if the features are of no use either."""
        self._cancelled.set()
        if abandon:
            self._abandoned.set()


@dataclass(frozen=True, eq=False)
class _Running:
    """A job on its thread, as `Control` sees it."""

    job: Job
    tell: Report

    @property
    def cancelled(self) -> bool:
        return self.job.cancelled

    @property
    def abandoned(self) -> bool:
        return self.job.abandoned

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.tell(stage, fraction)


def work(job: Job, model: ModelHandle, cache: EmbeddingCache, report: Report) -> Outcome:
    """Do a job on whatever thread this is called from; never raises."""
    predictor: Predictor | None = None
    control = _Running(job, report)
    try:
        if model.predictor is None:
            report("loading model", None)
        predictor = model()
        predictions = None
        if job.question is not None and not job.cancelled:
            predictions = answer(job.question, predictor, cache, control)
        elif job.ahead is not None and job.plane is not None:
            cache.encode_field(job.ahead, job.plane.image, predictor, control)
        return Outcome(predictor, predictions)
    except EncodingStopped:
        return Outcome(predictor)
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
        """Whether anything runs or waits that somebody asked for."""
        ahead = self.running is not None and self.running.ahead is not None
        return bool(self._waiting) or (self.running is not None and not ahead)

    @property
    def newest(self) -> Job | None:
        """The request whose answer will be shown, if it is still to come."""
        jobs = [*([self.running] if self.running else []), *self._waiting]
        last = jobs[-1] if jobs else None
        return last if last and not last.cancelled and last.kept is None else None

    def add(self, job: Job) -> None:
        """Put a job in; it replaces plain ones that came before."""
        self.cancel_plain()
        self._waiting.append(job)
        self.advance()

    def cancel_plain(self, *, abandon: bool = False) -> None:
        """Drop every job that was not accepted."""
        self._waiting = deque(job for job in self._waiting if job.kept is not None)
        if self.running is not None and self.running.kept is None:
            self.running.cancel(abandon=abandon)

    def stop_ahead(self, wanted: FieldOfView | None) -> None:
        """Stop encoding ahead, unless it is the field that is wanted now."""
        running = self.running
        if running is not None and running.ahead is not None and running.ahead != wanted:
            running.cancel(abandon=True)

    def cancel(self, job: Job) -> None:
        """Drop one job."""
        job.cancel()
        if job in self._waiting:
            self._waiting.remove(job)

    def cancel_all(self) -> None:
        """Drop every job, accepted ones too."""
        for job in (*self._waiting, *([self.running] if self.running else [])):
            job.cancel(abandon=True)
        self._waiting.clear()

    def finished(self) -> None:
        """Note that the running job is done."""
        self.running = None

    def advance(self) -> None:
        """Start the next job if none runs."""
        while self.running is None and self._waiting:
            self.running = self._waiting.popleft()
            self._start(self.running)
