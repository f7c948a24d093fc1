"""The results of a batch in the window, made one at a time on the worker thread."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.rendering import Rendering
from sam3.errors import Sam3Error

if TYPE_CHECKING:
    from napari_sam3.batch import BatchControl, PlaneResult
    from napari_sam3.images.viewer_image import ViewerImage
    from napari_sam3.inference.models import ModelHandle
    from sam3.predictor import Predictor

__all__ = ["BatchPiece", "BatchPieces"]


@dataclass(frozen=True, eq=False)
class BatchPiece:
    """A plane with its record in the session."""

    result: PlaneResult
    predictor: Predictor
    rendering: Rendering


class BatchPieces:
    """Iterator over the results of a batch; the thread that uses it closes it."""

    def __init__(
        self,
        results: Generator[PlaneResult, None, None],
        seen: ViewerImage,
        model: ModelHandle,
        control: BatchControl,
    ) -> None:
        self._results, self._seen, self._model = results, seen, model
        self._control = control
        self._lock = threading.Lock()
        self._closed = False

    def next(self) -> BatchPiece | None:
        """Make the next result; None after the last one."""
        try:
            with self._lock:
                result = None if self._closed else next(self._results, None)
                if result is None:
                    return None
                # Loaded already: the batch records which model it uses.
                predictor = self._model()
                rendering = Rendering()
                if result.error is None:
                    with suppress(Sam3Error):
                        rendering = self._seen.take_rendering(result.plane)
                return BatchPiece(result, predictor, rendering)
        finally:
            # Only once the lock is released can no `close` be missed.
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close the results: at once, or on the worker thread after the current one."""
        self._closed = True
        self._control.cancel()
        if self._lock.acquire(blocking=False):
            try:
                self._results.close()
            finally:
                self._lock.release()
