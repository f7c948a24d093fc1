"""Questions to the model and its predictions, as immutable data for any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage

__all__ = ["Candidate", "ObjectPrediction", "Question"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Candidate mask of a prediction.

    Parameters
    ----------
    source : PlaneMask, or callable that returns one
        Mask in px of the plane, or a function that computes it on first access, since most
        candidates are never shown.
    score : float
        IoU that the model predicts, about 0 to 1.
    logits : ndarray of float32, 1 x L x L
        Low-resolution logits in the field, the mask prompt of the next turn.
    """

    source: PlaneMask | Callable[[], PlaneMask] = field(repr=False)
    score: float
    logits: npt.NDArray[np.float32] = field(repr=False)

    @property
    def mask(self) -> PlaneMask:
        """Mask in px of the plane."""
        source = self.source
        if not isinstance(source, PlaneMask):
            source = source()
            # No lock: at worst two threads compute equal masks.
            object.__setattr__(self, "source", source)
        return source


@dataclass(frozen=True, eq=False)
class ObjectPrediction:
    """Predicted mask of a draft.

    Parameters
    ----------
    draft : Draft
        Predicted draft.
    field : FieldOfView
        Field of view of the prediction.
    candidates : tuple of Candidate
        Three candidates for a single click, else one.
    index : int
        Chosen candidate, initially the one with the best score.
    level : int, optional
        Pyramid level pinned by the user.
    typical_size : float, optional
        Typical longer side in px of the objects accepted before.
    predicted : bool
        False for a reopened label without a prediction.
    """

    draft: Draft
    field: FieldOfView
    candidates: tuple[Candidate, ...]
    index: int
    level: int | None = None
    typical_size: float | None = None
    predicted: bool = True

    @classmethod
    def of_label(cls, draft: Draft, mask: PlaneMask, score: float = 1.0) -> ObjectPrediction:
        """Make a prediction that shows a reopened label unchanged."""
        rows, columns = mask.region
        place = FieldOfView(0, (rows.start, rows.stop), (columns.start, columns.stop))
        shown = Candidate(mask, score, np.zeros((1, 0, 0), np.float32))
        return cls(draft, place, (shown,), 0, predicted=False)

    @property
    def prompts(self) -> PromptSet:
        """Prompts of the prediction."""
        return self.draft.prompts

    @property
    def mask(self) -> PlaneMask:
        """Mask of the chosen candidate."""
        return self.candidates[self.index].mask

    @property
    def score(self) -> float:
        """Score of the chosen candidate."""
        return self.candidates[self.index].score

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """Logits (1 x L x L) of the chosen candidate."""
        return self.candidates[self.index].logits


@dataclass(frozen=True, eq=False)
class Question:
    """Snapshot of everything that predictions depend on.

    Parameters
    ----------
    plane : PlaneImage
        Plane of the objects.
    drafts : tuple of Draft
        Objects with their prompts.
    known : tuple of ObjectPrediction
        Predictions of earlier turns of the drafts, which save time.
    level : int, optional
        Level pinned by the user.
    typical_size : float, optional
        Typical longer side in px of the objects accepted so far.
    highest : int, optional
        Highest level at which a truncated mask is predicted again.
    first_field : FieldOfView, optional
        Field of the first turn, by default the one that `choose_field` chooses.
    near : bool
        Decode single clicks in the part of the field around them, all of one field at once:
        faster, and nearly the same masks, with models trained for it.
    """

    plane: PlaneImage = field(repr=False)
    drafts: tuple[Draft, ...]
    known: tuple[ObjectPrediction, ...] = ()
    level: int | None = None
    typical_size: float | None = None
    highest: int | None = None
    first_field: FieldOfView | None = None
    near: bool = False
