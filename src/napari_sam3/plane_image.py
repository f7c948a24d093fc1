"""The plane being worked on as the model sees it: 8-bit RGB, read by regions when needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .operations import Rendering
from .planes import (
    ContrastLimits,
    PlaneIndex,
    UInt8Plane,
    check_pixels,
    check_position,
    find_limits,
    read_plane,
    to_8_bits,
)

__all__ = ["ArrayPlane", "Channel", "PlaneImage", "RenderedPlane"]


class PlaneImage(Protocol):
    """A plane as 8-bit RGB; may be read from any thread."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""

    @property
    def rendering(self) -> Rendering:
        """How it was turned to 8 bits; may have to look at the pixels first."""

    def region(self, rows: slice, columns: slice) -> UInt8Plane:
        """Return the pixels (h x w x 3) of a region; only these are read."""


class ArrayPlane:
    """A plane that is in memory already.

    Parameters
    ----------
    pixels : ndarray of uint8, H x W x 3
        Not to be changed afterwards.
    rendering : Rendering
        How it was made.

    Raises
    ------
    sam3.errors.ImageError
        If it is no such array.
    """

    def __init__(self, pixels: npt.NDArray[Any], rendering: Rendering | None = None) -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ImageError(
                f"a plane must be H x W x 3 uint8, got {pixels.dtype} of shape {pixels.shape}; "
                "make one with napari_sam3.plane_from_array"
            )
        self._pixels = pixels
        self.rendering = rendering if rendering is not None else Rendering()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def region(self, rows: slice, columns: slice) -> UInt8Plane:
        """Return the pixels (h x w x 3) of a region."""
        return self._pixels[rows, columns]


@dataclass(frozen=True, eq=False)
class Channel:
    """Where the values of one plane come from.

    Parameters
    ----------
    data : array-like
        See `napari_sam3.planes.read_plane`.
    plane : PlaneIndex
        Which plane of it. A channel axis is an axis like any other, with a fixed position.
    rgb, multiscale : bool
        As for `read_plane`.
    contrast : tuple of float, optional
        Values shown as 0 and 255, instead of percentiles.
    name : str
        For the record.
    """

    data: Any
    plane: PlaneIndex
    rgb: bool = False
    multiscale: bool = False
    contrast: ContrastLimits | None = None
    name: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px at the finest level."""
        return self.plane.shape_of(self._finest.shape)

    @property
    def _finest(self) -> Any:
        return self.data[0] if self.multiscale else self.data

    def check(self) -> None:
        """Refuse what cannot be shown to a model, without reading pixels; raises ImageError."""
        finest = self._finest
        check_position(finest.shape, self.plane, rgb=self.rgb)
        colours = (int(finest.shape[-1]),) if self.rgb else ()
        check_pixels((*self.shape, *colours), np.dtype(finest.dtype), self.rgb)

    def limits(self) -> ContrastLimits | None:
        """Return the values that become 0 and 255; see `napari_sam3.planes.find_limits`."""
        if self.contrast is not None:
            return self.contrast
        return find_limits(read_plane(self._finest, self.plane, rgb=self.rgb), rgb=self.rgb)

    def region(
        self, rows: slice, columns: slice, limits: ContrastLimits | None
    ) -> npt.NDArray[np.uint8]:
        """Return a region in 8 bits: h x w, or h x w x 3 with `rgb`."""
        raw = read_plane(self._finest, self.plane, rgb=self.rgb, rows=rows, columns=columns)
        return to_8_bits(raw, limits, rgb=self.rgb)


class RenderedPlane:
    """A plane of one image, or of up to three channels, read and rendered on demand.

    Parameters
    ----------
    *channels : Channel or None
        One, shown as it is; or two or three, shown as red, green and blue. None is black.

    Raises
    ------
    sam3.errors.ImageError
        If a channel cannot be used, or they do not have the same shape.
    """

    def __init__(self, *channels: Channel | None) -> None:
        used = [channel for channel in channels if channel is not None]
        if not used or len(channels) > 3:
            raise ImageError(f"{len(used)} channels were chosen; choose one to three")
        for channel in used:
            channel.check()
        self._shape = used[0].shape
        if len(channels) > 1:
            shapes = {channel.shape for channel in used}
            if len(shapes) > 1 or any(channel.rgb for channel in used):
                listing = ", ".join(f"{c.name or 'a channel'} {c.shape}" for c in used)
                raise ImageError(
                    f"the channels do not fit together ({listing}); choose channels of one shape, "
                    "none of them in colour"
                )
        self._channels = channels
        self._lock = threading.Lock()
        self._limits: tuple[ContrastLimits | None, ...] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self._shape

    @property
    def is_ready(self) -> bool:
        """Whether its contrast is known, so that reading it is no more than that."""
        return self._limits is not None

    @property
    def rendering(self) -> Rendering:
        """How it is turned to 8 bits; looks at the pixels once."""
        names = tuple(channel.name if channel else "" for channel in self._channels)
        return Rendering(
            names if any(names) else (),
            tuple(pair for pair in self._find_limits() if pair is not None),
        )

    def region(self, rows: slice, columns: slice) -> UInt8Plane:
        """Return the pixels (h x w x 3) of a region."""
        limits = self._find_limits()
        found = [
            channel.region(rows, columns, pair) if channel is not None else None
            for channel, pair in zip(self._channels, limits, strict=True)
        ]
        black = np.zeros_like(next(part for part in found if part is not None))
        parts = [black if part is None else part for part in found]
        if len(parts) == 1:
            part = parts[0]
            whole = part if part.ndim == 3 else np.broadcast_to(part[..., None], (*part.shape, 3))
            return np.ascontiguousarray(whole)
        parts += [black] * (3 - len(parts))
        return np.stack(parts, axis=-1)

    def _find_limits(self) -> tuple[ContrastLimits | None, ...]:
        with self._lock:
            if self._limits is None:
                self._limits = tuple(c.limits() if c is not None else None for c in self._channels)
            return self._limits
