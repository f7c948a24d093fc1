"""Mouse gestures and keys on the Points layer, without switching modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari.layers import Layer, Points

    from .layer_set import LayerSet

__all__ = ["ALSO", "KEYS", "OF_WIDGET", "GestureTarget", "Gestures", "LayerCommand", "Place"]

#: A position in world coordinates.
Place = Sequence[float]

ADD, PAN_ZOOM = "add", "pan_zoom"
LEFT, RIGHT = 1, 2
# Minimum drag in screen px that draws a box; napari's own threshold.
DRAG_DISTANCE = 5

#: Keys of the commands; "" for none. Of these, napari uses undo and redo alone on the Points,
#: Shapes and Labels layers to which they are bound, and C, O and Y on Image layers.
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "accept": "N",
        "reject": "Q",
        "undo": "Control-Z",
        "redo": "Control-Shift-Z",
        "next_candidate": "W",
        "find_similar": "Y",
        "accept_candidates": "Shift-N",
        "next_worst": "Shift-W",
        "accept_one": "Shift-Y",
        "drop_one": "Shift-K",
        "propagate": "O",
        "refine": "G",
        "delete": "K",
        "delete_everywhere": "Control-Shift-K",
        "merge": "J",
        "merge_everywhere": "Control-Shift-J",
        "split": "H",
        "split_from_here": "Control-Shift-H",
        "divide": "Shift-D",
        "background": "U",
        "brush": "Shift-B",
        "outline": "C",
        "help": "F1",
        "next_image": ".",
        "previous_image": ",",
    }
)

#: Keys that a second command has, in addition to its own, as in other programs.
ALSO: Mapping[str, str] = MappingProxyType(
    {"accept": "Enter", "cancel": "Escape", "delete": "Delete"}
)

#: Keys of the widget, which are bound by `napari_sam3.layers.series_view.WidgetKeys`.
OF_WIDGET = ("next_image", "previous_image", "help")


class GestureTarget(Protocol):
    """The commands that gestures and keys call."""

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys and buttons, by the names of `KEYS`."""

    def ready_for_click(self, position: Place) -> bool:
        """Whether a click at a position is a prompt; reports why if not."""

    def finish_object(self) -> bool:
        """Accept the drafts, if there are any; False if that was not possible."""

    def next_click(self, foreground: bool, place: Place) -> None:
        """Prepare for the point that napari adds on release, at about this place."""

    def draw_box(self, start: Place, end: Place, *, done: bool) -> None:
        """Draw a box between two positions; it becomes a prompt when done."""

    def refine(self, place: Place | None = None) -> None:
        """Reopen the label at a position as the current draft."""

    def choose_class(self, number: int) -> None:
        """Choose the class with a number, from 1, for the next accepted objects."""


class Gestures:
    """Left click foreground, right click background, drag a box, Shift+click accept and continue.

    Control+click reopens a label. They act in the Points layer's *add* mode, where napari itself
    adds the points; holding space pans as usual.

    Parameters
    ----------
    target : GestureTarget
        Receiver of the commands.
    layers : LayerSet
        Layers that receive the gestures.
    keys : mapping from str to str
        Keys of the target's commands, by name.
    """

    def __init__(
        self, target: GestureTarget, layers: LayerSet, keys: Mapping[str, str] = KEYS
    ) -> None:
        self._target = target
        self._keys = {name: key for name, key in keys.items() if key}
        self._points: Points = layers.points
        # Before napari's own callback, so that the polarity is set when the point is added.
        self._points.mouse_drag_callbacks.insert(0, self._on_press)
        self._points.events.mode.connect(self._on_mode)
        self._bound: list[LayerCommand] = []
        for layer in (layers.points, layers.boxes, layers.labels):
            self._bind_keys(layer)
        self._on_mode()

    def close(self) -> None:
        """Remove gestures and keys from the layers."""
        if self._on_press in self._points.mouse_drag_callbacks:
            self._points.mouse_drag_callbacks.remove(self._on_press)
        self._points.events.mode.disconnect(self._on_mode)
        for command in self._bound:
            command.release()
        self._bound.clear()
        if self._points.mode == ADD:
            self._points.mouse_pan = True

    def _bind_keys(self, layer: Layer) -> None:
        for name, key in self._keys.items():
            if name in OF_WIDGET:
                continue
            self._bound.append(LayerCommand(layer, key, self._target.commands[name]))
        for name, key in ALSO.items():
            if key not in self._keys.values():
                run = partial(self._run_unless_napari_does, name, layer)
                self._bound.append(LayerCommand(layer, key, run))
        for number in range(1, 10):
            choose = partial(self._target.choose_class, number)
            self._bound.append(LayerCommand(layer, f"Alt-{number}", choose))

    def _run_unless_napari_does(self, name: str, layer: Layer) -> None:
        """Run a command, unless napari uses the key for selected or drawn parts."""
        napari_does = _NAPARI_DOES.get((name, layer.__class__.__name__))
        if napari_does is None or not napari_does(layer):
            self._target.commands[name]()

    def _on_mode(self, event: Any = None) -> None:
        if self._points.mode == ADD:
            # napari pans in add mode; here, a drag draws a box.
            self._points.mouse_pan = False

    def _on_press(self, layer: Points, event: Any) -> Iterator[None]:
        if self._points.mode == ADD:
            yield from self._follow_press(event)
            _release_earlier_events(event)

    def _follow_press(self, event: Any) -> Iterator[None]:
        if event.button not in (LEFT, RIGHT) or not self._target.ready_for_click(event.position):
            yield from self._swallow()
            return
        if "Control" in event.modifiers:
            self._target.refine(event.position)
            yield from self._swallow()
            return
        if "Shift" in event.modifiers and not self._target.finish_object():
            yield from self._swallow()
            return
        # Handled here, since vispy would otherwise draw the scene to find what is under the mouse.
        event.handled = True
        # Stays set until the next press, since napari adds the point on release.
        foreground = event.button == LEFT
        start_place, start = np.array(event.pos), tuple(event.position)
        self._target.next_click(foreground, start)
        dragged = False
        yield
        while event.type == "mouse_move":
            if _distance(event, start_place) >= DRAG_DISTANCE:
                if foreground:
                    dragged = True
                    self._target.draw_box(start, tuple(event.position), done=False)
                event.handled = True
            yield
        # vispy drops moves within 10 ms of another: of a quick drag, only the release may arrive.
        if dragged or (foreground and _distance(event, start_place) >= DRAG_DISTANCE):
            self._target.draw_box(start, tuple(event.position), done=True)

    def _swallow(self) -> Iterator[None]:
        """Keep napari from adding a point for this press."""
        self._points.mode = PAN_ZOOM
        self._points.mouse_pan = False
        yield
        self._points.mode = ADD


