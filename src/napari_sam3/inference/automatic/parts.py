"""Progress of a job that consists of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from napari_sam3.inference.cache import Control

__all__ = ["Part", "in_parts"]

T = TypeVar("T")


class Part:
    """Control of one part of a job, which reports progress of the whole job.

    Parameters
    ----------
    control : Control
        Control of the whole job.
    start, share : float
        Start and length of the part, as fractions of the job.
    """

    def __init__(self, control: Control, start: float, share: float) -> None:
        self._control, self._start, self._share = control, start, share
        self._done = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the prediction is obsolete."""
        return self._control.cancelled

    @property
    def abandoned(self) -> bool:
        """Whether neither prediction nor features are needed."""
        return self._control.abandoned

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Report a stage of the part as a fraction of the job that never decreases."""
        # Encoding takes about half of the time.
        self._go_on(stage, 0.5 * (fraction or 0.0) if stage == "encoding" else 0.5)

    def _go_on(self, stage: str, done: float) -> None:
        """Report which share of the part is done, from 0 to 1."""
        self._done = max(self._done, done)
        whole = self._start + self._share * self._done
        if isinstance(self._control, Part):
            self._control._go_on(stage, whole)
        else:
            self._control.report(stage, whole)


def in_parts(control: Control, items: Sequence[T]) -> Iterator[tuple[Part, T]]:
    """Yield each item with the control of its part of a job, all of equal length."""
    for done, item in enumerate(items):
        yield Part(control, done / len(items), 1 / len(items)), item
