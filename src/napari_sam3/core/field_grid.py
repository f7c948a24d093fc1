"""All fields of a level on a plane or a part of it, created lazily."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .fields import FieldOfView, central_span, field_of_spans, field_side, field_spans, top_level

__all__ = ["FieldGrid", "fields_over"]

Span = tuple[int, int]


@dataclass(frozen=True)
class FieldGrid:
    """Fields of one level, in row-major order.

    Parameters
    ----------
    level : int
        Level of the fields.
    rows, columns : tuple of (start, stop)
        Spans along each axis in px of the plane; each pair of spans is a field.
    """

    level: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[FieldOfView]:
        """Yield the fields."""
        for rows in self.rows:
            for columns in self.columns:
                yield field_of_spans(self.level, rows, columns)


def fields_over(
    shape: tuple[int, int],
    resolution: int,
    level: int,
    rows: Span | None = None,
    columns: Span | None = None,
) -> FieldGrid:
    """Return the fields used for clicks on a part of a plane.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the plane in px.
    resolution : int
        Side of the model's input in px.
    level : int
        Pyramid level, limited to the one at which a field covers the whole plane.
    rows, columns : tuple of int, optional
        Start and stop of the part; by default the whole plane.
    """
    level = min(level, top_level(shape, resolution))
    side = field_side(resolution, level)
    chosen = []
    for length, part in zip(shape, (rows, columns), strict=True):
        spans = field_spans(length, side)
        if part is not None:
            ends = (part[0], part[1] - 1)
            first, last = (spans.index(central_span(spans, place)) for place in ends)
            spans = spans[first : last + 1]
        chosen.append(tuple(spans))
    return FieldGrid(level, chosen[0], chosen[1])
