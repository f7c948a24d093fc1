"""Propagate objects of the plane through a stack: found on a thread, written plane by plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from psygnal import Signal

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.memories import has_memory
from napari_sam3.inference.tracking.propagate import Direction, PassedOverError
from sam3.errors import PromptError, Sam3Error

from .accepting import Accepting
from .changes import Changes
from .drafts import DraftsByPlane
from .events import SessionEvents
from .history import History
from .jobs import Outcome, Submit
from .look_ahead import LookAhead
from .options import SessionOptions
from .predictions import IDLE, Predictions
from .propagated_writes import PropagatedWrites
from .propagation_asked import PropagationAsked
from .propagation_run import PropagationResult, PropagationRun
from .stacks import PlaneStack

__all__ = ["Propagating", "PropagationResult"]


class Propagating:
    """Propagate objects from the plane of a session to the planes above and below, or in time.

    Parameters
    ----------
    options : SessionOptions
        Policy of overlaps.
    submit : Submit
        Runs the model, one plane after the other, so that clicks are answered in between.
    cache : EmbeddingCache
        Features of fields already encoded.
    events : SessionEvents
        Tell of accepted objects and of undo, and are told when everything is written.
    drafts : DraftsByPlane
        Give the plane and the objects not yet accepted.
    history : History
        Knows the objects of labels, and notes new ones.
    predictions : Predictions
        Give the model.
    look_ahead : LookAhead
        Paused meanwhile.
    changes : Changes
        Takes the steps.
    accepting : Accepting
        Accepts the drafts of the plane.

    Attributes
    ----------
    stack_of : callable, optional
        Called with an axis, or None for the one that is usual; returns the planes along it. A
        binding sets it.
    changed : Signal
        After a run began or ended.
    progress : Signal
        (share of the planes passed, 0 to 1; index of the plane) during a run.
    ended : Signal
        (PropagationResult) after a run.
    failed : Signal
        (exception) after a run that went wrong; what was found until then is in the labels.
    """

    changed = Signal()
    progress = Signal(float, int)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(
        self,
        options: SessionOptions,
        submit: Submit,
        cache: EmbeddingCache,
        events: SessionEvents,
        drafts: DraftsByPlane,
        history: History,
        predictions: Predictions,
        look_ahead: LookAhead,
        changes: Changes,
        accepting: Accepting,
    ) -> None:
        self._options = options
        self._submit, self._cache, self._events = submit, cache, events
        self._drafts, self._history, self._predictions = drafts, history, predictions
        self._look_ahead, self._changes, self._accepting = look_ahead, changes, accepting
        self.stack_of: Callable[[int | None], PlaneStack] | None = None
        self._run: PropagationRun | None = None
        self._asked: PropagationAsked | None = None
        self._accepted: list[AcceptedObject] = []
        self._advancing = self._again = False
        events.accepted.connect(self._on_accepted)
        events.busy_changed.connect(self._on_stage)
        events.labels_changed.connect(self._on_labels)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        """Whether objects are propagated, or will be once they are accepted."""
        return self._run is not None or self._asked is not None

    @property
    def remembers(self) -> bool | None:
        """Whether the model has a memory; None while it is not loaded.

        Without one each plane is found from the mask on the plane before.
        """
        predictor = self._predictions.predictor
        if predictor is None:
            return None
        return has_memory(predictor)

    # --------------------------------------------------------------- commands

    def propagate(
        self,
        labels: Iterable[int] | None = None,
        *,
        stack: PlaneStack | None = None,
        axis: int | None = None,
        direction: Direction = "both",
        gap: int = 0,
        rules: EndRules | None = None,
    ) -> PropagationResult | None:
        """Find objects of the plane on the other planes of a stack, as far as they go.

        An object keeps its label. Planes on which a person showed it stay as they are: each of the
        others is found from the nearest of them, and where objects were propagated before, only
        what depends on a new or corrected mask is found again. What was found is written plane by
        plane, under the policy of overlaps, and is one step of undo.

        Parameters
        ----------
        labels : iterable of int, optional
            By default the drafts of the plane, which are accepted first; without any, the objects
            accepted on the plane; without any of these either, all labels on the plane.
        stack : PlaneStack, optional
            The planes, that of the session among them; by default those of the viewer along `axis`.
        axis : int, optional
            Axis of the image in a viewer.
        direction : {"forward", "backward", "both"}
            Towards the last plane, the first, or both.
        gap : int
            Planes in a row without the object that are bridged, as for a blink in a time series.
        rules : EndRules, optional
            Where objects end, in the place of `gap`.

        Returns
        -------
        PropagationResult or None
            None if the work goes on elsewhere; see `ended`.

        Raises
        ------
        NothingThereError
            If there is no object to propagate.
        sam3.errors.PromptError
            If the plane is not in the stack, or an argument is wrong.
        sam3.errors.Sam3Error
            If there is no plane, model or stack, or an object cannot be accepted; with the default
            `submit`, whatever went wrong.
        """
        if self.running:
            raise PromptError(
                "objects are being propagated already. Expected one run at a time. Wait, or stop "
                "it."
            )
        asked = self._ask(stack, axis, direction, rules, gap)
        self._accepted = []
        if labels is not None:
            return self._start(asked, list(dict.fromkeys(int(label) for label in labels)))
        wanted = [draft for draft in self._drafts.here.drafts if draft.has_target]
        if not wanted:
            return self._start(asked, asked.labels_here())
        # As soon as their masks are there, they are accepted and propagated.
        reopened = tuple(draft.label for draft in wanted if draft.label is not None)
        self._asked = replace(asked, reopened=reopened)
        try:
            self._accepting.accept()
        except BaseException:
            self._asked = None
            raise
        if any(step.key == asked.plane.key for step in self._history.awaiting):
            self.changed.emit()
            return None
        return self._start_accepted()

    def cancel(self) -> None:
        """End the run; what was found until now stays, as one step of undo."""
        asked, self._asked = self._asked, None
        if self._run is not None:
            self._finish(stopped=True)
        elif asked is not None:
            self.changed.emit()

    def _ask(
        self,
        stack: PlaneStack | None,
        axis: int | None,
        direction: Direction,
        rules: EndRules | None,
        gap: int,
    ) -> PropagationAsked:
        plane = self._drafts.need_plane()
        if self._predictions.model is None:
            raise Sam3Error("no model is set; choose one, or call set_predictor first")
        if gap < 0:
            raise PromptError(f"the gap to bridge is {gap} planes. Expected 0 or more.")
        if stack is None and self.stack_of is None:
            raise PromptError(
                "no stack: None given. Expected the planes to propagate through. Pass "
                "stack=PlaneStack.of(image, labels)."
            )
        if stack is None:
            assert self.stack_of is not None
            stack = self.stack_of(axis)
        rules = rules or EndRules.calibrated(gap)
        return PropagationAsked(stack, plane, direction, rules, self._history)

    # -------------------------------------------------------------------- run

    def _start_accepted(self) -> PropagationResult | None:
        asked, self._asked = self._asked, None
        assert asked is not None
        labels = list(dict.fromkeys([*(one.id for one in self._accepted), *asked.reopened]))
        if not labels:
            self.changed.emit()
            return None
        return self._start(asked, labels)

    def _start(self, asked: PropagationAsked, labels: Sequence[int]) -> PropagationResult | None:
        plan = asked.plan(labels)
        writes = PropagatedWrites(
            self._changes,
            self._drafts,
            self._history,
            plan.followed,
            self._options.policy,
            asked.plane.key,
        )
        model = self._predictions.model
        assert model is not None
        self._run = run = PropagationRun(
            asked.stack,
            plan.prompts,
            model,
            self._cache,
            asked.direction,
            asked.rules,
            plan.only,
            writes,
        )
        self._look_ahead.paused = True
        self.changed.emit()
        self._advance(run)
        if run.error is not None:
            raise run.error
        return run.result

    def _advance(self, run: PropagationRun) -> None:
        """Find the next plane; a loop where answers come at once, so that nothing is nested."""
        self._again = True
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._again and run is self._run:
                self._again = False
                self._submit(
                    run.find_next,
                    partial(self._take, run),
                    lambda _stage, share: self._hear(run, share),
                )
        finally:
            self._advancing = False

    def _hear(self, run: PropagationRun, share: float | None) -> None:
        if run is self._run and share is not None:
            self.progress.emit(*run.progress(share))

    def _take(self, run: PropagationRun, outcome: Outcome) -> None:
        if run is not self._run:
            return
        error = outcome.error
        if isinstance(error, PassedOverError):
            run.problem, error = error, None
        try:
            if error is None:
                run.write()
        except Exception as refused:  # whatever the labels' owner raises
            error = refused
        if error is not None:
            run.error = error
            self._finish()
        elif run.found is None:
            self._finish()
        else:
            self.progress.emit(*run.progress())
            self._advance(run)

    def _finish(self, *, stopped: bool = False, undone: bool = False) -> None:
        run, self._run = self._run, None
        assert run is not None
        run.cancel()
        writes = run.writes
        run.result = PropagationResult(
            tuple(sorted(writes.labels)), len(writes.planes), stopped, undone, run.problem
        )
        self._look_ahead.paused = False
        self._events.batch_ended.emit()
        self.changed.emit()
        if run.error is not None:
            self.failed.emit(run.error)
        else:
            self.ended.emit(run.result)

    # --------------------------------------------------------------- listening

    def _on_accepted(self, accepted: AcceptedObject) -> None:
        if self._asked is not None and accepted.plane == self._asked.plane.key:
            self._accepted.append(accepted)

    def _on_stage(self, stage: str) -> None:
        if stage == IDLE and self._asked is not None and not self._history.awaiting:
            try:
                self._start_accepted()
            except Sam3Error as error:
                self.failed.emit(error)

    def _on_labels(self, change: LabelChange) -> None:
        # Undo of what was found means that the rest is not wanted either.
        run = self._run
        if run is not None and change.direction == "undo" and run.writes.holds(change.operation):
            self._finish(stopped=True, undone=True)
