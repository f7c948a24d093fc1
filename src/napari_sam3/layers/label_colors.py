"""Visible colours for accepted labels that the colormap of their layer hides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.operations import LabelChange
    from napari_sam3.session.session import LabelingSession

    from .hidden_labels import HiddenLabels

__all__ = ["LEAST_ALPHA", "ShownLabels", "show_labels"]

#: Minimum alpha of a colour that is visible on an image.
LEAST_ALPHA = 0.1


class ShownLabels:
    """Keep labels visible that a session writes into a Labels layer.

    Parameters
    ----------
    labels : Labels
        The layer. Other labels that its colormap hides stay hidden.
    session : LabelingSession
        Emits changes of labels.
    hidden : HiddenLabels
        Temporarily hidden labels of the layer.
    """

    def __init__(self, labels: Labels, session: LabelingSession, hidden: HiddenLabels) -> None:
        self._labels, self._session, self._hidden = labels, session, hidden
        self._seen = self._objects()
        session.labels_changed.connect(self._on_change)
        session.batch_ended.connect(self._show)

    def close(self) -> None:
        """Stop listening."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self._show)

    def _objects(self) -> set[int]:
        return set().union(*self._session.ids_in(self._labels.unique_id).values())

    def _on_change(self, change: LabelChange) -> None:
        if not change.more:
            # The parts of a label that is not an object are objects.
            made = change.operation.kind in ("split", "link")
            split = made and change.direction != "undo"
            self._show(change.operation.labels if split else ())

    def _show(self, more: Iterable[int] = ()) -> None:
        now = self._objects()
        new = (now - self._seen) | set(more)
        if new:
            if self._labels.show_selected_label and new != {self._labels.selected_label}:
                self._labels.show_selected_label = False
            with self._hidden.lifted():
                show_labels(self._labels, new)
        self._seen = now


def show_labels(layer: Labels, ids: Iterable[int]) -> None:
    """Give labels a colour that the layer's colormap leaves transparent.

    Parameters
    ----------
    layer : Labels
        In a direct colormap, each label gets an entry. In a cyclic one, the colour that it
        shares with other labels becomes visible.
    ids : iterable of int
        The labels; 0 is ignored.
    """
    from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

    colormap = layer.colormap
    hidden = [label for label in sorted(set(ids)) if label and _is_hidden(colormap, label)]
    if not hidden:
        return
    visible = {label: _color(label) for label in hidden}
    if isinstance(colormap, DirectLabelColormap):
        colors = {**colormap.color_dict, **visible}
        layer.colormap = DirectLabelColormap(
            color_dict=colors, background_value=colormap.background_value, name=colormap.name
        )
        return
    table = np.array(colormap.colors)
    for label, color in visible.items():
        # The first colour is the background's; the others repeat.
        table[(label - 1) % (len(table) - 1) + 1 if len(table) > 1 else 0] = color
    background = colormap.background_value
    layer.colormap = CyclicLabelColormap(  # a proxied layer returns another type
        colors=table,
        background_value=0 if background in hidden else background,
        name=colormap.name,
        seed=colormap.seed,
    )


def _is_hidden(colormap: Any, label: int) -> bool:
    return not np.asarray(colormap.map(np.array([label])))[0, -1] >= LEAST_ALPHA


def _color(label: int) -> Any:
    """Return the colour that napari gives a label by default."""
    from napari.utils.colormaps import label_colormap

    return np.asarray(label_colormap().map(np.array([label])))[0]
