"""Drawing of candidates with dashed outlines, fast for thousands."""

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
# Dashes of two colours are visible on dark, bright and stained images, and on any labels.
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
    """Return the colormap of candidates; cyclic, since the first use of others takes a second."""
    from napari.utils.colormaps import CyclicLabelColormap

    colors = np.zeros((max(_COLORS) + 1, 4), np.float32)
    for value, color in _COLORS.items():
        colors[value] = color
    return CyclicLabelColormap(colors=colors, background_value=0)


class OutlineDrawing:
    """Draw any of the candidates of a plane.

    Their pixels are computed once and stored in one array, so that a slider can show and hide
    thousands of candidates without delay.

    Parameters
    ----------
    candidates : sequence of CandidateObject
        All candidates of the plane, best first; none is empty.
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
        for candidate in reversed(candidates):  # the best ones are drawn on top
            mask = candidate.mask
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
        """Return an image (h x w) of the candidates shown, the current ones on top."""
        kept = np.zeros(len(self._lengths), np.bool_)
        kept[[self._places[id(candidate)] for candidate in shown]] = True
        drawn = np.zeros(self._size, np.uint8)
        flat, chosen = drawn.reshape(-1), np.repeat(kept, self._lengths)
        flat[self._pixels[chosen]] = self._values[chosen]
        ends = np.cumsum(self._lengths)
        for candidate in current:
            at = self._places.get(id(candidate))
            if at is not None and kept[at]:
                part = slice(ends[at] - self._lengths[at], ends[at])
                inside = self._values[part] == INSIDE
                flat[self._pixels[part]] = np.where(inside, CURRENT_INSIDE, CURRENT)
        return drawn
