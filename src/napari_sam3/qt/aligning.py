"""Question whether to align labels that do not lie on the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_sam3.core.errors import MisplacedError

from .text.panel import ALIGN_LABELS, LEAVE_LABELS
from .text.states import sentence

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from .controls import Offer

__all__ = ["choose_labels"]


def choose_labels(
    question: Offer, image: Image, labels: Labels | None, use: Callable[..., Any]
) -> None:
    """Use labels for an image, after alignment by the user if they do not lie on it.

    Parameters
    ----------
    question : Offer
        Asks.
    image : Image
        The image.
    labels : Labels, optional
        A new layer if not given.
    use : callable
        Called with image, labels and, to move the labels onto the image, ``align=True``.

    Raises
    ------
    LayerError
        If objects of the image cannot be written to the labels for another reason.
    """
    from napari_sam3.layers.label_layer import check_labels

    try:
        if labels is not None:
            check_labels(labels, image)
    except MisplacedError as error:
        question.ask(
            sentence(error),
            (ALIGN_LABELS, lambda: use(image, labels, align=True)),
            (LEAVE_LABELS, lambda: None),
        )
    else:
        use(image, labels)
