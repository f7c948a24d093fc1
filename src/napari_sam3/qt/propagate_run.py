"""Propagating in the widget: the panel wired to the session and to the image in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .axes import name_of_axis
from .text import propagate as text
from .text.states import sentence

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.session.propagation_run import PropagationResult
    from napari_sam3.session.session import LabelingSession

    from .panel import Panel

__all__ = ["PropagateRun"]


class PropagateRun:
    """Starts, shows and stops the propagation of a session.

    Parameters
    ----------
    panel : Panel
        Has the controls.
    session : LabelingSession
        Propagates.
    binding : callable
        Returns the session's connection to an image, or None.
    failed : callable
        Called with errors.
    """

    def __init__(
        self,
        panel: Panel,
        session: LabelingSession,
        binding: Callable[[], Binding | None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._panel, self._propagating = panel.propagation, session.propagating
        self._binding, self._failed = binding, failed
        self._closed = False
        self._panel.start.clicked.connect(self._on_start)
        self._panel.stop.clicked.connect(lambda: self._propagating.cancel())
        self._panel.chosen.connect(self._pass_choice)
        self._propagating.changed.connect(self._on_changed)
        self._propagating.progress.connect(self._on_progress)
        self._propagating.ended.connect(self._on_ended)
        self._propagating.failed.connect(self._on_failed)
        self.refresh()

    def refresh(self) -> None:
        """Offer the axes of the image in use."""
        binding = self._binding()
        axes = binding.propagation.axes if binding is not None else {}
        if binding is not None:
            names = binding.image.axis_labels
            self._panel.offer_axes(
                {axis: (name_of_axis(str(names[axis]), axis), n) for axis, n in axes.items()}
            )
        else:
            self._panel.offer_axes({})
        self._pass_choice()

    def close(self) -> None:
        """End the run."""
        self._closed = True
        self._propagating.cancel()

    # ------------------------------------------------------------------ inside

    def _pass_choice(self) -> None:
        """Pass the choices to the binding, also for the key."""
        binding = self._binding()
        if binding is not None:
            part = binding.propagation
            part.axis, part.direction, part.gap = self._panel.asked

    def _on_start(self, _checked: bool = False) -> None:
        binding = self._binding()
        if binding is not None:
            binding.propagation.propagate()

    def _on_changed(self) -> None:
        if self._closed:
            return
        running = self._propagating.running
        if running == self._panel.stop.isHidden():
            self._panel.show_running(running)
            self._panel.show_result(self._with_note(text.BEGINS) if running else "")

    def _on_progress(self, share: float, plane: int) -> None:
        if not self._closed:
            self._panel.show_progress(share)
            said = text.at_plane(plane) if share else text.BEGINS
            self._panel.show_result(self._with_note(said))

    def _on_ended(self, result: PropagationResult) -> None:
        if self._closed or result.undone:
            return
        said = text.found(len(result.labels), result.planes, stopped=result.stopped)
        problem = result.problem
        if problem is not None:
            said = f"{said} {sentence(problem)}"
        failed = problem is not None and not result.labels
        self._panel.show_result(self._with_note(said), failed=failed)

    def _on_failed(self, error: BaseException) -> None:
        self._panel.show_result("")
        self._failed(error)

    def _with_note(self, said: str) -> str:
        """Add that no memory is used, where that is known."""
        return f"{said} {text.MASK_BY_MASK}" if self._propagating.remembers is False else said
