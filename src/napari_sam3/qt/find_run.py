"""Searches of the widget: buttons and the slider wired to the session's candidates."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from napari_sam3.inference.models import EMBEDDED, detector_loader, names_objects

from .review_run import ReviewRun
from .text.find import NONE_AT_ALL, NONE_FOUND, SEARCH_LEFT, candidates_left

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.layers.candidates import CandidateLayer
    from napari_sam3.session.session import LabelingSession

    from .panel import Panel
    from .workers import ThreadRunner

__all__ = ["FindRun"]


class FindRun:
    """Drives the candidates of a session.

    Parameters
    ----------
    panel : Panel
        Has the controls.
    session : LabelingSession
        Searches.
    binding : callable
        Returns the session's connection to an image, or None.
    runner : ThreadRunner
        Looks into weights files.
    failed : callable
        Called with errors.
    """

    def __init__(
        self,
        panel: Panel,
        session: LabelingSession,
        binding: Callable[[], Binding | None],
        runner: ThreadRunner,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._panel, self._finding, self._binding = panel, session.finding, binding
        self._candidates = session.candidates
        self._runner, self._model = runner, ""
        self._closed = False
        self.review = ReviewRun(session, binding, failed, panel.show_status)
        part = panel.finding
        part.review.clicked.connect(lambda: self.review.open())
        part.similar.clicked.connect(lambda: self._run(lambda shown: shown.find_similar()))
        part.everything.clicked.connect(lambda: self._run(lambda shown: shown.find_all()))
        part.name.returnPressed.connect(
            lambda: self._run(lambda shown: shown.find_similar(part.name.text()))
        )
        part.accept.clicked.connect(lambda: self._run(lambda shown: shown.accept()))
        part.clear.clicked.connect(lambda: self._finding.drop_all())
        part.stop.clicked.connect(lambda: self._finding.cancel())
        part.threshold_chosen.connect(self._on_threshold)
        self._finding.changed.connect(self._show)
        self._finding.progress.connect(part.show_progress)
        self._finding.ended.connect(self._on_ended)
        self._finding.left.connect(self._on_left)
        self._candidates.accepted.connect(self._on_accepted)
        self._finding.failed.connect(failed)

    def use(self, model: str | os.PathLike[str]) -> None:
        """Offer finding by name where the weights have a detector."""
        self._model = os.fspath(model)
        self._panel.finding.offer_names(False)
        self._finding.detector_of = None
        if self._model == EMBEDDED:
            return
        name, load = self._model, detector_loader()

        def offer(found: Any) -> None:
            if found is True and name == self._model and not self._closed:
                self._finding.detector_of = load
                self._panel.finding.offer_names(True)

        self._runner.call(partial(names_objects, name), offer)

    def refresh(self) -> None:
        """Offer searches if there is an image."""
        self._panel.finding.offer_searches(self._binding() is not None)

    def close(self) -> None:
        """Stop the search that runs."""
        self._closed = True
        self.review.close()
        self._finding.cancel()

    def _run(self, command: Callable[[CandidateLayer], object]) -> None:
        binding = self._binding()
        if binding is not None:
            command(binding.candidates)

    def _on_threshold(self, threshold: float) -> None:
        self._finding.threshold = threshold

    def _on_ended(self, _count: int, similar: bool) -> None:
        if not self._finding.candidates and not self._closed:
            self._panel.show_status(NONE_FOUND if similar else NONE_AT_ALL)

    def _on_left(self) -> None:
        binding = self._binding()
        # A deleted image has a message of its own.
        if not self._closed and binding is not None and binding.image in binding.viewer.layers:
            show_info(SEARCH_LEFT)  # the status line tells of the new plane

    def _on_accepted(self, left: int) -> None:
        if left and not self._closed:
            self._panel.show_status(candidates_left(left))

    def _show(self) -> None:
        if self._closed:
            return
        finding, part = self._finding, self._panel.finding
        if finding.running == part.stop.isHidden():
            part.show_running(finding.running)
        shown = len(finding.shown)
        elsewhere = self._candidates.count_shown - shown
        part.show_candidates(shown, len(finding.candidates), finding.threshold, elsewhere)
