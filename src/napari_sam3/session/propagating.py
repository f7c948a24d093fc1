"""Propagate objects through a stack: predicted on a worker thread, written plane by plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from sam3.errors import PromptError, Sam3Error

from .predictions import IDLE, Predictions

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.operations import LabelChange
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.tracking.ending import EndRules
    from napari_sam3.inference.tracking.propagate import Direction

    from .accepting import Accepting
    from .changes import Changes
    from .drafts import DraftsByPlane
    from .events import SessionEvents
    from .history import History
    from .jobs import Outcome, Submit
    from .look_ahead import LookAhead
    from .options import SessionOptions
    from .propagation_request import PropagationRequest
    from .propagation_run import PropagationResult, PropagationRun
    from .stacks import PlaneStack

__all__ = ["Propagating"]


class Propagating:
    """Propagate objects from the current plane to the other planes of a stack, in z or time.

    Parameters
    ----------
    options : SessionOptions
        Write policy.
    submit : Submit
        Runs the model, one plane at a time, so that clicks are predicted in between.
    cache : EmbeddingCache
        Features of encoded fields.
    events : SessionEvents
        Emits accepted objects, undo, and the end of writing.
    drafts : DraftsByPlane
        Current plane and its drafts.
    history : History
        Registry of objects and the undo stack.
    predictions : Predictions
        Holds the model.
    look_ahead : LookAhead
        Paused during a run.
    changes : Changes
        Records the steps.
    accepting : Accepting
        Accepts the drafts of the plane.

    Attributes
    ----------
    stack_of : callable, optional
        Called with an axis, None for the default; returns the planes along it. Set by a binding.
    changed : Signal
        After a run began or ended.
    progress : Signal
        (fraction of planes done, 0 to 1; index of the plane) during a run.
    ended : Signal
        (PropagationResult) after a run.
    failed : Signal
        (exception) after a run that failed; masks found until then are in the labels.
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
        self._options, self._submit, self._cache, self._events = options, submit, cache, events
        self._drafts, self._history, self._predictions = drafts, history, predictions
        self._look_ahead, self._changes, self._accepting = look_ahead, changes, accepting
        self.stack_of: Callable[[int | None], PlaneStack] | None = None
        self._run: PropagationRun | None = None
        self._request: PropagationRequest | None = None
        self._accepted: list[AcceptedObject] = []
        self._proposed: list[int] = []  # numbers of drafts of ended objects
        self._advancing = self._again = self._asking = False
        events.accepted.connect(self._on_accepted)
        events.busy_changed.connect(self._on_stage)
        events.labels_changed.connect(self._on_labels)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        """Whether a run is active, or waits for objects to be accepted."""
        return self._run is not None or self._request is not None

    def writes(self, label: int) -> bool:
        """Whether a run writes a label, on planes that are still to come."""
        return self._run is not None and label in self._run.writes.followed

    @property
    def remembers(self) -> bool | None:
        """Whether the model propagates with a memory; None while it is not loaded.

        Without one, each plane is predicted from the mask on the previous plane.
        """
        predictor = self._predictions.predictor
        if predictor is None:
            return None
        from napari_sam3.inference.tracking.memories import has_memory

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
        in_time: bool = False,
        rules: EndRules | None = None,
    ) -> PropagationResult | None:
        """Propagate objects of the plane to the other planes of a stack.

        An object keeps its label. Planes with a mask made by the user do not change. The others are
        predicted from the nearest of these; of objects that were propagated before, only planes
        that depend on a new or corrected mask. Masks are written plane by plane, under the write
        policy, as one undo step, together with the accept of the drafts where an object continues.

        Parameters
        ----------
        labels : iterable of int, optional
            By default the drafts of the plane, which are accepted first, under the id of an object
            that ended before the plane if a mask is like its last one; otherwise the objects
            accepted on the plane; otherwise those that ended before it, which continue from their
            last masks; otherwise all labels on the plane.
        stack : PlaneStack, optional
            The planes, including the current one; by default those of the viewer along `axis`.
        axis : int, optional
            Axis of the image in a viewer.
        direction : {"forward", "backward", "both"}
            Towards the last plane, the first, or both.
        gap : int
            Consecutive planes without the object to bridge, as for blinking in a time series.
        in_time : bool
            Whether the planes are points in time.
        rules : EndRules, optional
            Rules for where objects end, instead of `gap` and `in_time`.

        Returns
        -------
        PropagationResult or None
            None if the run continues in the background; see `ended`.

        Raises
        ------
        NothingThereError
            If there is no object to propagate.
        sam3.errors.PromptError
            If the plane is not in the stack, or an argument is invalid.
        sam3.errors.Sam3Error
            Without a plane, model or stack, or if an object cannot be accepted; with the default
            `submit`, any error of the run.
        """
        if self.running:
            raise PromptError(
                "objects are already being propagated. Expected one run at a time. Wait, or stop "
                "it."
            )
        request = self._make_request(stack, axis, direction, rules, gap, in_time)
        self._accepted = []
        if labels is not None:
            return self._start(request, list(dict.fromkeys(int(label) for label in labels)))
        wanted = [draft for draft in self._drafts.here.drafts if draft.has_target]
        shown = [] if wanted else request.shown_here()
        if not shown:
            request = request.with_ended()
        if not wanted and request.ended:
            draft_set = self._drafts.here
            for ended in request.ended:
                self._proposed.append(self._drafts.new_number())
                draft_set = draft_set.with_draft(ended.draft(self._proposed[-1]))
            self._drafts.put(request.plane.key, draft_set)
        elif not wanted:
            return self._start(request, shown or request.labels_here())
        # They are accepted and propagated as soon as their masks are predicted.
        reopened = tuple(draft.label for draft in wanted if draft.label is not None)
        self._request = replace(request, reopened=reopened)
        # With a `submit` that runs at once, masks are predicted before `accept` ends.
        self._asking = True
        try:
            self._accepting.accept(request.ended)
        except BaseException:
            self._request = None
            self._withdraw(request)
            raise
        finally:
            self._asking = False
        if any(step.key == request.plane.key for step in self._history.awaiting):
            self.changed.emit()
            return None
        return self._start_accepted()

    def cancel(self) -> None:
        """Cancel the run; masks found so far stay, as one undo step."""
        request, self._request = self._request, None
        if self._run is not None:
            self._finish(stopped=True)
        elif request is not None:
            self.changed.emit()

    def _make_request(
        self,
        stack: PlaneStack | None,
        axis: int | None,
        direction: Direction,
        rules: EndRules | None,
        gap: int,
        in_time: bool,
    ) -> PropagationRequest:
        from napari_sam3.inference.tracking.ending import EndRules

        from .propagation_request import PropagationRequest

        plane = self._drafts.need_plane()
        self._predictions.need_model()
        if gap < 0:
            raise PromptError(
                f"invalid gap: {gap} planes. Expected 0 or more. Use 0 to bridge none."
            )
        if stack is None:
            if self.stack_of is None:
                raise PromptError(
                    "no stack: None given. Expected the planes to propagate through. Pass "
                    "stack=PlaneStack.of(image, labels)."
                )
            stack = self.stack_of(axis)
        rules = rules or EndRules.calibrated(gap, in_time=in_time)
        return PropagationRequest(stack, plane, direction, rules, self._history)

    # -------------------------------------------------------------------- run

    def _start_accepted(self) -> PropagationResult | None:
        request, self._request = self._request, None
        assert request is not None
        self._withdraw(request)
        labels = list(dict.fromkeys([*(one.id for one in self._accepted), *request.reopened]))
        if not labels:
            self.changed.emit()
            return None
        return self._start(request, labels)

    def _withdraw(self, request: PropagationRequest) -> None:
        """Remove the drafts of ended objects that could not be accepted."""
        draft_set = self._drafts.on(request.plane.key)
        while self._proposed:
            draft_set = draft_set.without(self._proposed.pop())
        self._drafts.put(request.plane.key, draft_set)

    def _start(
        self, request: PropagationRequest, labels: Sequence[int]
    ) -> PropagationResult | None:
        from .propagated_writes import PropagatedWrites
        from .propagation_run import PropagationRun

        plan = request.plan(labels)
        writes = PropagatedWrites(
            self._changes,
            self._drafts,
            self._history,
            plan.followed,
            self._options.policy,
            request.plane.key,
        )
        continued = {one.label for one in request.ended} & set(labels)
        for step in self._history.done if continued else ():
            if any(one in self._accepted and one.id in continued for one in step.added):
                writes.follow(step)  # how an object continues is one undo step
        self._run = run = PropagationRun(
            request.stack,
            plan.prompts,
            self._predictions.need_model(),
            self._cache,
            request.direction,
            request.rules,
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
        """Predict the next plane; a loop, not a recursion, if `submit` runs at once."""
        self._again = True
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._again and run is self._run:
                self._again = False
                self._submit(
                    run.find_next,
                    partial(self._on_outcome, run),
                    lambda _stage, share: self._on_progress(run, share),
                )
        finally:
            self._advancing = False

    def _on_progress(self, run: PropagationRun, share: float | None) -> None:
        if run is self._run and share is not None:
            self.progress.emit(*run.progress(share))

    def _on_outcome(self, run: PropagationRun, outcome: Outcome) -> None:
        if run is not self._run:
            return
        from napari_sam3.inference.tracking.propagate import PassedOverError

        error = outcome.error
        if isinstance(error, PassedOverError):
            run.problem, error = error, None
        try:
            if error is None:
                run.write()
        except Exception as refused:  # any error of the layer that owns the labels
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
        from .propagation_run import PropagationResult

        run, self._run = self._run, None
        assert run is not None
        run.control.cancel()
        if stopped or run.error is not None:
            self._submit(run.release, lambda _outcome: None, lambda _stage, _share: None)
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
        if self._request is not None and accepted.plane == self._request.plane.key:
            self._accepted.append(accepted)

    def _on_stage(self, stage: str) -> None:
        waits = self._request is not None and not self._asking
        if stage == IDLE and waits and not self._history.awaiting:
            try:
                self._start_accepted()
            except Sam3Error as error:
                self.failed.emit(error)

    def _on_labels(self, change: LabelChange) -> None:
        # Undo of a propagated mask cancels the run.
        run = self._run
        if run is not None and change.direction == "undo" and run.writes.holds(change.operation):
            self._finish(stopped=True, undone=True)
