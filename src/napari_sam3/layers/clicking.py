"""Whether clicks in the canvas are prompts, in 2-D display and back from 3-D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gestures import ADD

if TYPE_CHECKING:
    from .layer_set import LayerSet

__all__ = ["Clicking"]


class Clicking:
    """The mode of the points layer: in add mode, selected and visible, clicks are prompts.

    Napari gives no clicks to layers that are hidden. It stops adding points in 3-D display, and
    does not resume it in 2-D.

    Parameters
    ----------
    layers : LayerSet
        Layers of a binding.
    """

    def __init__(self, layers: LayerSet) -> None:
        self._layers = layers
        self._mode_in_2d = ADD

    @property
    def listening(self) -> bool:
        """Whether clicks in the canvas are prompts now."""
        points, in_3d = self._layers.points, self._layers.in_3d
        return bool(self._selected and points.visible and points.mode == ADD and not in_3d)

    @property
    def resumes(self) -> bool:
        """Whether clicks were prompts when 2-D display was left."""
        return self._selected and self._mode_in_2d == ADD

    @property
    def _selected(self) -> bool:
        active = self._layers.viewer.layers.selection.active
        return active is not None and active.unique_id == self._layers.points.unique_id

    def note_mode(self) -> None:
        """Remember the mode that 2-D display is to have again."""
        if not self._layers.in_3d:
            self._mode_in_2d = str(self._layers.points.mode)

    def resume(self) -> None:
        """Make clicks prompts; in 3-D display the points are only selected."""
        self._layers.select_points()
        self._layers.points.visible = True
        if not self._layers.in_3d:
            self._layers.points.mode = ADD
