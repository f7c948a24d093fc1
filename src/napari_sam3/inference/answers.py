"""Prediction of the masks of drafts, without side effects, on any thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft
from napari_sam3.core.fields import (
    FieldOfView,
    choose_field,
    field_holds,
    field_side,
    mask_logits,
    resample_logits,
    top_level,
    touches_inner_border,
)
from napari_sam3.core.masks import PlaneMask

from .cache import Control, EmbeddingCache
from .questions import Candidate, ObjectPrediction, Question

if TYPE_CHECKING:
    from sam3.predictor import ImageFeatures, Prediction, Predictor
    from sam3.preprocess.masks import UndrawnMask

__all__ = ["answer"]

#: A click with a lower score is predicted again in a larger field. An object that fills its whole
#: field cannot be recognized: with the embedded model its masks score 0.2 to 0.55, those of other
#: objects 0.8 and more.
UNSURE = 0.6
#: Most levels to climb for that, so that clicks on background do not reach the top of a slide.
MOST_CLIMBS = 2
#: Gain in score from which the prediction in the larger field replaces the first one.
SURER = 0.2
#: Side in px of the largest field for a mask that is truncated by a smaller field. Without a limit,
#: a click on the background of a slide would yield a mask as large as the slide.
LARGEST_CLIMB = 8192
# Objects decoded in one call. More take memory without saving time.
LARGEST_BATCH = 64


def answer(
    question: Question, predictor: Predictor, cache: EmbeddingCache, control: Control
) -> tuple[ObjectPrediction, ...] | None:
    """Predict the masks of drafts, climbing one level for each mask that its field truncates.

    Parameters
    ----------
    question : Question
        Drafts and their plane.
    predictor : Predictor
        Model, used by one thread at a time.
    cache : EmbeddingCache
        Cache of the features of fields.
    control : Control
        Receives the progress. Once it is cancelled, None is returned.
    """
    tasks = [_Task(question, draft, predictor) for draft in question.drafts]
    while todo := [task for task in tasks if task.open]:
        # Each field is encoded once, and all its prompts are decoded together.
        for region, group in _grouped(todo, lambda task: task.region):
            features = cache.encode_field(region, question.plane, predictor, control)
            if control.cancelled:
                return None
            control.report("predicting")
            for _, alike in _grouped(group, _Task.kind):
                for start in range(0, len(alike), LARGEST_BATCH):
                    _decode(alike[start : start + LARGEST_BATCH], predictor, features, question)
    return None if control.cancelled else tuple(task.result() for task in tasks)


#: A mask of the plane, or a field and its logits.
_MaskPrompt = PlaneMask | tuple[FieldOfView, npt.NDArray[np.float32]] | None


class _Task:
    """State of one draft: the turn to predict next, and its field."""

    def __init__(self, question: Question, draft: Draft, predictor: Predictor) -> None:
        self._question, self._draft, self._config = question, draft, predictor.config
        self._shape = question.plane.shape
        resolution = self._config.resolution
        self._highest = top_level(self._shape, resolution)
        while field_side(resolution, self._highest - 1) >= LARGEST_CLIMB:
            self._highest -= 1
        if question.highest is not None:
            self._highest = min(self._highest, question.highest)
        self._last: ObjectPrediction | None = None
        self._best: ObjectPrediction | None = None
        self._unsure: list[ObjectPrediction] = []
        self._before: _MaskPrompt = None
        self.region: FieldOfView
        for known in question.known:
            if (
                known.predicted
                and known.level == question.level
                and known.draft.number == draft.number
                and draft.continues(known.draft)
            ):
                self._last = known
        self._turn = len(self._last.draft.turns) if self._last is not None else 0
        self._start_turn()

    @property
    def open(self) -> bool:
        """Whether turns remain to be predicted."""
        return self._turn < len(self._draft.turns)

    def result(self) -> ObjectPrediction:
        """Return the prediction of the last turn."""
        assert self._last is not None, "a question is only asked about drafts with a turn"
        return self._last

    def kind(self) -> tuple[int, bool, bool, bool]:
        """Return a key, equal for tasks that can be decoded in one call without padding."""
        prompts = self.prompts
        # A task that climbed into this field has acquired a mask during its turn.
        has_mask = self._before is not None
        return len(prompts.points), prompts.box is not None, has_mask, self.multimask

    @property
    def multimask(self) -> bool:
        """Whether three masks are requested.

        A single click may mean a part or the whole. Further prompts resolve the ambiguity, and the
        single-mask token is then the best, unless the model's configuration says otherwise.
        """
        if self._mask_before:
            return self._config.three_after_correction and bool(self.prompts.points)
        return self.prompts.is_single_click

    @property
    def mask_input(self) -> npt.NDArray[np.float32] | None:
        """Mask prompt (1 x L x L) in the current field."""
        if isinstance(self._before, PlaneMask):
            return mask_logits(self._before, self.region, self._config.mask_size)
        if self._before is None:
            return None
        region, logits = self._before
        return logits if region == self.region else resample_logits(logits, region, self.region)

    def take(self, candidates: tuple[Candidate, ...]) -> None:
        """Use the candidates for the current turn: climb one level, or finish the turn."""
        question, index = self._question, _best(candidates)
        # The typical size at the first turn determined the field of all turns.
        last = self._last
        size = question.typical_size if last is None else last.typical_size
        found = ObjectPrediction(self._now, self.region, candidates, index, question.level, size)
        cut = touches_inner_border(found.mask, self.region, self._shape)
        if self._best is not None and found.mask.is_empty:
            found, cut = self._best, False
        higher = self.region.level < self._highest
        # An unsure mask is predicted again in a larger field, but a few levels up at most.
        if self._is_unsure(found) and self._best is None and (self._unsure or not cut):
            self._unsure.append(found)
            if higher and len(self._unsure) <= MOST_CLIMBS:
                self._climb()
                return
        # So is a truncated mask, up to the highest level.
        elif cut and higher:
            self._best, self._before = found, (self.region, found.logits)
            self._climb()
            return
        if self._unsure and found.score < self._unsure[0].score + SURER:
            # The larger field did not help, so prefer the first prediction.
            found = self._unsure[0]
        choice = self._draft.turns[self._turn].choice
        # The user's choice applies after the climb, which the best candidate decides.
        if choice is not None:
            found = replace(found, index=min(choice, len(found.candidates) - 1))
        self._last, self._best = found, None
        self._turn += 1
        self._start_turn()

    def _climb(self) -> None:
        self.region = choose_field(
            self._shape, self._clipped, self._config, level=self.region.level + 1
        )

    def _is_unsure(self, found: ObjectPrediction) -> bool:
        """Whether a single click needs a larger field, unless its level is pinned."""
        first = len(self._now.turns) == 1 and self._now.seed is None
        alone = first and self.prompts.is_single_click and self._question.level is None
        return alone and found.score < UNSURE

    def _start_turn(self) -> None:
        self._unsure.clear()
        if not self.open:
            return
        self._now = self._draft.until(self._turn + 1)
        self.prompts = self._now.prompts.clipped(self._shape)
        self._clipped = self._now.with_present(self.prompts)
        self._before = self._mask_prompt()
        self._mask_before = self._before is not None
        self.region = self._first_field()

    def _mask_prompt(self) -> _MaskPrompt:
        outline, last = self.prompts.outline, self._last
        if outline and (last is None or last.prompts.outline != outline):
            return PlaneMask.from_outline(outline, self._shape)
        return (last.field, last.logits) if last is not None else self._draft.seed

    def _first_field(self) -> FieldOfView:
        """Return the field of the last turn if it contains the prompts, else a new one."""
        question, last, level = self._question, self._last, self._question.level
        if last is not None and level is None:
            if field_holds(last.field, self._clipped, self._shape):
                return last.field
            level = last.field.level
        if last is None and question.first_field is not None:
            return question.first_field
        return choose_field(self._shape, self._clipped, self._config, level, question.typical_size)


def _grouped(tasks: Sequence[_Task], key: Any) -> Iterator[tuple[Any, list[_Task]]]:
    """Group tasks by a key, in order of first occurrence."""
    order: dict[Any, int] = {}
    for task in tasks:
        order.setdefault(key(task), len(order))
    ranked = sorted(tasks, key=lambda task: order[key(task)])
    for value, group in groupby(ranked, key=key):
        yield value, list(group)


def _decode(
    tasks: Sequence[_Task], predictor: Predictor, features: ImageFeatures, question: Question
) -> None:
    """Decode tasks of one kind in one call."""
    from sam3.runtime.cores import on_all_cores  # imports torch

    found = _predict(tasks, predictor, features, near=question.near)
    arrays: tuple[npt.NDArray[Any], ...] = found.masks, found.scores, found.logits
    if len(tasks) == 1:
        arrays = tuple(array[None] for array in arrays)
    offers = []
    for task, undrawn, scores, logits in zip(tasks, *arrays, strict=True):
        offered = zip(undrawn, scores, logits, strict=True)
        offers.append(
            tuple(_candidate(task, mask, float(score), low) for mask, score, low in offered)
        )
    best = [one[_best(one)] for one in offers]
    on_all_cores(lambda candidate: candidate.mask, best)  # computes and keeps each mask
    for task, candidates in zip(tasks, offers, strict=True):
        task.take(candidates)


def _predict(
    tasks: Sequence[_Task], predictor: Predictor, features: ImageFeatures, *, near: bool
) -> Prediction:
    """Run the model on tasks of one kind."""
    prompts, regions = [task.prompts for task in tasks], [task.region for task in tasks]
    points = boxes = None
    if prompts[0].points:
        pairs = zip(prompts, regions, strict=True)
        points = np.stack([region.to_field(one.point_coords()) for one, region in pairs])
    if prompts[0].box is not None:
        corners = [np.asarray(one.box, np.float64).reshape(2, 2) for one in prompts]
        pairs_of_boxes = zip(corners, regions, strict=True)
        boxes = np.stack([region.to_field(box).reshape(4) for box, region in pairs_of_boxes])
    masks = [mask for task in tasks if (mask := task.mask_input) is not None]
    if near and points is not None and not masks and all(one.is_single_click for one in prompts):
        from sam3.near_clicks import predict_near

        return predict_near(predictor, features, points)
    return predictor.predict(
        features,
        point_coords=points,
        point_labels=None if points is None else np.stack([one.point_labels() for one in prompts]),
        box=boxes,
        mask_input=np.stack(masks) if masks else None,
        multimask_output=tasks[0].multimask,
        crop="later",
    )


def _best(candidates: Sequence[Candidate]) -> int:
    """Return the index of the candidate with the best score."""
    return int(np.argmax([candidate.score for candidate in candidates]))


def _candidate(
    task: _Task, undrawn: UndrawnMask, score: float, low: npt.NDArray[np.float32]
) -> Candidate:
    """Return a candidate whose mask is computed on first access."""
    region, on_object = task.region, task.prompts.point_coords()[task.prompts.point_labels() == 1]
    logits = np.array(low[None])  # a copy, to release the logits of the batch

    def draw() -> PlaneMask:
        crop = undrawn.draw(logits[0])
        return region.paste(crop.pixels, crop.row, crop.column).without_islands(on_object)

    return Candidate(draw, score, logits)
