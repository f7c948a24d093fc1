"""Lines of a journal: JSON each, with a checksum that covers every line before it."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from napari_sam3.images.identity import ImageIdentity

from .checks import Node, RecordError, dump, parse
from .folder import JournalError
from .operations import SCHEMA_VERSION, check_version
from .parts import identity_from_record, identity_to_record, shape_from_record

__all__ = ["JournalHeader", "LineReader", "encode_line"]

logger = logging.getLogger(__name__)

FORMAT = "napari-sam3 journal"
MAX_LINE = 1 << 30
# Of a whole journal: what a reader holds in memory. Nobody labels that much before saving.
MAX_JOURNAL_BYTES = 1 << 33
_START, _MIDDLE, _END = b'{"sum":"', b'","body":', b"}\n"
_BODY_AT = len(_START) + 8 + len(_MIDDLE)
_HEADER_BODY = b'{"format":"napari-sam3 journal"'


@dataclass(frozen=True)
class JournalHeader:
    """What a journal belongs to.

    Parameters
    ----------
    image : ImageIdentity
        The image.
    shape : tuple of int
        Of the whole label image.
    dtype : str
        Of the labels.
    start : str
        What the labels were when the journal began: "empty", or a digest of the caller's.
    time : str
        When it began, ISO 8601 in UTC.
    """

    image: ImageIdentity
    shape: tuple[int, ...]
    dtype: str
    start: str
    time: str

    def to_body(self) -> bytes:
        """Return the first line's body; RecordError if something cannot be stored."""
        record = {
            "format": FORMAT,
            "version": SCHEMA_VERSION,
            "image": identity_to_record(self.image),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "start": self.start,
            "time": self.time,
        }
        body = dump(record, "the journal's first line")
        self.from_node(parse(body, "the journal's first line"))
        return body

    @classmethod
    def from_node(cls, node: Node) -> JournalHeader:
        """Read the first line; RecordError if it is another version's."""
        if not isinstance(node.value, dict) or node.value.get("format") != FORMAT:
            raise node.error(f"the first line of a {FORMAT}")
        check_version(Node(node.value.get("version"), f"{node.place}.version"))
        parts = node.parts("format", "version", "image", "shape", "dtype", "start", "time")
        return cls(
            identity_from_record(parts["image"]),
            shape_from_record(parts["shape"]),
            *(parts[name].text() for name in ("dtype", "start", "time")),
        )


def encode_line(body: bytes, before: int) -> tuple[bytes, int]:
    """Return a line for a body of JSON, and its checksum.

    Parameters
    ----------
    body : bytes
        JSON without line breaks.
    before : int
        Checksum of the line before; 0 for the first one.
    """
    total = zlib.crc32(body, before)
    return b"%b%08x%b%b%b" % (_START, total, _MIDDLE, body, _END), total


class LineReader:
    """Reads lines up to the first one that is torn or damaged.

    Parameters
    ----------
    file : binary file
        At its start.
    path : Path
        Its name, for messages.

    Attributes
    ----------
    header : JournalHeader or None
        None if the file ends within its first line.
    damaged : bool
        Whether reading stopped at a line that is whole but wrong. A torn last line is no damage:
        its change was never reported as written.

    Raises
    ------
    JournalError
        If the file is no journal, or one of another version.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._total, self._number = 0, 1
        self.damaged = False
        self.header: JournalHeader | None = None
        line = self._file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            if not _may_begin(line):
                raise JournalError(f"{str(path)!r} is no {FORMAT}; choose another file")
            return
        try:
            self.header = JournalHeader.from_node(self._decode(line))
        except RecordError as error:
            raise JournalError(f"{str(path)!r} cannot be read as a {FORMAT}: {error}") from error

    def __iter__(self) -> Iterator[Node]:
        """Give the body of each whole line after the first."""
        while self.header is not None and not self.damaged:
            self._number += 1
            line = self._file.readline(MAX_LINE)
            if not line.endswith(b"\n") and len(line) < MAX_LINE:
                return
            try:
                yield self._decode(line)
            except RecordError as error:
                self.stop(error)

    def stop(self, reason: Exception) -> None:
        """Read no further, because the present line makes no sense."""
        self.damaged = True
        logger.warning(
            "journal %s: what follows line %d is lost: %s", self._path, self._number - 1, reason
        )

    def _decode(self, line: bytes) -> Node:
        place, body = f"line {self._number}", line[_BODY_AT : -len(_END)]
        expected, total = encode_line(body, self._total)
        if expected != line:
            raise RecordError(f"{place} does not have the checksum that it announces")
        self._total = total
        return parse(body, place)


def _may_begin(line: bytes) -> bool:
    """Tell whether a line without end can be the start of a journal's first one."""
    end = _MIDDLE + _HEADER_BODY
    at = len(_START) + 8
    return _START.startswith(line[: len(_START)]) and (
        end.startswith(line[at:]) or line[at:].startswith(end)
    )
