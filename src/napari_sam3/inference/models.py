"""Models by name, loaded when they are first needed, and those offered for choosing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam3.qt.text.panel import EMBEDDED_MODEL, RELEASED_MODEL, WEIGHTS_FILE

if TYPE_CHECKING:
    from napari_sam3.session.jobs import Loader
    from sam3.predictor import Predictor

__all__ = [
    "BROWSE",
    "DOWNLOAD",
    "EMBEDDED",
    "describe_predictor",
    "model_choices",
    "model_loader",
    "remember",
]

EMBEDDED, BROWSE, DOWNLOAD = "tiny", "browse", "download"
KEPT = 8


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
        Told where the model runs and why there, on the thread that loads it.
    """

    def load() -> Predictor:
        from sam3.predictor import load_predictor
        from sam3.runtime.devices import describe_device

        predictor = load_predictor(name_or_path, device)
        if describe is not None:
            describe(describe_device(device))
        return predictor

    return load


def describe_predictor(predictor: Predictor | Loader) -> str:
    """Say where a predictor runs; "" for one that is still to be loaded."""
    device = getattr(predictor, "device", None)
    if device is None:
        return ""
    from sam3.runtime.devices import describe_device

    return describe_device(device)


def model_choices(files: Sequence[str], current: str) -> list[tuple[str, str]]:
    """Return (text, name or path or command) of what can be chosen as a model.

    Parameters
    ----------
    files : sequence of str
        Weights files known from before; those that are gone are left out.
    current : str
        The model in use, which is offered in any case.
    """
    paths = [path for path in files if path == current or Path(path).is_file()]
    if current not in (EMBEDDED, *paths):
        paths.append(current)
    names = [Path(path).name for path in paths]
    named = [
        (name if names.count(name) == 1 else f"{name} ({Path(path).parent})", path)
        for name, path in zip(names, paths, strict=True)
    ]
    return [
        (EMBEDDED_MODEL, EMBEDDED),
        *named,
        (WEIGHTS_FILE, BROWSE),
        (RELEASED_MODEL, DOWNLOAD),
    ]


def remember(files: Sequence[str], path: str) -> tuple[str, ...]:
    """Return weights files with one more, the one used last in front; old ones are dropped."""
    return (path, *(one for one in files if one != path))[:KEPT]
