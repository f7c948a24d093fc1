"""The plane of an image that a viewer shows, and its pixels."""

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

# Rendered planes remember their contrast, which takes a look at all pixels.
KEPT_PLANES = 64
#: Under this name the metadata of an image hold its `ImageContrast` if that is known already; it is
#: taken out at the first use, for the data may change later.
KNOWN_CONTRAST = "napari-sam3 contrast"
#: Pixels by which a channel may lie beside the image.
SAME_PIXEL = 0.5


@dataclass(frozen=True)
class PlaneKey:
    """Name of a plane of an Image layer.

    Parameters
    ----------
    image : hashable
        `unique_id` of the layer.
    plane : PlaneIndex
        Which plane of it.
    """

    image: Hashable
    plane: PlaneIndex


@dataclass(frozen=True, eq=False)
class ChannelChoice:
    """One channel of what the model sees.

    Parameters
    ----------
    layer : Image
        Where it is: the image itself, or another one of the same shape in the same place.
    axis, position : int, optional
        Axis of that layer along which channels lie, and which of them it is.
    """

    layer: Image
    axis: int | None = None
    position: int = 0

    @property
    def name(self) -> str:
        """Name for people."""
        place = "" if self.axis is None else f" [axis {self.axis} = {self.position}]"
        return f"{self.layer.name}{place}"


#: Percentiles of the image or of each plane, the layer's limits, or values of the user's own: a
#: pair for all channels, or one for each.
Contrast = Literal["image", "plane", "layer"] | ContrastLimits | tuple[ContrastLimits, ...]


class PlaneSource:
    """Follows the plane shown; reads pixels only when asked.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Its dims decide.
    image : Image
        The image.
    contrast : {"image", "plane", "layer"} or tuple of float
        Values shown to the model as black and white.

    Attributes
    ----------
    channels : tuple of ChannelChoice or None
        What the model sees as red, green and blue (None is black), or as grey; the image as it is
        if empty.
    problem : Sam3Error or None
        Why the plane shown cannot be worked on.
    """

    def __init__(self, viewer: ViewerModel, image: Image, contrast: Contrast = "image") -> None:
        self.viewer, self.image, self.contrast = viewer, image, contrast
        self.channels: tuple[ChannelChoice | None, ...] = ()
        self.plane: PlaneIndex | None = None
        self.problem: Sam3Error | None = None
        self._images: OrderedDict[PlaneIndex, RenderedPlane] = OrderedDict()
        self._contrasts: dict[Hashable, ImageContrast] = {}

    def look(self) -> PlaneIndex | None:
        """Note and return the plane shown; None, and LayerError, if there is none."""
        self.plane = None
        if self.image not in self.viewer.layers:  # the viewer may already have fewer axes
            return None
        with self._noting_problems():
            self.plane = shown_plane(self.image, self.viewer.dims)
        return self.plane

    def need(self) -> PlaneIndex:
        """Return the plane shown, or raise LayerError."""
        plane = self.plane if self.plane is not None else self.look()
        if plane is None:
            raise LayerError(f"no plane of {self.image.name!r} is shown")
        return plane

    def key(self, plane: PlaneIndex) -> PlaneKey:
        """Name a plane of the image."""
        return PlaneKey(self.image.unique_id, plane)

    def is_ours(self, key: Hashable) -> bool:
        """Whether a key names a plane of this image."""
        return isinstance(key, PlaneKey) and key.image == self.image.unique_id

    def forget(self) -> None:
        """Render every plane anew: the data, the channels or the contrast changed."""
        self._images.clear()
        self._contrasts.clear()

    def rendered(self) -> RenderedPlane:
        """Return the plane shown as the model sees it; nothing is read yet."""
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
        """Return the planes one step along each slider from the one shown."""
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
        """Return all planes as the model sees them now, to be used on any thread.

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
            look=self._look(channels or (alone,), plane),
        )

    def _look(
        self, channels: tuple[ViewerChannel | None, ...], plane: PlaneIndex
    ) -> dict[str, Any] | None:
        """Say how the image is seen, if not as its file would be."""
        if not self.channels and self.contrast == "image" and plane.axes[0] == plane.ndim - 2:
            return None
        limits = [
            list(one.limits) if one is not None and isinstance(one.limits, tuple) else None
            for one in channels
        ]
        return {
            "contrast": self.contrast if isinstance(self.contrast, str) else "limits",
            "limits": limits,
            "channels": [
                None if one is None else [one.name, one.axis, one.position] for one in channels
            ],
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
                    f"axis {choice.axis} of {layer.name!r} cannot hold channels: it is shown as "
                    f"rows or columns; choose one of {plane.other_axes}"
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
        # 8-bit colours are what they are; napari's limits do not act on them.
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
        """(row, column) in px of the plane shown of a world position."""
        plane = self.need()
        units = getattr(self.viewer.dims, "units", None)
        place = to_data(self.image, np.asarray(position, np.float64), units)
        return float(place[plane.axes[0]]), float(place[plane.axes[1]])

    def show(self, plane: PlaneIndex) -> None:
        """Move the viewer's sliders to another plane along the axes that are not shown."""
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
        """Remember why there is no plane to work on, until there is one."""
        self.problem = None
        try:
            yield
        except Sam3Error as error:
            self.problem = error
            raise


def _pair(contrast: ContrastLimits | tuple[ContrastLimits, ...], number: int) -> ContrastLimits:
    """Return the limits of a channel, where there may be one pair for all or one for each."""
    given = contrast[min(number, len(contrast) - 1)]
    low, high = given if isinstance(given, tuple) else contrast
    return float(low), float(high)  # type: ignore[arg-type]


def _limits_of(layer: Image) -> ContrastLimits:
    low, high = layer.contrast_limits
    return float(low), float(high)


def _check_same_place(layer: Image, image: Image) -> None:
    """Refuse a layer whose pixels do not lie on those of the image; raises LayerError."""
    if layer.ndim != image.ndim or displacement(layer, image) > SAME_PIXEL:
        raise LayerError(
            f"{layer.name!r} does not lie pixel on pixel with {image.name!r}, so it cannot be one "
            "of its channels; choose a layer of the same shape, scale and place"
        )
