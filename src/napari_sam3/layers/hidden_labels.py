"""Labels that are being refined, hidden while their masks in hand are shown instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .label_levels import finest

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.planes import PlaneIndex

__all__ = ["HiddenLabels"]


class HiddenLabels:
    """Makes some labels of a layer transparent; their pixels stay as they are.

    Parameters
    ----------
    layer : Labels
        It gets its own colours back once nothing is hidden, unless others changed them meanwhile.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._before: Any = None
        self._ours: Any = None
        self._hidden: tuple[frozenset[int], PlaneIndex | None] = frozenset(), None

    def hide(self, labels: frozenset[int], plane: PlaneIndex | None) -> None:
        """Hide labels on a plane, and no others any more."""
        wanted = labels, plane if labels else None
        if wanted == self._hidden:
            return
        self._hidden = wanted
        if self._ours is not None and self._layer.colormap == self._ours:
            self._layer.colormap = self._before
        self._ours = None
        if labels and plane is not None:
            self._before = self._layer.colormap
            self._layer.colormap = self._without(labels, plane)
            self._ours = self._layer.colormap

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Hide nothing for a moment, in which the layer may get other colours of its own."""
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
            # Cyclic colours stand for all labels there are; a table names those on the plane.
            data = finest(self._layer.data, multiscale=self._layer.multiscale)
            present = np.unique(np.asarray(data[plane.slices()]))
            colors = {int(label): np.array(before.map(int(label))) for label in present}
            # Others may write labels meanwhile, which must be seen.
            colors |= {
                None: np.array(before.map(int(max(present, default=0)) + 1)),
                0: "transparent",
            }
        colors |= dict.fromkeys(hidden, "transparent")
        return DirectLabelColormap(color_dict=colors)
