"""A series of images in the window: open, step to the next image, save, resume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_sam3.layers.widget_keys import WidgetKeys
from sam3.errors import ImageError

from .background import Background
from .notices import Notices
from .series_saving import SeriesSaving
from .settings import read_settings
from .text import series as series_text

if TYPE_CHECKING:
    from napari_sam3.images.contrast import ImageContrast
    from napari_sam3.images.listing import Source
    from napari_sam3.images.plane_image import RenderedPlane
    from napari_sam3.layers.binding import Binding
    from napari_sam3.layers.series_view import ShownImage, Work
    from napari_sam3.records.series import ImageState
    from napari_sam3.session.series import ImageSeries, SeriesItem
    from napari_sam3.session.series_images import OpenedImage

    from .host import Host

__all__ = ["SeriesRun"]

WAIT_MS = 10


class SeriesRun(QObject):
    """Drives a series of images.

    Parameters
    ----------
    widget : Host
        Has panel, session and binding.

    Attributes
    ----------
    series : ImageSeries or None
        The series that is open.
    shown : ShownImage or None
        The image of it that is open.
    saving : SeriesSaving
        Writes its labels.
    """

    def __init__(self, widget: Host) -> None:
        super().__init__()
        self._widget, self._panel = widget, widget.panel.series
        self._session, self._notices = widget.session, Notices()
        self.files = Background(self)
        self.series: ImageSeries | None = None
        self.shown: ShownImage | None = None
        self._ahead: tuple[OpenedImage, RenderedPlane | None, ImageContrast | None] | None = None
        self._keys: WidgetKeys | None = None
        self.saving = SeriesSaving(widget, self.files, self)
        self._busy = self._closed = False  # an image is left or read; the widget has ended
        self._going: Callable[[], None] | None = None
        self._connect()

    def _connect(self) -> None:
        panel, session = self._panel, self._session
        self._widget.panel.files.source_chosen.connect(self.open)
        panel.close_button.clicked.connect(lambda: self._leave_for(self._close_series))
        panel.next.clicked.connect(lambda: self.step(1))
        panel.previous.clicked.connect(lambda: self.step(-1))
        panel.item_chosen.connect(self.go_to)
        panel.state_chosen.connect(self.set_states)
        panel.only_open.toggled.connect(lambda _on: self._look_ahead())
        self.saving.reported.connect(self._report)
        self.saving.noted.connect(self._on_noted)
        session.busy_changed.connect(self._on_stage)
        session.ahead.to_come = self._to_come

    # ------------------------------------------------------------------ commands

    def open(self, source: Source, labels: str | None = None) -> None:
        """Open a series, at the image where it was left."""
        self._leave_for(partial(self._open, source, labels))

    def step(self, step: int) -> None:
        """Go to the next image, or the previous one, and accept the drafts."""
        if self.series is None or self.shown is None:
            return
        item = self.shown.opened.item
        only = self._panel.only_open.isChecked()
        found = self.series.neighbour(item, step, only_open=only)
        leave: Callable[[], None] = partial(self._report_end, step)
        if found is not None:
            leave = partial(self._load, found, step)
        self._leave_for(leave, forward=step > 0)

    def go_to(self, item: SeriesItem) -> None:
        """Go to any image of the series."""
        if self.shown is None or item != self.shown.opened.item:
            self._leave_for(partial(self._load, item, 0))

    def set_states(self, items: list[SeriesItem], state: ImageState) -> None:
        """Record the state of images."""
        if self.series is not None:
            for item in items:
                self.series.set_state(item, state, note="", flush=False)
                self._panel.model.refresh(item.key)
            self.saving.flush()
            self._show_position()

    def close(self) -> None:
        """Save and close the series when the widget is closed."""
        self._closed, self._going = True, None
        self.saving.stop()
        self.files.close()
        self._panel.model.close()
        self._session.ahead.to_come = None
        self.leave()
        if self.series is not None:
            self._widget.guard(self.series.flush)
            self.series.close()
            self.series = None

    def bound(self, binding: Binding) -> None:
        """Give the layers of a binding the keys of the widget."""
        self._release_keys()
        commands = {
            "next_image": lambda: self.step(1),
            "previous_image": lambda: self.step(-1),
            "help": self._widget.panel.toggle_help,
        }
        self._keys = WidgetKeys(binding, read_settings().keys, commands)

    def leave(self) -> bool:
        """Save unsaved data at once; return whether all of the image is saved."""
        self._release_keys()
        return self.saving.write_now()

    def restores(self, binding: Binding) -> bool:
        """Whether a journal is restored without a question, as for images of the series."""
        return self.saving.bound() is binding

    # -------------------------------------------------------------- leave an image

    def _leave_for(self, go: Callable[[], None], *, forward: bool = False) -> None:
        """Save, then call `go`; with `forward`, accept the drafts first."""
        binding = self.saving.bound()
        if self._going is not None or self._busy or self._closed:
            return
        if binding is None:
            go()
        elif not forward or binding.finish_object():
            self._going = partial(self._save_and_go, go, forward)
            self._go_when_idle()

    def _on_stage(self, _stage: str) -> None:
        if self._going is not None:
            QTimer.singleShot(0, self._go_when_idle)

    def _go_when_idle(self) -> None:
        """Continue once all accepted masks are predicted and nothing is being written."""
        if self._going is None:
            return
        if self.saving.writing:
            QTimer.singleShot(WAIT_MS, self._go_when_idle)
        elif not self._session.busy:
            going, self._going = self._going, None
            going()

    def _save_and_go(self, go: Callable[[], None], forward: bool) -> None:
        if self.saving.bound() is None:
            go()
        elif not (forward and any(one.has_target for one in self._session.draft_set.drafts)):
            self._busy = True
            left = partial(self._on_left, go, forward)
            self.saving.write(self.saving.work(), left, self._on_not_left, whole=True)
        # Otherwise the drafts could not be accepted, and the error was shown.

    def _on_not_left(self) -> None:
        self._busy = False

    def _on_left(self, go: Callable[[], None], forward: bool, work: Work) -> None:
        self._busy = False
        self.saving.dirty, self.saving.settled = False, True
        state: ImageState | None = None
        if forward:
            state = "done" if work.objects else "skipped"
        self.saving.note(work, state)
        if self.shown is not None and self.shown.changed_on_disk:
            self._report(series_text.image_changed(work.opened.item.key))
        self.saving.flush()
        go()

    def _on_noted(self, item: SeriesItem) -> None:
        self._panel.model.refresh(item.key)
        self._show_position()

    # -------------------------------------------------------------- open an image

    def _open(self, source: Source, labels: str | None) -> None:
        from napari_sam3.session.series import ImageSeries

        self._close_series()
        self._widget.panel.show_status(series_text.OPENING)
        self.files.call(partial(ImageSeries, source, labels), self._on_opened)

    def _on_opened(self, found: Any) -> None:
        if isinstance(found, BaseException):
            self._widget.report(found)
            return
        self.series = found
        self._panel.model.show_series(found)
        self._panel.show_open(True)
        item = found.current
        if item is None:
            self._report(series_text.ALL_DONE)
            item = found.items[0]
        self._load(item, 1)

    def _close_series(self) -> None:
        self._remove_shown()
        self._ahead = None
        if self.series is not None:
            self.series.close()
            self.series = None
        self._panel.model.show_series(None)
        self._panel.show_open(False)

    def _load(self, item: SeriesItem, step: int) -> None:
        assert self.series is not None
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0].item == item:
            self._widget.guard(partial(self._show, ahead[0], ahead[2]))
            return
        self._widget.panel.show_status(series_text.READING)
        self._busy = True
        self.files.call(partial(self.series.read, item), partial(self._on_read, item, step))

    def _on_read(self, item: SeriesItem, step: int, found: Any) -> None:
        from napari_sam3.session.series_images import OpenedImage

        self._busy = False
        if isinstance(found, OpenedImage):
            self._widget.guard(partial(self._show, found))
            return
        series = self.series
        if series is None:
            return
        self._widget.report(found)
        if not isinstance(found, ImageError):
            return
        self._note_unreadable(item, found)
        beyond = series.neighbour(item, step or 1)
        if beyond is not None and (step or self.shown is None):
            self._load(beyond, step or 1)

    def _note_unreadable(self, item: SeriesItem, error: BaseException) -> None:
        assert self.series is not None
        self.series.set_state(item, "skipped", note=str(error)[:1000], flush=False)
        self._panel.model.refresh(item.key)
        self._report(series_text.skipped(item.key, str(error)))
        self.saving.flush()

    def _show(self, opened: OpenedImage, contrast: ImageContrast | None = None) -> None:
        from napari_sam3.layers.series_view import ShownImage

        series, viewer = self.series, self._widget.viewer
        assert series is not None
        before, camera = self.shown, _view_of(self.shown)
        shown = ShownImage(viewer, opened, contrast)
        self._widget.set_image(shown.image, shown.labels)
        self.shown, binding = shown, self._widget.binding
        self.saving.watch(series, shown)
        if binding is not None:
            self._widget.guard(partial(shown.show_saved, binding))
            if opened.session is not None:
                self._widget.options.add_classes(opened.session.classes)
        if before is not None:
            before.remove(self._session.reopening.forget)
            # Features of images that are gone make room for those to come.
            self._session.cache.shrink(self._session.cache.limit_bytes // 4)
        if camera != _view_of(shown):
            viewer.reset_view()
        for note in opened.notes:
            self._report(note)
        series.set_current(opened.item, flush=False)
        if series.entry(opened.item).state == "skipped" and series.entry(opened.item).note:
            series.set_state(opened.item, "todo", note="", flush=False)
        self.saving.flush()
        self._panel.show_current(opened.item)
        self._show_position()
        self._look_ahead()

    def _remove_shown(self) -> None:
        if self.shown is not None:
            shown, self.shown = self.shown, None
            self.saving.watch(None, None)
            if shown.is_bound(self._widget.binding):
                self._widget.set_image(None)
            shown.remove(self._session.reopening.forget)

    # -------------------------------------------------------------- the next one

    def _look_ahead(self) -> None:
        """Read the next image, and encode it while the model is idle."""
        series, shown = self.series, self.shown
        if series is None or shown is None or self._closed:
            return
        only = self._panel.only_open.isChecked()
        item = series.neighbour(shown.opened.item, 1, only_open=only)
        if item is None or (self._ahead is not None and self._ahead[0].item == item):
            return
        self.files.call(partial(series.read, item), partial(self._on_ahead, shown, item))

    def _on_ahead(self, shown: ShownImage, item: SeriesItem, found: Any) -> None:
        from napari_sam3.layers.image_files import contrast_of, first_plane
        from napari_sam3.session.series_images import OpenedImage

        if shown is not self.shown or self.series is None:
            return
        if isinstance(found, ImageError):
            self._note_unreadable(item, found)
            self._look_ahead()
            return
        binding = self._widget.binding
        if isinstance(found, OpenedImage) and binding is not None:
            contrast, known = binding.sync.plane.source.contrast, contrast_of(found.image, item.key)
            plane = first_plane(found.image, contrast, known, item.key)
            self._ahead = found, plane, known if contrast == "image" else None
            self._session.prepare()

    def _to_come(self) -> list[RenderedPlane]:
        plane = None if self._ahead is None else self._ahead[1]
        return [] if plane is None else [plane]

    # ----------------------------------------------------------------- showing

    def _show_position(self) -> None:
        series, shown = self.series, self.shown
        if series is None or shown is None:
            return
        number = series.place(shown.opened.item)
        counts = series.counts()
        text = series_text.position(
            number + 1, len(series.items), counts["done"], counts["skipped"]
        )
        self._panel.show_position(text, first=number == 0, last=False)

    def _report_end(self, step: int) -> None:
        assert self.series is not None
        left = self.series.remaining
        text = series_text.LAST_IMAGE if step > 0 else series_text.FIRST_IMAGE
        self._report(text if left else series_text.ALL_DONE, quietly=True)

    def _report(self, text: str, *, quietly: bool = False) -> None:
        self._widget.panel.show_status(text)
        if not quietly:
            self._notices.show(text, warning=True)

    def _release_keys(self) -> None:
        if self._keys is not None:
            self._keys.close()
            self._keys = None


def _view_of(shown: ShownImage | None) -> Any:
    """Return the shape and scale, which must be equal for the view to be kept."""
    return None if shown is None else (shown.identity.shape, tuple(shown.image.scale))
