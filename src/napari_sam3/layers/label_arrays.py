"""Arrays of Labels layers: errors of their storage become errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.images.reading import origin_of
from sam3.errors import Sam3Error

from .label_levels import finest

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["StoredLabels", "labels_of", "levels_of", "naming_storage_errors", "redraw"]

CODE_ERRORS = (AssertionError, AttributeError, NameError, TypeError)


def labels_of(layer: Labels) -> Any:
    """Return the finest level of a Labels layer, as `StoredLabels` unless it is in memory."""
    return _named(finest(layer.data, multiscale=layer.multiscale), layer.name)


def levels_of(layer: Labels) -> list[Any]:
    """Return all levels of a Labels layer, finest first, as `labels_of` returns them."""
    levels = layer.data if layer.multiscale else (layer.data,)
    return [_named(level, layer.name) for level in levels]


def redraw(layer: Labels) -> None:
    """Show changed pixels of a Labels layer, if the plane shown can be read."""
    try:
        layer.refresh(extent=False)
    except Exception:  # each storage raises exceptions of its own
        # What was written stays: the plane shown may be another one.
        if isinstance(layer.data, np.ndarray):
            raise


def _named(data: Any, name: str) -> Any:
    return data if isinstance(data, np.ndarray) else StoredLabels(data, name)


@contextmanager
def naming_storage_errors(
    data: Any, name: str, where: str, *, writing: bool = False
) -> Iterator[None]:
    """Turn exceptions of a storage within the block into a LabelError with the layer and a remedy.

    Mistakes in code (`CODE_ERRORS`) are raised as they are: no file or connection causes them.

    Parameters
    ----------
    data : array-like
        The labels.
    name : str
        Name of their layer.
    where : str
        Part of the labels that is read or written.
    writing : bool
        Whether it is written.
    """
    try:
        yield
    except (Sam3Error, *CODE_ERRORS):
        raise
    except Exception as error:  # each storage raises exceptions of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        file, done = origin_of(data), "written" if writing else "read"
        raise LabelError(
            f"{where} of {' '.join(filter(None, (repr(name), file)))} cannot be {done}: {reason}. "
            f"Expected labels that can be {done}. Check their file or connection and try again, or "
            'choose "new layer".'
        ) from error


class StoredLabels:
    """An array of labels whose storage may fail, such as a file or a server.

    Attributes other than those below are those of the array.

    Parameters
    ----------
    data : array-like of integers
        zarr, or anything with ``shape``, ``dtype`` and basic indexing.
    name : str
        Name of the layer, for messages.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.stored, self._name = data, name

    def __getattr__(self, name: str) -> Any:
        if name == "stored":  # not set yet, in a copy
            raise AttributeError(name)
        return getattr(self.stored, name)

    def __len__(self) -> int:
        return int(self.stored.shape[0])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.stored.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        with naming_storage_errors(self.stored, self._name, _described(index)):
            return np.asarray(self.stored[index])

    def __setitem__(self, index: Any, values: npt.NDArray[Any]) -> None:
        with naming_storage_errors(self.stored, self._name, _described(index), writing=True):
            self.stored[index] = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self[...], dtype=dtype)


def _described(index: Any) -> str:
    """Name a part of an array, as in "[3, 10:20, :]"."""
    parts = index if isinstance(index, tuple) else (index,)
    words = []
    for part in parts:
        if isinstance(part, slice):
            words.append(f"{part.start or ''}:{'' if part.stop is None else part.stop}")
        else:
            words.append("..." if part is Ellipsis else str(part))
    return f"part [{', '.join(words)}]"
