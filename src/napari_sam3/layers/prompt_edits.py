"""One callback per edit of a Points or Shapes layer, though napari emits several events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

    from .prompt_features import ObjectNumbers

__all__ = ["PromptEdits"]


class PromptEdits:
    """Listen to one layer.

    napari emits events for a click before and after it is added, on drawing and on selection; for
    pasted rows only on drawing; for dragged rows at every step of the mouse.

    Parameters
    ----------
    layer : Points or Shapes
        The layer.
    numbers : ObjectNumbers
        Updated when rows are added or removed.
    meaning : callable
        Returns the meaning of the rows according to their features.
    edited : callable
        Called once after each edit.
    """

    def __init__(
        self,
        layer: Points | Shapes,
        numbers: ObjectNumbers,
        meaning: Callable[[], Any],
        edited: Callable[[], None],
    ) -> None:
        self._layer, self._numbers = layer, numbers
        self._meaning, self._edited = meaning, edited
        self._quiet = self._under_way = self._pending = False
        self._known = self._content()
        for emitter, callback in self._connections():
            emitter.connect(callback)

    def close(self) -> None:
        """Stop listening."""
        for emitter, callback in self._connections():
            emitter.disconnect(callback)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Suppress the callback for edits within the block."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
            self._note()

    def _connections(self) -> list[tuple[Any, Callable[[Any], None]]]:
        events = self._layer.events
        return [
            (events.data, self._on_data),
            (events.features, self._on_features),
            (events.set_data, self._on_drawn),
        ]

    def _on_data(self, event: Any) -> None:
        action = str(getattr(event, "action", "")).lower()
        self._under_way = action.endswith("ing")
        if self._under_way:
            return
        if action.endswith("removed"):
            self._numbers.remove(int(i) for i in event.data_indices)
        if action.endswith("added") and not self._quiet:
            # A new row copies the features of the selected one, so its object is reset. The edit
            # ends when napari has selected the row, with the next features event.
            self._numbers.put(dict.fromkeys(range(self._known[0], len(self._layer.data)), 0))
            self._pending = True
        elif not self._quiet:
            self._finish()

    def _on_features(self, event: Any) -> None:
        settled = not (self._quiet or self._under_way)
        if settled and (self._pending or self._known != self._content()):
            self._finish()

    def _on_drawn(self, event: Any) -> None:
        settled = not (self._quiet or self._under_way or self._pending)
        if settled and self._known[0] != len(self._layer.data):
            self._finish()

    def _finish(self) -> None:
        self._note()
        self._edited()

    def _note(self) -> None:
        self._pending = False
        self._known = self._content()

    def _content(self) -> tuple[int, list[int], Any]:
        return len(self._layer.data), self._numbers.values(), self._meaning()
