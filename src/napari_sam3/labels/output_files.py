"""Output files, written atomically and only where allowed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sam3.errors import Sam3Error

from .consolidated import attributes_of, ways_to

__all__ = [
    "ExportError",
    "already_exists",
    "cannot_write",
    "check_apart",
    "check_output",
    "check_place",
    "missing_package",
    "replacing",
]


class ExportError(Sam3Error, OSError):
    """A file that cannot or must not be written."""


def already_exists(path: Path) -> ExportError:
    """Return the error about a path that may not be replaced."""
    return ExportError(
        f"{str(path)!r} exists already. Expected a new name. Choose another name, or overwrite it "
        "(--overwrite)."
    )


def cannot_write(path: Path, error: OSError) -> ExportError:
    """Return the error about a path at which writing failed."""
    return ExportError(
        f"{str(path)!r} cannot be written: {error.strerror or error}. Expected a writable "
        "folder with free space. Free some space, or choose another folder."
    )


def missing_package(package: str, purpose: str, extra: str, instead: str = "") -> ExportError:
    """Return the error about an optional package, and how to install it."""
    return ExportError(
        f"{package} is not installed. Expected it for {purpose}. Install it: pip install "
        f"'napari-sam3[{extra}]'{instead}."
    )


def check_place(path: Path) -> None:
    """Refuse to write into a SpatialData store, also by a symbolic link.

    Raises
    ------
    ExportError
        Naming the store and the way out.
    """
    for folder in (folder for way in ways_to(path) for folder in reversed(way.parents)):
        if "spatialdata_attrs" in attributes_of(folder):
            raise ExportError(
                f"{str(path)!r} lies in the SpatialData store {str(folder)!r}, which could not be "
                "read with files of this kind. Expected a folder outside of the store. Choose "
                "one, and add labels in Python by `sdata.labels[name] = Labels2DModel.parse(...)`."
            )


def check_apart(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuse two outputs of one place, and an output that would replace an input.

    Parameters
    ----------
    outputs, inputs : mapping of str to Path or None
        Places by the names of their options; None for those that were left out.

    Raises
    ------
    ExportError
        Naming both options and the place.
    """
    seen = {path.resolve(): name for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise ExportError(
                f"{name} and {other} are one place: {str(path)!r}. Expected two. Choose another "
                f"name for {name}."
            )
        inside = next((one for one in seen if path.resolve() in one.parents), None)
        if inside is not None:
            raise ExportError(
                f"{name} is a folder that holds {seen[inside]}: {str(path)!r}. Expected another "
                f"place. Choose another name for {name}."
            )


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check that a file can be written, before any work is done.

    Parameters
    ----------
    path : str or path-like
        Path of the file; missing folders are created.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ExportError
        If the file exists, or the folder cannot be created or written to.
    """
    path = Path(path)
    check_place(path)
    if path.is_dir():
        raise ExportError(
            f"{str(path)!r} is a folder. Expected the name of a file. Give one in it."
        )
    if path.exists() and not overwrite:
        raise already_exists(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Writing is the only reliable test, since permissions alone do not decide.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ExportError(
            f"the folder {str(path.parent)!r} cannot be written to ({error.strerror or error}). "
            "Expected a writable folder. Choose another one."
        ) from error
    return path


@contextmanager
def replacing(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """Yield a temporary file next to `path` that replaces it once it is complete."""
    path = check_output(path, overwrite=overwrite)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except Sam3Error:  # has its own message
        raise
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
