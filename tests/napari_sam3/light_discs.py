"""Images of light discs on a noisy ground, for tests that find or learn them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["light_discs"]


def light_discs(places: Iterable[tuple[int, int]], radius: int) -> npt.NDArray[np.uint8]:
    """Return an image (100 x 100) with a disc at each (row, column), the same every time."""
    rows, columns = np.mgrid[:100, :100]
    light = np.random.default_rng(0).normal(40, 3, (100, 100))
    for row, column in places:
        light[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 190
    return np.clip(light, 0, 255).astype(np.uint8)
