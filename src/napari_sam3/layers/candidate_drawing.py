"""The look of candidates: dashed outlines, drawn for thousands at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import around

from .preview import FILL, fill_and_outline

if TYPE_CHECKING:
    from napari_sam3.session.candidates import CandidateObject

__all__ = ["OutlineDrawing", "candidate_colors"]

INSIDE, DASH, SPACE, CURRENT_INSIDE, CURRENT = 1, 2, 3, 4, 5
# Dashes of two colours are seen on dark, bright and stained images, whatever the labels' colours.
_COLORS = {
    INSIDE: (0.6, 1.0, 0.2, 0.1),
    DASH: (0.6, 1.0, 0.2, 1.0),
    SPACE: (0.0, 0.0, 0.0, 0.85),
    CURRENT_INSIDE: (1.0, 0.25, 0.9, 0.25),
    CURRENT: (1.0, 0.25, 0.9, 1.0),
}
# Length of a dash in thicknesses of the line.
_DASH = 4


def candidate_colors() -> Any:
    """Return the colormap of candidates, a cyclic one: the first use of others takes a second."""
    from napari.utils.colormaps import CyclicLabelColormap

    colors = np.zeros((max(_COLORS) + 1, 4), np.float32)
    for value, color in _COLORS.items():
        colors[value] = color
    return CyclicLabelColormap(colors=colors, background_value=0)


class OutlineDrawing:
    """Draws any of the candidates of a plane.

    Their pixels are found once and kept in a row, so that drawing is a few operations of numpy:
    a slider that hides and shows thousands of candidates is followed at once.

    Parameters
    ----------
    candidates : sequence of CandidateObject
        All candidates of the plane, the best first; none is empty.
    shape : tuple of int
        (height, width) of the plane in px.

    Attributes
    ----------
    candidates : sequence of CandidateObject
        As given.
    corner : tuple of int
        (row, column) of the first pixel drawn.
    """

    def __init__(self, candidates: Sequence[CandidateObject], shape: tuple[int, int]) -> None:
        self.candidates = candidates
        rows, columns = around([one.mask for one in candidates])
        self.corner = rows.start, columns.start
        self._size = rows.stop - rows.start, columns.stop - columns.start
        self._places = {id(one): at for at, one in enumerate(reversed(candidates))}
        thickness = max(1, round(min(shape) / 500))
        pixels, values = [], []
        for one in reversed(candidates):  # where pixels come twice, the last one is drawn
            mask = one.mask
            y, x = np.nonzero(mask.crop)
            drawn = fill_and_outline(mask.crop, thickness)[y, x]
            y, x = y + mask.row, x + mask.column
            dashes = (y + x) // (_DASH * thickness) % 2
            values.append(np.where(drawn == FILL, INSIDE, DASH + dashes).astype(np.uint8))
            pixels.append((y - rows.start) * self._size[1] + (x - columns.start))
        self._lengths = np.array([len(part) for part in pixels])
        self._pixels, self._values = np.concatenate(pixels), np.concatenate(values)

    def draw(
        self, shown: Iterable[CandidateObject], current: Iterable[CandidateObject] = ()
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels (h x w) of some of the candidates, the current ones on top."""
        kept = np.zeros(len(self._lengths), np.bool_)
        kept[[self._places[id(one)] for one in shown]] = True
        drawn = np.zeros(self._size, np.uint8)
        flat, chosen = drawn.reshape(-1), np.repeat(kept, self._lengths)
        flat[self._pixels[chosen]] = self._values[chosen]
        ends = np.cumsum(self._lengths)
        for one in current:
            at = self._places.get(id(one))
            if at is not None and kept[at]:
                part = slice(ends[at] - self._lengths[at], ends[at])
                inside = self._values[part] == INSIDE
                flat[self._pixels[part]] = np.where(inside, CURRENT_INSIDE, CURRENT)
        return drawn
