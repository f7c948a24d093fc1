"""Features of prompt layers: polarity and object of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.prompts import parse_polarity
from sam3.errors import PromptError

from .prompt_styles import BACKGROUND, FOREGROUND, POLARITY, SYMBOLS

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

__all__ = ["OBJECT", "ObjectNumbers", "Polarity"]

#: Column of the object's number.
OBJECT = "object"


class ObjectNumbers:
    """The number of the object of each row of a layer; 0 for none yet.

    Parameters
    ----------
    layer : Points or Shapes
        The layer.
    own : bool
        Whether the layer was created for the binding. Tables of other layers do not change.
    """

    def __init__(self, layer: Points | Shapes, *, own: bool) -> None:
        self._layer, self._own = layer, own
        self._numbers: list[int] = []
        if self._shown and not len(layer.data):
            # Left from another image; without it, defaults for new points need not include it.
            defaults = _defaults(layer)
            layer.features = layer.features.drop(columns=OBJECT)
            layer.feature_defaults = {name: defaults[name] for name in layer.features}

    def values(self) -> list[int]:
        """Return one number per row, from the column, or else as stored here."""
        count = len(self._layer.data)
        if self._shown:
            column = self._layer.features[OBJECT]
            self._numbers = [_whole(value) for value in column]
        self._numbers = (self._numbers + [0] * count)[:count]
        return list(self._numbers)

    def put(self, numbers: Mapping[int, int]) -> None:
        """Set the numbers of rows, by their index, without an event."""
        values = self.values()
        for row, number in numbers.items():
            values[row] = number
        self._numbers = values
        if self._shown:
            self._layer.features[OBJECT] = np.array(values, np.int64)

    def remove(self, rows: Iterable[int]) -> None:
        """Remove the numbers of rows that napari has removed."""
        gone = set(rows)
        self._numbers = [number for i, number in enumerate(self._numbers) if i not in gone]

    def show(self) -> None:
        """Show the numbers in a column, if the layer was created for the binding."""
        if not self._own or self._shown:
            return
        table, defaults = self._layer.features.copy(), _defaults(self._layer)
        table[OBJECT] = np.array(self.values(), np.int64)
        self._layer.features = table
        self._layer.feature_defaults = {**defaults, OBJECT: 0}

    @property
    def _shown(self) -> bool:
        return self._own and OBJECT in self._layer.features


class Polarity:
    """The polarity of each row of a Points layer: foreground or background.

    Parameters
    ----------
    points : Points
        Layer with the column "polarity", or another one that can be read as such; without one,
        every point is foreground.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        # Spelling of the layer's owner, for when the layer is empty.
        self._spelling: tuple[str, Any] = (POLARITY, FOREGROUND)

    def values(self) -> list[Any]:
        """Return the polarity of each row as spelled in the table; see `parse_polarity`."""
        column = self._column()
        if column is None:
            return [True] * len(self._points.data)
        values = list(self._points.features[column])
        self._spelling = (column, values[-1]) if values else self._spelling
        return values

    def set_next(self, foreground: bool) -> None:
        """Set the polarity of the next point that napari adds."""
        defaults = _defaults(self._points)
        if POLARITY in defaults:
            next_point = {**defaults, POLARITY: _name(foreground)}
            if OBJECT in defaults:
                next_point[OBJECT] = 0
            if next_point != defaults:  # napari makes a table of it, and tells of that
                self._points.feature_defaults = next_point
            # Added with its symbol, a point need not be drawn a second time for it.
            symbol = SYMBOLS[_name(foreground)]
            if str(self._points.current_symbol) != symbol:
                with self._points.block_update_properties():
                    self._points.current_symbol = symbol

    def put(self, first: int, labels: Sequence[int]) -> None:
        """Set the polarities (1 or 0) of rows from `first` on, without an event."""
        column, like = self._spelling
        if column in self._points.features:
            table = self._points.features
            rows = range(first, first + len(labels))
            table.loc[rows, column] = [_like(label, like) for label in labels]
            self._points.refresh_colors(update_color_mapping=False)

    def flip(self, rows: Sequence[int]) -> None:
        """Toggle clicks between foreground and background."""
        column = self._column()
        if column is None or not len(rows):
            return
        table, defaults = self._points.features.copy(), _defaults(self._points)
        for row in rows:
            value = table.loc[row, column]
            table.loc[row, column] = _like(1 - parse_polarity(value), value)
        self._points.features = table
        self._points.feature_defaults = defaults
        self._points.refresh_colors(update_color_mapping=False)

    def refresh_symbols(self, polarities: Sequence[Any]) -> None:
        """Give every point the symbol of its polarity."""
        if len(self._points.data) and POLARITY in self._points.features:
            names = [SYMBOLS.get(str(value), "ring") for value in polarities]
            if [str(symbol) for symbol in self._points.symbol] != names:
                self._points.symbol = names

    def _column(self) -> str | None:
        features = self._points.features
        if POLARITY in features:
            return POLARITY
        for name in features:
            values = list(features[name].unique())
            try:
                readable = bool(values) and all(parse_polarity(v) in (0, 1) for v in values)
            except PromptError:
                readable = False
            if readable:
                return str(name)
        return None


def _defaults(layer: Points | Shapes) -> dict[str, Any]:
    """Return the defaults of the next row, which napari resets when a table is assigned."""
    return {name: column.iloc[0] for name, column in layer.feature_defaults.items()}


def _whole(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):  # a text, or missing
        return 0


def _name(label: int | bool) -> str:
    return FOREGROUND if label else BACKGROUND


def _like(label: int, example: Any) -> Any:
    """Return a polarity in the style of a column: a name, a number or a bool."""
    if isinstance(example, str):
        return _name(label)
    return type(example)(label)
