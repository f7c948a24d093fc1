"""Image of a viewer as the model sees it, with all its planes, for work on other threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.planes import ContrastLimits, PlaneIndex

from .lazy import LazyImage
from .plane_image import Channel, RenderedPlane

if TYPE_CHECKING:
    from napari_sam3.core.rendering import Rendering

    from .contrast import ImageContrast

__all__ = ["ViewerChannel", "ViewerImage"]


@dataclass(frozen=True, eq=False)
class ViewerChannel:
    """Channel of an image of the viewer, on any plane.

    Parameters
    ----------
    data, rgb, multiscale, limits, name
        As for `napari_sam3.images.plane_image.Channel`; `limits` are its `contrast`.
    axis, position : int, optional
        Channel axis of the data, and the position of this channel along it.
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
class ViewerImage(LazyImage):
    """Image for a batch: planes, contrast and channels as the viewer shows them.

    Parameters
    ----------
    channels : tuple of ViewerChannel or None
        One channel in grey or its own colours, or up to three as red, green and blue. None is
        black.
    plane_axes : tuple of int
        Axes of the data that the viewer shows as rows and columns. `shape` and `axes` have them
        last.
    look : mapping, optional
        Contrast and channels as plain values, if they differ from those of the image's file.
    """

    channels: tuple[ViewerChannel | None, ...] = ()
    plane_axes: tuple[int, int] = (0, 1)
    look: Mapping[str, Any] | None = None
    _rendered: dict[PlaneIndex, RenderedPlane] = field(default_factory=dict, repr=False)

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and translation of the axes, in the order of `shape`."""
        known = self.known_axes or ImageAxes.default(len(self.shape))
        return known.take(self._order)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, without colours, rows and columns last."""
        lengths = super().shape
        return tuple(lengths[axis] for axis in self._order)

    @property
    def seen(self) -> Mapping[str, Any] | None:
        """Contrast and channels of the model's view as plain values."""
        return self.look

    def in_data(self, plane: PlaneIndex) -> PlaneIndex:
        """Return the index in the data of a plane of the last two axes."""
        return PlaneIndex(self.plane_axes, plane.index)

    def rendered(self, plane: PlaneIndex, contrast: ContrastLimits | None = None) -> RenderedPlane:
        """Return a plane as the model sees it. `contrast` is ignored: the viewer has its own.

        Raises
        ------
        sam3.errors.ImageError
            If it cannot be read.
        """
        index = self.in_data(plane)
        rendered = RenderedPlane(
            *(None if channel is None else channel.on(index) for channel in self.channels)
        )
        self._rendered[plane] = rendered
        return rendered

    def take_rendering(self, plane: PlaneIndex) -> Rendering:
        """Return how a plane was converted to 8 bits, and forget it. Raises ImageError."""
        if plane not in self._rendered:
            self.rendered(plane)
        return self._rendered.pop(plane).rendering

    @property
    def _order(self) -> tuple[int, ...]:
        others = (at for at in range(len(super().shape)) if at not in self.plane_axes)
        return (*others, *self.plane_axes)
