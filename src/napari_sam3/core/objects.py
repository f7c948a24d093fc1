"""Accepted objects with their prompts and settings, and instances found on a plane."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .prompts import PromptSet

if TYPE_CHECKING:
    from .drafts import Draft
    from .fields import FieldOfView
    from .masks import PlaneMask
    from .rendering import Rendering

__all__ = ["AcceptedObject", "Instance"]


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object written into the labels, with all that is needed to reproduce it.

    Parameters
    ----------
    id : int
        Its label.
    plane : hashable
        Key of its plane.
    bbox : tuple of int
        (row, column, row, column): first and one past the last pixel written.
    area : int
        Number of pixels written.
    score : float
        The model's estimate of the IoU of the whole mask.
    draft : Draft
        Its prompts; without turns and seed if the object was propagated from another plane.
    field : FieldOfView
        Field of view of the prediction; for an object of a batch, the bounding box of its pixels.
    candidate : int
        Index of the chosen mask among the model's.
    level : int, optional
        Pyramid level, if the user fixed one.
    typical_size : float, optional
        Longer side in px of the objects accepted before, which determined the first level.
    model, fingerprint, precision : str
        Name of the model's configuration, hash of its weights, and its precision.
    rendering : Rendering
        Conversion of the plane to the model's input.
    category : str
        Class assigned by the user; "" for none.
    time : str
        Time of acceptance, ISO 8601 in UTC.
    """

    id: int
    plane: Hashable
    bbox: tuple[int, int, int, int]
    area: int
    score: float
    draft: Draft
    field: FieldOfView
    candidate: int
    level: int | None
    typical_size: float | None
    model: str
    fingerprint: str
    precision: str
    rendering: Rendering
    category: str
    time: str

    @property
    def prompts(self) -> PromptSet:
        """Its last prompts."""
        return self.draft.prompts


@dataclass(frozen=True, eq=False)
class Instance:
    """An object on one plane.

    Parameters
    ----------
    id : int
        Its label.
    mask : PlaneMask
        Mask predicted by the model, in px of the plane; where masks overlap, the first object of
        the plane gets the pixels.
    score : float
        The model's estimate of the IoU, about 0 to 1.
    prompts : PromptSet
        Its prompts; empty for an object that was propagated from another plane.
    steps : int
        Number of planes since the one with its prompts.
    ended : str
        Reason for the end of propagation, if the object is not on this plane; "" otherwise.
    """

    id: int
    mask: PlaneMask
    score: float
    prompts: PromptSet = field(default_factory=PromptSet)
    steps: int = 0
    ended: str = ""
