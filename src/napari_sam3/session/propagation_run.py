"""One run of propagation: predicted on a worker thread, written on that of the session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.core.rendering import Rendering
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped

from .jobs import Outcome, Report
from .work_control import WorkControl

if TYPE_CHECKING:
    from napari_sam3.inference.models import ModelHandle
    from napari_sam3.inference.tracking.ending import EndRules
    from napari_sam3.inference.tracking.propagate import (
        Direction,
        ObjectPrompt,
        PassedOverError,
        PlaneMasks,
    )
    from sam3.predictor import Predictor

    from .propagated_writes import PropagatedWrites
    from .stacks import PlaneStack

__all__ = ["PropagationResult", "PropagationRun"]


@dataclass(frozen=True)
class PropagationResult:
    """The result of a run.

    Attributes
    ----------
    labels : tuple of int
        Labels of objects that were found on other planes.
    planes : int
        Number of planes with a propagated mask.
    stopped : bool
        Whether it was cancelled; masks found until then are in the labels.
    undone : bool
        Whether it was cancelled by undo, which reverted all masks.
    problem : PassedOverError, optional
        Planes that could not be read.
    """

    labels: tuple[int, ...] = ()
    planes: int = 0
    stopped: bool = False
    undone: bool = False
    problem: PassedOverError | None = None


@dataclass(eq=False)
class PropagationRun:
    """A run of propagation through a stack.

    Parameters
    ----------
    stack : PlaneStack
        The planes.
    prompts : sequence of ObjectPrompt
        Masks made by the user.
    model : Predictor or callable
        The model, or a function that loads it.
    cache : EmbeddingCache
        Features of encoded fields.
    direction : {"forward", "backward", "both"}
        As for `propagate`.
    rules : EndRules
        Rules for where objects end.
    only : mapping of int to set of int
        Planes to predict, by object.
    writes : PropagatedWrites
        Writes the masks.

    Attributes
    ----------
    found : PlaneMasks, optional
        Masks of the last plane; None after the end.
    problem : PassedOverError, optional
        Planes that could not be read.
    error : BaseException, optional
        The error, if the run failed.
    result : PropagationResult, optional
        Set at the end.
    control : WorkControl
        Cancels the run.
    """

    stack: PlaneStack
    prompts: Sequence[ObjectPrompt]
    model: ModelHandle
    cache: EmbeddingCache
    direction: Direction
    rules: EndRules
    only: Mapping[int, set[int]]
    writes: PropagatedWrites
    found: PlaneMasks | None = None
    problem: PassedOverError | None = None
    error: BaseException | None = None
    result: PropagationResult | None = None
    control: WorkControl = field(default_factory=WorkControl)
    _predictor: Predictor | None = None
    _rendering: Rendering = field(default_factory=Rendering)
    _results: Iterator[PlaneMasks] | None = None
    _passed: float = 0.0
    _shown: float = 0.0
    _each: float = 0.0
    _plane: int = 0

    def find_next(self, report: Report) -> Outcome:
        """Predict the next plane; never raises."""
        self.control.report_to(report)
        self.found = None
        try:
            if self._results is None:
                if self.model.predictor is None:
                    report("loading model", None)
                self._predictor = self.model()
                self._results = self._begin(self._predictor)
            if not self.control.cancelled:
                found = next(self._results, None)
                if found is not None and any(not one.mask.is_empty for one in found.masks):
                    self._rendering = self.stack.images[found.plane].rendering
                self.found = found
        except EncodingStopped:
            pass
        except BaseException as error:
            return Outcome(self._predictor, error=error)
        return Outcome(self._predictor)

    def release(self, report: Report) -> Outcome:
        """Free the model's memories, on the thread of `find_next`; never raises."""
        close = getattr(self._results, "close", None)
        if close is not None:
            with suppress(Exception):  # one that is in a step frees it at the end of that
                close()
        return Outcome()

    def write(self) -> None:
        """Write the masks of the last plane; after the end, erase those no longer found."""
        if self.found is not None:
            assert self._predictor is not None
            target = self.stack.labels[self.found.plane]
            self.writes.write(
                self.found.plane, target, self.found.masks, self._predictor, self._rendering
            )
            return
        unread = set(self.problem.planes) if self.problem is not None else set()
        for label, planes in self.only.items():
            old = self.writes.followed[label].found
            for plane in sorted(old.keys() & planes - unread):
                self.writes.clear(plane, self.stack.labels[plane], [label])

    def progress(self, share: float = 0.0) -> tuple[float, int]:
        """Return the fraction of planes done, with a `share` of the next, and the last plane."""
        if self.found is not None:
            self._passed = max(self._passed, self.found.done)
            self._plane, self._each = self.found.plane, self.found.each
        self._shown = max(self._shown, self._passed + share * self._each)
        return min(self._shown, 1.0), self._plane

    def _begin(self, predictor: Predictor) -> Iterator[PlaneMasks]:
        # Imported late, since these import scipy and torch.
        from napari_sam3.inference.tracking.memories import memory_of
        from napari_sam3.inference.tracking.propagate import propagate_planes

        return propagate_planes(
            self.stack.images,
            self.prompts,
            predictor,
            memory=memory_of(predictor),
            direction=self.direction,
            rules=self.rules,
            only=self.only,
            cache=self.cache,
            control=self.control,
        )
