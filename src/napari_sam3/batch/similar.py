"""Examples for the mode similar, from the objects of a label image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.lazy import LazyImage
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar.examples import Concept, Example, learn_concept
from sam3.errors import PromptError

from .units import plane_index

if TYPE_CHECKING:
    from napari_sam3.core.planes import ContrastLimits
    from napari_sam3.inference.cache import Control
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["concept_of_labels"]

# More examples add no information, and each is compared with every candidate.
MOST_EXAMPLES = 200


def concept_of_labels(
    image: LazyImage,
    labels: Any,
    predictor: Predictor,
    control: Control,
    contrast: ContrastLimits | None = None,
    detector: Detector | None = None,
) -> Concept | None:
    """Learn a concept from the labelled objects of an image.

    Parameters
    ----------
    image : LazyImage
        The image.
    labels : array of integers
        Of the shape of the image without colours. At most 200 objects, evenly spread, serve as
        examples.
    predictor : Predictor
        Encodes them.
    control : Control
        Receives progress, and may cancel.
    contrast : tuple of float, optional
        As for :func:`segment`.
    detector : Detector, optional
        Concept detector of the same weights, which encodes the examples as well.

    Returns
    -------
    Concept, or None
        None if cancelled.

    Raises
    ------
    sam3.errors.PromptError
        If the labels do not fit the image, are not integers, or hold no object.
    """
    if tuple(labels.shape) != image.shape or np.dtype(labels.dtype).kind not in "ui":
        raise PromptError(
            f"the example labels have shape {tuple(labels.shape)} and type {labels.dtype}. "
            f"Expected integers of shape {image.shape}. Choose labels made for this image."
        )
    objects = [
        (position, mask)
        for position in itertools.product(*map(range, image.shape[:-2]))
        for mask in _masks(np.asarray(labels[position]))
    ]
    if not objects:
        raise PromptError(
            "the example labels hold no object. Expected at least one value above 0. Label an "
            "object of the kind to be found."
        )
    chosen = objects[:: -(-len(objects) // MOST_EXAMPLES)]
    cache, parts = EmbeddingCache(), []
    for position, group in itertools.groupby(chosen, key=lambda one: one[0]):
        plane = image.rendered(plane_index(position), contrast)
        examples = [Example(mask) for _, mask in group]
        part = learn_concept(examples, plane, predictor, cache, control, detector)
        if part is None:
            return None
        parts.append(part)
    return Concept.joined(parts)


def _masks(plane: Any) -> Sequence[PlaneMask]:
    from skimage.measure import regionprops

    return [
        PlaneMask.from_array(np.asarray(part.image, bool), int(part.bbox[0]), int(part.bbox[1]))
        for part in regionprops(plane)
    ]
