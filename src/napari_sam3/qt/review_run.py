"""The review area wired to session and binding; its dock is made when it is first opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_sam3.session.candidate_filter import CandidateFilter

from .text import review as review_text

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.session.session import LabelingSession

    from .review_panel import ReviewPanel

__all__ = ["ReviewRun"]

# Minimum interval between updates of the rows, in ms; longer if an update takes longer.
_REFRESH_MS = 60


class ReviewRun:
    """Drives the review of a session's objects and candidates.

    Parameters
    ----------
    session : LabelingSession
        Has them.
    binding : callable
        Returns the session's connection to an image, or None.
    failed : callable
        Called with errors.
    say : callable
        Called with news for the panel.

    Attributes
    ----------
    panel : ReviewPanel or None
        The area, once it was opened.
    """

    def __init__(
        self,
        session: LabelingSession,
        binding: Callable[[], Binding | None],
        failed: Callable[[BaseException], None],
        say: Callable[[str], None],
    ) -> None:
        self._session, self._binding = session, binding
        self._failed, self._say = failed, say
        self.panel: ReviewPanel | None = None
        self._labels: Any = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh_at_leisure)

    def open(self) -> None:
        """Show the area below the image."""
        binding = self._binding()
        if binding is None:
            return
        if self.panel is None:
            from .review_panel import ReviewPanel

            self.panel = ReviewPanel()
            self._connect(self.panel)
            self.panel.destroyed.connect(self._on_destroyed)
        if self.panel.parentWidget() is None:  # new, or its dock was closed
            window: Any = binding.viewer.window
            window.add_dock_widget(self.panel, name=review_text.TITLE, area="bottom")
            self.panel.show()
        dock = self.panel.parentWidget()
        if dock is not None:
            dock.show()
        self.refresh()

    def close(self) -> None:
        """Take the area away, and follow the session no longer."""
        self._timer.stop()
        self._watch(None)
        panel, self.panel = self.panel, None
        if panel is None:
            return
        for signal in self._signals():
            signal.disconnect(self._soon)
        dock = panel.parentWidget()
        if dock is None:
            panel.deleteLater()
        else:  # which takes the area with it
            dock.close()
            dock.deleteLater()

    def refresh(self) -> None:
        """Show the current rows, and select that of the object under review."""
        panel, binding = self.panel, self._binding()
        if panel is None:
            return
        self._watch(None if binding is None else binding.labels)
        rows = () if binding is None else binding.review.rows()
        candidates = self._session.candidates
        chosen = candidates.filter
        most = max((one.area for one in candidates.all), default=1)
        panel.show_filter(
            (chosen.min_score, chosen.max_score), (chosen.min_area, chosen.max_area), most
        )
        panel.model.show_rows(rows)
        objects = sum(1 for row in rows if row.label)
        panel.count.setText(review_text.count(len(candidates.shown), len(candidates), objects))
        for button in (panel.accept_all, panel.drop_all):
            button.setEnabled(len(candidates) > 0)
        self._select()

    # ------------------------------------------------------------------ inside

    def _signals(self) -> tuple[Any, ...]:
        session = self._session
        return session.candidates.changed, session.labels_changed, session.batch_ended

    def _connect(self, panel: ReviewPanel) -> None:
        for button, name in (
            (panel.next, "next_worst"),
            (panel.accept, "accept_one"),
            (panel.drop, "drop_one"),
            (panel.accept_all, "accept_candidates"),
        ):
            button.clicked.connect(lambda _checked=False, name=name: self._call(name))
        panel.drop_all.clicked.connect(lambda: self._session.candidates.drop_all())
        panel.link.clicked.connect(lambda: self._guard(self._link))
        panel.read_actions["file"].triggered.connect(self._ask_file)
        panel.read_actions["folder"].triggered.connect(self._ask_folder)
        panel.filtered.connect(self._on_filter)
        panel.row_chosen.connect(self._on_row)
        for signal in self._signals():
            signal.connect(self._soon)

    def _refresh_at_leisure(self) -> None:
        begun = time.perf_counter()
        self.refresh()
        taken = 1000 * (time.perf_counter() - begun)
        self._timer.setInterval(max(_REFRESH_MS, round(taken)))

    def _soon(self, *_: Any) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _call(self, name: str) -> None:
        binding = self._binding()
        if binding is not None:
            binding.commands[name]()

    def _on_filter(self, low: float, high: float, small: int, large: int) -> None:
        panel = self.panel
        assert panel is not None
        # At its end the slider hides nothing.
        most = float("inf") if large >= panel.area.maximum() else large
        self._session.candidates.filter = CandidateFilter(low, high, small, most)

    def _on_row(self, at: int) -> None:
        binding, panel = self._binding(), self.panel
        if binding is not None and panel is not None and at < len(panel.model.rows):
            row = panel.model.rows[at]
            self._guard(lambda: binding.review.show(row))

    def _link(self) -> None:
        linked = self._session.link()
        self._say(review_text.linked(linked.labels, linked.objects, linked.removed))

    def _ask_file(self, _checked: bool = False) -> None:
        title, names = review_text.READ.title, review_text.READ_FILTER
        path, _ = QFileDialog.getOpenFileName(self.panel, title, "", names)
        if path:
            self.read(path)

    def _ask_folder(self, _checked: bool = False) -> None:
        path = QFileDialog.getExistingDirectory(self.panel, review_text.READ.title)
        if path:
            self.read(path)

    def read(self, path: str) -> None:
        """Show the labels of a file or batch as candidates."""
        from napari_sam3.layers.candidate_files import open_candidates

        binding = self._binding()
        if binding is not None:
            self._guard(lambda: open_candidates(binding, path))

    def _guard(self, command: Callable[[], object]) -> None:
        try:
            command()
        except Exception as error:  # of any kind: Qt must not meet it
            self._failed(error)

    def _watch(self, labels: Any) -> None:
        """Make the object of the label that is selected in a layer the current one."""
        if labels is self._labels:
            return
        if self._labels is not None:
            self._labels.events.selected_label.disconnect(self._on_selected)
        self._labels = labels
        if labels is not None:
            labels.events.selected_label.connect(self._on_selected)

    def _on_selected(self, _event: Any = None) -> None:
        binding = self._binding()
        if self.panel is not None and binding is not None:
            model = self.panel.model
            at = model.place(("object", binding.labels.selected_label))
            binding.review.choose(None if at is None else model.rows[at])
            self.panel.select(at)

    def _select(self) -> None:
        binding, panel = self._binding(), self.panel
        if binding is None or panel is None:
            return
        identity = binding.review.identity
        panel.select(None if identity is None else panel.model.place(identity))

    def _on_destroyed(self, *_: Any) -> None:
        self.panel = None
