"""The progress of a job that is done in parts."""

from __future__ import annotations

from napari_sam3.inference.cache import Control

__all__ = ["Part"]


class Part:
    """The control of one part of a job, which reports progress of the whole.

    Parameters
    ----------
    control : Control
        That of the whole job.
    start, share : float
        Where the part begins, and how much of the whole it is, in 0..1.
    """

    def __init__(self, control: Control, start: float, share: float) -> None:
        self._control, self._start, self._share = control, start, share
        self._done = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the answer is no longer wanted."""
        return self._control.cancelled

    @property
    def abandoned(self) -> bool:
        """Whether nothing at all is wanted any more."""
        return self._control.abandoned

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Report a stage of the part as a share of the whole, which never falls."""
        # Encoding takes about half of the time where a field has to be encoded first.
        done = 0.5 * (fraction or 0.0) if stage == "encoding" else 0.5
        self._done = max(self._done, done)
        self._control.report(stage, self._start + self._share * self._done)
