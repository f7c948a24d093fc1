"""Objects: accepted ones, with what they were made of, and instances found on a plane."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from .drafts import Draft
from .fields import Field
from .masks import PlaneMask
from .prompts import PromptSet
from .rendering import Rendering

__all__ = ["AcceptedObject", "Instance"]


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object written into the labels, with everything needed to reproduce it.

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
        Its prompts; without turns and seed for an object that was propagated from another
        plane.
    field : Field
        Region in which it was answered; for an object of a batch, that of its pixels.
    candidate : int
        Which of the model's masks was taken.
    level : int, optional
        Pyramid level, where the user had pinned one.
    typical_size : float, optional
        Longer side in px of the objects accepted before, which decided the first level.
    model, fingerprint, precision : str
        Name of the model's configuration, hash of its weights, and its arithmetic.
    rendering : Rendering
        How the model saw the plane.
    category : str
        Class given by the user; empty for none.
    time : str
        When it was accepted, ISO 8601 in UTC.
    """

    id: int
    plane: Hashable
    bbox: tuple[int, int, int, int]
    area: int
    score: float
    draft: Draft
    field: Field
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
        As the model gave it, in px of the plane; where masks meet, the object that comes first
        in its plane keeps the pixels.
    score : float
        The model's estimate of the IoU, about 0 to 1.
    prompts : PromptSet
        Its prompts; empty for an object that was propagated from another plane.
    steps : int
        Planes since the one with its prompts.
    ended : str
        Why propagation ended here, in which case it is not on this plane; "" otherwise.
    """

    id: int
    mask: PlaneMask
    score: float
    prompts: PromptSet = field(default_factory=PromptSet)
    steps: int = 0
    ended: str = ""
