"""What the dock widget says and offers, worked out without Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .label_layer import image_shape
from .label_levels import finest

if TYPE_CHECKING:
    from .binding import Binding
    from .layer_set import LayerSet
    from .session import LabelingSession

__all__ = [
    "NO_IMAGE",
    "describe_lost_image",
    "describe_mask",
    "describe_merging",
    "describe_missing",
    "describe_stage",
    "sentence",
    "takes_labels",
    "takes_prompts",
]

NO_IMAGE = "Open an image to begin: File > Open, or File > Open Sample > SAM 3."
STAGES = {
    "loading model": "Loading the model …",
    "encoding": "Looking at this part of the image …",
    "predicting": "Predicting the mask …",
}


def describe_stage(session: LabelingSession) -> str:
    """Say what the session is doing or waiting for."""
    if session.stage in STAGES:
        return STAGES[session.stage]
    if session.busy:
        return "One moment …"
    if session.plane_key is None:
        return "Ready when a plane of the image is shown."
    if session.prediction is not None:
        return "Accept the mask, or refine it with more clicks."
    if session.prompts.is_empty:
        return "Ready: click on an object."
    return "There is no mask yet: click once more, or clear."


def describe_merging(label: int) -> str:
    """Say what a merge waits for."""
    return f"Label {label} will take in another one: point at it and press the same key again."


def describe_lost_image(name: str) -> str:
    """Say that an image is gone."""
    return (
        f"The image {name!r} was deleted. Choose another one; what was accepted is kept in the "
        "labels."
    )


def describe_missing(layers: LayerSet) -> str:
    """Name the layers that were deleted, and the way out."""
    names = ", ".join(repr(getattr(layers, role).name) for role in layers.missing)
    if "image" in layers.missing:
        return f"The image {layers.image.name!r} was deleted. Choose another one."
    return f'{names} was deleted. Press "Restore layers" to make it anew; no click is lost.'


def describe_mask(session: LabelingSession) -> str:
    """Describe the mask in hand and count the objects accepted."""
    count = len(session.objects)
    accepted = f"{count} object{'' if count == 1 else 's'} accepted"
    prediction = session.prediction
    if prediction is None:
        return accepted
    area = f"{prediction.mask.area:,}".replace(",", " ")
    many = len(session.hand.drafts)
    if many > 1:
        return f"{many} objects in hand · {accepted}"
    return f"Mask: score {prediction.score:.2f}, {area} px · {accepted}"


def sentence(error: BaseException) -> str:
    """Return an error as it is said: with a capital letter."""
    text = str(error)
    return text[:1].upper() + text[1:]


def takes_labels(binding: Binding | None) -> Callable[[Any], bool]:
    """Return a test whether a Labels layer can take the objects of the image in hand."""
    if binding is None:
        return lambda layer: False
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
    return lambda layer: layer.unique_id not in own and layer.ndim == ndim
