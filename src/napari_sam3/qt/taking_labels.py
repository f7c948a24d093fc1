"""Labels that are opened after their image: used in place of new ones that hold nothing yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding

    from .host import Host

__all__ = ["use_labels_later"]


def use_labels_later(widget: Host, event: Any) -> None:
    """Have a widget use a layer that was just added, if it holds labels of the image it works on.

    Later, because napari is still at work on its layers.
    """
    layer = event.value if event.type == "inserted" else None
    if isinstance(layer, Labels) and widget.binding is not None:
        QTimer.singleShot(0, partial(_take, widget, layer))


def _take(widget: Host, layer: Labels) -> None:
    from napari_sam3.layers.layer_set import fits_by_itself

    binding = widget.binding
    if binding is None or not binding.layers.has(layer) or not fits_by_itself(layer, binding.image):
        return
    if not _is_untouched(binding):
        return
    empty = binding.labels
    if widget.set_image(binding.image, layer) and binding.layers.has(empty):
        widget.viewer.layers.remove(empty)


def _is_untouched(binding: Binding) -> bool:
    """Whether the labels in use were made by the widget, and nothing was done in them yet."""
    from napari_sam3.layers.layer_set import is_made_for

    labels, session = binding.labels, binding.session
    if not is_made_for(labels, binding.image) or labels.multiscale:
        return False
    done = session.has_step(binding.sync.owns) or session.has_step(binding.sync.owns, undone=True)
    return not done and not session.draft_set.drafts and not np.any(labels.data)
