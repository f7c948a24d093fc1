"""Lines of a journal: JSON, each with a checksum over all lines so far."""

from __future__ import annotations

import logging
import reprlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from typing_extensions import TypedDict

from napari_sam3.images.identity import ImageIdentity

from .folder import JournalError
from .schema import SCHEMA_VERSION, IdentityPart, Shape, check_version, plain
from .strict import Int, Parts, RecordError, Schema, Text, dump, parse, record

__all__ = ["JournalHeader", "LineReader", "encode_line"]

logger = logging.getLogger(__name__)

FORMAT = "napari-sam3 journal"
MAX_LINE = 1 << 30
# Maximum size of a whole journal, which a reader holds in memory; far above any real one.
MAX_JOURNAL_BYTES = 1 << 33
_START, _MIDDLE, _END = b'{"sum":"', b'","body":', b"}\n"
_BODY_AT = len(_START) + 8 + len(_MIDDLE)
_HEADER_BODY = b'{"format":"napari-sam3 journal"'


@dataclass(frozen=True)
class JournalHeader:
    """The image and the labels of a journal.

    Parameters
    ----------
    image : ImageIdentity
        The image.
    shape : tuple of int
        Shape of the whole label image.
    dtype : str
        Data type of the labels.
    start : str
        State of the labels when the journal was opened: "empty", or a digest.
    time : str
        Time of its creation, ISO 8601 in UTC.
    """

    image: ImageIdentity
    shape: tuple[int, ...]
    dtype: str
    start: str
    time: str

    def to_body(self) -> bytes:
        """Return the body of the first line; raises RecordError if it cannot be stored."""
        return dump(_HEADER.write(self), _HEADER.place)

    @classmethod
    def read(cls, value: Any, place: str) -> JournalHeader:
        """Read the first line; raises RecordError for another version."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            what = f"{place} is {reprlib.repr(value)}"
            raise RecordError.unreadable(what, f"the first line of a {FORMAT}")
        check_version(value.get("version"), f"{place}.version")
        return _HEADER.read(value, place=place)


@record
class _HeaderRecord(TypedDict):
    format: Text
    version: Int
    image: IdentityPart
    shape: Shape
    dtype: Text
    start: Text
    time: Text


_HEADER: Schema[JournalHeader] = Schema(
    Annotated[JournalHeader, Parts(_HeaderRecord)],
    "the journal's first line",
    lambda header: {"format": FORMAT, "version": SCHEMA_VERSION, **plain(header)},
)


def encode_line(body: bytes, before: int) -> tuple[bytes, int]:
    """Return the line for a body of JSON, and its checksum.

    Parameters
    ----------
    body : bytes
        JSON without line breaks.
    before : int
        Checksum of the previous line; 0 for the first.
    """
    total = zlib.crc32(body, before)
    return b"%b%08x%b%b%b" % (_START, total, _MIDDLE, body, _END), total


class LineReader:
    """Read lines up to the first incomplete or damaged one.

    Parameters
    ----------
    file : binary file
        Positioned at its start.
    path : Path
        Path of the file, for messages.

    Attributes
    ----------
    header : JournalHeader or None
        None if the file ends in its first line.
    damaged : bool
        Whether reading stopped at a complete but invalid line. An incomplete last line is not
        damage, because its change was never reported as written.

    Raises
    ------
    JournalError
        If the file is not a journal, or has another version.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._total, self._number = 0, 1
        self.damaged = False
        self.header: JournalHeader | None = None
        line = self._file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            if not _may_begin(line):
                raise JournalError(
                    f"not a journal: {str(path)!r}. Expected a {FORMAT}. Choose another file."
                )
            return
        try:
            self.header = JournalHeader.read(self._decode(line), self.place)
        except RecordError as error:
            raise JournalError(f"{str(path)!r} cannot be read as a {FORMAT}: {error}") from error

    def __iter__(self) -> Iterator[Any]:
        """Yield the body of each complete line after the first."""
        while self.header is not None and not self.damaged:
            self._number += 1
            line = self._file.readline(MAX_LINE)
            if not line.endswith(b"\n") and len(line) < MAX_LINE:
                return
            try:
                yield self._decode(line)
            except RecordError as error:
                self.stop(error)

    @property
    def place(self) -> str:
        """Position of the present line, for messages."""
        return f"line {self._number}"

    def stop(self, reason: Exception) -> None:
        """Stop reading at the present line, which is invalid."""
        self.damaged = True
        logger.warning(
            "journal %s: lost everything after line %d: %s", self._path, self._number - 1, reason
        )

    def _decode(self, line: bytes) -> Any:
        body = line[_BODY_AT : -len(_END)]
        expected, total = encode_line(body, self._total)
        if expected != line:
            raise RecordError.unreadable(
                f"{self.place} does not match its checksum", "an unchanged line"
            )
        self._total = total
        return parse(body, self.place)


def _may_begin(line: bytes) -> bool:
    """Tell whether an incomplete line can be the start of a journal's first line."""
    end = _MIDDLE + _HEADER_BODY
    at = len(_START) + 8
    return _START.startswith(line[: len(_START)]) and (
        end.startswith(line[at:]) or line[at:].startswith(end)
    )
