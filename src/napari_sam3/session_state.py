"""What a labelling session knows: its events and its state, for reading."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from .edits import Policy
from .embeddings import EmbeddingCache
from .inference import ObjectPrediction
from .jobs import Job, JobQueue, Loader, Submit, loaded, run_now
from .ledger import AcceptedObject, Ledger
from .prompts import PromptSet
from .targets import LabelTarget

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["IDLE", "Plane", "SessionState", "UInt8Image"]

IDLE = "idle"
UInt8Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane being worked on: its key, its pixels (H x W x 3) and where its labels go."""

    key: Hashable
    pixels: UInt8Image
    labels: LabelTarget

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self.pixels.shape[0], self.pixels.shape[1]


class SessionState:
    """Events and state of a session; `LabelingSession` adds the commands and documents both."""

    plane_changed = Signal(object)
    prompts_changed = Signal(object, object)
    prediction_changed = Signal(object)
    accepted = Signal(object)
    labels_changed = Signal(object, object)
    busy_changed = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        predictor: Predictor | Loader | None = None,
        *,
        submit: Submit = run_now,
        cache: EmbeddingCache | None = None,
        policy: Policy = "keep",
        level: int | None = None,
    ) -> None:
        self.policy: Policy = policy
        self.level = level
        self.cache = cache if cache is not None else EmbeddingCache()
        self._submit = submit
        self._model = predictor
        self._plane: Plane | None = None
        self._prompts: dict[Hashable, PromptSet] = {}
        self._prediction: ObjectPrediction | None = None
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
    def plane_key(self) -> Hashable | None:
        """Key of the current plane."""
        return self._plane.key if self._plane else None

    @property
    def pixels(self) -> UInt8Image | None:
        """The current plane (H x W x 3) as the model sees it."""
        return self._plane.pixels if self._plane else None

    @property
    def prompts(self) -> PromptSet:
        """Prompts of the object in hand on the current plane."""
        return self.prompts_on(self.plane_key)

    def prompts_on(self, key: Hashable) -> PromptSet:
        """Prompts of the object in hand on any plane."""
        return self._prompts.get(key, PromptSet())

    def all_prompts(self) -> dict[Hashable, PromptSet]:
        """Prompts of objects in hand on every plane that has some."""
        return dict(self._prompts)

    @property
    def prediction(self) -> ObjectPrediction | None:
        """The mask in hand."""
        return self._prediction

    @property
    def objects(self) -> tuple[AcceptedObject, ...]:
        """Objects accepted so far and not undone."""
        return tuple(self._ledger.objects)

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

    # ------------------------------------------------------- changes with their events

    def _start(self, job: Job) -> None:
        raise NotImplementedError

    def _put_prompts(self, key: Hashable, prompts: PromptSet) -> None:
        if prompts == self.prompts_on(key):
            return
        self._prompts[key] = prompts
        if prompts.is_empty:
            del self._prompts[key]
        self.prompts_changed.emit(key, prompts)

    def _set_prediction(self, prediction: ObjectPrediction | None) -> None:
        if prediction is not self._prediction:
            self._prediction = prediction
            self.prediction_changed.emit(prediction)

    def _set_stage(self, stage: str) -> None:
        if stage != self._stage and not self._closed:
            self._stage = stage
            self.busy_changed.emit(stage)
