"""The current plane of a viewer, passed to the session before it is used."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompts import PromptSet
from napari_sam3.labels.edits import find_mask_of_label
from sam3.errors import PromptError, Sam3Error

from .layer_set import fit_labels
from .plane_source import ChannelChoice, Contrast, PlaneKey

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.session.session import LabelingSession

    from .gestures import Place
    from .label_layer import LabelStore, LayerTarget
    from .layer_set import LayerSet
    from .plane_source import PlaneSource

__all__ = ["ShownPlane"]


class ShownPlane:
    """Follow the current plane, and pass it to the session when needed.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    store : LabelStore
        The labels.
    source : PlaneSource
        Planes of the image.
    session : LabelingSession
        Session that receives the plane.

    Attributes
    ----------
    visit : int
        Number of changes of the plane.
    """

    def __init__(
        self,
        layers: LayerSet,
        store: LabelStore,
        source: PlaneSource,
        session: LabelingSession,
    ) -> None:
        self._layers, self._store = layers, store
        self.source, self._session = source, session
        self._current = False
        self.visit = 0

    @property
    def index(self) -> PlaneIndex | None:
        """The current plane; None in 3-D display."""
        return self.source.plane

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px of the session's plane; raises PromptError without one."""
        shape = self._session.plane_shape
        if shape is None:
            raise PromptError(
                "no plane is shown. Expected a plane of an image. Choose an image and show one of "
                "its planes."
            )
        return shape

    def follow(self) -> None:
        """Update the current plane. Its pixels are read when needed.

        Raises
        ------
        LayerError
            If it cannot be labelled.
        """
        before = self.source.plane
        if self._layers.in_3d:  # not an error until a plane is needed
            self.leave()
            return
        try:
            plane = self.source.look()
        except Sam3Error:
            self._clear()
            raise
        if plane != before:
            self._clear()

    def leave(self) -> None:
        """Set no plane."""
        self.source.plane = None
        self._clear()

    def _clear(self) -> None:
        self._current = False
        self.visit += 1
        self._session.clear_plane()

    def outdate(self, *, pixels: bool = False) -> None:
        """Pass the plane to the session again before its next use; with `pixels`, read it again."""
        self._current = False
        if pixels:
            self.source.forget()

    def ensure(self) -> None:
        """Pass the current plane to the session, unless it has it."""
        plane = self.source.plane
        # Another binding of the session may have changed or cleared its plane.
        if self._current and plane and self._session.plane_key == self.source.key(plane):
            return
        self._layers.check_image()
        # Placement or data of both layers may have changed.
        fit_labels(self._layers.labels, self._layers.image)
        plane = self.source.need()
        target = self._store.plane(plane)
        self._session.set_plane(self.source.rendered(), self.source.key(plane), target)
        self._current = True
        if any(draft.has_target for draft in self._session.draft_set.drafts):
            self._session.predict()

    def go_to(self, key: Hashable) -> bool:
        """Show a plane of the image; return False if it is not one of its planes."""
        if not isinstance(key, PlaneKey) or not self.source.is_ours(key):
            return False
        self.source.show(key.plane)
        return True

    def takes_click(self, position: Place) -> bool:
        """Return True if a click at a world position can be a prompt; otherwise raise why not."""
        self.ensure()
        y, x = self.source.locate(position)
        PromptSet(((x, y),), (1,)).check_inside(self.shape)
        return True

    def label_at(self, position: Place | None, purpose: str) -> int:
        """Return the label at a world position, or under the mouse.

        Raises
        ------
        NothingThereError
            If there is none; the message names the `purpose`.
        """
        self.ensure()
        if position is None:
            position = self._layers.viewer.cursor.position
        y, x = nearest(self.source.locate(position)).tolist()
        height, width = self.shape
        label = 0
        if 0 <= y < height and 0 <= x < width:
            region = slice(y, y + 1), slice(x, x + 1)
            label = int(self._store.plane(self.source.need()).read(region)[0, 0])
        if label == 0:
            raise NothingThereError(
                f"no label at row {y}, column {x} to {purpose}. Expected a label under the mouse. "
                "Point at one."
            )
        return label

    @property
    def target(self) -> LayerTarget:
        """The labels of the plane shown."""
        return self.target_on(self.source.need())

    def target_on(self, plane: PlaneIndex) -> LayerTarget:
        """Return the labels of a plane."""
        return self._store.plane(plane)

    def pixels_of(self, label: int) -> PlaneMask | None:
        """Return all pixels of a label on the current plane; None if it has none."""
        return find_mask_of_label(self._store.plane(self.source.need()), label)

    def set_rendering(
        self,
        contrast: Contrast | None = None,
        channels: Sequence[ChannelChoice | None] | None = None,
    ) -> None:
        """Change how the model sees the image.

        Parameters
        ----------
        contrast : {"image", "plane", "layer"} or tuple, optional
            The 0.1 and 99.9 percentiles of the image or of each plane, the layer's contrast
            limits, or explicit limits: a pair of float, or a pair for each channel.
        channels : sequence of ChannelChoice, optional
            Up to three, as red, green and blue (None is black), or one as grey; empty for the
            image itself.

        Raises
        ------
        LayerError, sam3.errors.ImageError
            If the channels are incompatible; the old ones stay then.
        """
        source = self.source
        before = source.contrast, source.channels
        if contrast is not None:
            source.contrast = contrast
        if channels is not None:
            source.channels = tuple(channels)
        self.outdate(pixels=True)
        try:
            self.ensure()
        except Sam3Error:
            source.contrast, source.channels = before
            raise

    def thumbnail(self, side: int) -> npt.NDArray[np.uint8] | None:
        """Return a thumbnail (h x w x 3) of the plane as the model sees it.

        None until its contrast is known, which may require all pixels, read on the worker thread.
        """
        if self.source.plane is None or not self._current:
            return None
        image = self.source.rendered()
        if not image.is_ready:
            return None
        step = max(1, -(-max(image.shape) // side))
        return image.region(slice(None, None, step), slice(None, None, step))
