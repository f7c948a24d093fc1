"""One call for each edit of a Points or Shapes layer, however often napari tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

    from .prompt_features import ObjectNumbers

__all__ = ["PromptEdits"]


class PromptEdits:
    """Listens to one layer.

    napari tells of a click before, when it is drawn, after, and when it is selected; of what is
    pasted only when it is drawn; of what is dragged with every step of the mouse.

    Parameters
    ----------
    layer : Points or Shapes
        The layer.
    numbers : ObjectNumbers
        Kept in step with rows that are added and removed.
    meaning : callable
        Returns what features say about the rows.
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
        self._known = self._look()
        for emitter, callback in self._connections():
            emitter.connect(callback)

    def close(self) -> None:
        """Stop listening."""
        for emitter, callback in self._connections():
            emitter.disconnect(callback)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Edit the layer without a call."""
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
            # A new row has the features of the one selected, whose object need not be its own.
            # napari selects it before it tells of features, so that is when it is done.
            self._numbers.put(dict.fromkeys(range(self._known[0], len(self._layer.data)), 0))
            self._pending = True
        elif not self._quiet:
            self._tell()

    def _on_features(self, event: Any) -> None:
        settled = not (self._quiet or self._under_way)
        if settled and (self._pending or self._known != self._look()):
            self._tell()

    def _on_drawn(self, event: Any) -> None:
        settled = not (self._quiet or self._under_way or self._pending)
        if settled and self._known[0] != len(self._layer.data):
            self._tell()

    def _tell(self) -> None:
        self._note()
        self._edited()

    def _note(self) -> None:
        self._pending = False
        self._known = self._look()

    def _look(self) -> tuple[int, list[int], Any]:
        return len(self._layer.data), self._numbers.values(), self._meaning()
