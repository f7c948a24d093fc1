"""Models by name, loaded when they are first needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam3.predictor import Predictor

    from .jobs import Loader

__all__ = ["EMBEDDED", "model_loader"]

EMBEDDED = "tiny"


def model_loader(name_or_path: str | os.PathLike[str] = EMBEDDED, device: str = "auto") -> Loader:
    """Return a function that loads a model; torch is imported only when it is called.

    Parameters
    ----------
    name_or_path : str or path
        "tiny" for the embedded model, or a weights file.
    device : str
        "auto", "cpu", "cuda" or "mps".
    """

    def load() -> Predictor:
        from sam3.predictor import load_predictor

        return load_predictor(name_or_path, device)

    return load
