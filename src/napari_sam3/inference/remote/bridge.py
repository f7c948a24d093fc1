"""Server-side proxies of the planes and controls of a client.

::

    client                              server
                        <-- event --    control.report("encoding", 0.5)
                        <-- event --    plane.region(rows, columns) requests pixels
    deliver(pixels)     -- run -->      and waits for them
    future.cancel()     -- task -->     control.cancelled
"""

from __future__ import annotations

import queue
import time
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import UInt8Plane
from napari_sam3.core.rendering import Rendering
from napari_sam3.inference.cache import EncodingStopped

from .messages import Call, SentPlane

__all__ = ["RemotePlane", "TaskControl", "deliver"]

_SECONDS_BETWEEN_REPORTS = 0.05
_SECONDS_BETWEEN_LOOKS = 0.1
_waiting: dict[str, queue.SimpleQueue[npt.NDArray[np.uint8]]] = {}


class TaskControl:
    """The `Control` of the task that runs on this thread.

    Parameters
    ----------
    call : Call
        Origin of the task.
    """

    def __init__(self, call: Call) -> None:
        self.resume(call)

    def resume(self, call: Call) -> None:
        """Switch to the task that runs now."""
        from distributed import get_worker

        self._call, self._worker = call, get_worker()
        self._key = self._worker.get_current_task()
        self._stage, self._reported_at = "", 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the client cancelled the task or disconnected."""
        task = self._worker.state.tasks.get(self._key)
        return task is None or task.state == "cancelled"

    @property
    def abandoned(self) -> bool:
        """As `cancelled`."""
        return self.cancelled

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Send the stage and its fraction to the client, at a limited rate."""
        now = time.monotonic()
        if stage != self._stage or now - self._reported_at >= _SECONDS_BETWEEN_REPORTS:
            self._stage, self._reported_at = stage, now
            self.send(stage=stage, fraction=None if fraction is None else float(fraction))

    def send(self, **event: Any) -> None:
        """Send an event to the client."""
        self._worker.log_event(self._call.topic, {"call": self._call.number, **event})


class RemotePlane:
    """A `PlaneImage` whose pixels are requested from the client region by region.

    Parameters
    ----------
    sent : SentPlane
        The plane.
    control : TaskControl
        Connection to the client.
    """

    rendering = Rendering()

    def __init__(self, sent: SentPlane, control: TaskControl) -> None:
        self.shape, self.is_lazy = sent.shape, sent.is_lazy
        self._number, self._control = sent.number, control

    def region(self, rows: slice, columns: slice, step: int = 1) -> UInt8Plane:
        """Read the pixels (h x w x 3) of a region; raises EncodingStopped once cancelled."""
        request = uuid.uuid4().hex
        received = _waiting[request] = queue.SimpleQueue()
        spans = [
            [None if at is None else int(at) for at in (part.start, part.stop, part.step)]
            for part in (rows, columns)
        ]
        try:
            self._control.send(request=request, plane=self._number, spans=spans, step=int(step))
            while not self._control.cancelled:
                try:
                    return received.get(timeout=_SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    continue
            raise EncodingStopped
        finally:
            del _waiting[request]


def deliver(request: str, pixels: npt.NDArray[np.uint8]) -> None:
    """Pass on the pixels that a task requested; runs concurrently with it."""
    received = _waiting.get(request)
    if received is not None:  # the task may have been cancelled
        received.put(pixels)
