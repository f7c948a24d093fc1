"""The mask of a click that a mouse press announces, predicted before the button is released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .jobs import Job, Outcome, Report, Submit, work

if TYPE_CHECKING:
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.models import ModelHandle
    from napari_sam3.inference.questions import Question

__all__ = ["EarlyAnswer"]


@dataclass(eq=False)
class _Early:
    """Work on a question with a model, and its outcome once it is done."""

    question: Question
    model: ModelHandle
    job: Job
    outcome: Outcome | None = None


class EarlyAnswer:
    """Predictions for a question that is likely to be asked next.

    They change nothing: the request for the same question takes them, any other drops them. No
    field is encoded for them.

    Parameters
    ----------
    submit : Submit
        Runs the work, one piece after another.
    cache : EmbeddingCache
        Features of encoded fields.
    """

    def __init__(self, submit: Submit, cache: EmbeddingCache) -> None:
        self._submit, self._cache = submit, cache
        self._early: _Early | None = None

    def begin(self, question: Question, model: ModelHandle) -> None:
        """Start predicting, on the thread of `submit`."""
        self.drop()
        job, cache = Job(0, question=question, cached_only=True), self._cache
        early = self._early = _Early(question, model, job)

        def run(report: Report) -> Outcome:
            early.outcome = work(job, model, cache, report)
            return early.outcome

        self._submit(run, _ignore, _ignore)

    def drop(self) -> None:
        """Cancel the work, or drop its predictions."""
        if self._early is not None:
            self._early.job.cancel()
        self._early = None

    def work(self, job: Job, model: ModelHandle) -> Callable[[Report], Outcome]:
        """Return the work on a job, which is done already if its question was expected."""
        early, cache = None, self._cache
        if job.question is not None and self._early is not None:
            if self._early.model is model and _same(self._early.question, job.question):
                early, self._early = self._early, None
            self.drop()

        def run(report: Report) -> Outcome:
            # Earlier work has ended by now, since it was submitted before.
            outcome = None if early is None else early.outcome
            if outcome is not None and outcome.predictions is not None:
                return outcome
            return work(job, model, cache, report)

        return run


def _same(one: Question, other: Question) -> bool:
    """Whether two questions have the same predictions."""
    return (
        one.plane is other.plane
        and (one.level, one.typical_size) == (other.level, other.typical_size)
        and len(one.drafts) == len(other.drafts)
        and len(one.known) == len(other.known)
        and all(a is b for a, b in zip(one.known, other.known, strict=True))
        and all(
            a.number == b.number and a.same_as(b)
            for a, b in zip(one.drafts, other.drafts, strict=True)
        )
    )


def _ignore(*_: object) -> None:
    """Ignore progress and outcome."""
