"""Objects propagated along an axis of the image that a viewer shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

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
    """Propagates from the plane shown, to the planes along an axis.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        Propagates.
    plane : ShownPlane
        The plane shown.
    store : LabelStore
        The labels.
    reporting : Reporting
        Where errors go.

    Attributes
    ----------
    axis : int, optional
        Axis of the image; by default the last of those that are not shown.
    direction : {"forward", "backward", "both"}
        Towards the end of the axis, its beginning, or both.
    gap : int
        Planes in a row without the object that are bridged.
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
        """Propagate what is in hand, or else what was accepted on the plane shown."""

        def run() -> None:
            self._plane.ensure()
            self._session.propagate(axis=self.axis, direction=self.direction, gap=self.gap)

        self._guard(run)

    def stack(self, axis: int | None = None) -> PlaneStack:
        """Return the planes along an axis, the other axes as they are shown.

        Raises
        ------
        NothingThereError, sam3.errors.PromptError
            If there is only one plane, or no such axis.
        """
        plane, shape = self._plane.source.need(), image_shape(self._layers.image)
        if axis is None:
            axis = max(self.axes, default=None)
        if axis is None:
            raise NothingThereError(
                f"there is one plane to look at: shape {shape}. Expected an image of several. Open "
                "a stack or a series."
            )
        indices = planes_along(plane, axis, shape)
        seen, last = self._plane.source.snapshot(), (len(shape) - 2, len(shape) - 1)

        def image(index: int) -> PlaneImage:
            return load_if_small(seen.rendered(PlaneIndex(last, indices[index].index)))

        return PlaneStack(
            LazySequence(image, len(indices)), [self._store.plane(index) for index in indices]
        )

    def close(self) -> None:
        """End what runs, and let go of the layers."""
        self._session.propagating.cancel()
        self._session.propagating.stack_of = self._session.linking.stack_of = None
