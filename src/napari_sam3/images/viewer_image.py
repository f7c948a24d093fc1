"""An image as the model sees it in a viewer, with all its planes, for work on other threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.planes import ContrastLimits, PlaneIndex
from napari_sam3.core.rendering import Rendering

from .contrast import ImageContrast
from .lazy import LazyImage
from .plane_image import Channel, RenderedPlane

__all__ = ["SeenChannel", "SeenImage"]


@dataclass(frozen=True, eq=False)
class SeenChannel:
    """One channel of what the model sees, on any plane.

    Parameters
    ----------
    data, rgb, multiscale, limits, name
        As of `napari_sam3.images.plane_image.Channel`.
    axis, position : int, optional
        Axis along which channels lie, and which of them it is.
    """

    data: Any = field(repr=False)
    rgb: bool = False
    multiscale: bool = False
    limits: ContrastLimits | ImageContrast | None = None
    name: str = ""
    axis: int | None = None
    position: int = 0

    def on(self, plane: PlaneIndex) -> Channel:
        """Return the channel of a plane."""
        if self.axis is not None:
            index = dict(zip(plane.other_axes, plane.index, strict=True))
            index[self.axis] = self.position
            plane = PlaneIndex(plane.axes, tuple(index[axis] for axis in plane.other_axes))
        return Channel(self.data, plane, self.rgb, self.multiscale, self.limits, self.name)


@dataclass(frozen=True, eq=False)
class SeenImage(LazyImage):
    """What a batch is given of a viewer: the planes in the order and the look they have there.

    Parameters
    ----------
    channels : tuple of SeenChannel or None
        One, seen as grey or in colour, or up to three as red, green and blue; None is black.
    plane_axes : tuple of int
        The two axes of the data that are shown as rows and columns. To code that works on the image
        they are the last ones.
    look : mapping, optional
        Contrast and channels as plain values, where they are not what a file would get.
    """

    channels: tuple[SeenChannel | None, ...] = ()
    plane_axes: tuple[int, int] = (0, 1)
    look: Mapping[str, Any] | None = None
    _rendered: dict[PlaneIndex, RenderedPlane] = field(default_factory=dict, repr=False)

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and place of the axes, in the order of `shape`."""
        known = self.known_axes or ImageAxes.default(len(self.shape))
        return known.take(self._order)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without the colours, rows and columns last."""
        lengths = super().shape
        return tuple(lengths[axis] for axis in self._order)

    @property
    def seen(self) -> Mapping[str, Any] | None:
        """How it is shown to the model, as plain values."""
        return self.look

    def in_data(self, plane: PlaneIndex) -> PlaneIndex:
        """Return where a plane of the last two axes lies in the data."""
        return PlaneIndex(self.plane_axes, plane.index)

    def rendered(self, plane: PlaneIndex, contrast: ContrastLimits | None = None) -> RenderedPlane:
        """Return a plane as the model sees it; the contrast is the image's own.

        Raises
        ------
        sam3.errors.ImageError
            If it cannot be read.
        """
        place = self.in_data(plane)
        found = RenderedPlane(
            *(None if channel is None else channel.on(place) for channel in self.channels)
        )
        self._rendered[plane] = found
        return found

    def take_rendering(self, plane: PlaneIndex) -> Rendering:
        """Return how a plane was turned to 8 bits, and forget it; raises ImageError."""
        found = self._rendered.pop(plane, None) or self.rendered(plane)
        self._rendered.pop(plane, None)
        return found.rendering

    @property
    def _order(self) -> tuple[int, ...]:
        others = (at for at in range(len(super().shape)) if at not in self.plane_axes)
        return (*others, *self.plane_axes)
