"""The current plane of an image in a viewer, and its pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam3.core.errors import LayerError
from napari_sam3.core.planes import ContrastLimits, PlaneIndex
from napari_sam3.images.contrast import ImageContrast, channel_axes
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.images.viewer_image import ViewerChannel, ViewerImage
from sam3.errors import Sam3Error

from .coordinates import displacement, shown_plane, to_data, to_world
from .label_layer import image_shape
from .layer_data import pixels_of
from .writers import layer_axes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["KNOWN_CONTRAST", "ChannelChoice", "Contrast", "PlaneKey", "PlaneSource"]

# Rendered planes cache their contrast, which requires all pixels.
KEPT_PLANES = 64
#: Key in the metadata of an image layer: its `ImageContrast`, if known. It is removed on first
#: use, since the data may change later.
KNOWN_CONTRAST = "napari-sam3 contrast"
#: Maximum displacement in px between a channel and the image.
SAME_PIXEL = 0.5


@dataclass(frozen=True)
class PlaneKey:
    """Key of a plane of an Image layer.

    Parameters
    ----------
    image : hashable
        `unique_id` of the layer.
    plane : PlaneIndex
        A plane of it.
    """

    image: Hashable
    plane: PlaneIndex


@dataclass(frozen=True, eq=False)
class ChannelChoice:
    """One channel of the model's input.

    Parameters
    ----------
    layer : Image
        The image itself, or another one with the same shape and placement.
    axis, position : int, optional
        Axis of channels in that layer, and the index along it.
    """

    layer: Image
    axis: int | None = None
    position: int = 0

    @property
    def name(self) -> str:
        """Name for display."""
        place = "" if self.axis is None else f" [axis {self.axis} = {self.position}]"
        return f"{self.layer.name}{place}"


#: Percentiles of the image or of each plane, the layer's limits, or explicit limits: one pair for
#: all channels, or one for each.
Contrast = Literal["image", "plane", "layer"] | ContrastLimits | tuple[ContrastLimits, ...]


class PlaneSource:
    """Follow the current plane; pixels are read lazily.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Viewer whose dims decide.
    image : Image
        The image.
    contrast : {"image", "plane", "layer"} or tuple of float
        Values shown to the model as black and white.

    Attributes
    ----------
    channels : tuple of ChannelChoice or None
        The model's red, green and blue (None is black), or grey; if empty, the image itself.
    problem : Sam3Error or None
        Why the current plane cannot be labelled.
    """

    def __init__(self, viewer: ViewerModel, image: Image, contrast: Contrast = "image") -> None:
        self.viewer, self.image, self.contrast = viewer, image, contrast
        self.channels: tuple[ChannelChoice | None, ...] = ()
        self.plane: PlaneIndex | None = None
        self.problem: Sam3Error | None = None
        self._images: OrderedDict[PlaneIndex, RenderedPlane] = OrderedDict()
        self._contrasts: dict[Hashable, ImageContrast] = {}

    def look(self) -> PlaneIndex | None:
        """Update and return the current plane; None without the image. Raises LayerError."""
        self.plane = None
        if self.image not in self.viewer.layers:  # the viewer may already have fewer axes
            return None
        with self._noting_problems():
            self.plane = shown_plane(self.image, self.viewer.dims)
        return self.plane

    def need(self) -> PlaneIndex:
        """Return the current plane, or raise LayerError."""
        plane = self.plane if self.plane is not None else self.look()
        if plane is None:
            raise LayerError(
                f"no plane of {self.image.name!r} is shown. Expected the image in the viewer. Add "
                "it again, or choose another one."
            )
        return plane

    def key(self, plane: PlaneIndex) -> PlaneKey:
        """Return the key of a plane of the image."""
        return PlaneKey(self.image.unique_id, plane)

    def is_ours(self, key: Hashable) -> bool:
        """Whether a key belongs to a plane of this image."""
        return isinstance(key, PlaneKey) and key.image == self.image.unique_id

    def forget(self) -> None:
        """Drop rendered planes after the data, the channels or the contrast changed."""
        self._images.clear()
        self._contrasts.clear()

    def rendered(self) -> RenderedPlane:
        """Return the current plane as the model sees it, without reading pixels."""
        plane = self.need()
        with self._noting_problems():
            return self.render(plane)

    def render(self, plane: PlaneIndex) -> RenderedPlane:
        """Return any plane of the image as the model sees it."""
        if plane not in self._images:
            self._images[plane] = self._render(plane)
        self._images.move_to_end(plane)
        while len(self._images) > KEPT_PLANES:
            self._images.popitem(last=False)
        return self._images[plane]

    def neighbours(self) -> list[RenderedPlane]:
        """Return the planes one step along each slider from the current one."""
        if self.plane is None:
            return []
        shape, found = image_shape(self.image), []
        for place, axis in enumerate(self.plane.other_axes):
            for step in (1, -1):
                index = list(self.plane.index)
                index[place] += step
                if 0 <= index[place] < shape[axis]:
                    found.append(self.render(PlaneIndex(self.plane.axes, tuple(index))))
        return found

    def _render(self, plane: PlaneIndex) -> RenderedPlane:
        if not self.channels:
            return RenderedPlane(self._channel(self.image, plane))
        used = [choice for choice in self.channels if choice is not None]
        return RenderedPlane(
            *(
                None if choice is None else self._choose(choice, plane, used.index(choice))
                for choice in self.channels
            )
        )

    def snapshot(self) -> ViewerImage:
        """Return all planes as the model sees them now, for any thread.

        Raises
        ------
        LayerError, sam3.errors.ImageError
            If no plane is shown, or the channels do not fit together.
        """
        self.rendered()
        image, plane = self.image, self.need()
        used = [choice for choice in self.channels if choice is not None]
        channels = tuple(
            None
            if choice is None
            else ViewerChannel(
                pixels_of(choice.layer),
                choice.layer.rgb,
                choice.layer.multiscale,
                self._limits(choice.layer, choice.axis, used.index(choice)),
                choice.name,
                choice.axis,
                choice.position,
            )
            for choice in self.channels
        )
        data = pixels_of(image)
        alone = ViewerChannel(data, image.rgb, image.multiscale, self._limits(image, None, 0))
        placed = {
            name: getattr(image, name) for name in ("axis_labels", "units", "scale", "translate")
        }
        return ViewerImage(
            data,
            image.rgb,
            image.multiscale,
            known_axes=layer_axes(placed, image.ndim),
            channels=channels or (alone,),
            plane_axes=plane.axes,
            look=self._appearance(channels or (alone,), plane),
        )

    def _appearance(
        self, channels: tuple[ViewerChannel | None, ...], plane: PlaneIndex
    ) -> dict[str, Any] | None:
        """Describe the view of the image; None if it equals that of its file."""
        if not self.channels and self.contrast == "image" and plane.axes[0] == plane.ndim - 2:
            return None
        limits: list[list[float] | None] = []
        described: list[list[Any] | None] = []
        for channel in channels:
            if channel is None:
                limits.append(None)
                described.append(None)
                continue
            limits.append(list(channel.limits) if isinstance(channel.limits, tuple) else None)
            described.append([channel.name, channel.axis, channel.position])
        return {
            "contrast": self.contrast if isinstance(self.contrast, str) else "limits",
            "limits": limits,
            "channels": described,
            "axes": list(plane.axes),
        }

    def _choose(self, choice: ChannelChoice, plane: PlaneIndex, number: int) -> Channel:
        layer = choice.layer
        if layer.unique_id != self.image.unique_id:
            plane = shown_plane(layer, self.viewer.dims)
            _check_same_place(layer, self.image)
        if choice.axis is not None:
            if choice.axis not in plane.other_axes:
                raise LayerError(
                    f"invalid axis of channels in {layer.name!r}: {choice.axis} is displayed as "
                    f"rows or columns. Expected one of {plane.other_axes}. Choose another axis."
                )
            index = dict(zip(plane.other_axes, plane.index, strict=True))
            index[choice.axis] = choice.position
            plane = PlaneIndex(plane.axes, tuple(index[axis] for axis in plane.other_axes))
        return self._channel(layer, plane, choice.name, choice.axis, number)

    def _channel(
        self,
        layer: Image,
        plane: PlaneIndex,
        name: str = "",
        axis: int | None = None,
        number: int = 0,
    ) -> Channel:
        limits = self._limits(layer, axis, number)
        return Channel(pixels_of(layer), plane, layer.rgb, layer.multiscale, limits, name)

    def _limits(
        self, layer: Image, axis: int | None, number: int
    ) -> ContrastLimits | ImageContrast | None:
        if isinstance(self.contrast, tuple):
            return _pair(self.contrast, number)
        if self.contrast == "image":
            return self._image_contrast(layer, axis)
        # napari applies no limits to 8-bit colours.
        return _limits_of(layer) if self.contrast == "layer" and not layer.rgb else None

    def _image_contrast(self, layer: Image, axis: int | None) -> ImageContrast:
        named = channel_axes(layer.axis_labels)
        apart = named if axis is None else tuple(sorted({*named, axis}))
        key = layer.unique_id, apart
        known = layer.metadata.pop(KNOWN_CONTRAST, None) if axis is None else None
        if isinstance(known, ImageContrast):
            self._contrasts[key] = known
        elif key not in self._contrasts:
            self._contrasts[key] = ImageContrast(
                pixels_of(layer),
                rgb=layer.rgb,
                multiscale=layer.multiscale,
                apart=apart,
                name=layer.name,
            )
        return self._contrasts[key]

    def locate(self, position: Sequence[float]) -> tuple[float, float]:
        """Return (row, column) in px of the current plane for a world position."""
        plane = self.need()
        units = getattr(self.viewer.dims, "units", None)
        place = to_data(self.image, np.asarray(position, np.float64), units)
        return float(place[plane.axes[0]]), float(place[plane.axes[1]])

    def show(self, plane: PlaneIndex) -> None:
        """Move the viewer's sliders to another plane along the hidden axes."""
        if plane == self.plane or self.plane is None or plane.axes != self.plane.axes:
            return
        place = np.zeros(self.image.ndim)
        place[list(plane.other_axes)] = plane.index
        world = to_world(self.image, place, getattr(self.viewer.dims, "units", None))
        missing = self.viewer.dims.ndim - self.image.ndim
        for axis in plane.other_axes:
            self.viewer.dims.set_point(axis + missing, world[axis])

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        """Record the error within the block as `problem`."""
        self.problem = None
        try:
            yield
        except Sam3Error as error:
            self.problem = error
            raise


def _pair(contrast: ContrastLimits | tuple[ContrastLimits, ...], number: int) -> ContrastLimits:
    """Return the limits of a channel from one pair for all, or one for each."""
    given = contrast[min(number, len(contrast) - 1)]
    low, high = given if isinstance(given, tuple) else contrast
    return float(low), float(high)  # type: ignore[arg-type]


def _limits_of(layer: Image) -> ContrastLimits:
    low, high = layer.contrast_limits
    return float(low), float(high)


def _check_same_place(layer: Image, image: Image) -> None:
    """Raise LayerError if the pixels of a layer are not aligned with those of the image."""
    if layer.ndim != image.ndim or displacement(layer, image) > SAME_PIXEL:
        raise LayerError(
            f"{layer.name!r} is not aligned with {image.name!r}, so it cannot be one of its "
            "channels. Expected the same shape, scale and translation. Choose another layer."
        )
