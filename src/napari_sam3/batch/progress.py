"""Cancellation, progress and rate of a batch."""

from __future__ import annotations

from collections.abc import Callable

from napari_sam3.core.text import units_done

from .results import Progress

__all__ = ["BatchControl", "Pace"]


class BatchControl:
    """Report the progress of a batch and cancel it, from any thread.

    Parameters
    ----------
    on_progress : callable, optional
        Called with a `Progress` after each unit, on the thread of the batch.

    Attributes
    ----------
    cancelled : bool
        Set by `cancel`: the batch ends within one block of the encoder and keeps finished units.
    progress : Progress
        The latest progress.
    """

    def __init__(self, on_progress: Callable[[Progress], object] | None = None) -> None:
        self.cancelled = False
        self.progress = Progress(0, 0)
        self._on_progress = on_progress

    @property
    def abandoned(self) -> bool:
        """Whether the encoder should stop."""
        return self.cancelled

    def cancel(self) -> None:
        """Cancel the batch. Finished units are kept, and the same call resumes it."""
        self.cancelled = True

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Ignore the stages of a single field, which are too short to report."""

    def begin(self, total: int) -> None:
        """Set the total number of units."""
        self._report(Progress(0, total))

    def count(self, *, skipped: bool = False, failed: bool = False) -> None:
        """Count a unit."""
        now = self.progress
        self._report(Progress(now.done + 1, now.total, now.skipped + skipped, now.failed + failed))

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        if self._on_progress is not None:
            self._on_progress(progress)


class Pace:
    """Measure the rate of a batch from the first update; skipped units take no time."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def describe(self, progress: Progress, now: float) -> str:
        """Format the progress at a time (s): units done, their rate, and failures."""
        computed = progress.done - progress.skipped
        if self._start is None:
            self._start = now, computed
        seconds, count = now - self._start[0], computed - self._start[1]
        each = seconds / count if count > 0 and seconds > 0 else None
        return units_done(progress.done, progress.total, failed=progress.failed, seconds_each=each)
