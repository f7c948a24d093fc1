"""Keys of a widget on the layers of a binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .gestures import LayerCommand

if TYPE_CHECKING:
    from .binding import Binding

__all__ = ["WidgetKeys"]


class WidgetKeys:
    """Keys of the widget, such as those that navigate a series, on the layers of a binding.

    Parameters
    ----------
    binding : Binding
        Binding whose layers get the keys.
    keys : mapping from str to str
        As in `napari_sam3.layers.gestures.KEYS`.
    commands : mapping from str to callable
        Commands by the same names.
    """

    def __init__(
        self,
        binding: Binding,
        keys: Mapping[str, str],
        commands: Mapping[str, Callable[[], object]],
    ) -> None:
        self._bound = [
            LayerCommand(layer, keys[name], run)
            for layer in (binding.points, binding.boxes, binding.labels)
            for name, run in commands.items()
            if keys.get(name)
        ]

    def close(self) -> None:
        """Release the keys."""
        for command in self._bound:
            command.release()
        self._bound.clear()
