"""How a batch is cancelled from outside, says how far it has come, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable

from napari_sam3.core.text import units_done

from .results import Progress

__all__ = ["BatchControl", "Pace"]


class BatchControl:
    """Reports the progress and cancels a batch; from any thread.

    Parameters
    ----------
    on_progress : callable, optional
        Called with a `Progress` after each unit, on the thread that the batch runs on.

    Attributes
    ----------
    cancelled : bool
        Set by `cancel`: the batch ends within one block of the encoder, and keeps finished units.
    progress : Progress
        The latest.
    """

    def __init__(self, on_progress: Callable[[Progress], object] | None = None) -> None:
        self.cancelled = False
        self.progress = Progress(0, 0)
        self._on_progress = on_progress

    @property
    def abandoned(self) -> bool:
        """What the encoder asks: whether nothing that is being made is wanted."""
        return self.cancelled

    def cancel(self) -> None:
        """Cancel the batch. Finished units are kept, and the same call resumes it."""
        self.cancelled = True

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Hear of the stages of one field, which are too short to be of interest here."""

    def begin(self, total: int) -> None:
        """Say how many units there are."""
        self._tell(Progress(0, total))

    def count(self, *, skipped: bool = False, failed: bool = False) -> None:
        """Count a unit."""
        now = self.progress
        self._tell(Progress(now.done + 1, now.total, now.skipped + skipped, now.failed + failed))

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        if self._on_progress is not None:
            self._on_progress(progress)


class Pace:
    """Measures the rate of a batch from the first update; skipped units take no time."""

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None

    def describe(self, progress: Progress, now: float) -> str:
        """Say how many units are done at a moment (s), at which rate, and how many failed."""
        made = progress.done - progress.skipped
        if self._begun is None:
            self._begun = now, made
        seconds, count = now - self._begun[0], made - self._begun[1]
        each = seconds / count if count > 0 and seconds > 0 else None
        return units_done(progress.done, progress.total, failed=progress.failed, seconds_each=each)
