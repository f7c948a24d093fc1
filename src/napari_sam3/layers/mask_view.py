"""Display of the masks of drafts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .field_outline import FieldOutline
from .hidden_labels import HiddenLabels
from .label_colors import ShownLabels
from .preview import Preview

if TYPE_CHECKING:
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.session.session import LabelingSession

    from .layer_set import LayerSet

__all__ = ["MaskView"]


class MaskView:
    """Draw masks into the preview layer, and hide the labels that they will replace.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        Session with the drafts.

    Attributes
    ----------
    hidden : HiddenLabels
        Labels that the masks will replace.
    """

    def __init__(self, layers: LayerSet, session: LabelingSession) -> None:
        self._layers, self._session = layers, session
        self._preview = Preview(layers.preview, layers.image)
        self.hidden = HiddenLabels(layers.labels)
        self._colors = ShownLabels(layers.labels, session, self.hidden)
        self._outline: FieldOutline | None = None

    def use_new_layers(self) -> None:
        """Use a preview layer that was created again."""
        self._preview = Preview(self._layers.preview, self._layers.image)

    def close(self) -> None:
        """Clear the display."""
        self.hidden.hide(frozenset(), None)
        self._colors.close()
        if self._outline is not None:
            self._outline.close()
            self._outline = None

    def show(self, plane: PlaneIndex | None) -> None:
        """Show the current masks of the session on a plane."""
        if "preview" in self._layers.missing:
            return
        shown, current = self._session.shown, self._session.draft_set.current
        ranked = sorted(shown, key=lambda one: one.draft.number == current)
        self._preview.show(((one.mask, one.draft.number == current) for one in ranked), plane)
        drafts = (one.draft for one in ranked)
        refined = frozenset(draft.label for draft in drafts if draft.label is not None)
        self.hidden.hide(refined, plane)
        self._show_field(plane)

    def show_field(self, shown: bool, plane: PlaneIndex | None) -> None:
        """Show or hide the outline of the field of the current mask."""
        if shown == (self._outline is not None):
            return
        if self._outline is not None:
            self._outline.close()
        layers = self._layers
        self._outline = FieldOutline(layers.viewer, layers.image, layers.tools) if shown else None
        self._show_field(plane)

    def _show_field(self, plane: PlaneIndex | None) -> None:
        if self._outline is None:
            return
        prediction = self._session.prediction
        predicted = prediction is not None and prediction.predicted
        field = prediction.field if prediction is not None and predicted else None
        self._outline.show(field, plane)
