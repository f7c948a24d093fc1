"""Hide labels that are being refined while the masks of their drafts are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.errors import LabelError

from .label_arrays import labels_of

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.planes import PlaneIndex

__all__ = ["HiddenLabels"]


class HiddenLabels:
    """Make labels of a layer transparent, without changing their pixels.

    Parameters
    ----------
    layer : Labels
        The layer; its colours are restored at the end, unless they were changed since.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._before: Any = None
        self._ours: Any = None
        self._hidden: tuple[frozenset[int], PlaneIndex | None] = frozenset(), None

    def hide(self, labels: frozenset[int], plane: PlaneIndex | None) -> None:
        """Hide these labels on a plane, and show all others."""
        wanted = labels, plane if labels else None
        if wanted == self._hidden:
            return
        self._hidden = wanted
        if self._ours is not None and self._layer.colormap == self._ours:
            self._layer.colormap = self._before
        self._ours = None
        if labels and plane is not None:
            self._before = self._layer.colormap
            with suppress(LabelError):  # an unreadable plane is not shown either
                self._layer.colormap = self._without(labels, plane)
            self._ours = self._layer.colormap

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Show all labels within the block, in which the colours of the layer may be changed."""
        labels, plane = self._hidden
        self.hide(frozenset(), None)
        try:
            yield
        finally:
            self.hide(labels, plane)

    def _without(self, hidden: frozenset[int], plane: PlaneIndex) -> Any:
        """Return the layer's colours with some labels transparent."""
        from napari.utils.colormaps import DirectLabelColormap

        before = self._before
        colors: dict[int | None, Any]
        if isinstance(before, DirectLabelColormap):
            colors = {key: np.array(color) for key, color in before.color_dict.items()}
            colors |= {None: np.array(before.default_color)}
        else:
            # A cyclic colormap covers all labels; a direct one lists those on the plane.
            present = np.unique(labels_of(self._layer)[plane.slices()])
            colors = {int(label): np.array(before.map(int(label))) for label in present}
            # Labels written by others must stay visible.
            colors |= {
                None: np.array(before.map(int(max(present, default=0)) + 1)),
                0: "transparent",
            }
        colors |= dict.fromkeys(hidden, "transparent")
        return DirectLabelColormap(color_dict=colors)
