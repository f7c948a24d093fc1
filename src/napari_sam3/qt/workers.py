"""Predictions on a thread of their own, answers back on the GUI thread."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam3.session.jobs import Outcome, Report

__all__ = ["ThreadRunner", "spare_a_core"]

logger = logging.getLogger(__name__)

Work = Callable[[Report], Outcome]

#: Seconds for which the GUI thread may wait for an answer: too short to be noticed, and nothing
#: else draws, or holds Python's lock, meanwhile.
BLINK = 0.1


@contextmanager
def spare_a_core() -> Iterator[None]:
    """Leave one core to the GUI while torch works on this thread; restored afterwards."""
    import torch

    from sam3.runtime.cores import torch_threads

    with torch_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))):
        yield


def give_back_memory() -> None:
    """Make the C library return freed memory to the system.

    Encoding a field takes and frees some 50 MB, compiling and reading more; glibc keeps most of
    it between what is still in use. Other systems return it by themselves.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


@dataclass(eq=False)
class _Call:
    """A piece of work on its thread, and where its answer goes.

    Parameters
    ----------
    work, done, report : callable
        See `Submit`.
    over : threading.Event
        Set once there is no more to wait for: it is done, or says that it takes long.
    outcome : Outcome, optional
        The answer, once it is there.
    taken : bool
        Whether the answer was passed to `done`.
    """

    work: Work
    done: Callable[[Outcome], None]
    report: Report
    over: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None
    taken: bool = False


class ThreadRunner(QObject):
    """Runs one piece of work after another on one thread; a `Submit` for the viewer.

    Made on the GUI thread; `done` and `report` are called there. Nothing that goes wrong in the
    work is lost: work never raises (see `napari_sam3.session.jobs.work`), and a failure around it
    comes back as an `Outcome` all the same.

    Parameters
    ----------
    parent : QObject, optional
        Qt parent.
    """

    _finished = Signal(object)
    _reported = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[None]] = set()
        self._closed = False
        # Whether the last answer that did not say it takes long took no more than a blink.
        self._quick = True
        # Emitted on the worker's thread, received on the one this object lives on.
        self._finished.connect(self._on_finished)
        self._reported.connect(self._on_reported)

    def __call__(
        self, work: Work, done: Callable[[Outcome], None], report: Report
    ) -> Callable[[], None]:
        """Start work; returns at once, with a function that waits for its answer for a blink."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-sam3")
        call = _Call(work, done, report)
        future = self._pool.submit(self._run, call)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return partial(self._wait_for, call)

    def call(self, function: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run a function on the thread; call `done` with its result or its error."""

        def work(_report: Report) -> Outcome:
            try:
                found.append(function())
            except Exception as error:
                found.append(error)
            return Outcome()

        found: list[Any] = []
        self(work, lambda _outcome: done(found[0]), lambda _stage, _fraction: None)

    def wait(self, seconds: float | None = None) -> bool:
        """Block until all work is done; answers still have to come through the event loop."""
        return not wait(set(self._futures), timeout=seconds).not_done

    def close(self) -> None:
        """Take no more work. Running work ends by itself; its answer is dropped."""
        # No Qt here: by now Qt may have deleted this object.
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _run(self, call: _Call) -> None:
        started = time.thread_time()  # others may have the cores meanwhile
        try:
            with spare_a_core():
                outcome = call.work(partial(self._tell, call))
        except BaseException as error:
            outcome = Outcome(error=error)
        long = time.thread_time() - started > BLINK
        if outcome.predictions is not None and not call.over.is_set():
            self._quick = not long
        call.outcome = outcome
        call.over.set()
        # The window may be gone by now, and the Qt object with it.
        with suppress(RuntimeError):
            self._finished.emit(call)
        # Now, while the viewer draws the answer and this thread is idle. What a click
        # took is needed again by the next one.
        if long:
            give_back_memory()

    def _tell(self, call: _Call, stage: str, fraction: float | None) -> None:
        """Report progress; work that knows its fraction takes long enough to show it."""
        if fraction is not None:
            call.over.set()
        self._reported.emit(call, stage, fraction)

    def _wait_for(self, call: _Call) -> None:
        """Take the answer at once, if it comes within a blink; otherwise it comes as an event."""
        if not self._quick:
            return
        call.over.wait(BLINK)
        # Errors arrive as an event in any case, and are shown once.
        if call.outcome is not None and call.outcome.error is None:
            self._on_finished(call)

    def _on_finished(self, call: _Call) -> None:
        if not self._closed and not call.taken:
            call.taken = True
            assert call.outcome is not None
            call.done(call.outcome)

    def _on_reported(self, call: _Call, stage: str, fraction: float | None) -> None:
        # An answer may be taken before the events that came on the way.
        if not self._closed and not call.taken:
            call.report(stage, fraction)
