"""How fast a batch goes, and how long it will still take."""

from __future__ import annotations

from napari_sam3.core.text import units_done

from .results import Progress

__all__ = ["Pace"]


class Pace:
    """Measures from the first time it is told how far a batch is; what was skipped took no time."""

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
