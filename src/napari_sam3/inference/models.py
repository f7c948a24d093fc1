"""Models by name, loaded once when they are first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["EMBEDDED", "Loader", "describe_predictor", "detector_loader", "loaded"]
__all__ += ["model_loader", "once"]

Loader = Callable[[], "Predictor"]
EMBEDDED = "tiny"


def model_loader(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str = "auto",
    describe: Callable[[str], None] | None = None,
) -> Loader:
    """Return a function that loads a model; torch is imported only when it is called.

    Parameters
    ----------
    name_or_path : str or path
        "tiny" for the embedded model, or a weights file.
    device : str
        "auto", "cpu", "cuda" or "mps".
    describe : callable, optional
        Called with a description of the device, on the thread that loads the model.
    """

    def load() -> Predictor:
        from sam3.predictor import load_predictor
        from sam3.runtime.devices import describe_device

        predictor = load_predictor(name_or_path, device)
        if describe is not None:
            describe(describe_device(device))
        return predictor

    return load


def detector_loader(path: str | os.PathLike[str]) -> Callable[[Predictor], Detector | None]:
    """Return a function that loads, once, the concept detector of a predictor's own weights.

    Parameters
    ----------
    path : path-like
        Weights file that the predictor was loaded from; it is read when the detector is needed.
    """
    made: dict[str, Detector] = {}

    def load(predictor: Predictor) -> Detector | None:
        from sam3.concepts.detector import Detector
        from sam3.weights.detector import load_detector_model

        if predictor.fingerprint not in made:
            model = load_detector_model(path, resolution=predictor.config.resolution)
            made[predictor.fingerprint] = Detector(model, predictor)
        return made[predictor.fingerprint]

    return load


def describe_predictor(predictor: Predictor | Loader) -> str:
    """Say where a predictor runs; "" for one that is still to be loaded."""
    device = getattr(predictor, "device", None)
    if device is None:
        return ""
    from sam3.runtime.devices import describe_device

    return describe_device(device)


def loaded(model: Predictor | Loader | None) -> Predictor | None:
    """Return the model if it is a predictor already; does not import torch."""
    return cast("Predictor", model) if hasattr(model, "predict") else None


def once(model: Predictor | Loader | None) -> Predictor | Loader | None:
    """Return a loader that loads once, so that sessions and batches share the model."""
    return model if model is None or loaded(model) is not None else _Once(cast("Loader", model))


class _Once:
    def __init__(self, load: Loader) -> None:
        self._load = load
        self._found: Predictor | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Predictor:
        with self._lock:
            if self._found is None:
                self._found = self._load()
            return self._found
