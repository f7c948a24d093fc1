"""Synchronisation of a session with the layers of a viewer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_sam3.core.errors import LayerError

from .clicking import Clicking
from .features import Bookkeeping
from .label_layer import LabelStore, moves
from .mask_view import MaskView
from .plane_source import Contrast, PlaneSource
from .present_objects import PresentObjects
from .prompt_sync import PromptSync
from .shown_plane import ShownPlane
from .strokes import Stroke

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_sam3.images.plane_image import RenderedPlane
    from napari_sam3.inference.questions import ObjectPrediction
    from napari_sam3.session.session import LabelingSession

    from .layer_set import LayerSet
    from .reporting import Reporting

__all__ = ["LayerSync"]


class LayerSync:
    """Pass events of layers and viewer to a session, and show its masks and prompts.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        The session.
    contrast : {"image", "plane", "layer"} or tuple of float
        See `bind`.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    plane : ShownPlane
        The current plane.
    store : LabelStore
        The labels.
    present : PresentObjects
        Count of accepted objects in the labels.
    clicking : Clicking
        Whether clicks are prompts.
    masks : MaskView
        Display of masks.
    prompts : PromptSync
        Clicks and boxes.
    layers_lost, listening_changed : Signal
        See `Binding`.
    """

    layers_lost = Signal(object)
    listening_changed = Signal()

    def __init__(
        self, layers: LayerSet, session: LabelingSession, contrast: Contrast, reporting: Reporting
    ) -> None:
        self._layers, self._session = layers, session
        self._guard, self._report = reporting.guard, reporting.report
        self._silent = not reporting.listened
        self._source = PlaneSource(layers.viewer, layers.image, contrast)
        self.store = LabelStore(
            layers.labels,
            lambda: layers.has(layers.labels),
            self._source.key,
            self._on_stroke,
            layers.hides,
        )
        self.present = PresentObjects(layers.labels, session, self._source)
        self._books = Bookkeeping(layers.labels, session)
        self.plane = ShownPlane(layers, self.store, self._source, session)
        self.clicking = Clicking(layers)
        self.masks = MaskView(layers, session)
        self.prompts = PromptSync(layers, self.plane, session, reporting)
        self.clicking.resume()

    def begin(self) -> None:
        """Start listening, and synchronise both sides."""
        self._session.neighbours = self._neighbours
        for emitter, callback in self._connections():
            emitter.connect(callback)
        # Reports at once, not at the first click, if this image cannot be used.
        self._guard(self.plane.follow)
        if not self._layers.in_3d:
            self._guard(self.plane.ensure)
        self.prompts.show_all()
        self._guard(self.prompts.take)

    def restore(self) -> None:
        """Restore deleted layers, and show the state of the session in them."""
        self._layers.check_image()
        self.prompts.disconnect()
        self._layers.restore()
        self.masks.use_new_layers()
        self.prompts.connect()
        self.clicking.resume()
        self.prompts.show_all()
        self.renew_plane()
        self.show_masks()

    def close(self) -> None:
        """Stop listening."""
        self._session.neighbours = None
        for emitter, callback in self._connections():
            emitter.disconnect(callback)
        self.prompts.disconnect()
        self.masks.close()
        self.store.close()
        self._books.close()
        self._session.clear_plane()

    def show_masks(self) -> None:
        """Show the current masks of the session."""
        self.masks.show(self.plane.index)

    def renew_plane(self) -> None:
        """Pass the current plane to the session again."""
        self.plane.outdate()
        self._guard(self.plane.ensure)

    def owns(self, plane: Hashable, labels: Hashable) -> bool:
        """Whether a step wrote to these labels, or changed prompts (labels None) on this image."""
        if labels is None:
            return self._source.is_ours(plane)
        return bool(labels == self._layers.labels.unique_id)

    def _connections(self) -> list[tuple[Any, Callable[..., None]]]:
        layers, session = self._layers, self._session
        dims, image = layers.viewer.dims.events, layers.image.events
        sliced = (dims.point, dims.order, dims.margin_left, dims.margin_right)
        pairs: list[tuple[Any, Callable[..., None]]] = [
            *((emitter, self._on_view) for emitter in (*sliced, image.projection_mode)),
            (dims.ndisplay, self._on_display),
            *((emitter, self._on_move) for emitter in moves(layers.image)),
            (image.data, self._on_image),
            (image.contrast_limits, self._on_contrast),
            *((emitter, self._on_labels) for emitter in moves(layers.labels)),
            (layers.labels.events.data, self._on_labels),
            (layers.labels.events.set_data, self._on_labels_shown),
            (layers.labels.events.labels_update, self._on_labels_shown),
            (layers.viewer.layers.events.removed, self._on_removed),
            (layers.viewer.layers.selection.events.active, self._on_listening),
            (session.prompts_changed, self.prompts.show),
            (self.prompts.mode_changed, self._on_mode),
            (session.prediction_changed, self._on_prediction),
        ]
        if not self._silent:
            pairs.append((session.failed, self._report))
        return pairs

    # ------------------------------------------------------------ viewer events

    def _on_view(self, event: Any = None) -> None:
        # When an image is moved, napari may emit events of the sliders first.
        self._layers.follow_image()
        self._guard(self._update_plane)
        self._guard(self.prompts.take)
        self._guard(self._look_ahead)

    def _on_display(self, event: Any = None) -> None:
        self._on_view()
        if not self._layers.in_3d and self.clicking.resumes:
            self.clicking.resume()
        self.listening_changed.emit()

    def _on_mode(self, event: Any = None) -> None:
        self.clicking.note_mode()
        self._on_listening()

    def _on_image(self, event: Any = None) -> None:
        self.plane.outdate(pixels=True)
        self._on_view()
        if not self._layers.in_3d:
            self._guard(self.plane.ensure)

    def _on_move(self, event: Any = None) -> None:
        self._layers.follow_image()
        self.plane.outdate()
        # Scale and translation change one by one, and the slider may be outside in between.
        with suppress(LayerError):
            self.plane.follow()
            self._guard(self.prompts.take)
            self._guard(self.plane.ensure)
        self.show_masks()

    def _on_labels(self, event: Any = None) -> None:
        self.plane.outdate()  # validated again before the next command

    def _on_labels_shown(self, event: Any = None) -> None:
        if self.present.last != self.present.count():  # objects were erased by another tool
            self.listening_changed.emit()

    def _on_contrast(self, event: Any = None) -> None:
        if self._source.contrast == "layer":
            # Rendered again at the next prediction, since limits change often during a drag.
            self.plane.outdate(pixels=True)

    def _on_listening(self, event: Any = None) -> None:
        self.listening_changed.emit()

    def _on_stroke(self, atoms: list[Any]) -> None:
        self._guard(lambda: self._note_stroke(atoms))

    def _note_stroke(self, atoms: list[Any]) -> None:
        plane = self.plane.index
        # In 3-D display, planes of the last two axes are used.
        ndim = self._layers.labels.ndim
        axes = plane.axes if plane is not None else (ndim - 2, ndim - 1)
        stroke = Stroke(self.store, atoms, axes)
        painted = stroke.painted()
        source = self._layers.labels.unique_id
        self._session.note_edit(stroke, painted[0].plane, painted, source)

    def _on_removed(self, event: Any) -> None:
        lost: Layer = event.value
        role = self._layers.role(lost)
        if role is None:
            return
        if role == "image":
            self.plane.leave()
        error = LayerError(
            f"the {role} layer {lost.name!r} was deleted. Expected it in the viewer. "
            + ("Choose another image." if role == "image" else 'Press "Restore layers".')
        )
        self.layers_lost.emit(error)

    def _update_plane(self) -> None:
        # Without a plane, `problem` has the reason.
        with suppress(LayerError):
            self.plane.follow()
        self.listening_changed.emit()

    def _look_ahead(self) -> None:
        """Pass the plane to the session before the first click, if encoding ahead is enabled."""
        wanted = self._session.look_ahead and self.plane.index is not None
        if wanted and not self._layers.missing:
            self.plane.ensure()
            self._session.prepare()

    def _neighbours(self) -> list[RenderedPlane]:
        """Return the images of the planes that are likely to be shown next."""
        return [] if self._layers.missing else self._source.neighbours()

    def _on_prediction(self, prediction: ObjectPrediction | None) -> None:
        self.show_masks()
