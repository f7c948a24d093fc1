"""Mode of the points layer, in which clicks in the canvas are prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gestures import ADD

if TYPE_CHECKING:
    from .layer_set import LayerSet

__all__ = ["Clicking"]


class Clicking:
    """Make clicks prompts: the points layer must be in add mode, selected and visible.

    napari sends no clicks to hidden layers. It leaves add mode in 3-D display, and does not
    return to it in 2-D.

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
        """Whether clicks were prompts before 3-D display."""
        return self._selected and self._mode_in_2d == ADD

    @property
    def _selected(self) -> bool:
        active = self._layers.viewer.layers.selection.active
        return active is not None and active.unique_id == self._layers.points.unique_id

    def note_mode(self) -> None:
        """Record the mode in 2-D display, to restore it after 3-D."""
        if not self._layers.in_3d:
            self._mode_in_2d = str(self._layers.points.mode)

    def resume(self) -> None:
        """Make clicks prompts; in 3-D display only select the points."""
        self._layers.select_points()
        self._layers.points.visible = True
        if not self._layers.in_3d:
            self._layers.points.mode = ADD
