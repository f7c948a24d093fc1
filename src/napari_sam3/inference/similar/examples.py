"""Positive and negative examples of a search, and the concept that they define."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import Box, PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import answer
from napari_sam3.inference.automatic.parts import in_parts
from napari_sam3.inference.cache import Control, EmbeddingCache
from napari_sam3.inference.model_server import run_on_server
from napari_sam3.inference.questions import Question
from sam3.errors import PromptError

from .appearance import Appearance, describe

if TYPE_CHECKING:
    from torch import Tensor

    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["Concept", "Example", "checked_text", "learn_concept"]


@dataclass(frozen=True, eq=False)
class Example:
    """Labelled or boxed object of a plane.

    Parameters
    ----------
    mask : PlaneMask
        Pixels of the object, or of a box around it.
    wanted : bool
        Whether the example is positive.
    boxed : bool
        Whether the mask is a box, in which the object has not been segmented.
    """

    mask: PlaneMask
    wanted: bool = True
    boxed: bool = False

    @classmethod
    def from_box(cls, box: Box, shape: tuple[int, int], wanted: bool = True) -> Example:
        """Make an example from a box (x0, y0, x1, y1) in px of a plane of ``shape`` (H, W).

        Raises
        ------
        sam3.errors.PromptError
            If the box has no area or lies outside the plane.
        """
        x0, y0, x1, y1 = box
        if not (np.isfinite(box).all() and x0 < x1 and y0 < y1):
            raise PromptError(
                f"the example box has no area: {list(box)}. Expected x0 < x1 and y0 < y1. Draw "
                "it around an object."
            )
        corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        mask = PlaneMask.from_outline(corners, shape)
        if mask.is_empty:
            raise PromptError(
                f"the example box lies outside the plane: {list(box)}. Expected a box within "
                f"{shape[1]} x {shape[0]} px. Draw it around an object."
            )
        return cls(mask, wanted, boxed=True)

    @property
    def bounds(self) -> Box:
        """Bounding box (x0, y0, x1, y1) in px, for the choice of a field."""
        y0, x0, y1, x1 = self.mask.bbox
        return float(x0), float(y0), float(x1 - 1), float(y1 - 1)

    @property
    def extent(self) -> float:
        """Longer side in px."""
        return float(max(self.mask.crop.shape))


@dataclass(frozen=True, eq=False)
class Concept:
    """Appearance of the examples of a search, independent of their image.

    Parameters
    ----------
    wanted, unwanted : tuple of Appearance
        Appearances of the positive and negative examples.
    tokens : tuple of Tensor, each of shape (N, C)
        Examples encoded by the concept detector, empty without one.
    text : str, optional
        Text prompt for the concept detector.
    """

    wanted: tuple[Appearance, ...] = ()
    unwanted: tuple[Appearance, ...] = ()
    tokens: tuple[Tensor, ...] = field(default=(), repr=False)
    text: str | None = None

    @classmethod
    def joined(cls, parts: Iterable[Concept]) -> Concept:
        """Join the examples of several planes or images."""
        parts = tuple(parts)
        texts = [one.text for one in parts if one.text is not None]
        return cls(
            tuple(one for part in parts for one in part.wanted),
            tuple(one for part in parts for one in part.unwanted),
            tuple(one for part in parts for one in part.tokens),
            texts[-1] if texts else None,
        )

    def digest(self) -> str:
        """Return a hash of the examples that is reproducible across machines."""
        digest = hashlib.blake2b(digest_size=16)
        for sign, side in ((b"+", self.wanted), (b"-", self.unwanted)):
            for look in side:
                digest.update(sign + f"{look.area} {look.extent} {look.solidity:.6f}".encode())
                digest.update(f"{look.edge:.3f} {look.grain:.3f}".encode())
                for values in (look.features, look.colour, look.ring, look.texture):
                    digest.update(np.round(values, 3).astype("<f4").tobytes())
        digest.update(repr(self.text).encode())
        return digest.hexdigest()

    @property
    def typical_size(self) -> float | None:
        """Median of the longer sides of the positive examples in px."""
        sizes = [max(one.extent) for one in self.wanted]
        return float(np.median(sizes)) if sizes else None

    @property
    def radii(self) -> tuple[float, float]:
        """Smallest and largest radius in px of discs with the areas of the positive examples."""
        radii = [float(np.sqrt(one.area / np.pi)) for one in self.wanted]
        return min(radii), max(radii)


def checked_text(text: str) -> str:
    """Return a name to search by, stripped of surrounding whitespace.

    Raises
    ------
    sam3.errors.PromptError
        If it is blank.
    """
    if not text.strip():
        raise PromptError(
            f"the name is blank: {text!r}. Expected a short noun phrase such as 'nucleus'. Type "
            "one."
        )
    return text.strip()


@run_on_server
def learn_concept(
    examples: Sequence[Example],
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    detector: Detector | None = None,
) -> Concept | None:
    """Return the concept of examples on a plane, for searches on any plane.

    Parameters
    ----------
    examples : sequence of Example
        Examples on this plane.
    plane : PlaneImage
        Plane of the examples.
    predictor, cache, control
        As for :func:`napari_sam3.inference.automatic.find.find_objects`.
    detector : Detector, optional
        Concept detector, which encodes the examples as well.

    Returns
    -------
    Concept, or None
        None if the control was cancelled.

    Raises
    ------
    sam3.errors.PromptError
        If an example is empty or lies outside the plane.
    """
    for example in examples:
        _check_place(example, plane.shape)
    outlined = _outlined(examples, plane, predictor, cache, control)
    if outlined is None:
        return None
    examples = outlined
    # Encode all examples at the scale of the search.
    sizes = [one.extent for one in examples if one.wanted]
    typical = float(np.median(sizes)) if sizes else None
    groups: dict[FieldOfView, list[Example]] = {}
    for example in examples:
        groups.setdefault(example_field(example, plane.shape, predictor, typical), []).append(
            example
        )
    parts = []
    for part, (place, group) in in_parts(control, list(groups.items())):
        features = cache.encode_field(
            place, plane, predictor, part, keep_trunk=detector is not None
        )
        if control.cancelled:
            return None
        part.report("predicting")
        appearances = describe([one.mask for one in group], plane, place, features)
        pairs = list(zip(group, appearances, strict=True))
        tokens: tuple[Tensor, ...] = ()
        if detector is not None:
            boxes = [_box_in(place, one) for one in group]
            labels = [one.wanted for one in group]
            # On the CPU, so that they can be sent to other machines.
            tokens = (detector.encode_examples(features, boxes, labels).cpu(),)
        parts.append(
            Concept(
                tuple(look for example, look in pairs if example.wanted),
                tuple(look for example, look in pairs if not example.wanted),
                tokens,
            )
        )
    return Concept.joined(parts)


def example_field(
    example: Example, shape: tuple[int, int], predictor: Predictor, typical_size: float | None
) -> FieldOfView:
    """Return the field of an example, as for a click on it."""
    return choose_field(shape, _Place(example.bounds), predictor.config, None, typical_size)


def _outlined(
    examples: Sequence[Example],
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
) -> list[Example] | None:
    """Segment the object in each box. None once the control is cancelled."""
    prompts = [PromptSet(box=one.bounds) if one.boxed else None for one in examples]
    drafts = tuple(
        Draft(number, (Turn(prompt),))
        for number, prompt in enumerate(prompts)
        if prompt is not None
    )
    answers = answer(Question(plane, drafts), predictor, cache, control) if drafts else ()
    if answers is None:
        return None
    masks = {one.draft.number: one.mask for one in answers if not one.mask.is_empty}
    return [
        replace(example, mask=masks.get(number, example.mask), boxed=False)
        for number, example in enumerate(examples)
    ]


@dataclass(frozen=True)
class _Place:
    """Bounds of an example in the form of prompts, for `choose_field`."""

    bounds: Box
    extent: float | None = None


def _box_in(place: FieldOfView, example: Example) -> list[float]:
    """Return the corners (x0, y0, x1, y1) of an example in its field, at the pixels' edges."""
    y0, x0, y1, x1 = example.mask.bbox
    row, column = place.origin
    return [x0 - column, y0 - row, x1 - column, y1 - row]


def _check_place(example: Example, shape: tuple[int, int]) -> None:
    y0, x0, y1, x1 = example.mask.bbox
    if example.mask.is_empty or not example.mask.crop.any():
        raise PromptError(
            "an example has no pixels. Expected a labelled object or a box with an area. Choose "
            "another example."
        )
    if y0 < 0 or x0 < 0 or y1 > shape[0] or x1 > shape[1]:
        raise PromptError(
            f"an example lies outside the plane: rows {y0} to {y1}, columns {x0} to {x1}. "
            f"Expected {shape[0]} x {shape[1]} px at most. Choose labels made for this image."
        )
