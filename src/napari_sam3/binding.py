"""A session in step with the layers of a viewer: their events in, labels and preview out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from sam3.errors import PromptError, Sam3Error

from .errors import LayerError
from .gestures import ADD, Gestures
from .inference import ObjectPrediction
from .label_layer import LabelStore
from .layer_set import LayerSet
from .plane_source import PlaneKey, PlaneSource
from .planes import ContrastLimits, PlaneIndex
from .preview import Preview
from .prompt_layers import PromptLayers
from .prompts import MIN_BOX_SIDE, PromptSet
from .session import LabelingSession

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points, Shapes

    from .ledger import AcceptedObject

__all__ = ["Binding"]


class Binding:
    """Keeps a session and the layers of a viewer in step. Made by `napari_sam3.bind`.

    Attributes
    ----------
    session : LabelingSession
        The state; whatever is done by gestures can be done by its commands.
    layers_lost : Signal
        (LayerError) after a layer was deleted that is needed.
    listening_changed : Signal
        After `listening` may have changed.
    """

    layers_lost = Signal(object)
    listening_changed = Signal()

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        *,
        own_session: bool = False,
        contrast: ContrastLimits | None = None,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.session = session
        self.layers = layers
        self._source = PlaneSource(layers.viewer, layers.image, contrast)
        self._own_session = own_session
        self._on_error = on_error
        self._reported: BaseException | None = None
        self._tried: PromptSet | None = None
        self._current = False
        self._closed = False
        self._wire_layers()
        self._wire_events()
        try:
            # Told now if this image cannot be used, not at the first click.
            self._guard(self._follow_viewer)
            self._guard(self._ensure_plane)
            for key, prompts in session.all_prompts().items():
                self._show_prompts(key, prompts)
            self._guard(self._take_prompts)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ state

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        return self.layers.viewer

    @property
    def image(self) -> Image:
        """The image that is segmented."""
        return self.layers.image

    @property
    def labels(self) -> Labels:
        """Where objects go."""
        return self.layers.labels

    @property
    def points(self) -> Points:
        """Clicks."""
        return self.layers.points

    @property
    def boxes(self) -> Shapes:
        """Boxes."""
        return self.layers.boxes

    @property
    def preview(self) -> Labels:
        """The mask in hand: 1 inside, 2 on its outline."""
        return self.layers.preview

    @property
    def plane(self) -> PlaneIndex | None:
        """The plane shown; None in 3-D display."""
        return self._source.plane

    @property
    def problem(self) -> Sam3Error | None:
        """Why the plane shown cannot be worked on, if so."""
        return self._source.problem

    @property
    def listening(self) -> bool:
        """Whether clicks in the canvas are prompts: the points are selected, in add mode."""
        active = self.viewer.layers.selection.active
        mine = active is not None and active.unique_id == self.points.unique_id
        return mine and self.points.mode == ADD

    # --------------------------------------------------------------- commands

    def listen(self) -> None:
        """Make clicks in the canvas prompts again."""
        self.layers.select_points()
        self.points.mode = ADD

    def accept(self) -> AcceptedObject | None:
        """Write the mask in hand; see `LabelingSession.accept`."""
        result: AcceptedObject | None = self._guard(self.session.accept)
        return result

    def reject(self) -> None:
        """Drop the prompts and the mask in hand."""
        self._guard(self.session.reject)

    def undo(self) -> None:
        """Take the last step back, and show its plane."""
        self._go_to(self._guard(self.session.undo))

    def redo(self) -> None:
        """Do again what was undone, and show the plane it was done on."""
        self._go_to(self._guard(self.session.redo))

    def restore(self) -> None:
        """Make the layers anew that were deleted, with the prompts still in hand."""
        if self.layers.missing:
            self._unwire_layers()
            self.layers = self.layers.restored()
            self._wire_layers()
            for key, prompts in self.session.all_prompts().items():
                self._show_prompts(key, prompts)
            self._current = False
            self._guard(self._ensure_plane)
            self._show_prediction(self.session.prediction)

    def close(self) -> None:
        """Let the layers go; those that only served the binding are removed."""
        if self._closed:
            return
        self._closed = True
        self._unwire_events()
        self._unwire_layers()
        self.session.clear_plane()
        self.layers.remove_tools()
        if self._own_session:
            self.session.close()

    def __enter__(self) -> Binding:
        """Return the binding; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # ---------------------------------------------------- called by the gestures

    def ready_for_click(self, position: Sequence[float]) -> bool:
        """Whether a click at a world position can be taken; says why if not."""

        def check() -> bool:
            self._ensure_plane()
            y, x = self._source.locate(position)
            PromptSet(((x, y),), (1,)).check_inside(self._plane_shape())
            return True

        return bool(self._guard(check))

    def finish_object(self) -> bool:
        """Accept the object in hand, if there is one; False if that was not possible."""
        if not self.session.prompts.has_target:
            return True
        before = self.session.prompts
        self._guard(self.session.accept)
        return self.session.prompts != before

    def draw_box(self, start: Sequence[float], end: Sequence[float], *, done: bool) -> None:
        """Draw a box between two world positions; once done it is a prompt."""

        def draw() -> None:
            plane = self._source.need()
            corners = np.array([self._source.locate(start), self._source.locate(end)])
            height, width = self._plane_shape()
            corners = np.clip(corners, -0.5, [height - 0.5, width - 0.5]).round(4)
            (y0, x0), (y1, x1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            usable = min(y1 - y0, x1 - x0) >= MIN_BOX_SIDE
            held = self.session.prompts
            if usable and not done:
                self.prompt_layers.write_box(plane, (x0, y0, x1, y1))
            elif usable:
                self._set_prompts(PromptSet(held.points, held.labels, (x0, y0, x1, y1)))
            elif done:
                self.prompt_layers.write_box(plane, held.box)
                PromptSet.from_arrays(box=(x0, y0, x1, y1))  # says what is wrong with it

        self._guard(draw)

    # ------------------------------------------------------------------ wiring

    def _wire_layers(self) -> None:
        layers = self.layers
        self.prompt_layers = PromptLayers(layers.image, layers.points, layers.boxes)
        labels = layers.labels
        self._store = LabelStore(labels, lambda: layers.has(labels))
        self._preview = Preview(layers.preview)
        self._gestures = Gestures(self)
        for emitter in self._prompt_emitters():
            emitter.connect(self._on_prompts)
        self.points.events.mode.connect(self._on_listening)
        self.listen()

    def _unwire_layers(self) -> None:
        self.points.events.mode.disconnect(self._on_listening)
        self._gestures.close()
        self._store.close()
        for emitter in self._prompt_emitters():
            emitter.disconnect(self._on_prompts)

    def _prompt_emitters(self) -> tuple[Any, ...]:
        points, boxes = self.points.events, self.boxes.events
        return points.data, points.features, boxes.data

    def _wire_events(self) -> None:
        for emitter, callback in self._connections():
            emitter.connect(callback)

    def _unwire_events(self) -> None:
        for emitter, callback in self._connections():
            emitter.disconnect(callback)

    def _connections(self) -> list[tuple[Any, Callable[..., None]]]:
        dims, image = self.viewer.dims.events, self.image.events
        pairs: list[tuple[Any, Callable[..., None]]] = [
            *((emitter, self._on_view) for emitter in (dims.point, dims.order, dims.ndisplay)),
            *((emitter, self._on_image) for emitter in (image.data, image.scale, image.translate)),
            (image.units, self._on_image),
            (self.viewer.layers.events.removed, self._on_removed),
            (self.viewer.layers.selection.events.active, self._on_listening),
            (self.session.prompts_changed, self._show_prompts),
            (self.session.prediction_changed, self._show_prediction),
        ]
        if self._on_error is not None:
            pairs.append((self.session.failed, self._report))
        return pairs

    # ------------------------------------------------------------ viewer events

    def _on_view(self, event: Any = None) -> None:
        self._guard(self._follow_viewer)
        self._guard(self._take_prompts)

    def _on_image(self, event: Any = None) -> None:
        self._current = False
        self._on_view()
        self._guard(self._ensure_plane)

    def _on_listening(self, event: Any = None) -> None:
        self.listening_changed.emit()

    def _on_prompts(self, event: Any) -> None:
        if event.type == "features" and self.points.mode == ADD:
            # napari selects what it adds; the mark of selection would hide the colour.
            self.points.selected_data = set()
        action = str(getattr(event, "action", "")).lower()
        if not self.prompt_layers.writing and not action.endswith("ing"):
            self._guard(self._take_prompts)

    def _on_removed(self, event: Any) -> None:
        lost: Layer = event.value
        role = self.layers.role(lost)
        if role is None:
            return
        if role == "image":
            self._source.plane = None
            self._leave_plane()
        error = LayerError(
            f"the {role} layer {lost.name!r} was deleted; "
            + ("choose another image" if role == "image" else 'press "Restore layers"')
        )
        self.layers_lost.emit(error)

    def _follow_viewer(self) -> None:
        """Note which plane is shown. Its pixels are read when they are needed."""
        before = self._source.plane
        try:
            plane = self._source.look()
        except Sam3Error:
            self._leave_plane()
            raise
        if plane != before:
            self._leave_plane()

    def _leave_plane(self) -> None:
        self._current, self._tried = False, None
        self.session.clear_plane()

    def _ensure_plane(self) -> None:
        """Hand the plane shown to the session, unless it has it."""
        if self._current:
            return
        if "image" in self.layers.missing:
            raise LayerError(f"the image {self.image.name!r} was deleted; choose another one")
        plane = self._source.need()
        target = self._store.plane(plane)
        self.session.set_plane(self._source.pixels(), self._source.key(plane), target)
        self._current = True
        if self.session.prompts.has_target:
            self.session.predict()

    def _take_prompts(self) -> None:
        """Bring the session's prompts in step with the layers."""
        plane = self._source.plane
        if plane is None or self.layers.missing:
            return
        prompts = self.prompt_layers.read(plane)
        self.prompt_layers.refresh_symbols()
        if prompts.is_empty and self.session.prompts_on(self._source.key(plane)).is_empty:
            return
        # napari tells more than once of one point; what was refused is refused once.
        if prompts == self._tried:
            return
        self._tried = prompts
        self._ensure_plane()
        if prompts != self.session.prompts:
            self._set_prompts(prompts)

    def _set_prompts(self, prompts: PromptSet) -> None:
        self.session.set_prompts(prompts)
        self.session.predict()

    def _show_prompts(self, key: Hashable, prompts: PromptSet) -> None:
        if not isinstance(key, PlaneKey) or not self._source.is_ours(key) or self.layers.missing:
            return
        try:
            same = self.prompt_layers.read(key.plane) == prompts
        except PromptError:
            same = False
        if not same:
            self.prompt_layers.write(key.plane, prompts)

    def _show_prediction(self, prediction: ObjectPrediction | None) -> None:
        if "preview" not in self.layers.missing:
            mask = prediction.mask if prediction is not None else None
            self._preview.show(mask, self._source.plane)

    def _go_to(self, key: Hashable) -> None:
        if isinstance(key, PlaneKey) and self._source.is_ours(key):
            self._source.show(key.plane)
            self._guard(self._ensure_plane)

    def _plane_shape(self) -> tuple[int, int]:
        assert self.session.pixels is not None
        return self.session.pixels.shape[0], self.session.pixels.shape[1]

    def _guard(self, function: Callable[[], Any]) -> Any:
        """Run something; errors a user can cause are reported, or raised if nobody listens."""
        try:
            return function()
        except Sam3Error as error:
            self._report(error)
            return None

    def _report(self, error: BaseException) -> None:
        if self._on_error is None:
            raise error
        # The same error arrives by the session's event and by its command.
        if error is not self._reported:
            self._reported = error
            self._on_error(error)
