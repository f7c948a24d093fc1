"""A plane as the 8-bit RGB image that the model sees, and its conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .planes import UInt8Plane

__all__ = ["PlaneImage", "Rendering"]


@dataclass(frozen=True)
class Rendering:
    """Conversion of a plane to the 8-bit RGB image that the model saw.

    Parameters
    ----------
    channels : tuple of str
        Names of the channels shown as red, green and blue, or of the one shown as grey; empty for
        an image shown as it is.
    limits : tuple of (low, high)
        Contrast limits, one pair for all channels or one per channel; empty for 8-bit colours,
        which are not stretched.
    """

    channels: tuple[str, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()


class PlaneImage(Protocol):
    """A plane as 8-bit RGB, readable from any thread."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""

    @property
    def rendering(self) -> Rendering:
        """Conversion to 8 bits; may sample pixels on first use."""

    @property
    def is_lazy(self) -> bool:
        """Whether reading is slow, so that pixels should be cached."""

    def region(self, rows: slice, columns: slice, step: int = 1) -> UInt8Plane:
        """Read the pixels (h x w x 3) of a region, and no others.

        Parameters
        ----------
        rows, columns : slice
            In px of the plane.
        step : int
            Factor by which the result may be downsampled if that saves reading: it covers the
            region with 1 / step of its height and width up to all of them.
        """
