"""Queue of requests to the model: one runs, and the newest replaces those that wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped
from napari_sam3.labels.targets import ArrayTarget, LabelTarget

if TYPE_CHECKING:
    from napari_sam3.core.fields import FieldOfView
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.models import ModelHandle
    from napari_sam3.inference.questions import ObjectPrediction, Question
    from sam3.predictor import Predictor

__all__ = ["Job", "JobQueue", "Outcome", "Plane", "Report", "Submit"]
__all__ += ["run_now", "work"]

#: Called with a stage, and the fraction of it that is done, if known.
Report = Callable[[str, float | None], None]


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane to label: its key, its image and its labels."""

    key: Hashable
    image: PlaneImage
    labels: LabelTarget

    def __post_init__(self) -> None:
        """Check that image and labels have the same shape."""
        if self.labels.shape != self.image.shape:
            raise LabelError(
                f"the labels do not fit the image plane: shape {self.labels.shape}. Expected "
                f"{self.image.shape}. Choose labels made for this image."
            )

    @classmethod
    def of(
        cls,
        key: Hashable,
        image: PlaneImage | npt.NDArray[np.uint8],
        labels: LabelTarget | npt.NDArray[Any],
    ) -> Plane:
        """Return a plane of arrays or targets.

        Labels may be a whole stack if the key is a `PlaneIndex`.

        Raises
        ------
        sam3.errors.ImageError, LabelError
            If the pixels are not a plane, or the labels do not have the plane's shape.
        """
        if isinstance(image, np.ndarray):
            from napari_sam3.images.plane_image import ArrayPlane

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
    """The result of a worker.

    Parameters
    ----------
    predictor : Predictor, optional
        The predictor that was used, possibly loaded by the worker.
    predictions : tuple of ObjectPrediction, optional
        None if the job was cancelled or requested no mask.
    error : BaseException, optional
        The error, as data: an exception that escapes a Qt worker may be lost.
    """

    predictor: Predictor | None = None
    predictions: tuple[ObjectPrediction, ...] | None = None
    error: BaseException | None = None


class Submit(Protocol):
    """Run work on any thread, and call back on the thread that submitted it.

    `work` never raises. It is called with a function that reports its stage; `report` is then
    called on the submitting thread.
    """

    def __call__(
        self,
        work: Callable[[Report], Outcome],
        done: Callable[[Outcome], None],
        report: Report,
    ) -> Callable[[], None] | None:
        """Start the work.

        Returns a function that waits a short time for the result, if that is possible; it may
        call `done`.
        """


def run_now(
    work: Callable[[Report], Outcome],
    done: Callable[[Outcome], None],
    report: Report,
) -> None:
    """Run work at once on this thread; the default, for scripts and tests."""
    done(work(report))


@dataclass(eq=False)
class Job:
    """One request to the model.

    Parameters
    ----------
    generation : int
        Grows with each request; only the result of the newest one is shown.
    plane : Plane, optional
        Plane of the request.
    question : Question, optional
        What to predict; with None, the model is loaded or a field is encoded ahead.
    ahead : FieldOfView, optional
        Field to encode ahead of time.
    first : bool
        Whether a click on the plane is likely to need this field first.
    kept : callable, optional
        Called with the outcome instead of showing it; returns an error, if any. Set when objects
        are accepted before their masks are predicted. Such a job is never replaced by a newer one.
    cached_only : bool
        Whether the job ends without a result where a field would have to be encoded.
    """

    generation: int
    plane: Plane | None = None
    question: Question | None = None
    ahead: FieldOfView | None = None
    first: bool = False
    kept: Callable[[Outcome], BaseException | None] | None = None
    cached_only: bool = False
    error: BaseException | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer needed."""
        return self._cancelled.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether the features are not needed either, or only if they are cached."""
        return self.cached_only or self._abandoned.is_set()

    def cancel(self, *, abandon: bool = False) -> None:
        """Cancel the request; with `abandon`, stop encoding at once as well."""
        self._cancelled.set()
        if abandon:
            self._abandoned.set()


@dataclass(frozen=True, eq=False)
class _Running:
    """The `Control` of a running job."""

    job: Job
    send: Report

    @property
    def cancelled(self) -> bool:
        return self.job.cancelled

    @property
    def abandoned(self) -> bool:
        return self.job.abandoned

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.send(stage, fraction)


def work(job: Job, model: ModelHandle, cache: EmbeddingCache, report: Report) -> Outcome:
    """Run a job on the calling thread; never raises."""
    from napari_sam3.images.plane_image import check_values
    from napari_sam3.inference.answers import answer

    predictor: Predictor | None = None
    control = _Running(job, report)
    try:
        if model.predictor is None:
            report("loading model", None)
        predictor = model()
        predictions = None
        if job.question is not None and not job.cancelled:
            predictions = answer(job.question, predictor, cache, control)
            check_values(job.question.plane)
        elif job.ahead is not None and job.plane is not None:
            cache.encode_field(job.ahead, job.plane.image, predictor, control)
        return Outcome(predictor, predictions)
    except EncodingStopped:
        return Outcome(predictor)
    except BaseException as error:
        return Outcome(predictor, error=error)


class JobQueue:
    """One job runs; at most one plain job waits, the newest; accepted ones wait in order."""

    def __init__(self, start: Callable[[Job], None]) -> None:
        self._start = start
        self._waiting: deque[Job] = deque()
        self.running: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits, other than one encoding ahead."""
        ahead = self.running is not None and self.running.ahead is not None
        return bool(self._waiting) or (self.running is not None and not ahead)

    @property
    def newest(self) -> Job | None:
        """The request whose result will be shown, if it is pending."""
        jobs = [*([self.running] if self.running else []), *self._waiting]
        last = jobs[-1] if jobs else None
        return last if last and not last.cancelled and last.kept is None else None

    def add(self, job: Job) -> None:
        """Add a job; it replaces earlier plain ones."""
        self.cancel_plain()
        self._waiting.append(job)
        self.advance()

    def cancel_plain(self, *, abandon: bool = False) -> None:
        """Cancel every job that was not accepted."""
        self._waiting = deque(job for job in self._waiting if job.kept is not None)
        if self.running is not None and self.running.kept is None:
            self.running.cancel(abandon=abandon)

    def stop_ahead(self, wanted: FieldOfView | None) -> None:
        """Stop encoding ahead, unless it is the field that is needed now."""
        running = self.running
        if running is not None and running.ahead is not None and running.ahead != wanted:
            running.cancel(abandon=True)

    def cancel(self, job: Job) -> None:
        """Cancel one job."""
        job.cancel()
        if job in self._waiting:
            self._waiting.remove(job)

    def cancel_all(self) -> None:
        """Cancel every job, including accepted ones."""
        for job in (*self._waiting, *([self.running] if self.running else [])):
            job.cancel(abandon=True)
        self._waiting.clear()

    def finished(self) -> None:
        """Mark the running job as done."""
        self.running = None

    def advance(self) -> None:
        """Start the next job if none runs."""
        while self.running is None and self._waiting:
            self.running = self._waiting.popleft()
            self._start(self.running)
