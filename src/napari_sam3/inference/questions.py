"""Questions to the model and its predictions: plain data, the same on any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft
from napari_sam3.core.fields import Field
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage

__all__ = ["Candidate", "ObjectPrediction", "Question"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One mask that the model offers.

    Parameters
    ----------
    source : PlaneMask, or callable that returns one
        The mask in px of the plane, or how it is made when somebody looks at it: of three
        candidates, two seldom are.
    score : float
        The model's own estimate of the IoU, about 0 to 1.
    logits : ndarray of float32, 1 x L x L
        Low-resolution logits in the frame of the field, the next click's mask prompt.
    """

    source: PlaneMask | Callable[[], PlaneMask] = field(repr=False)
    score: float
    logits: npt.NDArray[np.float32] = field(repr=False)

    @property
    def mask(self) -> PlaneMask:
        """The mask in px of the plane."""
        source = self.source
        if not isinstance(source, PlaneMask):
            source = source()
            # Two threads may at worst both make it, and make the same.
            object.__setattr__(self, "source", source)
        return source


@dataclass(frozen=True, eq=False)
class ObjectPrediction:
    """The mask of a draft.

    Parameters
    ----------
    draft : Draft
        The draft that was predicted.
    field : Field
        Region in which it was answered.
    candidates : tuple of Candidate
        Three for a single click, else one.
    index : int
        The candidate that is taken, at first the one with the best score.
    level : int, optional
        Pyramid level that the user had pinned.
    typical_size : float, optional
        Longer side in px of the objects accepted before.
    predicted : bool
        False for a label that was reopened and has not been predicted yet.
    """

    draft: Draft
    field: Field
    candidates: tuple[Candidate, ...]
    index: int
    level: int | None = None
    typical_size: float | None = None
    predicted: bool = True

    @classmethod
    def of_label(cls, draft: Draft, mask: PlaneMask, score: float = 1.0) -> ObjectPrediction:
        """Show a reopened label as it is, before anything is predicted."""
        rows, columns = mask.region
        place = Field(0, (rows.start, rows.stop), (columns.start, columns.stop))
        shown = Candidate(mask, score, np.zeros((1, 0, 0), np.float32))
        return cls(draft, place, (shown,), 0, predicted=False)

    @property
    def prompts(self) -> PromptSet:
        """Prompts that it answers."""
        return self.draft.prompts

    @property
    def mask(self) -> PlaneMask:
        """Mask of the candidate that is taken."""
        return self.candidates[self.index].mask

    @property
    def score(self) -> float:
        """Score of the candidate that is taken."""
        return self.candidates[self.index].score

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """Logits (1 x L x L) of the candidate that is taken."""
        return self.candidates[self.index].logits


@dataclass(frozen=True, eq=False)
class Question:
    """Snapshot of everything that predictions depend on.

    Parameters
    ----------
    plane : PlaneImage
        Where the objects are.
    drafts : tuple of Draft
        The objects; each says where it is.
    known : tuple of ObjectPrediction
        Masks that earlier turns of the drafts have had; they save time and change nothing.
    level : int, optional
        Level pinned by the user.
    typical_size : float, optional
        Longer side in px of the objects accepted so far.
    highest : int, optional
        Highest level at which a mask that its field cuts off is predicted again.
    """

    plane: PlaneImage = field(repr=False)
    drafts: tuple[Draft, ...]
    known: tuple[ObjectPrediction, ...] = ()
    level: int | None = None
    typical_size: float | None = None
    highest: int | None = None
