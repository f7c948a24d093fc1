"""The plane that a viewer shows, handed to the session before anything is done on it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompts import PromptSet
from napari_sam3.labels.edits import find_mask_of_label
from sam3.errors import PromptError, Sam3Error

from .gestures import Place
from .layer_set import fit_labels
from .plane_source import ChannelChoice, Contrast, PlaneKey

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_sam3.session.session import LabelingSession

    from .label_layer import LabelStore
    from .layer_set import LayerSet
    from .plane_source import PlaneSource

__all__ = ["ShownPlane"]


class ShownPlane:
    """Follows the plane shown, and makes it the session's plane once that is needed.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    store : LabelStore
        The labels.
    source : PlaneSource
        Reads the image.
    session : LabelingSession
        Works on the plane.

    Attributes
    ----------
    visit : int
        Counts the planes that were left.
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
        """The plane shown; None in 3-D display."""
        return self.source.plane

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px, of the plane that the session has; raises PromptError."""
        shape = self._session.plane_shape
        if shape is None:
            raise PromptError("no plane is shown; choose an image and look at a plane of it")
        return shape

    def follow(self) -> None:
        """Note which plane is shown. Its pixels are read when they are needed.

        Raises
        ------
        LayerError
            If it cannot be worked on.
        """
        before = self.source.plane
        if self._layers.in_3d:  # looking is fine; what needs a plane says so
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
        """Have no plane."""
        self.source.plane = None
        self._clear()

    def _clear(self) -> None:
        self._current = False
        self.visit += 1
        self._session.clear_plane()

    def outdate(self, *, pixels: bool = False) -> None:
        """Hand the plane over anew before it is used next; its pixels are read anew on request."""
        self._current = False
        if pixels:
            self.source.forget()

    def ensure(self) -> None:
        """Hand the plane shown to the session, unless it has it."""
        if self._current:
            return
        self._layers.check_image()
        # Both may have been moved, or given other data, since they were chosen.
        fit_labels(self._layers.labels, self._layers.image)
        plane = self.source.need()
        target = self._store.plane(plane)
        self._session.set_plane(self.source.rendered(), self.source.key(plane), target)
        self._current = True
        if any(draft.has_target for draft in self._session.draft_set.drafts):
            self._session.predict()

    def go_to(self, key: Hashable) -> bool:
        """Show a plane of the image; False if a key names none of its planes."""
        if not isinstance(key, PlaneKey) or not self.source.is_ours(key):
            return False
        self.source.show(key.plane)
        return True

    def takes_click(self, position: Place) -> bool:
        """Return True if a click at a world position can be a prompt, or raise why it cannot."""
        self.ensure()
        y, x = self.source.locate(position)
        PromptSet(((x, y),), (1,)).check_inside(self.shape)
        return True

    def label_at(self, position: Place | None, purpose: str) -> int:
        """Return the label at a world position, or under the mouse.

        Raises
        ------
        NothingThereError
            If there is none; the message names the purpose.
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
                f"there is no label at row {y}, column {x} to {purpose}; point the mouse at one"
            )
        return label

    def pixels_of(self, label: int) -> PlaneMask | None:
        """Return all pixels of a label on the plane shown; None if it has none."""
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
            limits, or limits of your own: a pair of float, or a pair for each channel.
        channels : sequence of ChannelChoice, optional
            Up to three, as red, green and blue (None is black), or one as grey; an empty sequence
            for the image as it is.

        Raises
        ------
        LayerError, sam3.errors.ImageError
            If the channels do not fit together; the old ones stay then.
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
        """Return a small picture (h x w x 3) of the plane as the model gets it.

        None as long as its contrast is not known: finding it may take a look at all pixels, which
        is left to the thread that predicts.
        """
        if self.source.plane is None or not self._current:
            return None
        image = self.source.rendered()
        if not image.is_ready:
            return None
        step = max(1, -(-max(image.shape) // side))
        return image.region(slice(None, None, step), slice(None, None, step))
