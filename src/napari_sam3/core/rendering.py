"""A plane as the 8-bit RGB image that the model sees, and how it became one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .planes import UInt8Plane

__all__ = ["PlaneImage", "Rendering"]


@dataclass(frozen=True)
class Rendering:
    """How a plane became the 8-bit RGB image that the model saw.

    Parameters
    ----------
    channels : tuple of str
        Names of the channels shown as red, green and blue, or of the one shown as grey; empty for
        an image as it is.
    limits : tuple of (low, high)
        Values shown as 0 and 255, one pair for all channels or one each; empty for 8-bit colours,
        which pass unchanged.
    """

    channels: tuple[str, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()


class PlaneImage(Protocol):
    """A plane as 8-bit RGB; may be read from any thread."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""

    @property
    def rendering(self) -> Rendering:
        """How it was converted to 8 bits; may have to sample pixels first."""

    @property
    def is_lazy(self) -> bool:
        """Whether reading is slow, so that pixels once read should be cached."""

    def region(self, rows: slice, columns: slice, step: int = 1) -> UInt8Plane:
        """Return the pixels (h x w x 3) of a region; only these are read.

        Parameters
        ----------
        rows, columns : slice
            In px of the plane.
        step : int
            Up to this many px along each axis may come as one, if that saves reading; so the
            result covers the region, with h and w between 1 / step of its size and all of it.
        """
