"""One contrast for all planes of an image, so that an empty plane does not become noise."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import ContrastLimits, PlaneIndex, find_limits
from sam3.errors import ImageError

from .reading import is_in_memory, read_pixels, sample_plane

__all__ = ["ImageContrast", "channel_axes"]

#: Planes sampled; more add time and little accuracy.
MOST_PLANES = 16
#: Values taken of planes in memory.
MOST_VALUES = 1_000_000
CHANNEL_NAMES = {"c", "ch", "channel", "channels"}


def channel_axes(names: Iterable[str]) -> tuple[int, ...]:
    """Return the axes that are named as channels are: "c", "ch" or "channel"."""
    return tuple(axis for axis, name in enumerate(names) if str(name).lower() in CHANNEL_NAMES)


class ImageContrast:
    """The values shown as 0 and 255, found once for all planes of an image. Safe between threads.

    They are percentiles (see `napari_sam3.core.planes.find_limits`) of pixels from planes that are
    spread over the image.

    Parameters
    ----------
    data : array-like or list of array-like
        A pyramid, finest first, if `multiscale`.
    rgb, multiscale : bool
        As for `napari_sam3.images.plane_image.Channel`.
    apart : sequence of int
        Axes along which each position has a contrast of its own, as channels do.
    whole : bool
        Look at planes as if they were in memory, and not at a few chunks of them.
    name : str
        What to call the image.
    """

    def __init__(
        self,
        data: Any,
        *,
        rgb: bool = False,
        multiscale: bool = False,
        apart: Sequence[int] = (),
        whole: bool = False,
        name: str = "",
    ) -> None:
        self._levels: Sequence[Any] = data if multiscale else (data,)
        self._rgb, self._name = rgb, name
        self._apart = tuple(apart)
        self._whole = whole or all(is_in_memory(level) for level in self._levels)
        self._found: dict[tuple[tuple[int, int], ...], ContrastLimits | None] = {}
        self._lock = threading.Lock()

    def limits(self, plane: PlaneIndex) -> ContrastLimits | None:
        """Return the limits for a plane of the image; None if its values are shown as they are.

        Raises
        ------
        sam3.errors.ImageError
            If no plane can be read, or no value is finite.
        """
        held = dict(zip(plane.other_axes, plane.index, strict=True))
        place = tuple((axis, held[axis]) for axis in self._apart if axis in held)
        with self._lock:
            if place not in self._found:
                self._found[place] = self._find(plane.ndim, dict(place))
            return self._found[place]

    def _find(self, ndim: int, held: dict[int, int]) -> ContrastLimits | None:
        dtype = np.dtype(self._levels[0].dtype)
        if dtype == np.bool_ or (self._rgb and dtype == np.uint8):
            return None  # without reading anything
        planes, values = self._spread(ndim, held), []
        failure: ImageError | None = None
        for plane in planes:
            try:
                values.append(self._values(plane, len(planes)))
            except ImageError as error:  # reported when that plane is needed; others do without
                failure = error
        if not values and failure is not None:
            raise failure
        return find_limits(np.concatenate(values), rgb=self._rgb)

    def _spread(self, ndim: int, held: dict[int, int]) -> list[PlaneIndex]:
        """Choose planes of the last two axes that are not held, all over the other ones."""
        free = [axis for axis in range(ndim) if axis not in held]
        axes, along = (free[-2], free[-1]), free[:-2]
        lengths = [int(self._levels[0].shape[axis]) for axis in along]
        places: Iterable[Sequence[int]]
        if math.prod(lengths) <= MOST_PLANES:
            places = itertools.product(*(range(length) for length in lengths))
        else:
            places = (_scattered(number, lengths) for number in range(MOST_PLANES))
        found = []
        for place in places:
            at = {**held, **dict(zip(along, place, strict=True))}
            found.append(PlaneIndex(axes, tuple(at[axis] for axis in sorted(at))))
        return found

    def _values(self, plane: PlaneIndex, planes: int) -> npt.NDArray[Any]:
        """Return values of a plane: N, or N x C with `rgb`."""
        if not self._whole:
            return sample_plane(self._levels, plane, rgb=self._rgb, name=self._name, planes=planes)
        data = self._levels[0]
        rows, columns = ((0, length) for length in plane.shape_of(data.shape))
        pixels = read_pixels(data, plane, rows, columns, rgb=self._rgb, name=self._name)
        flat = pixels.reshape(-1, pixels.shape[-1]) if self._rgb else pixels.reshape(-1)
        # One plane alone is thinned out where its percentiles are found.
        return flat if planes == 1 else flat[:: max(1, flat.size * planes // MOST_VALUES)]


def _scattered(number: int, lengths: Sequence[int]) -> list[int]:
    """Return a place that, with those of other numbers, covers all axes evenly.

    Evenly along a single axis; along several by the additive recurrence of M. Roberts ("The
    unreasonable effectiveness of quasirandom sequences", 2018), so that no position of one axis
    is always met with the same one of another.
    """
    if len(lengths) == 1:
        return [(2 * number + 1) * lengths[0] // (2 * MOST_PLANES)]
    base = 2.0
    for _ in range(30):  # converges to the root of base ** (axes + 1) == base + 1
        base = (1 + base) ** (1 / (len(lengths) + 1))
    return [
        int((0.5 + (number + 1) / base ** (axis + 1)) % 1 * length)
        for axis, length in enumerate(lengths)
    ]
