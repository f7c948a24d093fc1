"""Examples for the mode similar: objects of a label image, described where they are."""

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
    from sam3.predictor import Predictor

__all__ = ["concept_of_labels"]

# More examples say nothing new, and each costs a comparison with every candidate.
MOST_EXAMPLES = 200


def concept_of_labels(
    image: LazyImage,
    labels: Any,
    predictor: Predictor,
    control: Control,
    contrast: ContrastLimits | None = None,
) -> Concept | None:
    """Learn what the labelled objects of an image look like.

    Parameters
    ----------
    image : LazyImage
        Where the objects are.
    labels : array of integers
        Of the shape of the image without its colours. At most 200 objects serve as examples,
        spread evenly.
    predictor : Predictor
        Describes them.
    control : Control
        Hears of progress, and may cancel.
    contrast : tuple of float, optional
        As for :func:`segment`.

    Returns
    -------
    Concept, or None
        None if the control was cancelled.

    Raises
    ------
    sam3.errors.PromptError
        If the labels do not fit the image, hold no integers, or no object.
    """
    if tuple(labels.shape) != image.shape or np.dtype(labels.dtype).kind not in "ui":
        raise PromptError(
            f"the example labels have shape {tuple(labels.shape)} and type {labels.dtype}. "
            f"Expected integers of shape {image.shape}; choose labels made for this image."
        )
    found = [
        (position, mask)
        for position in itertools.product(*map(range, image.shape[:-2]))
        for mask in _masks(np.asarray(labels[position]))
    ]
    if not found:
        raise PromptError(
            "the example labels hold no object. Expected at least one value above 0; label an "
            "object of the kind that is to be found."
        )
    chosen = found[:: -(-len(found) // MOST_EXAMPLES)]
    cache, parts = EmbeddingCache(), []
    for position, group in itertools.groupby(chosen, key=lambda one: one[0]):
        plane = image.rendered(plane_index(position), contrast)
        examples = [Example(mask) for _, mask in group]
        part = learn_concept(examples, plane, predictor, cache, control)
        if part is None:
            return None
        parts.append(part)
    return Concept.joined(parts)


def _masks(plane: Any) -> Sequence[PlaneMask]:
    from skimage.measure import regionprops

    return [
        PlaneMask.from_array(np.asarray(one.image, bool), int(one.bbox[0]), int(one.bbox[1]))
        for one in regionprops(plane)
    ]
