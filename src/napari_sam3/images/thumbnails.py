"""Thumbnails of images, for lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .scenes import BIOIO_SUFFIXES, open_scene

__all__ = ["read_thumbnail"]

#: Images that take more bytes to read have no thumbnail.
MOST_BYTES = 1 << 27
_PERCENTILES = (0.5, 99.5)


def read_thumbnail(path: Path, scene: str = "", side: int = 48) -> npt.NDArray[np.uint8] | None:
    """Return a thumbnail (h x w x 3) of the middle plane, None if reading would take too long.

    Raises
    ------
    sam3.errors.ImageError
        If the image cannot be read.
    """
    if path.suffix.lower() in BIOIO_SUFFIXES and path.stat().st_size > MOST_BYTES:
        return None
    image = open_scene(path, scene)
    try:
        data: Any = image.data[-1] if image.multiscale else image.data
        spatial = data.shape[:-1] if image.rgb else data.shape
        leading = tuple(length // 2 for length in spatial[:-2])
        nbytes = int(np.prod(data.shape[len(leading) :])) * data.dtype.itemsize
        if nbytes > MOST_BYTES:
            return None
        step = max(1, -(-max(spatial[-2:]) // side))
        plane = np.asarray(data[(*leading, slice(None, None, step), slice(None, None, step))])
    except ImageError:
        raise
    except Exception as error:  # each reader raises exceptions of its own
        raise ImageError(
            f"{path.name!r} cannot be read: {error}. Expected an image. Check the file."
        ) from error
    finally:
        image.close()
    values = np.nan_to_num(plane.astype(np.float32), posinf=0, neginf=0)
    if plane.dtype != np.uint8 or not image.rgb:
        low, high = np.percentile(values, _PERCENTILES)
        values = (values - low) * (255 / max(float(high - low), 1e-6))
    small = np.clip(values, 0, 255).astype(np.uint8)
    return small[..., :3] if image.rgb else np.repeat(small[..., None], 3, axis=2)
