"""One contrast for all planes of an image, so that empty planes do not become noise."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import ContrastLimits, PlaneIndex, describe_image, find_limits
from sam3.errors import ImageError

from .finite import any_finite, find_finite
from .reading import is_in_memory, read_pixels, sample_plane

__all__ = ["ImageContrast", "channel_axes"]

#: Number of planes sampled; more take time without improving the estimate.
MOST_PLANES = 16
#: Number of planes read if none of the sampled ones has a finite value.
MOST_LOOKED_AT = 512
#: Number of values sampled from planes in memory.
MOST_VALUES = 1_000_000
# Limits of an image of which no plane that was read has a finite value.
_NONE_FOUND: ContrastLimits = (math.inf, -math.inf)
CHANNEL_NAMES = {"c", "ch", "channel", "channels"}


def channel_axes(names: Iterable[str]) -> tuple[int, ...]:
    """Return the axes with a name of channel axes, such as "c", "ch" or "channel"."""
    return tuple(axis for axis, name in enumerate(names) if str(name).lower() in CHANNEL_NAMES)


class ImageContrast:
    """Contrast limits determined once for all planes of an image; thread-safe.

    They are percentiles (see `napari_sam3.core.planes.find_limits`) of pixels from planes spread
    over the image.

    Parameters
    ----------
    data : array-like or list of array-like
        A pyramid, finest first, if `multiscale`.
    rgb, multiscale : bool
        As for `napari_sam3.images.plane_image.Channel`.
    apart : sequence of int
        Axes along which each position has its own contrast, such as channels.
    whole : bool
        Read whole planes as if they were in memory, instead of a few chunks.
    name : str
        Name of the image in messages.
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
        self._limits: dict[tuple[tuple[int, int], ...], ContrastLimits | None] = {}
        self._lock = threading.Lock()

    def limits(self, plane: PlaneIndex) -> ContrastLimits | None:
        """Return the limits for a plane of the image; None if its values are not stretched.

        Raises
        ------
        sam3.errors.ImageError
            If no plane can be read, or no value is finite.
        """
        fixed = dict(zip(plane.other_axes, plane.index, strict=True))
        key = tuple((axis, fixed[axis]) for axis in self._apart if axis in fixed)
        with self._lock:
            if key not in self._limits:
                self._limits[key] = self._find(plane, dict(key))
            limits = self._limits[key]
        return self._of_plane(plane, dict(key)) if limits == _NONE_FOUND else limits

    def _find(self, plane: PlaneIndex, fixed: dict[int, int]) -> ContrastLimits | None:
        dtype = np.dtype(self._levels[0].dtype)
        if dtype == np.bool_ or (self._rgb and dtype == np.uint8):
            return None  # without reading anything
        planes = self._spread(plane.ndim, fixed)
        values, failure = self._sample(planes)
        if not values and failure is not None:
            raise failure
        found = np.concatenate(values)
        if not np.issubdtype(dtype, np.floating) or any_finite(found, rgb=self._rgb):
            return find_limits(found, rgb=self._rgb, what=self._described(fixed))
        others = [
            one for one in self._spread(plane.ndim, fixed, MOST_LOOKED_AT) if one not in planes
        ]
        values, _ = self._sample(others, finite=True)
        if not values:
            return _NONE_FOUND
        return find_limits(np.concatenate(values), rgb=self._rgb)

    def _of_plane(self, plane: PlaneIndex, fixed: dict[int, int]) -> ContrastLimits | None:
        """Return the limits of a plane itself, where the planes read have no finite value."""
        values = find_finite(self._levels, plane, rgb=self._rgb, name=self._name)
        if values is None:  # refused, as what is known of the image
            values = np.concatenate(self._sample(self._spread(plane.ndim, fixed))[0])
        return find_limits(values, rgb=self._rgb, what=self._described(fixed))

    def _sample(
        self, planes: Iterable[PlaneIndex], *, finite: bool = False
    ) -> tuple[list[npt.NDArray[Any]], ImageError | None]:
        """Sample planes, and return an error of one that cannot be read.

        With `finite`, only planes with a finite value, until there are enough.
        """
        values: list[npt.NDArray[Any]] = []
        failure: ImageError | None = None
        count = min(MOST_PLANES, len(planes := list(planes)))
        for plane in planes:
            if finite and len(values) == MOST_PLANES:
                break
            try:
                sample = self._values(plane, count)
            except ImageError as error:  # raised later if the plane itself is needed
                failure = error
                continue
            if not finite or any_finite(sample, rgb=self._rgb):
                values.append(sample)
        return values, failure

    def _described(self, fixed: dict[int, int]) -> str:
        image = describe_image(self._levels[0].shape, self._name)
        at = ", ".join(f"axis {axis} = {position}" for axis, position in fixed.items())
        return f"{at} of {image}" if at else image

    def _spread(
        self, ndim: int, fixed: dict[int, int], most: int = MOST_PLANES
    ) -> list[PlaneIndex]:
        """Choose planes of the last two free axes, spread over the other ones."""
        free = [axis for axis in range(ndim) if axis not in fixed]
        axes, along = (free[-2], free[-1]), free[:-2]
        lengths = [int(self._levels[0].shape[axis]) for axis in along]
        positions: Iterable[Sequence[int]]
        if math.prod(lengths) <= most:
            positions = itertools.product(*(range(length) for length in lengths))
        else:
            positions = (_scattered(number, lengths, most) for number in range(most))
        planes = []
        for position in positions:
            at = {**fixed, **dict(zip(along, position, strict=True))}
            planes.append(PlaneIndex(axes, tuple(at[axis] for axis in sorted(at))))
        return planes

    def _values(self, plane: PlaneIndex, planes: int) -> npt.NDArray[Any]:
        """Sample values of a plane: N, or N x C with `rgb`."""
        if not self._whole:
            return sample_plane(self._levels, plane, rgb=self._rgb, name=self._name, planes=planes)
        data = self._levels[0]
        rows, columns = ((0, length) for length in plane.shape_of(data.shape))
        pixels = read_pixels(data, plane, rows, columns, rgb=self._rgb, name=self._name)
        flat = pixels.reshape(-1, pixels.shape[-1]) if self._rgb else pixels.reshape(-1)
        # The values of a single plane are sampled by `find_limits`.
        return flat if planes == 1 else flat[:: max(1, flat.size * planes // MOST_VALUES)]


def _scattered(number: int, lengths: Sequence[int], most: int) -> list[int]:
    """Return a position of a sequence that covers all axes evenly.

    Equally spaced along a single axis; along several, by the additive recurrence of M. Roberts
    ("The unreasonable effectiveness of quasirandom sequences", 2018), so that positions along the
    axes are not correlated.
    """
    if len(lengths) == 1:
        return [(2 * number + 1) * lengths[0] // (2 * most)]
    base = 2.0
    for _ in range(30):  # converges to the root of base ** (axes + 1) == base + 1
        base = (1 + base) ** (1 / (len(lengths) + 1))
    return [
        int((0.5 + (number + 1) / base ** (axis + 1)) % 1 * length)
        for axis, length in enumerate(lengths)
    ]
