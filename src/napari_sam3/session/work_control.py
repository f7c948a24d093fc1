"""Cancellation and progress of work on another thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jobs import Report

__all__ = ["WorkControl"]


class WorkControl:
    """The `Control` of work on another thread; cancelling stops at the next field."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._report: Report | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the work is cancelled."""
        return self._cancelled.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether encoding is cancelled as well."""
        return self.cancelled

    def cancel(self) -> None:
        """Cancel at the next field."""
        self._cancelled.set()

    def report_to(self, report: Report) -> None:
        """Report to a function from now on."""
        self._report = report

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Report progress."""
        if self._report is not None:
            self._report(stage, fraction)
