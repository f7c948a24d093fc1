"""Which texts the dock widget shows and which layers it offers, worked out without Qt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sam3.errors import Sam3Error

from . import status as status_text

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.layers.layer_set import LayerSet
    from napari_sam3.session.session import LabelingSession

__all__ = [
    "describe_error",
    "describe_mask",
    "describe_missing",
    "describe_stage",
    "describe_state",
    "sentence",
    "takes_labels",
    "takes_prompts",
]

logger = logging.getLogger(__name__)


def describe_stage(session: LabelingSession) -> str:
    """Describe the stage of the session."""
    clicked = any(draft.has_target for draft in session.draft_set.drafts)
    if clicked and session.stage in status_text.WAITING:
        return status_text.WAITING[session.stage]
    if session.stage in status_text.STAGES:
        return status_text.STAGES[session.stage]
    if session.busy:
        return status_text.BUSY
    if session.plane_key is None:
        return status_text.NO_PLANE
    if session.prediction is not None and not session.prediction.mask.is_empty:
        return status_text.MASK_SHOWN
    if not session.prompts.is_empty:
        return status_text.NO_MASK
    kept, shown = len(session.finding.candidates), len(session.finding.shown)
    return status_text.candidates(shown, kept) if kept else status_text.READY


def describe_state(binding: Binding | None, session: LabelingSession) -> tuple[str, bool]:
    """Return the text of the status line, and whether it is an error."""
    if binding is None:
        return status_text.NO_IMAGE, False
    # Errors stay until they are mended, also while the model works.
    if binding.layers.missing:
        return describe_missing(binding.layers), True
    if binding.problem is not None:
        return sentence(binding.problem), False  # looking is fine; writing says more
    if binding.in_3d:
        return status_text.IN_3D, False
    if binding.merging is not None:
        return status_text.merging(binding.merging, everywhere=binding.pointed.everywhere), False
    divisions = binding.divisions
    if divisions.parent is not None:
        return status_text.dividing(divisions.parent, divisions.daughters), False
    if binding.viewing.painting:
        return status_text.PAINTING, False
    if not (binding.listening or session.busy):
        return status_text.ELSEWHERE, False
    pointed = binding.candidates.pointed.candidate
    if pointed is not None and not session.busy:
        return status_text.pointed_candidate(pointed.score), False
    return describe_stage(session), False


def describe_missing(layers: LayerSet) -> str:
    """Name the layers that were deleted, and the way out."""
    if "image" in layers.missing:
        return status_text.deleted_image(layers.image.name)
    return status_text.deleted_layers([layers.roles[role].name for role in layers.missing])


def describe_mask(session: LabelingSession, binding: Binding | None) -> str:
    """Describe the current mask and count the objects accepted in the labels of the image."""
    accepted = 0 if binding is None else binding.accepted
    many = len(session.draft_set.drafts)
    prediction = session.prediction
    if prediction is None:
        return status_text.accepted_objects(accepted)
    if many > 1:
        return status_text.drafts(many, accepted)
    index, count = prediction.index, len(prediction.candidates)
    score, area = prediction.score, prediction.mask.area
    return status_text.current_mask(index + 1, count, score, area, accepted)


def describe_error(error: BaseException) -> str:
    """Return an error as a sentence; unexpected ones are logged as well."""
    if isinstance(error, Sam3Error):
        return sentence(error)
    logger.error("unexpected error", exc_info=error)
    return status_text.unexpected(error)


def sentence(error: BaseException) -> str:
    """Return an error as it is said: with a capital letter."""
    text = str(error)
    return text[:1].upper() + text[1:]


def takes_labels(binding: Binding | None) -> Callable[[Any], bool]:
    """Return a test whether a Labels layer can take the objects of the image in use."""
    if binding is None:
        return lambda layer: False
    from napari_sam3.layers.label_layer import image_shape
    from napari_sam3.layers.label_levels import finest

    shape, preview = image_shape(binding.image), binding.preview.unique_id

    def labels_shape(layer: Any) -> tuple[int, ...]:
        return tuple(finest(layer.data, multiscale=layer.multiscale).shape)

    def fits(layer: Any) -> bool:
        return bool(layer.unique_id != preview and labels_shape(layer) == shape)

    return fits


def takes_prompts(binding: Binding | None) -> Callable[[Any], bool]:
    """Return a test whether a Points or Shapes layer of the user can hold prompts."""
    if binding is None:
        return lambda layer: False
    own = {getattr(binding.layers, role).unique_id for role in binding.layers.made - {"labels"}}
    ndim = binding.image.ndim
    tools = binding.layers.tools
    return lambda layer: (
        layer.unique_id not in own and layer.ndim == ndim and not tools.holds(layer)
    )
