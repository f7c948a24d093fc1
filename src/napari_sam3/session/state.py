"""What a labelling session knows: its events and its state, for reading."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_sam3.core.drafts import Draft, Hand
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Operation, Policy
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import ObjectPrediction
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.models import Loader, loaded, once

from .jobs import Job, JobQueue, Plane, Submit, run_now
from .objects import Ledger, Ours, last_step

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["IDLE", "Mode", "SessionState", "UInt8Image"]

IDLE = "idle"
UInt8Image = npt.NDArray[np.uint8]
Mode = Literal["one", "many"]


class SessionState:
    """Events and state of a session; `LabelingSession` adds the commands and documents both."""

    plane_changed = Signal(object)
    prompts_changed = Signal(object)
    prediction_changed = Signal(object)
    accepted = Signal(object)
    labels_changed = Signal(object)
    batch_ended = Signal()
    busy_changed = Signal(str)
    progress_changed = Signal(str, object, object)
    failed = Signal(object)

    def __init__(
        self,
        predictor: Predictor | Loader | None = None,
        *,
        submit: Submit = run_now,
        cache: EmbeddingCache | None = None,
        mode: Mode = "one",
        policy: Policy = "keep",
        level: int | None = None,
        look_ahead: int = 0,
    ) -> None:
        self.mode: Mode = mode
        self.policy: Policy = policy
        self.level = level
        self.category = ""
        self.look_ahead = look_ahead
        self.paused = False
        self.cache = cache if cache is not None else EmbeddingCache()
        self._submit = submit
        self._model = once(predictor)
        self._plane: Plane | None = None
        self._hands: dict[Hashable, Hand] = {}
        self._predictions: dict[int, ObjectPrediction] = {}
        self._images: dict[Hashable, PlaneImage] = {}
        self._numbers = 0
        self._told: tuple[Hashable, ...] = (None, None)
        self._ledger = Ledger()
        self._queue = JobQueue(self._start)
        self._generation = 0
        self._stage = IDLE
        self._closed = False

    # ------------------------------------------------------------------ state

    @property
    def predictor(self) -> Predictor | None:
        """The predictor, once it is loaded."""
        return loaded(self._model)

    @property
    def model(self) -> Predictor | Loader | None:
        """The predictor, or what loads it, once, on the thread of `submit`."""
        return self._model

    @property
    def plane_key(self) -> Hashable | None:
        """Key of the current plane."""
        return self._plane.key if self._plane else None

    @property
    def plane_shape(self) -> tuple[int, int] | None:
        """(height, width) of the current plane in px."""
        return self._plane.shape if self._plane else None

    @property
    def pixels(self) -> UInt8Image | None:
        """The current plane (H x W x 3) as the model sees it; read for this."""
        return self._plane.image.region(slice(None), slice(None)) if self._plane else None

    @property
    def hand(self) -> Hand:
        """All objects in hand on the current plane."""
        return self.hand_on(self.plane_key)

    def hand_on(self, key: Hashable) -> Hand:
        """All objects in hand on any plane."""
        return self._hands.get(key, Hand())

    def all_hands(self) -> dict[Hashable, Hand]:
        """Objects in hand on every plane that has some."""
        return dict(self._hands)

    @property
    def prompts(self) -> PromptSet:
        """Prompts of the current object in hand on the current plane."""
        return self.prompts_on(self.plane_key)

    def prompts_on(self, key: Hashable) -> PromptSet:
        """Prompts of the current object in hand on any plane."""
        draft = self.hand_on(key).draft
        return draft.prompts if draft is not None else PromptSet()

    @property
    def prediction(self) -> ObjectPrediction | None:
        """The mask of the current object in hand."""
        draft = self.hand.draft
        return self._answer_to(draft) if draft is not None else None

    @property
    def predictions(self) -> tuple[ObjectPrediction, ...]:
        """The masks of all objects in hand that have one."""
        found = (self._answer_to(draft) for draft in self.hand.drafts)
        return tuple(prediction for prediction in found if prediction is not None)

    @property
    def shown(self) -> tuple[ObjectPrediction, ...]:
        """The masks to show: of each object in hand the last one known, until the next is there."""
        drafts = (draft for draft in self.hand.drafts if draft.has_target)
        found = (self._answer_to(d) or self._predictions.get(d.number) for d in drafts)
        return tuple(prediction for prediction in found if prediction is not None)

    def draft_at(self, row: float, column: float) -> Draft | None:
        """Return the object in hand whose mask, or else whose box, holds a place of the plane."""
        for prediction in self.shown:
            if prediction.mask.covers(row, column):
                return self.hand.get(prediction.draft.number)
        for draft in self.hand.drafts:
            box = draft.prompts.box
            if box is not None and box[0] <= column <= box[2] and box[1] <= row <= box[3]:
                return draft
        return None

    @property
    def objects(self) -> tuple[AcceptedObject, ...]:
        """Objects accepted so far and not undone."""
        return self._ledger.objects

    def objects_in(self, source: Hashable) -> tuple[AcceptedObject, ...]:
        """Objects in one label image; see `LabelTarget.source`."""
        return self._ledger.objects_in(source)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything that was done to labels so far and not undone."""
        return self._ledger.operations

    @property
    def stage(self) -> str:
        """What is going on: "idle", "loading model", "encoding" or "predicting"."""
        return self._stage

    @property
    def busy(self) -> bool:
        """Whether a prediction runs or waits."""
        return self._queue.busy

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._ledger.done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return bool(self._ledger.undone)

    def has_step(self, ours: Ours, *, undone: bool = False) -> bool:
        """Whether there is a step to undo, or to redo if `undone`; see `undo` for `ours`."""
        steps = self._ledger.undone if undone else self._ledger.done
        return last_step(steps, ours) is not None

    # ------------------------------------------------------- changes with their events

    def _start(self, job: Job) -> None:
        raise NotImplementedError

    def new_number(self) -> int:
        """Return a number for a new object in hand."""
        self._numbers += 1
        return self._numbers

    def _answer_to(self, draft: Draft) -> ObjectPrediction | None:
        """Return the mask of a draft if it answers its present prompts."""
        held = self._predictions.get(draft.number)
        # A mask of another pinned level is none for the present one; a label as it is has no level.
        current = held is not None and (not held.predicted or held.level == self.level)
        if held is not None and current and draft.same_as(held.draft):
            return held
        if draft.seed is not None and not draft.turns:
            self._put_predictions((ObjectPrediction.of_label(draft, draft.seed),))
            return self._predictions[draft.number]
        return None

    def _put_hand(self, key: Hashable, hand: Hand) -> None:
        before = self.hand_on(key)
        if hand.drafts:
            self._hands[key] = hand
        else:
            self._hands.pop(key, None)
            self._images.pop(key, None)
        if hand.same_as(before) and hand.current == before.current:
            return
        for draft in before.drafts:
            if hand.get(draft.number) is None:
                self._predictions.pop(draft.number, None)
        self.prompts_changed.emit(key)

    def _put_predictions(self, predictions: tuple[ObjectPrediction, ...]) -> None:
        self._predictions |= {one.draft.number: one for one in predictions}

    def _tell_prediction(self) -> None:
        """Tell that masks in hand changed, if they did."""
        shown = self.shown
        told = (*shown, self.hand.current if len(shown) > 1 else None, self.plane_key)
        before, self._told = self._told, told
        if len(told) != len(before) or any(
            a is not b and a != b for a, b in zip(told, before, strict=True)
        ):
            self.prediction_changed.emit(self.prediction)

    def _set_stage(self, stage: str) -> None:
        if stage != self._stage and not self._closed:
            self._stage = stage
            self.busy_changed.emit(stage)
