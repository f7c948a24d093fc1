"""Session files: all changes of the labels of an image, for replay."""

from __future__ import annotations

import gzip
import os
import reprlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ValidationInfo
from typing_extensions import TypedDict

from napari_sam3.core.operations import Operation
from napari_sam3.images.identity import ImageIdentity
from sam3.errors import Sam3Error
from sam3.files import write_whole

from .packed import MAX_UNPACKED_BYTES, unpacked_bytes
from .schema import (
    IDENTITY,
    OPERATION,
    IdentityPart,
    OperationPart,
    check_version,
    plain,
)
from .strict import (
    LIST,
    Int,
    MakeKey,
    Parts,
    RecordError,
    Schema,
    Text,
    as_it_is,
    dump,
    parse,
    record,
)

__all__ = ["MAX_SESSION_BYTES", "SessionFile", "SessionFileError", "read_session", "write_session"]

FORMAT = "napari-sam3 session"
#: Version 1 does not include the initial state of the labels.
OLDEST_VERSION, VERSION = 1, 2
_UNKNOWN = "given"
MAX_SESSION_BYTES = 1 << 29
_GZIP, _PIECE = b"\x1f\x8b", 1 << 20


class SessionFileError(Sam3Error, OSError):
    """A session file that cannot be read or written, or that must not be overwritten."""


@dataclass(frozen=True, eq=False)
class SessionFile:
    """The content of a session file.

    Parameters
    ----------
    image : ImageIdentity
        Image of the labels.
    operations : tuple of Operation
        Operations in effect after undo, oldest first.
    start : str
        State of the labels before the first operation, from `describe_labels`; "given" if it is
        unknown.
    """

    image: ImageIdentity
    operations: tuple[Operation, ...]
    start: str = _UNKNOWN


@record
class _SessionRecord(TypedDict):
    format: Text
    version: Int
    image: IdentityPart
    start: NotRequired[Text]
    operations: Annotated[tuple[OperationPart, ...], LIST]


def _session(parts: _SessionRecord, _: ValidationInfo) -> SessionFile:
    return SessionFile(parts["image"], parts["operations"], parts.get("start", _UNKNOWN))


_SESSION: Schema[SessionFile] = Schema(
    Annotated[SessionFile, Parts(_SessionRecord, _session)], "the session", plain
)


def write_session(
    path: str | os.PathLike[str],
    operations: Iterable[Operation],
    image: ImageIdentity,
    *,
    start: str = _UNKNOWN,
    overwrite: bool = False,
) -> Path:
    """Write a session file atomically.

    Parameters
    ----------
    path : str or path-like
        Path of the file; missing folders are created. Compressed if the name ends with ``.gz``.
    operations : iterable of Operation
        Operations in effect after undo, oldest first.
    image : ImageIdentity
        Image of the labels.
    start : str
        State of the labels before the first operation, from `describe_labels`, so that a replay
        may change labels that the session did not create.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
        Path of the file.
        The file.

    Raises
    ------
    RecordError
        If an operation cannot be stored.
    SessionFileError
        If the file exists, would be too large to read, or cannot be written.
    """
    path = Path(path)
    session: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "image": IDENTITY.write(image),
        "start": start,
        "operations": [OPERATION.write(operation) for operation in operations],
    }
    content = dump(session, "the session")
    size = _unpacked(session["operations"])
    if len(content) > MAX_SESSION_BYTES or size > MAX_UNPACKED_BYTES:
        raise SessionFileError(
            f"the session is too large: {len(content)} bytes, {size} uncompressed. Expected at "
            f"most {MAX_SESSION_BYTES} and {MAX_UNPACKED_BYTES}. Save the labels as an image."
        )
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    try:
        _put(path, content, overwrite)
    except SessionFileError:
        raise
    except OSError as error:
        raise SessionFileError(
            f"{str(path)!r} could not be written: {error.strerror or error}. Expected a writable "
            "folder with free space. Choose another folder, or a shorter name."
        ) from error
    return path


def read_session(path: str | os.PathLike[str], make_key: MakeKey = as_it_is) -> SessionFile:
    """Read a session file; its content determines whether it is compressed.

    Parameters
    ----------
    path : str or path-like
        The file.
    make_key : callable
        Converts a `PlaneIndex` to the key of a plane, such as `PlaneSource.key`.

    Raises
    ------
    SessionFileError
        If the file cannot be read, is not a session file, is too large or damaged, or has another
        version.
    """
    path = Path(path)
    try:
        content = _content(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SessionFileError(
            f"{str(path)!r} cannot be read: {reason}. Expected a complete session file. Check the "
            "file."
        ) from error
    if len(content) > MAX_SESSION_BYTES:
        raise SessionFileError(
            f"{str(path)!r} is too large. Expected at most {MAX_SESSION_BYTES} bytes. Choose a "
            "file of napari-sam3."
        )
    try:
        session = parse(content, "the session")
        if not isinstance(session, dict) or session.get("format") != FORMAT:
            raise RecordError.unreadable(f"it is {reprlib.repr(session)}", f"a {FORMAT}")
        version = session.get("version")
        check_version(version, "the session's version", oldest=OLDEST_VERSION, newest=VERSION)
        if (size := _unpacked(session.get("operations"))) > MAX_UNPACKED_BYTES:
            raise RecordError.unreadable(
                f"its masks and labels would take {size} bytes of memory",
                f"at most {MAX_UNPACKED_BYTES}",
            )
        return _SESSION.read(session, make_key)
    except RecordError as error:
        raise SessionFileError(
            f"{str(path)!r} is not a {FORMAT} of this version: {error}"
        ) from error


def _unpacked(operations: Any) -> int:
    return sum(map(unpacked_bytes, operations)) if isinstance(operations, list) else 0


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(len(_GZIP))
        file.seek(0)
        if start != _GZIP:
            return read_session_bytes(file)
        with gzip.GzipFile(fileobj=file) as unpacked:
            return read_session_bytes(unpacked)


def read_session_bytes(file: BufferedIOBase) -> bytes:
    """Read slightly more than the maximum size at most."""
    content = bytearray()
    # In chunks: reading up to the limit at once would allocate that much for any file.
    while len(content) <= MAX_SESSION_BYTES and (piece := file.read(_PIECE)):
        content += piece
    return bytes(content)


def _put(path: Path, content: bytes, overwrite: bool) -> None:
    if path.is_dir():
        raise SessionFileError(
            f"{str(path)!r} is a folder. Expected a file. Add the name of a file."
        )
    if path.exists() and not overwrite:
        raise SessionFileError(
            f"{str(path)!r} exists already. Expected a new file. Choose another name, or overwrite "
            "it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
