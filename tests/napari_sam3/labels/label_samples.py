"""A square, and what is read of a label file for a plane of 20 x 30 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.labels.formats.reading import read_labels

SHAPE = (20, 30)


def square(top: int, left: int, bottom: int, right: int) -> npt.NDArray[np.uint16]:
    pixels = np.zeros(SHAPE, np.uint16)
    pixels[top:bottom, left:right] = 1
    return pixels


def read(path: Path, **options: Any) -> npt.NDArray[Any]:
    loaded = read_labels(path, **{"shape": SHAPE, **options})
    pixels = np.asarray(loaded.data[...])
    loaded.close()
    return pixels
