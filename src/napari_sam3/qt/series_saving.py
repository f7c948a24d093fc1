"""The labels of the image of a series that is open, written as you go and when it is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from sam3.errors import Sam3Error

from .text import series as series_text

if TYPE_CHECKING:
    from napari_sam3.core.operations import LabelChange
    from napari_sam3.layers.binding import Binding
    from napari_sam3.layers.series_view import ShownImage, Work
    from napari_sam3.records.series import ImageState
    from napari_sam3.session.series import ImageSeries

    from .background import Background
    from .host import Host

__all__ = ["SeriesSaving"]

#: Labels are written so long (ms) after the last change, and after PAUSES times as long as the
#: last time took; larger ones (bytes) only when the image is left.
QUIET_MS, PAUSES, LARGEST_AS_YOU_GO = 250, 10, 1 << 26


class SeriesSaving(QObject):
    """Writes labels and session of the image that is shown.

    Parameters
    ----------
    host : Host
        Has session and binding.
    files : Background
        Writes.

    Attributes
    ----------
    dirty : bool
        Whether labels changed since they were written.
    writing : bool
        Whether they are being written.
    settled : bool
        Whether nothing changed since they were written to leave the image.
    reported : Signal
        (str) message for the user.
    noted : Signal
        (object) after the state of an image changed.
    """

    reported = Signal(str)
    noted = Signal(object)

    def __init__(self, host: Host, files: Background, parent: QObject) -> None:
        super().__init__(parent)
        self._host, self._files = host, files
        self._series: ImageSeries | None = None
        self._shown: ShownImage | None = None
        self.dirty = self.writing = self.settled = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._save_as_you_go)
        self._seconds = 0.0
        host.session.labels_changed.connect(self._on_labels)
        host.session.prompts_changed.connect(self._on_prompts)

    def watch(self, series: ImageSeries | None, shown: ShownImage | None) -> None:
        """Save another image from now on, or none."""
        self._series, self._shown = series, shown
        self.dirty = self.settled = False

    def stop(self) -> None:
        """Save nothing any more by itself."""
        self._timer.stop()

    def bound(self) -> Binding | None:
        """Return the binding if it is that of the image."""
        binding = self._host.binding
        return binding if self._shown is not None and self._shown.is_bound(binding) else None

    def work(self) -> Work:
        """Return a snapshot of the data to save; the image must be bound."""
        binding = self.bound()
        assert binding is not None
        assert self._shown is not None
        return self._shown.work(binding, self._host.panel.classes.classes)

    def write(
        self,
        work: Work,
        done: Callable[[Work], None],
        failed: Callable[[], None] = lambda: None,
        *,
        whole: bool,
    ) -> None:
        """Write on the file thread; callbacks run on the calling thread.

        Parameters
        ----------
        work : Work
            Data to write. If it is empty and no file exists, nothing is written.
        done : callable
            Called with the work once it is written.
        failed : callable
            Called if writing failed, after the error was shown.
        whole : bool
            Write the table of objects, too.
        """
        series, item = self._series, work.opened.item
        assert series is not None
        before = series.labels_path(item)
        if work.is_empty and not before.exists():
            done(work)
            return
        self.writing, began = True, time.monotonic()

        def on_written(found: Any) -> None:
            self.writing = False
            self._seconds = time.monotonic() - began
            if isinstance(found, BaseException):
                self.dirty = True
                self._host.report(found)
                failed()
                return
            if found != before:
                self.reported.emit(series_text.moved(before.name, found.name))
            series.note_labels(item, found)
            done(work)

        self._files.call(partial(work.write, series, whole=whole), on_written)

    def write_now(self) -> bool:
        """Write unsaved data on this thread; return whether all of the image is saved."""
        series, binding = self._series, self.bound()
        if series is None or binding is None:
            return False
        if self.settled or not (self.dirty or binding.session.draft_set.drafts):
            return True
        self._files.wait()
        work = self.work()
        try:
            if not work.is_empty or series.labels_path(work.opened.item).exists():
                series.note_labels(work.opened.item, work.write(series, whole=True))
            self.note(work)
            series.flush()
        except Sam3Error as error:
            self._host.report(error)
            return False
        self.dirty = False
        return True

    def note(self, work: Work, state: ImageState | None = None) -> None:
        """Record the state of an image; by default in work once it has objects."""
        assert self._series is not None
        item, objects = work.opened.item, work.objects
        before = self._series.entry(item).state
        if state is None:
            state = "work" if before in ("todo", "skipped") and objects else before
        self._series.set_state(item, state, note="", objects=objects, flush=False)
        self.noted.emit(item)

    def flush(self) -> None:
        """Write the record of the series."""
        if self._series is not None:
            self._files.call(self._series.flush, self._on_flushed)

    # ------------------------------------------------------------------ inside

    def _on_labels(self, _change: LabelChange) -> None:
        if self.bound() is not None:
            self.dirty, self.settled = True, False
            if not self._timer.isActive():
                self._timer.start(max(QUIET_MS, round(1000 * PAUSES * self._seconds)))

    def _on_prompts(self, _key: object) -> None:
        self.settled = False

    def _save_as_you_go(self) -> None:
        binding = self.bound()
        if binding is None or not self.dirty:
            return
        if self.writing or self._host.session.busy:
            self._timer.start(QUIET_MS)
        elif binding.sync.store.data.nbytes <= LARGEST_AS_YOU_GO:
            self.dirty = False
            self.write(self.work(), self._on_saved, whole=False)

    def _on_saved(self, work: Work) -> None:
        if self._shown is not None and self._shown.opened is work.opened:
            self.note(work)
            self.flush()

    def _on_flushed(self, found: Any) -> None:
        if isinstance(found, BaseException):
            self._host.report(found)
