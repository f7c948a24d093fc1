"""The download of the released weights in the background of the viewer."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Literal

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from sam3.errors import Sam3Error

__all__ = ["DownloadJob"]

# Minimum interval between reports of progress, in seconds.
PAUSE = 0.1
News = Literal["progressed", "succeeded", "failed"]


class _StoppedError(Sam3Error):
    """Raised within the download to end it."""


class DownloadJob(QObject):
    """Fetches ``sam3.pt`` once; its signals come on the thread that made it.

    Parameters
    ----------
    options
        Passed to `sam3.weights.download.download_released_weights`.
    parent : QObject, optional
        Qt parent.

    Attributes
    ----------
    progressed : Signal
        (fraction or None, seconds left or None)
    succeeded : Signal
        (Path of the file)
    failed : Signal
        (exception)
    """

    progressed = Signal(object, object)
    succeeded = Signal(object)
    failed = Signal(object)
    _news = Signal(str, object)

    def __init__(self, parent: QObject | None = None, **options: Any) -> None:
        super().__init__(parent)
        self._options = options
        self._stopped = threading.Event()
        self._started = self._reported = 0.0
        self._first = 0
        # Emitted on the thread of the download, received on the one this object lives on. A
        # daemon: closing napari must not wait for gigabytes.
        self._news.connect(self._on_news)
        self._thread = threading.Thread(target=self._run, name="napari-sam3-download", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._started = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End the download; no signal comes any more."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the thread has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        from sam3.weights.download import download_released_weights

        try:
            path = download_released_weights(progress=self._on_progress, **self._options)
        except BaseException as error:
            self._emit("failed", error)
        else:
            self._emit("succeeded", path)

    def _on_progress(self, done: int, total: int | None) -> None:
        if self._stopped.is_set():
            raise _StoppedError("the download was stopped")
        now = time.monotonic()
        if self._reported == 0.0:
            self._first, self._started = done, now
        elif now - self._reported < PAUSE:
            return
        self._reported = now
        came, passed = done - self._first, now - self._started
        left = (total - done) * passed / came if total and came > 0 else None
        self._emit("progressed", done / total if total else None, left)

    def _emit(self, what: News, *news: object) -> None:
        # The window may be gone by now, and the Qt object with it.
        with suppress(RuntimeError):
            self._news.emit(what, news)

    def _on_news(self, what: News, news: tuple[Any, ...]) -> None:
        signals: dict[News, Any] = {
            "progressed": self.progressed,
            "succeeded": self.succeeded,
            "failed": self.failed,
        }
        if not self._stopped.is_set():
            signals[what].emit(*news)
