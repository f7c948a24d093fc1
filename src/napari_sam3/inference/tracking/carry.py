"""Propagation of objects to the next plane: the prompts there, and the rules for an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask, overlap
from napari_sam3.core.prompts import MIN_BOX_SIDE, PromptSet
from napari_sam3.inference.answers import answer
from napari_sam3.inference.questions import Question
from sam3.errors import PromptError

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.cache import Control, EmbeddingCache
    from sam3.predictor import Predictor

__all__ = ["CarriedMask", "CarryRules", "carry", "carried_draft", "why_ended"]

Part = Literal["box", "point", "mask"]
_LIMITS = (
    ("slack", 0, 10),
    ("min_score", 0, 1),
    ("max_change", 1, float("inf")),
    ("min_overlap", 0, 1),
    ("min_area", 1, float("inf")),
)


@dataclass(frozen=True)
class CarryRules:
    """How objects are followed from plane to plane.

    The defaults were chosen by measuring on synthetic stacks; see docs/batch.md.

    Parameters
    ----------
    parts : tuple of {"box", "point", "mask"}
        What of the previous mask is shown to the model: its bounding box, its deepest interior
        point as a foreground click, and itself as a mask prompt.
    slack : float
        How far the box is widened on each side, in shares of its longer side.
    min_score : float
        An object ends where the model's own estimate of the IoU is lower.
    max_change : float
        It ends where its area grows or shrinks by more than this factor.
    min_overlap : float
        It ends where less of the smaller of the two masks overlaps, as a share.
    min_area : int
        It ends where it has fewer px.
    """

    parts: tuple[Part, ...] = ("mask",)
    slack: float = 0.2
    min_score: float = 0.7
    max_change: float = 3.0
    min_overlap: float = 0.5
    min_area: int = 8

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not self.parts or not set(self.parts) <= set(get_args(Part)):
            raise PromptError(
                f"parts is {self.parts!r}; choose one or more of {', '.join(get_args(Part))}"
            )
        for name, low, high in _LIMITS:
            if not low <= getattr(self, name) <= high:
                raise PromptError(f"{name} is {getattr(self, name)}; give {low} to {high:g}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CarryRules:
        """Make rules from plain values; those that are not given are the default ones.

        Raises
        ------
        sam3.errors.PromptError
            If a name is unknown, or a value is not valid.
        """
        names = [one.name for one in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise PromptError(
                f"unknown rule {', '.join(map(repr, unknown))}; expected {', '.join(names)}"
            )
        given = dict(values)
        try:
            if "parts" in given:
                given["parts"] = tuple(given["parts"])
            return cls(**given)
        except TypeError as error:
            raise PromptError(f"the rules {dict(values)} cannot be used: {error}") from error


@dataclass(frozen=True, eq=False)
class CarriedMask:
    """What became of an object on the next plane.

    Parameters
    ----------
    mask : PlaneMask
        Its mask there, or what was found instead of it.
    score : float
        The model's estimate of the IoU.
    ended : str
        Why it is not followed any further; "" if it is.
    """

    mask: PlaneMask
    score: float
    ended: str = ""


def carry(
    before: Mapping[int, PlaneMask],
    plane: PlaneImage,
    rules: CarryRules,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
) -> dict[int, CarriedMask] | None:
    """Follow objects to a plane, all of them together.

    The next mask depends on the previous one and on nothing else that the model had in mind, so
    that an interrupted run resumes from the masks it wrote, with the same result.

    Parameters
    ----------
    before : mapping from int to PlaneMask
        Masks on the plane before, none of them empty, by number.
    plane : PlaneImage
        The plane to predict on.
    rules : CarryRules
        How.
    predictor, cache, control
        As for `napari_sam3.inference.answers.answer`.

    Returns
    -------
    dict from int to CarriedMask, or None
        None once the control is cancelled.
    """
    drafts = tuple(
        carried_draft(number, mask, rules, plane.shape) for number, mask in sorted(before.items())
    )
    found = answer(Question(plane, drafts), predictor, cache, control)
    if found is None:
        return None
    return {
        one.draft.number: CarriedMask(
            one.mask, one.score, why_ended(before[one.draft.number], one.mask, one.score, rules)
        )
        for one in found
    }


def carried_draft(number: int, mask: PlaneMask, rules: CarryRules, shape: tuple[int, int]) -> Draft:
    """Ask for an object by its mask on the plane before.

    Parameters
    ----------
    number : int
        The object's.
    mask : PlaneMask
        Not empty.
    rules : CarryRules
        Which prompts are made of it.
    shape : tuple of int
        (height, width) of the plane in px.
    """
    height, width = shape
    row, column, row_stop, column_stop = mask.bbox
    slack = max(rules.slack * max(mask.crop.shape), MIN_BOX_SIDE / 2)
    prompts = PromptSet()
    if "box" in rules.parts:
        prompts = PromptSet(
            box=(
                max(column - 0.5 - slack, -0.5),
                max(row - 0.5 - slack, -0.5),
                min(column_stop - 0.5 + slack, width - 0.5),
                min(row_stop - 0.5 + slack, height - 0.5),
            )
        )
    if "point" in rules.parts:
        y, x = deepest_point(mask)
        prompts = prompts.with_point(float(x), float(y))
    return Draft(number, (Turn(prompts),), mask if "mask" in rules.parts else None)


def deepest_point(mask: PlaneMask) -> tuple[int, int]:
    """Return (row, column) of the pixel farthest from the mask's rim, the first of equals."""
    from scipy import ndimage  # only once a batch carries: see masks.py

    depth = ndimage.distance_transform_edt(np.pad(mask.crop, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return mask.row + int(y), mask.column + int(x)


def why_ended(before: PlaneMask, now: PlaneMask, score: float, rules: CarryRules) -> str:
    """Return why an object ends at a mask; "" if it does not."""
    old, new = before.area, now.area
    if new < rules.min_area:
        return f"only {new} px were found"
    if score < rules.min_score:
        return f"the score fell to {score:.2f}"
    if max(old, new) > rules.max_change * min(old, new):
        return f"the area changed from {old} to {new} px"
    if overlap(before, now) < rules.min_overlap * min(old, new):
        return "it overlaps too little with the plane before"
    return ""
