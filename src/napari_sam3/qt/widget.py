"""Dock widget: chooses layers and model, shows the state, and drives a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam3.inference.models import describe_predictor, model_loader
from napari_sam3.layers.image_layers import find_image, images_in
from napari_sam3.layers.tools import Tools
from napari_sam3.session.session import IDLE, LabelingSession

from .aligning import choose_labels
from .batch_run import BatchRun
from .closing import Closing
from .crash_recovery import Safety
from .docking import OwnColumn
from .feature_store import Storing
from .files_run import FilesRun
from .find_run import FindRun
from .focus import canvas_of
from .learn_run import LearnRun
from .model_menu import ModelMenu
from .notices import News
from .options import Options
from .panel import Panel
from .propagate_run import PropagateRun
from .saved_session import SessionMenu
from .series_run import SeriesRun
from .settings import read_settings, write_setting
from .taking_labels import use_labels_later
from .text.panel import NEW_LABELS
from .text.states import takes_labels
from .text.status import deleted_image
from .workers import ThreadRunner

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Labels

    from napari_sam3.inference.models import Loader
    from napari_sam3.layers.binding import Binding
    from sam3.predictor import Predictor

__all__ = ["SegmentWidget"]


class SegmentWidget(QWidget):
    """Click on objects, get labels.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    parent : QWidget, optional
        Qt parent.

    Attributes
    ----------
    session : LabelingSession
        The state; lives as long as the widget.
    binding : Binding or None
        The session's connection to the image chosen; None without one.
    panel, options, models : Panel, Options, ModelMenu
        The controls, and the advanced ones, wired; the choice of a model.
    storing, batch, finding, propagating, series, sessions, learning
        Encoded images; batches; searches; other planes; series; saved sessions; adapters.
    """

    # From the thread that loads a model.
    _device_described = Signal(str)

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.runner = ThreadRunner()
        self.session = LabelingSession(submit=self.runner)
        self.binding: Binding | None = None
        self.tools = Tools(napari_viewer, keep=True)
        settings = read_settings()
        self.panel = Panel(napari_viewer, self)
        self.models = ModelMenu(self.panel, self, settings)
        self.options = Options(self.panel, self.session, lambda: self.binding, self.guard, settings)
        self.safety = Safety(self.panel, self.runner)
        self.storing = Storing(self.panel, self.session.cache, self.runner, self.report)
        ours = self.panel, self.session, lambda: self.binding
        working = self.runner, self.report
        self.batch, self.finding = BatchRun(*ours, *working), FindRun(*ours, *working)
        self.propagating, self.learning = PropagateRun(*ours, self.report), LearnRun(self)
        self.series, self.sessions = SeriesRun(self), SessionMenu(self)
        self.safety.restores_unasked = self.series.restores
        self.files = FilesRun(*ours[::2], *working, napari_viewer, self.set_image)
        self._model = self.models.current
        self._binding_now = self._closed = self._painted = False
        self.news = News(self.panel, self.session)
        (layout := QVBoxLayout(self)).setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self._column = OwnColumn(self, self.panel, self.panel.first_view_height)
        self._connect()
        self.set_model(self._model, self.options.device)
        Closing(self, self.shut_down, partial(_release, self.session, self.runner))
        self.set_image(None)

    # ------------------------------------------------------------------ public

    def set_image(
        self, image: Image | None, labels: Labels | None = None, align: bool = False
    ) -> bool:
        """Work on an image, and write into labels (new ones if not given); see `bind`."""
        self._unbind()
        if image is not None:
            from napari_sam3.layers.bind import bind

            # The layers that are made now are announced before the binding is there.
            self._binding_now = True
            try:
                self.binding = bind(
                    self.viewer,
                    image,
                    labels,
                    align=align,
                    session=self.session,
                    keys=read_settings().keys,
                    on_error=self.report,
                    tools=self.tools,
                    **self.options.prompt_layers,
                )
            except Exception as error:  # of any kind: Qt must not meet it
                self.report(error)
            else:
                self.binding.layers_lost.connect(self._on_progress)
                self.binding.listening_changed.connect(self._on_progress)
                self.binding.merging_changed.connect(self._on_progress)
                self.binding.pointed.changed_everywhere.connect(self.news.show_change)
                self.binding.candidates.pointed.changed.connect(self._show_news)
                self.options.bound(self.binding)
                self.safety.watch(self.binding)
                self.series.bound(self.binding)
                self._show_news()
                self._prepare()
            finally:
                self._binding_now = False
        else:
            self._show_news()
        self.refresh()
        return self.binding is not None

    def set_model(self, model: str | os.PathLike[str], device: str = "auto") -> None:
        """Use a model by name ("tiny") or the path of a weights file."""
        self.options.device = device
        self._model = self.models.show_model(model)
        self.set_predictor(model_loader(self._model, device, self._emit_device))
        self.finding.use(self._model)

    def set_predictor(self, predictor: Predictor | Loader) -> None:
        """Use a predictor, or a function that loads one."""
        self.session.set_predictor(predictor)
        self.options.show_device(describe_predictor(predictor))
        self._show_news()
        self._prepare()
        if self.binding is not None and any(d.has_target for d in self.session.draft_set.drafts):
            self.guard(self.session.predict)

    def wait(self, seconds: float | None = None) -> bool:
        """Block until no work runs; its answers come with the next events of Qt."""
        return self.runner.wait(seconds)

    def shut_down(self, with_viewer: bool = False) -> None:
        """Release viewer, layers, thread and model. Labels stay.

        Parameters
        ----------
        with_viewer : bool
            The viewer's window goes as well, so that its layers are left as they are.
        """
        if self._closed:
            return
        self._closed = True
        if with_viewer:
            self.tools.leave_alone()
        self.series.close()
        self._unbind()
        self.tools.remove_all()
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.renamed):
            emitter.disconnect(self._on_layers)
        parts = self.models, self.options, self.storing, self.batch, self.finding
        for part in (*parts, self.propagating, self.files, self.learning):
            part.close()
        _release(self.session, self.runner)

    # ---------------------------------------------------------------- Qt events

    def showEvent(self, event: Any) -> None:
        """Load the model in the background once the widget is visible."""
        super().showEvent(event)
        self._column.watch()
        self.news.watch(canvas_of(self))
        QTimer.singleShot(0, self._prepare)

    def paintEvent(self, event: Any) -> None:
        """Have the layers made once the dock is on the screen, because napari takes a while."""
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            QTimer.singleShot(0, self._use_first_image)

    def closeEvent(self, event: Any) -> None:
        """Shut down."""
        self.shut_down()
        super().closeEvent(event)

    # ------------------------------------------------------------------ wiring

    def _connect(self) -> None:
        panel, session = self.panel, self.session
        panel.image.activated.connect(self._on_image)
        panel.labels.activated.connect(self._on_labels)
        self.models.chosen.connect(self._on_model)
        self.models.failed.connect(self.report)
        self.models.ended.connect(self._on_progress)
        self.options.device_chosen.connect(self._on_device)
        self.options.layers_chosen.connect(self._on_prompt_layers)
        self._device_described.connect(self.options.show_device)
        panel.back.connect(self._on_restore)
        for name, button in panel.buttons.items():
            button.clicked.connect(partial(self._on_button, name))
        session.busy_changed.connect(self._on_stage)
        for signal in (session.accepted, session.labels_changed):
            signal.connect(self._on_progress)
        for signal in (session.prompts_changed, session.prediction_changed):
            signal.connect(self._on_drafts)
        session.candidates.changed.connect(self._show_news)
        session.failed.connect(self.report)
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.renamed):
            emitter.connect(self._on_layers)

    def _leave_lost_image(self) -> None:
        binding = self.binding
        if self._closed or binding is None or "image" not in binding.layers.missing:
            return
        kept = "labels" not in binding.layers.missing
        self._unbind()
        self.panel.show_status(deleted_image(binding.image.name, kept=kept), error=True)
        self.refresh()

    def _use_first_image(self) -> None:
        if not self._closed and self.binding is None and images_in(self.viewer):
            self.guard(lambda: self._go_on_with(find_image(self.viewer)))

    def _go_on_with(self, image: Image | None) -> None:
        """Work on an image, with its existing labels if the viewer has them."""
        from napari_sam3.layers.layer_set import find_labels

        self.set_image(image, None if image is None else find_labels(self.viewer, image))

    def _unbind(self) -> None:
        if self.binding is not None:
            saved = self.series.leave()
            binding, self.binding = self.binding, None
            self.safety.leave()
            self.batch.leave()
            binding.close(discard_journal=saved)

    def _prepare(self) -> None:
        # Without an image there is time to load the model; with one, its layers come first.
        waits = self.binding is None and bool(images_in(self.viewer))
        if not self._closed and not waits and self.isVisible():
            self.session.prepare()

    # ------------------------------------------------------------- user's choices

    def _on_image(self, index: int) -> None:
        self.options.forget_layers()
        self._go_on_with(self._in_viewer(self.panel.image_choice.data(index)))

    def _on_labels(self, index: int) -> None:
        if self.binding is not None:
            chosen = self.binding.image, self._in_viewer(self.panel.labels_choice.data(index))
            self.guard(partial(choose_labels, self.panel.question, *chosen, self.set_image))
            self.refresh()

    def _emit_device(self, text: str) -> None:
        """Emit the device from the thread that loads the model; the window may be closed."""
        with suppress(RuntimeError):
            self._device_described.emit(text)

    def _in_viewer(self, chosen: Any) -> Any:
        """Return a layer as the widget's own viewer gives it, or None."""
        wanted = getattr(chosen, "unique_id", None)
        return next((one for one in self.viewer.layers if one.unique_id == wanted), None)

    def _on_prompt_layers(self) -> None:
        if self.binding is None:
            return
        image, labels = self.binding.image, self.binding.labels
        if not self.set_image(image, labels):
            # The layer chosen cannot hold prompts, and that was said.
            self.options.forget_layers()
            self.set_image(image, labels)

    def _on_model(self, name: str) -> None:
        self.set_model(name, self.options.device)
        write_setting("model", self.models.current)

    def _on_device(self, device: str) -> None:
        self.set_model(self._model, device)

    def _on_button(self, name: str, _checked: bool = False) -> None:
        if self.binding is not None:
            self.binding.commands[name]()
            self.refresh()

    def _on_restore(self) -> None:
        if (binding := self.binding) is not None:
            self.guard(binding.restore if binding.layers.missing else binding.show_2d)
            self._show_news()
            self.refresh()

    def guard(self, command: Callable[[], Any]) -> Any:
        """Run something; errors of any kind are shown, because Qt would end the process."""
        try:
            return command()
        except Exception as error:
            self.report(error)
            return None

    # ------------------------------------------------------- events of napari

    def _on_layers(self, event: Any) -> None:
        binding = self.binding
        if self._binding_now:
            return
        # What follows is done later: within the event napari is still at work on its layers,
        # and selects a new one only after all callbacks.
        lost = binding is not None and "image" in binding.layers.missing
        if lost:
            QTimer.singleShot(0, self._leave_lost_image)
        if event.type == "inserted" and (lost or binding is None) and images_in(self.viewer):
            QTimer.singleShot(0, self._use_first_image)
        use_labels_later(self, event)
        self.refresh()

    def _on_stage(self, stage: str) -> None:
        if not self._closed:
            self.panel.show_busy(stage != IDLE, stoppable=stage in ("encoding", "predicting"))
            self._on_drafts()

    def _on_drafts(self, *_: Any) -> None:
        """Show the changes of a click; layers and axes stay as they are."""
        if not self._closed:
            self._show_news()
            self._show_drafts()

    def _on_progress(self, *_: Any) -> None:
        if not self._closed:
            self._show_news()
            self.refresh()

    def report(self, error: BaseException) -> None:
        """Show an error on the panel and, if it matters, in a notification."""
        if not self._closed:
            self.news.tell(error)
            self.refresh()

    # ----------------------------------------------------------------- showing

    def refresh(self) -> None:
        """Show choices and buttons as they are now."""
        if self._closed:
            return
        panel, binding = self.panel, self.binding
        panel.image_choice.show(binding.image if binding else None)
        panel.labels_choice.show(binding.labels if binding else NEW_LABELS, takes_labels(binding))
        self.options.show_layers()
        for part in (self.batch, self.finding, self.propagating):
            part.refresh()
        self._show_drafts()

    def _show_drafts(self) -> None:
        self.options.refresh()
        self.news.show_drafts(self.binding)

    def _show_news(self) -> None:
        self.news.show(self.binding)


def _release(session: LabelingSession, runner: ThreadRunner) -> None:
    session.close()
    runner.close()
