"""Propagation of objects along an axis of the image in a viewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import TYPE_CHECKING

from napari_sam3.core.axes import axis_letter, axis_to_follow, is_time
from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.plane_image import load_if_small
from napari_sam3.session.stacks import LazySequence, PlaneStack, planes_along

from .label_layer import image_shape

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.tracking.propagate import Direction
    from napari_sam3.session.session import LabelingSession

    from .label_layer import LabelStore
    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["Propagation"]


class Propagation:
    """Propagate objects from the current plane to the planes along an axis.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        Runs the propagation.
    plane : ShownPlane
        The current plane.
    store : LabelStore
        The labels.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    axis : int, optional
        Axis of the image; by default the last hidden one that is not a channel.
    direction : {"forward", "backward", "both"}
        Towards the end of the axis, its beginning, or both.
    gap : int
        Consecutive planes without the object to bridge.
    """

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        plane: ShownPlane,
        store: LabelStore,
        reporting: Reporting,
    ) -> None:
        self._layers, self._session, self._plane = layers, session, plane
        self._store, self._guard = store, reporting.guard
        self.axis: int | None = None
        self.direction: Direction = "both"
        self.gap = 0
        session.propagating.stack_of = session.linking.stack_of = self.stack

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys and buttons, by name."""
        return {"propagate": self.propagate}

    @property
    def axes(self) -> dict[int, int]:
        """Axes that objects can be propagated along, with the number of planes of each."""
        plane, shape = self._plane.index, image_shape(self._layers.image)
        others = plane.other_axes if plane is not None else ()
        return {axis: shape[axis] for axis in others if shape[axis] > 1}

    def propagate(self) -> None:
        """Propagate the drafts, or else the objects accepted on the current plane."""

        def run() -> None:
            self._plane.ensure()
            self._session.propagate(
                axis=self.axis, direction=self.direction, gap=self.gap, in_time=self._in_time()
            )

        self._guard(run)

    def _in_time(self) -> bool:
        """Whether objects are propagated through time."""
        image, axis = self._layers.image, self._axis()
        return axis is not None and is_time(str(image.axis_labels[axis]), image.units[axis])

    def _axis(self) -> int | None:
        """Return the axis chosen, by default the last hidden one that is not a channel."""
        if self.axis is not None:
            return self.axis
        names = self._layers.image.axis_labels
        return axis_to_follow({axis: str(names[axis]) for axis in self.axes})

    def planes_of_object(self) -> tuple[list[PlaneIndex], int]:
        """Return all planes that one object may be on, and the axis along which it is followed.

        They lie along the axis of propagation, and along time and depth if the axes are named.
        The object is followed through time, if there is any.

        Raises
        ------
        NothingThereError
            If there is only one plane.
        """
        image, plane, first = self._layers.image, self._plane.source.need(), self._axis()
        if first is None:
            raise self._one_plane()
        names = {axis: str(image.axis_labels[axis]) for axis in self.axes}
        times = [axis for axis in names if is_time(names[axis], image.units[axis])]
        along = {first, *times, *(axis for axis in names if axis_letter(names[axis]) == "z")}
        ranges = (
            range(self.axes[axis]) if axis in along else (at,)
            for axis, at in zip(plane.other_axes, plane.index, strict=True)
        )
        planes = [PlaneIndex(plane.axes, index) for index in product(*ranges)]
        return planes, times[0] if times else first

    def stack(self, axis: int | None = None) -> PlaneStack:
        """Return the planes along an axis, with the other indices as shown.

        Raises
        ------
        NothingThereError, sam3.errors.PromptError
            If there is only one plane, or the axis is invalid.
        """
        plane, shape = self._plane.source.need(), image_shape(self._layers.image)
        if axis is None:
            axis = self._axis()
        if axis is None:
            raise self._one_plane()
        indices = planes_along(plane, axis, shape)
        seen, last = self._plane.source.snapshot(), (len(shape) - 2, len(shape) - 1)

        def image(index: int) -> PlaneImage:
            return load_if_small(seen.rendered(PlaneIndex(last, indices[index].index)))

        return PlaneStack(
            LazySequence(image, len(indices)), [self._store.plane(index) for index in indices]
        )

    def _one_plane(self) -> NothingThereError:
        return NothingThereError(
            f"the image has only one plane: shape {image_shape(self._layers.image)}. Expected "
            "several planes. Open a stack or a time series."
        )

    def close(self) -> None:
        """Cancel the run, and release the layers."""
        self._session.propagating.cancel()
        self._session.propagating.stack_of = self._session.linking.stack_of = None
