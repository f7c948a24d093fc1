"""Safe reader of pickled numpy files.

``np.load(..., allow_pickle=True)`` calls any function that a file names. Here only the names that
arrays, numbers and containers need are known, and they stand for functions of this module; any
other name raises. numpy's own functions are not called either, since a forged dtype makes them read
foreign memory.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

__all__ = ["load_pickled_npy"]

_PLAIN_TYPE = re.compile(r"[<>|=]?([biufcSUO][0-9]+|[?bBhHiIlLqQefdgO])")
_BUILTINS = {"bytearray": bytearray, "complex": complex, "frozenset": frozenset, "set": set}
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def load_pickled_npy(path: Path) -> Any:
    """Read a .npy file that holds a Python object, such as a dictionary of arrays.

    Raises
    ------
    sam3.errors.ImageError
        If the file is damaged, or names anything but arrays, numbers, strings and containers.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")
            _, _, dtype = reader(file)
            if not dtype.hasobject:
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
            content = _finished(_PlainUnpickler(file).load())
    except ImageError:
        raise
    except Exception as error:  # a damaged pickle raises any kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read: {reason}. Expected a .npy file as Cellpose writes it. "
            "Check the file."
        ) from error
    # np.save wraps an object in a 0-dimensional array.
    return content[0] if isinstance(content, list) and len(content) == 1 else content


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the safe replacement of a name."""
        found = _meaning(module, name)
        if found is None:
            raise ImageError(
                f"the file would run {f'{module}.{name}'!r}. Expected only arrays, numbers, "
                "strings and containers. Do not trust it, or save the masks as TIFF."
            )
        return found


def _meaning(module: str, name: str) -> Callable[..., Any] | None:
    # New functions for each call, so that a file cannot modify them for the next one.
    package = module.replace("numpy._core", "numpy.core")
    if (package, name) == ("numpy.core.multiarray", "_reconstruct"):
        return lambda *_: _Array()
    if (package, name) == ("numpy.core.multiarray", "scalar"):
        return lambda kind, raw: np.frombuffer(raw, kind.dtype)[0]
    if (package, name) == ("numpy.core.numeric", "_frombuffer"):
        return lambda raw, kind, shape, order: _array(shape, kind, order == "F", raw)
    if (package, name) == ("numpy", "dtype"):
        return lambda code, *_: _Type(code)
    if (package, name) == ("numpy", "ndarray"):
        return lambda: None  # only named
    if (package, name) == ("_codecs", "encode"):  # bytes in protocol 2
        return lambda text, *_: str(text).encode("latin1")
    if package in ("pathlib", "pathlib._local") and name in _PATHS:
        return lambda *parts: "/".join(map(str, parts))
    return _BUILTINS.get(name) if package in ("builtins", "__builtin__") else None


class _Type:
    """The dtype of an array: numbers, strings, or Python objects in a list."""

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
            raise ValueError(f"arrays of {code!r} are not plain numbers or strings")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Set the byte order."""
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array being read; `_finished` replaces it by its value."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        """Set the content."""
        _, shape, kind, fortran, raw = state
        self.value = _array(shape, kind, fortran, raw)


def _array(shape: Any, kind: _Type, fortran: bool, raw: Any) -> npt.NDArray[Any] | list[Any]:
    if kind.dtype.hasobject:
        return list(raw)
    flat = np.frombuffer(raw, kind.dtype).copy()
    return flat.reshape(shape, order="F" if fortran else "C")


def _finished(value: Any) -> Any:
    if isinstance(value, _Array):
        return _finished(value.value)
    if isinstance(value, dict):
        return {name: _finished(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_finished(one) for one in value)
    return value
