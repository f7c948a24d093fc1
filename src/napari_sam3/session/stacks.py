"""Stacks of planes along an axis, through which objects are propagated."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex, check_position, whole_lengths
from napari_sam3.images.contrast import ImageContrast
from napari_sam3.images.plane_image import Channel, RenderedPlane, load_if_small
from napari_sam3.labels.targets import ArrayTarget, LabelTarget
from sam3.errors import PromptError

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["LazySequence", "PlaneStack"]

T = TypeVar("T")
# Planes are reused soon, if at all.
_KEPT = 4


class LazySequence(Sequence[T], Generic[T]):
    """A lazy sequence that caches the last few items.

    Parameters
    ----------
    make : callable
        Called with an index; returns the item.
    length : int
        Number of items.
    """

    def __init__(self, make: Callable[[int], T], length: int) -> None:
        self._make = lru_cache(_KEPT)(make)
        self._length = length

    def __len__(self) -> int:
        """Return the number of items."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return an item, or several."""
        if isinstance(index, slice):
            return [self._make(i) for i in range(self._length)[index]]
        return self._make(range(self._length)[index])

    def __iter__(self) -> Iterator[T]:
        """Yield the items one by one."""
        return (self._make(index) for index in range(self._length))


@dataclass(frozen=True, eq=False)
class PlaneStack:
    """Planes in order, each with its image and its labels.

    Parameters
    ----------
    images : sequence of PlaneImage
        Images, read on any thread when needed.
    labels : sequence of LabelTarget
        Planes of one label image, whose keys name the planes.
    """

    images: Sequence[PlaneImage]
    labels: Sequence[LabelTarget]
    _places: dict[Hashable, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that there are labels for each image."""
        if len(self.images) != len(self.labels):
            raise LabelError(
                f"images and labels differ in number: {len(self.images)} and {len(self.labels)} "
                "planes. Expected labels for each image. Add what is missing."
            )
        places = {target.key: index for index, target in enumerate(self.labels)}
        object.__setattr__(self, "_places", places)

    @classmethod
    def of(
        cls,
        image: Any,
        labels: npt.NDArray[Any],
        plane: PlaneIndex | None = None,
        axis: int = 0,
    ) -> PlaneStack:
        """Return the planes of arrays along an axis, each named by its `PlaneIndex`.

        Parameters
        ----------
        image : array-like
            Grey values: anything with ``shape``, ``dtype`` and basic indexing. All planes share
            one contrast.
        labels : ndarray of integers
            Labels of the same shape.
        plane : PlaneIndex, optional
            Any of the planes; by default the first of the last two axes.
        axis : int
            Axis of the image along which the planes are stacked.

        Raises
        ------
        sam3.errors.PromptError, LabelError
            If the axis is not one outside the plane, or the labels do not fit.
        """
        shape = whole_lengths(image.shape)
        if plane is None:
            plane = PlaneIndex((len(shape) - 2, len(shape) - 1), (0,) * (len(shape) - 2))
        check_position(shape, plane)
        if labels.shape != shape:
            raise LabelError(
                f"the labels do not fit the image: shape {labels.shape}. Expected {shape}. Choose "
                "labels made for this image."
            )
        indices = planes_along(plane, axis, shape)
        contrast = ImageContrast(image)

        def render(index: int) -> PlaneImage:
            return load_if_small(RenderedPlane(Channel(image, indices[index], contrast=contrast)))

        targets = [ArrayTarget(labels, index, index) for index in indices]
        return cls(LazySequence(render, len(indices)), targets)

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.labels)

    def place(self, key: Hashable) -> int | None:
        """Return the index of a plane by its key, or None."""
        return self._places.get(key)


def planes_along(plane: PlaneIndex, axis: int, shape: Sequence[int]) -> list[PlaneIndex]:
    """Return all planes along an axis, with the other indices unchanged.

    Raises
    ------
    sam3.errors.PromptError
        If the axis is not one outside the plane.
    """
    if axis not in plane.other_axes:
        offered = ", ".join(map(str, plane.other_axes)) or "none, since the image is one plane"
        raise PromptError(
            f"objects cannot be propagated along axis {axis} of shape {tuple(shape)}. Expected an "
            f"axis outside the plane: {offered}. Choose another one."
        )
    at = plane.other_axes.index(axis)
    before, after = plane.index[:at], plane.index[at + 1 :]
    return [PlaneIndex(plane.axes, (*before, i, *after)) for i in range(shape[axis])]
