"""The plane of an image that a viewer shows, and its pixels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sam3.errors import Sam3Error

from .coordinates import shown_plane, to_data
from .errors import LayerError
from .planes import ContrastLimits, PlaneIndex, plane_from_array, read_plane

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["PlaneKey", "PlaneSource"]


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


class PlaneSource:
    """Follows the plane shown; reads pixels only when asked.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Its dims decide.
    image : Image
        The image.
    contrast : tuple of float, optional
        Values shown to the model as black and white, instead of percentiles.

    Attributes
    ----------
    problem : Sam3Error or None
        Why the plane shown cannot be worked on.
    """

    def __init__(
        self, viewer: ViewerModel, image: Image, contrast: ContrastLimits | None = None
    ) -> None:
        self.viewer, self.image, self.contrast = viewer, image, contrast
        self.plane: PlaneIndex | None = None
        self.problem: Sam3Error | None = None

    def look(self) -> PlaneIndex | None:
        """Note and return the plane shown; None, and LayerError, if there is none."""
        self.plane = None
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

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Read the plane shown as the model sees it, H x W x 3."""
        image = self.image
        with self._noting_problems():
            raw = read_plane(image.data, self.need(), rgb=image.rgb, multiscale=image.multiscale)
            return plane_from_array(raw, rgb=image.rgb, contrast=self.contrast)

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
        world = self.image.data_to_world(place)
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
