"""How fast a batch goes, and how long it will still take."""

from __future__ import annotations

from .results import Progress

__all__ = ["Pace", "duration"]


class Pace:
    """Measures from the first time it is told how far a batch is; what was skipped took no time."""

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None

    def describe(self, progress: Progress, now: float) -> str:
        """Say how many units are done at a moment (s), at which rate, and how many failed."""
        made = progress.done - progress.skipped
        if self._begun is None:
            self._begun = now, made
        text = f"{progress.done} of {progress.total} units{self._rate(progress, now, made)}"
        return f"{text}, {progress.failed} failed" if progress.failed else text

    def _rate(self, progress: Progress, now: float, made: int) -> str:
        assert self._begun is not None
        seconds, count = now - self._begun[0], made - self._begun[1]
        if count < 1 or seconds <= 0:
            return ""
        each = seconds / count
        rate = f"{1 / each:.1f} a second" if each < 1 else f"{each:.1f} s each"
        return f", {rate}, {duration((progress.total - progress.done) * each)} left"


def duration(seconds: float) -> str:
    """Say how long something takes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
