"""A session kept in step with the layers of a viewer: their events in, labels and masks out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from psygnal import Signal

from napari_sam3.core.errors import LayerError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import RenderedPlane
from napari_sam3.images.viewer_image import SeenImage
from napari_sam3.inference.answers import ObjectPrediction
from napari_sam3.labels.targets import LabelTarget
from napari_sam3.session.grouping import group_rows
from napari_sam3.session.session import LabelingSession
from sam3.errors import PromptError, Sam3Error

from .clicking import Clicking
from .features import Bookkeeping
from .field_outline import FieldOutline
from .gestures import ADD, KEYS, Gestures
from .hidden_labels import HiddenLabels
from .journaling import Keeper
from .label_colors import ShownLabels
from .label_layer import LabelStore, moves
from .layer_set import LayerSet, fit_labels
from .plane_source import Contrast, PlaneKey, PlaneSource
from .preview import Preview
from .prompt_layers import PromptLayers
from .reporting import Reporting
from .strokes import Stroke

if TYPE_CHECKING:
    from napari.layers import Layer

    from .binding import Binding

__all__ = ["Following"]


class Following:
    """The part of `Binding` that listens and shows; `Binding` adds the commands."""

    layers_lost = Signal(object)
    listening_changed = Signal()

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        *,
        own_session: bool = False,
        contrast: Contrast = "image",
        keys: Mapping[str, str] = KEYS,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.session = session
        self.layers = layers
        self._keys = keys
        self._source = PlaneSource(layers.viewer, layers.image, contrast)
        self._own_session = own_session
        self._on_error = on_error
        reporting = Reporting(on_error)
        self._guard, self._report = reporting.guard, reporting.report
        self._tried: dict[int, PromptSet] | None = None
        self._current = False
        self._closed = False
        self._outline: FieldOutline | None = None
        self._clicking = Clicking(lambda: self.layers)
        self._gestures: Gestures
        self._wire_layers()
        self._keeper = Keeper(
            session,
            self._source,
            lambda: self._store,
            empty="labels" in layers.made,
            on_error=self._report,
        )
        session.beside = self._beside
        self._wire_events()
        try:
            # Told now if this image cannot be used, not at the first click.
            self._guard(self._follow_viewer)
            if not self.in_3d:
                self._guard(self._ensure_plane)
            for key in session.all_hands():
                self._show_hand(key)
            self._guard(self._take_prompts)
        except BaseException:
            self.close()
            raise

    def close(self, *, discard_journal: bool = False) -> None:
        """Let the layers go; see `Binding`."""
        raise NotImplementedError

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """Bind other keys to the commands."""
        self._keys = keys
        self._gestures.close()
        self._gestures = Gestures(cast("Binding", self), keys)

    @property
    def in_3d(self) -> bool:
        """Whether the viewer shows no plane but a volume."""
        return self._clicking.in_3d

    def listen(self) -> None:
        """Make clicks in the canvas prompts again."""
        self._clicking.resume()

    def show_2d(self) -> None:
        """Leave 3-D display, and make clicks in the canvas prompts again."""
        self.layers.viewer.dims.ndisplay = 2
        self.listen()

    # ------------------------------------------------------------------ wiring

    def _wire_layers(self) -> None:
        layers = self.layers
        self.prompt_layers = PromptLayers(layers.image, layers.points, layers.boxes)
        labels = layers.labels
        self._store = LabelStore(
            labels,
            lambda: layers.has(labels),
            self._source.key,
            self._on_stroke,
        )
        self._books = Bookkeeping(labels, self.session)
        self._preview = Preview(layers.preview, layers.image)
        self._hidden = HiddenLabels(labels)
        self._shown = ShownLabels(labels, self.session, self._hidden)
        self._gestures = Gestures(cast("Binding", self), self._keys)
        for emitter in self._prompt_emitters():
            emitter.connect(self._on_prompts)
        for emitter in (labels.events.data, *moves(labels)):
            emitter.connect(self._on_labels)
        layers.points.events.mode.connect(self._on_mode)
        self.listen()

    def _unwire_layers(self) -> None:
        self.layers.points.events.mode.disconnect(self._on_mode)
        self._gestures.close()
        self._hidden.hide(frozenset(), None)
        self._store.close()
        self._books.close()
        self._shown.close()
        for emitter in self._prompt_emitters():
            emitter.disconnect(self._on_prompts)
        labels = self.layers.labels
        for emitter in (labels.events.data, *moves(labels)):
            emitter.disconnect(self._on_labels)

    def _prompt_emitters(self) -> tuple[Any, ...]:
        points, boxes = self.layers.points.events, self.layers.boxes.events
        return points.data, points.features, boxes.data

    def _wire_events(self) -> None:
        for emitter, callback in self._connections():
            emitter.connect(callback)

    def _unwire_events(self) -> None:
        for emitter, callback in self._connections():
            emitter.disconnect(callback)

    def _connections(self) -> list[tuple[Any, Callable[..., None]]]:
        dims, image = self.layers.viewer.dims.events, self.layers.image.events
        sliced = (dims.point, dims.order, dims.margin_left, dims.margin_right)
        pairs: list[tuple[Any, Callable[..., None]]] = [
            *((emitter, self._on_view) for emitter in (*sliced, image.projection_mode)),
            (dims.ndisplay, self._on_display),
            *((emitter, self._on_move) for emitter in moves(self.layers.image)),
            (image.data, self._on_image),
            (image.contrast_limits, self._on_contrast),
            (self.layers.viewer.layers.events.removed, self._on_removed),
            (self.layers.viewer.layers.selection.events.active, self._on_listening),
            (self.session.prompts_changed, self._show_hand),
            (self.session.prediction_changed, self._show_prediction),
        ]
        if self._on_error is not None:
            pairs.append((self.session.failed, self._report))
        return pairs

    # ------------------------------------------------------------ viewer events

    def _on_view(self, event: Any = None) -> None:
        self._guard(self._look)
        self._guard(self._take_prompts)
        self._guard(self._look_at_plane)

    def _on_display(self, event: Any = None) -> None:
        self._on_view()
        if not self.in_3d and self._clicking.resumes:
            self.listen()
        self.listening_changed.emit()

    def _on_mode(self, event: Any = None) -> None:
        self._clicking.note_mode()
        self._on_listening()

    def _on_image(self, event: Any = None) -> None:
        self._source.forget()
        self._current = False
        self._on_view()
        if not self.in_3d:
            self._guard(self._ensure_plane)

    def _on_move(self, event: Any = None) -> None:
        self.layers.follow_image()
        self._current = False
        # Scale and place come one by one: between them the slider may stand outside the image.
        with suppress(LayerError):
            self._follow_viewer()
            self._guard(self._take_prompts)
            self._guard(self._ensure_plane)
        self._show_prediction(self.session.prediction)

    def _on_labels(self, event: Any = None) -> None:
        self._current = False  # looked at anew before the next thing is done to them

    def _on_contrast(self, event: Any = None) -> None:
        if self._source.contrast == "layer":
            # Limits change many times while a slider moves: rendered anew at the next question.
            self._source.forget()
            self._current = False

    def _on_listening(self, event: Any = None) -> None:
        self.listening_changed.emit()

    def _on_prompts(self, event: Any) -> None:
        points = self.layers.points
        if event.type == "data":
            self.prompt_layers.follow(event, self._source.plane)
        if event.type == "features" and points.mode == ADD:
            # napari selects what it adds; the mark of selection would hide the colour.
            points.selected_data = set()
        action = str(getattr(event, "action", "")).lower()
        if not self.prompt_layers.writing and not action.endswith("ing"):
            self._guard(self._take_prompts)

    def _on_stroke(self, atoms: list[Any]) -> None:
        plane = self._source.plane
        # In 3-D display strokes have no plane; they are noted by the planes of the last two axes.
        ndim = self.layers.labels.ndim
        axes = plane.axes if plane is not None else (ndim - 2, ndim - 1)
        stroke = Stroke(self._store, atoms, axes)
        painted = stroke.painted()
        self.session.note_edit(stroke, painted[0].plane, painted)

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
        if self.in_3d:  # looking is fine; what needs a plane says so
            self._source.plane = None
            self._leave_plane()
            return
        try:
            plane = self._source.look()
        except Sam3Error:
            self._leave_plane()
            raise
        if plane != before:
            self._leave_plane()

    def _look(self) -> None:
        # Where the viewer shows no plane, looking is fine, and `problem` says why.
        with suppress(LayerError):
            self._follow_viewer()
        self.listening_changed.emit()

    def _leave_plane(self) -> None:
        self._current, self._tried = False, None
        self.session.clear_plane()

    def _look_at_plane(self) -> None:
        """Let the session know a plane before the first click on it, if it looks ahead."""
        if self.session.look_ahead and self._source.plane is not None and not self.layers.missing:
            self._ensure_plane()
            self.session.prepare()

    def _beside(self) -> list[RenderedPlane]:
        """Images of the planes that are likely to be looked at next."""
        return [] if self.layers.missing else self._source.neighbours()

    def _ensure_plane(self) -> None:
        """Hand the plane shown to the session, unless it has it."""
        if self._current:
            return
        if "image" in self.layers.missing:
            name = self.layers.image.name
            raise LayerError(f"the image {name!r} was deleted; choose another one")
        # Both may have been moved, or given other data, since they were chosen.
        fit_labels(self.layers.labels, self.layers.image)
        plane = self._source.need()
        target = self._store.plane(plane)
        self.session.set_plane(self._source.rendered(), self._source.key(plane), target)
        self._current = True
        if any(draft.has_target for draft in self.session.hand.drafts):
            self.session.predict()

    # ------------------------------------------------------------------ prompts

    def _take_prompts(self) -> None:
        """Bring the session's objects in step with the layers."""
        plane = self._source.plane
        if plane is None or self.layers.missing:
            return
        objects = self.prompts_on(plane)
        self.prompt_layers.refresh_symbols()
        if not objects and not self.session.hand_on(self._source.key(plane)).drafts:
            return
        # napari tells more than once of one point; what was refused is refused once.
        if objects == self._tried:
            return
        self._tried = objects
        self._ensure_plane()
        if objects != _asked(self.session.hand.drafts):
            self.session.set_objects(objects)
            self.session.predict()

    def prompts_on(self, plane: PlaneIndex) -> dict[int, PromptSet]:
        """Read the prompts on any plane, object by object; rows of none are assigned."""
        rows = self.prompt_layers.read(plane)
        session, hand = self.session, self.session.hand_on(self._source.key(plane))
        objects, numbers = group_rows(
            rows, session.mode, hand, session.draft_at, session.new_number
        )
        if any(row.number != number for row, number in zip(rows, numbers, strict=True)):
            self.prompt_layers.assign(plane, numbers)
        return objects

    def snapshot(self) -> SeenImage:
        """Return the image as the model sees it now, with all its planes, for any thread."""
        self._ensure_plane()
        return self._source.snapshot()

    def labels_on(self, plane: PlaneIndex) -> LabelTarget:
        """Return where the labels of any plane are written."""
        return self._store.plane(plane)

    def _show_hand(self, key: Hashable) -> None:
        if not isinstance(key, PlaneKey) or not self._source.is_ours(key) or self.layers.missing:
            return
        hand, held = self.session.hand_on(key), dict[int, PromptSet]()
        try:
            for row in self.prompt_layers.read(key.plane):
                held[row.number] = held.get(row.number, PromptSet()).joined(row.prompts)
            same = held == _asked(hand.drafts)
        except PromptError:
            same = False
        if not same:
            self.prompt_layers.write(key.plane, hand)
        self._tried = None

    def _show_prediction(self, prediction: ObjectPrediction | None) -> None:
        if "preview" in self.layers.missing:
            return
        shown, current = self.session.shown, self.session.hand.current
        ranked = sorted(shown, key=lambda one: one.draft.number == current)
        self._preview.show(
            ((one.mask, one.draft.number == current) for one in ranked), self._source.plane
        )
        drafts = (one.draft for one in ranked)
        refined = frozenset(draft.label for draft in drafts if draft.label is not None)
        self._hidden.hide(refined, self._source.plane)
        self._show_field()

    def _show_field(self) -> None:
        if self._outline is None or self._closed:
            return
        found = self.session.prediction
        field = found.field if found is not None and found.predicted else None
        self._outline.show(field, self._source.plane)

    def _go_to(self, key: Hashable) -> None:
        if isinstance(key, PlaneKey) and self._source.is_ours(key):
            self._source.show(key.plane)
            self._guard(self._ensure_plane)


def _asked(drafts: Any) -> dict[int, PromptSet]:
    return {draft.number: draft.prompts for draft in drafts if not draft.prompts.is_empty}
