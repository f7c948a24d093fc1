"""Fields in which a plane is searched for objects."""

from __future__ import annotations

import math

from napari_sam3.core.fields import FieldOfView, central_span, field_of_spans, field_side
from napari_sam3.core.masks import Region

__all__ = ["OVERLAP", "SearchGrid"]

Span = tuple[int, int]

#: Least overlap of two fields as a fraction of their side. Fields for clicks overlap by half: then
#: each object of up to half a field lies in one of them. A search encodes all fields, and at
#: larger ones for what these cut off, so it gets by with half of them along each axis.
OVERLAP = 0.15
#: Difference of the positions at which two fields propose an object, as a fraction of their side:
#: two cells of the proposals.
SLACK = 1 / 64


class SearchGrid:
    """Fields of one level that cover a plane with little overlap, evenly spread.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the plane in px.
    resolution : int
        Side of the model's input in px.
    level : int
        Pyramid level.
    overlap : float
        Least overlap of two fields as a fraction of their side.
    """

    def __init__(
        self, shape: tuple[int, int], resolution: int, level: int, overlap: float = OVERLAP
    ) -> None:
        self._shape, self._level = shape, level
        self._side = field_side(resolution, level)
        self._slack = SLACK * self._side
        self._rows, self._columns = (_spans(length, self._side, overlap) for length in shape)

    def field_at(self, y: float, x: float) -> FieldOfView:
        """Return the field in which a position is most central."""
        return field_of_spans(
            self._level, central_span(self._rows, y), central_span(self._columns, x)
        )

    def is_near(self, field: FieldOfView, y: float, x: float) -> bool:
        """Tell whether a position is most central in a field, or would be a few px further.

        Fields propose an object at slightly different positions: each might leave it to the other.
        """
        rows, columns = field.rows, field.columns
        return any(
            central_span(self._rows, y + a) == rows
            and central_span(self._columns, x + b) == columns
            for a in (-self._slack, self._slack)
            for b in (-self._slack, self._slack)
        )

    def over(self, region: Region) -> list[FieldOfView]:
        """Return the fields of all positions in a region, row by row."""
        rows, columns = (
            _between(spans, part)
            for spans, part in zip((self._rows, self._columns), region, strict=True)
        )
        return [field_of_spans(self._level, a, b) for a in rows for b in columns]

    def reach(self, region: Region) -> Region:
        """Return the smallest region with all positions of the fields of a region."""
        fields = self.over(region)
        first, last = fields[0], fields[-1]
        return slice(first.rows[0], last.rows[1]), slice(first.columns[0], last.columns[1])


def _spans(length: int, side: int, overlap: float) -> list[Span]:
    """Return evenly spread spans (start, stop) along an axis."""
    if length <= side:
        return [(0, length)]
    steps = math.ceil((length - side) / max(1, side * (1 - overlap)))
    starts = (round(number * (length - side) / steps) for number in range(steps + 1))
    return [(start, start + side) for start in starts]


def _between(spans: list[Span], part: slice) -> list[Span]:
    first, last = (spans.index(central_span(spans, place)) for place in (part.start, part.stop - 1))
    return spans[first : last + 1]
