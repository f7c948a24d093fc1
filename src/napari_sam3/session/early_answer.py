"""The mask of a click that a mouse press announces, predicted before the button is released."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .jobs import Job, Outcome, Submit, work

if TYPE_CHECKING:
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.models import ModelHandle
    from napari_sam3.inference.questions import ObjectPrediction, Question

__all__ = ["EarlyAnswer"]


class EarlyAnswer:
    """Predictions for a question that is likely to be asked next.

    They change nothing: the session takes them if it asks the same question, and drops them if
    not. No field is encoded for them.

    Parameters
    ----------
    submit : Submit
        Runs the work.
    cache : EmbeddingCache
        Features of encoded fields.
    """

    def __init__(self, submit: Submit, cache: EmbeddingCache) -> None:
        self._submit, self._cache = submit, cache
        self._job: Job | None = None
        self._outcome: Outcome | None = None
        self._wait: Callable[[], None] | None = None

    def begin(self, question: Question, model: ModelHandle) -> None:
        """Start predicting, on the thread of `submit`."""
        self.drop()
        job = self._job = Job(0, question=question, cached_only=True)

        def done(outcome: Outcome) -> None:
            if self._job is job:
                self._outcome = outcome

        cache = self._cache
        self._wait = self._submit(lambda report: work(job, model, cache, report), done, _ignore)

    def drop(self) -> None:
        """Cancel the work, or drop its predictions."""
        if self._job is not None:
            self._job.cancel()
        self._job = self._outcome = self._wait = None

    def take(self, question: Question, model: ModelHandle) -> tuple[ObjectPrediction, ...] | None:
        """Return the predictions once, if these are for the question; waits for them shortly."""
        if self._job is None or not _same(self._job.question, question):
            self.drop()
            return None
        if self._outcome is None and self._wait is not None:
            self._wait()
        outcome = self._outcome
        self.drop()
        fitting = outcome is not None and outcome.predictor is model.predictor
        return outcome.predictions if outcome is not None and fitting else None


def _same(one: Question | None, other: Question) -> bool:
    """Whether two questions have the same predictions."""
    return (
        one is not None
        and one.plane is other.plane
        and (one.level, one.typical_size) == (other.level, other.typical_size)
        and len(one.drafts) == len(other.drafts)
        and len(one.known) == len(other.known)
        and all(a is b for a, b in zip(one.known, other.known, strict=True))
        and all(
            a.number == b.number and a.same_as(b)
            for a, b in zip(one.drafts, other.drafts, strict=True)
        )
    )


def _ignore(_stage: str, _fraction: float | None) -> None:
    """Ignore progress."""
