"""Batches in the viewer: started in the panel, run on the worker thread, written by plane."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_sam3.core.errors import LayerError
from napari_sam3.session.candidate_filter import CandidateFilter
from napari_sam3.session.candidates import CandidatePlane
from napari_sam3.session.describing import Maker
from sam3.errors import Sam3Error

from .axes import name_of_axis
from .text import status as status_text
from .text.panel import WHOLE_IMAGE

if TYPE_CHECKING:
    from napari_sam3.batch import BatchControl, EndRules, Mode, PlaneResult
    from napari_sam3.core.operations import LabelChange
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.images.viewer_image import ViewerImage
    from napari_sam3.inference.automatic.settings import AutomaticSettings
    from napari_sam3.layers.binding import Binding
    from napari_sam3.session.batch_results import BatchWriting
    from napari_sam3.session.session import LabelingSession

    from .batch_panel import BatchAsked, BatchPanel, Method
    from .batch_pieces import BatchPiece, BatchPieces
    from .panel import Panel
    from .workers import ThreadRunner

__all__ = ["BatchRun"]

SHOWN_EVERY_MS = 150


class BatchRun:
    """Batches in the background, one at a time, while the viewer stays usable.

    The worker thread computes each result as a job of its own. Clicks in the meantime are predicted
    between two results, so the model is never used twice at once.

    Parameters
    ----------
    panel : Panel
        Its fold starts batches, and shows their progress.
    session : LabelingSession
        Receives the results.
    binding : callable
        Returns the current binding, or None.
    runner : ThreadRunner
        Worker thread of the model.
    failed : callable
        Called with errors.

    Attributes
    ----------
    automatic : AutomaticSettings or None
        Settings of the search for all objects; the default if None.
    rules : EndRules or None
        How objects are followed; the default if None.
    """

    automatic: AutomaticSettings | None = None
    rules: EndRules | None = None

    def __init__(
        self,
        panel: Panel,
        session: LabelingSession,
        binding: Callable[[], Binding | None],
        runner: ThreadRunner,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._panel: BatchPanel = panel.batch
        self._review = panel.finding.review
        self._session, self._binding, self._runner = session, binding, runner
        self._failed = failed
        self._run: _Run | None = None
        self._timer = QTimer(panel)
        self._timer.setInterval(SHOWN_EVERY_MS)
        self._timer.timeout.connect(self._show_progress)
        self._panel.default_limits = self._default_limits
        self._panel.run.connect(self.start)
        self._panel.stop.connect(self.stop)
        self._session.labels_changed.connect(self._on_change)
        # Qt may delete the panel before it is closed.
        panel.destroyed.connect(self._release)
        self.refresh()

    @property
    def running(self) -> bool:
        """Whether a batch runs."""
        return self._run is not None

    def start(self) -> None:
        """Start the batch chosen in the panel, and report errors that a user can cause."""
        if self.running:
            return
        try:
            run = self._begin(self._panel.asked)
        except Sam3Error as error:
            self._failed(error)
            return
        self._run = run
        self._session.paused = True
        self._panel.show_running(True)
        self.refresh()
        self._timer.start()
        self._advance(run)

    def stop(self) -> None:
        """Stop the batch soon, and keep its results."""
        if self._run is not None:
            self._run.stopped = True
            self._run.control.cancel()

    def leave(self) -> None:
        """Have nothing more to do with the binding, which is about to be closed."""
        if self._run is not None:
            self._run.stopped = True
            self._release()
            self._end()

    def close(self) -> None:
        """End the batch; its thread closes the results."""
        self.leave()
        self._timer.stop()
        self._session.labels_changed.disconnect(self._on_change)

    def refresh(self) -> None:
        """Offer the axes of the current image."""
        binding = self._binding()
        plane = binding.plane if binding is not None else None
        self._panel.show_ready(plane is not None and not self.running)
        if binding is not None and plane is not None:
            from napari_sam3.layers.label_layer import image_shape

            image, shape = binding.image, image_shape(binding.image)
            names = [str(name) for name in image.axis_labels]
            axes = {
                axis: (name_of_axis(names[axis], axis), shape[axis])
                for axis in plane.other_axes
                if shape[axis] > 1
            }
            self._panel.offer_axes(image.unique_id, axes)

    # ------------------------------------------------------------------ inside

    def _begin(self, asked: BatchAsked) -> _Run:
        from napari_sam3.batch import BatchControl
        from napari_sam3.layers.batch_prompts import positions_along

        from .batch_pieces import BatchPieces

        binding, model = self._binding(), self._session.model
        plane = binding.plane if binding is not None else None
        if binding is None or plane is None:
            raise LayerError(
                "no plane of an image is shown. Expected one in 2-D display. Choose an image and "
                "view it in 2-D."
            )
        if model is None:
            raise Sam3Error('no model is set. Expected one of the menu "Model". Choose one.')
        seen = binding.snapshot()
        positions = positions_along(plane, asked.axis, asked.first, asked.last)
        mode = self._mode(asked, binding, plane, positions)
        control = BatchControl()
        results = _segment(
            mode,
            seen,
            model,
            planes=positions,
            output=asked.output or None,
            overwrite=asked.overwrite,
            level=self._session.level,
            cache=self._session.cache,
            control=control,
        )
        pieces = BatchPieces(results, seen, model, control)
        writing = None
        if asked.review:
            self._session.candidates.filter = CandidateFilter()
        else:
            writing = self._session.begin_batch(binding.labels_on(plane))
        return _Run(binding, seen, pieces, control, writing, len(positions), time.monotonic())

    def _mode(
        self, asked: BatchAsked, binding: Binding, plane: PlaneIndex, positions: Any
    ) -> Mode | Callable[[], Mode]:
        """Return the mode, or a function for the worker thread that makes it."""
        from napari_sam3.batch import Automatic, Placed, Propagate, Repeated
        from napari_sam3.layers.batch_prompts import prompts_here, prompts_in_layers

        session = self._session
        if asked.method == "similar":
            return self._similar(asked, binding)
        if asked.method == "automatic":
            settings = _limited(self._settings(), asked)
            if session.level is not None and session.level < WHOLE_IMAGE:
                settings = replace(settings, level=session.level)
            return Automatic(settings)
        if asked.method == "repeated":
            return Repeated(prompts_here(binding, plane))
        follow = asked.method == "propagate"
        one = follow and session.mode == "one"
        prompts = prompts_in_layers(binding, plane, positions, one=one)
        if not follow:
            return Placed(prompts)
        along = -1 if asked.axis is None else plane.other_axes.index(asked.axis)
        rules = self._rules()
        if asked.limits is not None:
            rules = rules.limited(*asked.limits)
        return Propagate(prompts, along, rules)

    def _similar(self, asked: BatchAsked, binding: Binding) -> Callable[[], Mode]:
        from napari_sam3.batch import Similar
        from napari_sam3.inference.models import detector_loader
        from napari_sam3.inference.similar.search import DEFAULT_THRESHOLD

        search, model, cache = binding.candidates.search(), self._session.model, self._session.cache
        assert model is not None
        threshold = DEFAULT_THRESHOLD if asked.limits is None else asked.limits[0]

        def learn() -> Mode:
            predictor = model()
            concept = search.learn(predictor, cache, detector_loader()(predictor))
            assert concept is not None  # a search that is not started is never cancelled
            return Similar(concept=concept, threshold=threshold)

        return learn

    def _settings(self) -> AutomaticSettings:
        from napari_sam3.inference.automatic.settings import AutomaticSettings

        return self.automatic or AutomaticSettings()

    def _rules(self) -> EndRules:
        from napari_sam3.batch import EndRules

        return self.rules or EndRules.calibrated()

    def _default_limits(self, method: Method) -> tuple[float, int | None] | None:
        if method == "similar":
            from napari_sam3.inference.similar.search import DEFAULT_THRESHOLD

            return DEFAULT_THRESHOLD, None
        if method not in ("automatic", "propagate"):
            return None
        limits = self._settings() if method == "automatic" else self._rules()
        return limits.min_score, limits.min_area

    def _advance(self, run: _Run) -> None:
        self._runner.call(run.pieces.next, lambda found: self._on_piece(run, found))

    def _on_piece(self, run: _Run, found: Any) -> None:
        if run is not self._run:
            return
        if isinstance(found, BaseException):
            self._end(found)
        elif found is None:
            self._end()
            if run.writing is None and run.candidates:
                self._review.click()
        else:
            try:
                self._write(run, found)
            except Sam3Error as error:
                run.pieces.close()
                self._end(error)
                return
            self._advance(run)

    def _write(self, run: _Run, piece: BatchPiece) -> None:
        result = piece.result
        plane = run.seen.in_data(result.plane)
        if result.error is not None:
            run.failures.append((plane, result.error))
            return
        run.planes += 1
        labels = run.binding.labels_on(plane)
        if run.writing is None:
            maker = Maker.of(piece.predictor)
            place = CandidatePlane(labels.key, labels, maker, piece.rendering)
            # An object found lies on one plane, and shares its number with those of other batches.
            found = [replace(one, id=0) for one in result.objects]
            run.candidates += len(self._session.finding.offer(place, found))
            return
        written = self._session.write_batch(
            run.writing, labels.key, labels, result.objects, piece.predictor, piece.rendering
        )
        run.objects.update(one.id for one in written)

    def _on_change(self, change: LabelChange) -> None:
        # A user who undoes a batch does not want the rest of it.
        if change.direction == "undo" and change.operation.kind == "batch":
            run = self._run
            ids = {one.id for one in change.operation.objects}
            if run is not None and run.writing and not ids.isdisjoint(run.writing.ids.values()):
                run.undone = True
                self.stop()

    def _end(self, error: BaseException | None = None) -> None:
        run, self._run = self._run, None
        assert run is not None
        self._timer.stop()
        self._session.paused = False
        self._session.end_batch()
        if self._binding() is run.binding:
            self._session.prepare()
        self._panel.show_running(False)
        self.refresh()
        if error is not None:
            self._failed(error)
        elif not run.undone:
            self._panel.show_result(run.describe(), failed=bool(run.failures))

    def _show_progress(self) -> None:
        run = self._run
        if run is None or run.stopped or not run.control.progress.total:
            return
        self._panel.show_progress(*run.describe_progress(time.monotonic()))

    def _release(self, *_: Any) -> None:
        """End the batch without touching Qt."""
        if self._run is not None:
            self._run.pieces.close()


@dataclass(eq=False)
class _Run:
    """A batch and its results so far; candidates if it is not `writing` into labels."""

    binding: Binding
    seen: ViewerImage
    pieces: BatchPieces
    control: BatchControl
    writing: BatchWriting | None
    wanted: int
    began: float
    planes: int = 0
    stopped: bool = False
    undone: bool = False
    candidates: int = 0
    objects: set[int] = field(default_factory=set)
    failures: list[tuple[PlaneIndex, Sam3Error]] = field(default_factory=list)

    def describe_progress(self, now: float) -> tuple[str, float]:
        """Say how far it is, and how long it takes from now (s); with the share done, 0 to 1."""
        progress = self.control.progress
        share = progress.done / progress.total
        plane, within = divmod(share * self.wanted, 1)
        if plane == self.wanted:
            plane, within = plane - 1, 1.0
        text = status_text.plane_progress(int(plane) + 1, self.wanted, within, progress.failed)
        made = progress.done - progress.skipped
        each = (now - self.began) / made if made else None
        left = status_text.time_left(each and each * (progress.total - progress.done))
        return " ".join(filter(None, (text, left))), share

    def describe(self) -> str:
        """Show the result of the batch."""
        if self.writing is None:
            text = status_text.batch_candidates(self.candidates, self.planes, stopped=self.stopped)
        else:
            text = status_text.batch_result(len(self.objects), self.planes, stopped=self.stopped)
        if not self.failures:
            return text
        places = [plane.index for plane, _ in self.failures]
        return f"{text} {status_text.failed_planes(places, self.failures[0][1])}"


def _segment(
    mode: Mode | Callable[[], Mode], seen: ViewerImage, model: Any, **options: Any
) -> Generator[PlaneResult, None, None]:
    """Segment with a mode that is made where the model is asked."""
    from napari_sam3.batch import segment

    yield from segment(seen, mode() if callable(mode) else mode, model, **options)


def _limited(rules: AutomaticSettings, asked: BatchAsked) -> AutomaticSettings:
    """Return the settings with the limits that the user chose."""
    if asked.limits is None:
        return rules
    score, area = asked.limits
    return replace(rules, min_score=score, min_area=area)
