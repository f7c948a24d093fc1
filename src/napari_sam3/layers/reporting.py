"""Errors of a binding: reported once to a callback, or raised without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sam3.errors import Sam3Error

__all__ = ["Reporting"]

T = TypeVar("T")


class Reporting:
    """Report errors that a user can cause.

    Parameters
    ----------
    on_error : callable, optional
        Called with each error; without it errors are raised.
    """

    def __init__(self, on_error: Callable[[BaseException], None] | None) -> None:
        self._on_error = on_error
        self._reported: BaseException | None = None

    @property
    def listened(self) -> bool:
        """Whether there is a callback."""
        return self._on_error is not None

    def guard(self, function: Callable[[], T]) -> T | None:
        """Call a function and return its result; None if an error was reported."""
        try:
            return function()
        except Sam3Error as error:
            self.report(error)
            return None

    def report(self, error: BaseException) -> None:
        """Report an error once, though it arrives by the session's event and by its command."""
        if self._on_error is None:
            raise error
        if error is not self._reported:
            self._reported = error
            self._on_error(error)
