"""Planes as the model sees them: 8-bit RGB, read by regions on demand."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import (
    ContrastLimits,
    PlaneIndex,
    UInt8Plane,
    check_pixels,
    check_position,
    describe_image,
    find_limits,
    read_plane,
    to_8_bits,
)
from napari_sam3.core.rendering import PlaneImage, Rendering
from sam3.errors import ImageError

from .contrast import ImageContrast
from .finite import STRIP_BYTES, find_finite
from .reading import (
    Span,
    chunk_rows,
    is_in_memory,
    level_for,
    read_pixels,
    sample_plane,
    shrink,
    to_level,
)

__all__ = ["ArrayPlane", "Channel", "RenderedPlane", "check_values", "load_if_small"]

# A lazy plane is read for a thumbnail only if it has a level this small.
THUMBNAIL_PIXELS = 1 << 22


class ArrayPlane:
    """Plane in memory.

    Parameters
    ----------
    pixels : ndarray of uint8, H x W x 3
        Pixels. They must not be changed afterwards.
    rendering : Rendering
        How the pixels were converted to 8 bits.

    Raises
    ------
    sam3.errors.ImageError
        If the array has another shape or data type.
    """

    is_lazy = False

    def __init__(self, pixels: npt.NDArray[Any], rendering: Rendering | None = None) -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ImageError(
                f"the plane has data type {pixels.dtype} and shape {pixels.shape}. Expected uint8 "
                "of shape H x W x 3. Make one with napari_sam3.plane_from_array."
            )
        self._pixels = pixels
        self.rendering = rendering if rendering is not None else Rendering()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def region(self, rows: slice, columns: slice, step: int = 1) -> UInt8Plane:
        """Return all pixels (h x w x 3) of a region. `step` is ignored."""
        return self._pixels[rows, columns]


@dataclass(frozen=True, eq=False)
class Channel:
    """Channel of a plane: its data, position and contrast limits.

    Parameters
    ----------
    data : array-like
        See `napari_sam3.core.planes.read_plane`.
    plane : PlaneIndex
        Which plane of the data. A channel axis is one of its leading axes.
    rgb, multiscale : bool
        As for `read_plane`.
    contrast : tuple of float or ImageContrast, optional
        Values shown as 0 and 255, or the image's contrast that they are found from. By default
        percentiles of the plane.
    name : str
        Name in records and error messages.
    """

    data: Any
    plane: PlaneIndex
    rgb: bool = False
    multiscale: bool = False
    contrast: ContrastLimits | ImageContrast | None = None
    name: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px at the finest level."""
        return self.plane.shape_of(self._finest.shape)

    @property
    def is_lazy(self) -> bool:
        """Whether reading takes time: a file, a network or a computation."""
        return not all(is_in_memory(level) for level in self.levels)

    @property
    def levels(self) -> Sequence[Any]:
        """Levels of the pyramid, finest first. Data without a pyramid are the only level."""
        return self.data if self.multiscale else (self.data,)

    @property
    def described(self) -> str:
        """Plane and image, for messages."""
        image = describe_image(self._finest.shape, self.name)
        return f"{self.plane} of {image}" if self.plane.index else image

    @property
    def _finest(self) -> Any:
        return self.levels[0]

    def check(self) -> None:
        """Raise ImageError if the model cannot see such data. Reads no pixels."""
        finest = self._finest
        check_position(finest.shape, self.plane, rgb=self.rgb)
        colours = (int(finest.shape[-1]),) if self.rgb else ()
        check_pixels((*self.shape, *colours), np.dtype(finest.dtype), self.rgb)

    def limits(self) -> ContrastLimits | None:
        """Return the values that become 0 and 255; see `napari_sam3.core.planes.find_limits`.

        All pixels of an array in memory are used, and a sample of lazy data; see
        `napari_sam3.images.reading.sample_plane`.
        """
        if isinstance(self.contrast, ImageContrast):
            return self.contrast.limits(self.plane)
        if self.contrast is not None:
            return self.contrast
        if not self.is_lazy:
            values = read_plane(self._finest, self.plane, rgb=self.rgb)
            return find_limits(values, rgb=self.rgb, what=self.described)
        dtype = np.dtype(self._finest.dtype)
        if dtype == np.bool_ or (self.rgb and dtype == np.uint8):
            return None  # no pixels read
        sample = sample_plane(self.levels, self.plane, rgb=self.rgb, name=self.name)
        return find_limits(sample, rgb=self.rgb, what=self.described)

    @property
    def may_lack_values(self) -> bool:
        """Whether pixels may be NaN or infinite."""
        return np.issubdtype(self._finest.dtype, np.floating)

    def has_values(self) -> bool:
        """Tell whether any pixel is finite; the whole plane is read only if a sample has none."""
        if not self.may_lack_values:
            return True
        found = find_finite(self.levels, self.plane, rgb=self.rgb, name=self.name)
        return found is not None

    def level_for(self, step: int) -> int:
        """Return the level to read if one value for every `step` px is enough."""
        return level_for(self.levels, self.plane, step) if step > 1 else 0

    def shape_at(self, level: int) -> tuple[int, int]:
        """(height, width) in px of a level."""
        return self.plane.shape_of(self.levels[level].shape)

    def region(
        self,
        rows: slice,
        columns: slice,
        limits: ContrastLimits | None,
        step: int = 1,
        level: int = 0,
    ) -> npt.NDArray[np.uint8]:
        """Return a region in 8 bits: h x w, or h x w x 3 with `rgb`.

        Parameters
        ----------
        rows, columns : slice
            In px of the finest level.
        limits : tuple of float, optional
            Values that become 0 and 255.
        step : int
            Number of px of the finest level, along each axis, that one value may stand for.
        level : int
            Level to read.
        """
        data = self.levels[level]
        (top, bottom, down), (left, right, along) = (
            part.indices(length) for part, length in zip((rows, columns), self.shape, strict=True)
        )
        high, wide = to_level(self.levels, level, self.plane, (top, bottom), (left, right))
        # Every n-th pixel of the finest level is every (n / factor)-th of a coarser one.
        down, along = (
            max(1, round(n * part / whole))
            for n, part, whole in zip((down, along), self.shape_at(level), self.shape, strict=True)
        )

        def read(span: Span) -> npt.NDArray[np.uint8]:
            raw = read_pixels(data, self.plane, span, wide, rgb=self.rgb, name=self.name)
            return to_8_bits(raw[::down, ::along], limits, rgb=self.rgb)

        factor = step * self.shape_at(level)[0] // self.shape[0]
        row_bytes = (wide[1] - wide[0]) * np.dtype(data.dtype).itemsize * (3 if self.rgb else 1)
        if factor < 2 or is_in_memory(data) or (high[1] - high[0]) * row_bytes <= STRIP_BYTES:
            return read(high)
        chunk = chunk_rows(data, self.plane)
        return shrink(read, high, chunk * max(1, STRIP_BYTES // (chunk * row_bytes)), factor)


class RenderedPlane:
    """Plane of one image, or of up to three channels, read and converted to 8 bits on demand.

    Parameters
    ----------
    *channels : Channel or None
        One channel in grey or its own colours, or two or three as red, green and blue. None is
        black.

    Raises
    ------
    sam3.errors.ImageError
        If a channel cannot be used, or the channels differ in shape.
    """

    def __init__(self, *channels: Channel | None) -> None:
        used = [channel for channel in channels if channel is not None]
        if not used or len(channels) > 3:
            raise ImageError(
                f"{len(used)} channels were chosen. Expected one to three. Choose fewer, or at "
                "least one."
            )
        for channel in used:
            channel.check()
        self._shape = used[0].shape
        if len(channels) > 1:
            shapes = {channel.shape for channel in used}
            if len(shapes) > 1 or any(channel.rgb for channel in used):
                listing = ", ".join(f"{c.name or 'a channel'} {c.shape}" for c in used)
                raise ImageError(
                    f"the channels do not fit together: {listing}. Expected one shape, and no "
                    "colours. Choose other channels."
                )
        self._channels, self._used = channels, used
        self._lock = threading.Lock()
        self._limits: tuple[ContrastLimits | None, ...] | None = None
        self._has_values = not all(channel.may_lack_values for channel in used)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self._shape

    @property
    def is_lazy(self) -> bool:
        """Whether reading takes time, so that the pixels are worth caching."""
        return any(channel.is_lazy for channel in self._used)

    @property
    def has_levels(self) -> bool:
        """Whether any channel is a pyramid."""
        return any(channel.multiscale for channel in self._used)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel as stored, over all channels."""
        return sum(
            np.dtype(channel.levels[0].dtype).itemsize * (3 if channel.rgb else 1)
            for channel in self._used
        )

    @property
    def is_ready(self) -> bool:
        """Whether a thumbnail of the whole plane is cheap.

        The contrast limits are known, and each channel is in memory or has a small enough level.
        """
        return self._limits is not None and all(
            not channel.is_lazy
            or math.prod(channel.shape_at(len(channel.levels) - 1)) <= THUMBNAIL_PIXELS
            for channel in self._used
        )

    @property
    def rendering(self) -> Rendering:
        """How the pixels are converted to 8 bits. The first call reads the contrast limits."""
        names = tuple(channel.name if channel else "" for channel in self._channels)
        return Rendering(
            names if any(names) else (),
            tuple(pair for pair in self._find_limits() if pair is not None),
        )

    def region(self, rows: slice, columns: slice, step: int = 1) -> UInt8Plane:
        """Return the pixels (h x w x 3) of a region, from a coarser level if `step` allows.

        Raises
        ------
        sam3.errors.ImageError
            If the region cannot be read. The message names it.
        """
        limits = self._find_limits()
        coarsest = max(step, min(rows.step or 1, columns.step or 1))
        levels = [c.level_for(coarsest) if c.is_lazy else 0 for c in self._used]
        shapes = {c.shape_at(level) for c, level in zip(self._used, levels, strict=True)}
        # If the pyramids of the channels differ, only their finest levels have the same shape.
        chosen = iter(levels if len(shapes) == 1 else [0] * len(levels))
        regions = [
            channel.region(rows, columns, pair, step, next(chosen)) if channel is not None else None
            for channel, pair in zip(self._channels, limits, strict=True)
        ]
        # NaN and infinity become black and white, so any grey pixel shows a finite value.
        self._has_values = self._has_values or any(
            bool(((part > 0) & (part < 255)).any()) for part in regions if part is not None
        )
        black = np.zeros_like(next(part for part in regions if part is not None))
        parts = [black if part is None else part for part in regions]
        if len(parts) == 1:
            part = parts[0]
            whole = part if part.ndim == 3 else np.broadcast_to(part[..., None], (*part.shape, 3))
            return np.ascontiguousarray(whole)
        parts += [black] * (3 - len(parts))
        return np.stack(parts, axis=-1)

    def check_values(self) -> None:
        """Raise ImageError if no pixel of the plane is finite. Quick if a region shows one."""
        self._has_values = self._has_values or any(channel.has_values() for channel in self._used)
        if not self._has_values:
            height, width = self.shape
            described = " and ".join(channel.described for channel in self._used)
            raise ImageError(
                f"{described} holds no finite value: all {height * width} pixels are NaN or "
                "infinite. Expected numbers. Check how it was made, or choose another plane."
            )

    def _find_limits(self) -> tuple[ContrastLimits | None, ...]:
        with self._lock:
            if self._limits is None:
                self._limits = tuple(c.limits() if c is not None else None for c in self._channels)
            return self._limits


def load_if_small(plane: RenderedPlane) -> RenderedPlane | ArrayPlane:
    """Return the plane in memory, or unchanged if it is large or a pyramid.

    Raises
    ------
    sam3.errors.ImageError
        If it cannot be read, or has no finite value.
    """
    height, width = plane.shape
    if plane.has_levels or height * width * plane.pixel_bytes > STRIP_BYTES:
        plane.check_values()
        return plane
    pixels = plane.region(slice(0, height), slice(0, width))
    plane.check_values()
    return ArrayPlane(pixels, plane.rendering)


def check_values(plane: PlaneImage) -> None:
    """Raise ImageError if a plane that is read on demand has no finite value."""
    if isinstance(plane, RenderedPlane):
        plane.check_values()