class LayerCommand:
    """A command on a key of a layer, which other widgets may bind as well.

    Parameters
    ----------
    layer : Layer
        The layer; the command that was bound last runs.
    key : str
        The key, in napari's notation.
    run : callable
        The command.
    """

    def __init__(self, layer: Layer, key: str, run: Callable[[], object]) -> None:
        from napari.utils.key_bindings import coerce_keybinding

        self._layer, self._key, self._run = layer, coerce_keybinding(key), run
        self._before: Any = layer.keymap.get(self._key)
        self._released = False
        self.__name__ = f"sam3_{key}"
        layer.bind_key(self._key, self, overwrite=True)

    def __call__(self, _layer: Layer) -> None:
        """Run the command."""
        self._run()

    def release(self) -> None:
        """Restore the previous command of the key that is still in use."""
        self._released = True
        bound = self._layer.keymap.get(self._key)
        if bound is not self:
            return  # bound again since; the newer command skips this one on release
        while isinstance(bound, LayerCommand) and bound._released:
            bound = bound._before
        self._layer.bind_key(self._key, None)
        if bound is not None:
            self._layer.bind_key(self._key, bound, overwrite=True)


def _distance(event: Any, place: npt.NDArray[Any]) -> float:
    """Return the distance of a mouse event from a place on the canvas, in px of the screen."""
    return float(np.linalg.norm(np.array(event.pos) - place))


def _remove_selected(layer: Any) -> bool:
    """Remove selected points or shapes; whether there were any."""
    selected = bool(layer.selected_data)
    if selected:
        layer.remove_selected()
    return selected


def _end_shape(layer: Any) -> bool:
    """End a shape that is being drawn; whether the layer draws any."""
    from napari.layers.shapes._shapes_key_bindings import finish_drawing_shape

    drawing = str(layer.mode).startswith("add_")
    if drawing:
        finish_drawing_shape(layer)
    return drawing


def _end_polygon(layer: Any) -> bool:
    """Paint the polygon that is being drawn on labels; whether the layer draws any."""
    from napari.layers.labels._labels_key_bindings import complete_polygon

    drawing = str(layer.mode) == "polygon"
    if drawing:
        complete_polygon(layer)
    return drawing


def _drop_polygon(layer: Any) -> bool:
    """Drop the polygon that is being drawn on labels; whether the layer draws any."""
    from napari.layers.labels._labels_key_bindings import reset_polygon

    drawing = str(layer.mode) == "polygon"
    if drawing:
        reset_polygon(layer)
    return drawing


#: What napari does with these keys on a class of layers: done instead of a command, if it applies.
_NAPARI_DOES: Mapping[tuple[str, str], Callable[[Any], bool]] = {
    ("accept", "Shapes"): _end_shape,
    ("accept", "Labels"): _end_polygon,
    ("cancel", "Shapes"): _end_shape,
    ("cancel", "Labels"): _drop_polygon,
    ("delete", "Points"): _remove_selected,
    ("delete", "Shapes"): _remove_selected,
}


def _release_earlier_events(event: Any) -> None:
    """Release the mouse events before a click.

    Each mouse event of vispy references the one before, and a release its press, so that all
    clicks would stay in memory. vispy breaks the chain for moves only.
    """
    forget = getattr(getattr(event, "press_event", None), "_forget_last_event", None)
    if forget is not None:
        forget()
