"""Files read and written on a thread of their own, answers back on the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

__all__ = ["Background"]


class Background(QObject):
    """Queue of functions on a thread other than the model's.

    Created on the GUI thread, on which the results arrive.

    Parameters
    ----------
    newest_first : bool
        Run the newest function first, and keep at most `LONGEST` in the queue.
    """

    LONGEST = 64

    _finished = Signal(object, object)

    def __init__(self, parent: QObject | None = None, *, newest_first: bool = False) -> None:
        super().__init__(parent)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[None]] = set()
        self._stack: list[tuple[Callable[[], Any], Callable[[Any], None]]] | None = None
        if newest_first:
            self._stack = []
        self._closed = False
        self._finished.connect(self._on_finished)

    def call(self, function: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run a function; its result, or the exception that it raised, comes to `done`."""
        if self._closed:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-sam3-files")
        if self._stack is None:
            future = self._pool.submit(self._run, function, done)
        else:
            self._stack.append((function, done))
            del self._stack[: -self.LONGEST]
            future = self._pool.submit(self._run_newest)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def wait(self, seconds: float | None = None) -> bool:
        """Block until all is done; answers still have to come through the event loop."""
        return not wait(set(self._futures), timeout=seconds).not_done

    def close(self) -> None:
        """Wait for running work, and drop waiting work; no answer arrives any more."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _run_newest(self) -> None:
        with suppress(IndexError):  # it was given up because too much waited
            assert self._stack is not None
            self._run(*self._stack.pop())

    def _run(self, function: Callable[[], Any], done: Callable[[Any], None]) -> None:
        try:
            found = function()
        except BaseException as error:
            found = error
        # The window may be gone by now, and the Qt object with it.
        with suppress(RuntimeError):
            self._finished.emit(done, found)

    def _on_finished(self, done: Any, found: Any) -> None:
        if not self._closed:
            done(found)
