"""Whether clicks in the canvas are prompts, in 2-D display and back from 3-D."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .gestures import ADD

if TYPE_CHECKING:
    from .layer_set import LayerSet

__all__ = ["Clicking"]


class Clicking:
    """The mode of the points layer: in add mode, and selected, clicks are prompts.

    Napari stops adding points in 3-D display, and does not resume it in 2-D.

    Parameters
    ----------
    layers : callable
        Returns the layers of a binding, of which some may be made anew.
    """

    def __init__(self, layers: Callable[[], LayerSet]) -> None:
        self._layers = layers
        self._mode_in_2d = ADD

    @property
    def in_3d(self) -> bool:
        """Whether the viewer shows a volume, not a plane."""
        return bool(self._layers().viewer.dims.ndisplay == 3)

    @property
    def resumes(self) -> bool:
        """Whether clicks were prompts when 2-D display was left."""
        layers = self._layers()
        active, points = layers.viewer.layers.selection.active, layers.points
        selected = active is not None and active.unique_id == points.unique_id
        return selected and self._mode_in_2d == ADD

    def note_mode(self) -> None:
        """Remember the mode that 2-D display is to have again."""
        if not self.in_3d:
            self._mode_in_2d = str(self._layers().points.mode)

    def resume(self) -> None:
        """Make clicks prompts; in 3-D display the points are only selected."""
        self._layers().select_points()
        if not self.in_3d:
            self._layers().points.mode = ADD
