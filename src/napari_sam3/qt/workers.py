"""Predictions on a thread of their own, answers back on the GUI thread."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam3.session.jobs import Outcome, Report

__all__ = ["ThreadRunner", "spare_a_core"]

logger = logging.getLogger(__name__)

Work = Callable[[Report], Outcome]


@contextmanager
def spare_a_core() -> Iterator[None]:
    """Leave one core to the GUI while torch works on this thread; restored afterwards."""
    import torch

    from sam3.runtime.cores import torch_threads

    with torch_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))):
        yield


def give_back_memory() -> None:
    """Have the C library return what was freed to the system, where it would keep it.

    Encoding a field takes and frees some 50 MB, compiling and reading more; glibc keeps most of
    it between what is still in use. Other systems return it by themselves.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


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

    _finished = Signal(object, object)
    _reported = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[None]] = set()
        self._closed = False
        # Emitted on the worker's thread, received on the one this object lives on.
        self._finished.connect(self._on_finished)
        self._reported.connect(self._on_reported)

    def __call__(self, work: Work, done: Callable[[Outcome], None], report: Report) -> None:
        """Start work; returns at once."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-sam3")
        future = self._pool.submit(self._run, work, done, report)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def call(self, function: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run a function on the thread; its result, or what it raised, comes to `done`."""

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
        """Take no more work. What runs ends by itself; its answer is dropped."""
        # No Qt here: by now Qt may have deleted this object.
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _run(self, work: Work, done: Callable[[Outcome], None], report: Report) -> None:
        try:
            with spare_a_core():
                outcome = work(lambda *news: self._reported.emit(report, *news))
        except BaseException as error:
            outcome = Outcome(error=error)
        # The window may be gone by now, and the Qt object with it.
        with suppress(RuntimeError):
            self._finished.emit(done, outcome)
        # Now, while the viewer draws the answer and nobody waits for this thread.
        give_back_memory()

    def _on_finished(self, done: Any, outcome: Any) -> None:
        if not self._closed:
            done(outcome)

    def _on_reported(self, report: Any, stage: str, fraction: float | None) -> None:
        if not self._closed:
            report(stage, fraction)
