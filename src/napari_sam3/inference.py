"""From prompts to a mask in the plane: pure, stateless, run on any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .embeddings import EmbeddingCache
from .fields import (
    Field,
    choose_field,
    field_holds,
    resample_logits,
    top_level,
    touches_inner_border,
)
from .masks import PlaneMask
from .prompts import PromptSet

if TYPE_CHECKING:
    from sam3.predictor import Prediction, Predictor

__all__ = ["Candidate", "ObjectPrediction", "Question", "answer"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One mask that the model offers.

    Parameters
    ----------
    mask : PlaneMask
        In px of the plane.
    score : float
        The model's own estimate of the IoU, about 0 to 1.
    logits : ndarray of float32, 1 x L x L
        Low-resolution logits in the frame of the field, the next click's mask prompt.
    """

    mask: PlaneMask
    score: float
    logits: npt.NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, eq=False)
class ObjectPrediction:
    """The model's answer for the object in hand.

    Parameters
    ----------
    prompts : PromptSet
        What was asked.
    field : Field
        Region in which it was answered.
    candidates : tuple of Candidate
        Three for a single click, else one.
    index : int
        The candidate that is taken, at first the one with the best score.
    """

    prompts: PromptSet
    field: Field
    candidates: tuple[Candidate, ...]
    index: int

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
    """Everything that a prediction depends on, frozen when it is asked.

    Parameters
    ----------
    pixels : ndarray of uint8, H x W x 3
        The plane.
    prompts : PromptSet
        Of one object, with a foreground click or a box.
    previous : ObjectPrediction, optional
        The last answer for the same object, when prompts were added to it.
    level : int, optional
        Level pinned by the user.
    typical_size : float, optional
        Longer side in px of the objects accepted so far.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False)
    prompts: PromptSet
    previous: ObjectPrediction | None = None
    level: int | None = None
    typical_size: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the plane in px."""
        return self.pixels.shape[0], self.pixels.shape[1]


def answer(
    question: Question,
    predictor: Predictor,
    cache: EmbeddingCache,
    report: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> ObjectPrediction | None:
    """Predict the mask of one object, one level up as long as its field cuts it off.

    Parameters
    ----------
    question : Question
        What to answer.
    predictor : Predictor
        Used by one thread at a time.
    cache : EmbeddingCache
        Where the features of fields are kept.
    report : callable
        Told the stage: "encoding" or "predicting".
    cancelled : callable
        Asked between stages; once true, None is returned.
    """
    region = _first_field(question, predictor)
    top = top_level(question.shape, predictor.config.resolution)
    before: tuple[Field, npt.NDArray[np.float32]] | None = None
    if question.previous is not None:
        before = question.previous.field, question.previous.logits
    best: ObjectPrediction | None = None
    while not cancelled():
        report("encoding")
        features = cache.encode(region.extract(question.pixels), predictor)
        if cancelled():
            return None
        report("predicting")
        prediction = _predict(question.prompts, region, before, predictor, features)
        if best is not None and prediction.mask.is_empty:
            return best
        best = prediction
        if region.level >= top or not touches_inner_border(best.mask, region, question.shape):
            return best
        before = region, best.logits
        region = choose_field(
            question.shape, question.prompts, predictor.config, level=region.level + 1
        )
    return None


def _first_field(question: Question, predictor: Predictor) -> Field:
    """Stay in the field of the last answer as long as the prompts lie in it."""
    level = question.level
    if question.previous is not None and level is None:
        held = question.previous.field
        if field_holds(held, question.prompts, question.shape):
            return held
        level = held.level
    return choose_field(
        question.shape, question.prompts, predictor.config, level, question.typical_size
    )


def _predict(
    prompts: PromptSet,
    region: Field,
    before: tuple[Field, npt.NDArray[np.float32]] | None,
    predictor: Predictor,
    features: object,
) -> ObjectPrediction:
    mask_input = None
    if before is not None:
        same = before[0] == region
        mask_input = before[1] if same else resample_logits(before[1], before[0], region)
    box = None
    if prompts.box is not None:
        box = region.to_field(np.asarray(prompts.box, np.float64).reshape(2, 2)).reshape(4)
    prediction: Prediction = predictor.predict(
        features,  # type: ignore[arg-type]
        point_coords=region.to_field(prompts.point_coords()) if prompts.points else None,
        point_labels=prompts.point_labels() if prompts.points else None,
        box=box,
        mask_input=mask_input,
        # One click may mean a part or the whole: the model offers three masks. Anything more
        # says which is meant, and the single-mask token answers it best.
        multimask_output=prompts.is_single_click,
        crop=True,
    )
    on_object = prompts.point_coords()[prompts.point_labels() == 1]
    candidates = tuple(
        Candidate(
            region.paste(mask.pixels, mask.row, mask.column).without_islands(on_object),
            float(score),
            np.array(logits[None], np.float32),
        )
        for mask, score, logits in zip(
            prediction.masks, prediction.scores, prediction.logits, strict=True
        )
    )
    best = int(np.argmax([candidate.score for candidate in candidates]))
    return ObjectPrediction(prompts, region, candidates, best)
