"""Saved sessions: labels, objects, prompts and undo stack of an image, to resume later.

A session file (`session_file`) holds operations for replay with a model. A saved session also holds
the pixels, so it opens unchanged and without a model.
"""

from __future__ import annotations

import gzip
import os
import reprlib
import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typing_extensions import TypedDict

from napari_sam3.core.classes import LabelClass
from napari_sam3.core.drafts import DraftSet
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Kind, LabelWrite, Policy
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.identity import ImageIdentity
from sam3.files import write_whole

from .packed import MAX_UNPACKED_BYTES, PackedWrite
from .rle import labels_text_bytes
from .schema import (
    DraftPart,
    IdentityPart,
    KeyPart,
    ObjectPart,
    Shape,
    WritePart,
    check_version,
    plain,
)
from .session_file import MAX_SESSION_BYTES, SessionFileError, read_session_bytes
from .strict import LIST, Count, Int, Parts, RecordError, Schema, Text, dump, parse, record

__all__ = [
    "PlaneDrafts",
    "SavedEdit",
    "SavedLink",
    "SavedSession",
    "SavedStep",
    "read_saved_session",
    "write_saved_session",
]

FORMAT = "napari-sam3 saved session"
VERSION = 1


@dataclass(frozen=True, eq=False)
class PlaneDrafts:
    """Drafts of a plane, with its key."""

    key: Hashable
    hand: DraftSet  # named as in the file


@dataclass(frozen=True, eq=False)
class SavedEdit:
    """Pixels before and after a change. Unchanged pixels are 0 in both."""

    before: LabelWrite
    after: LabelWrite


@dataclass(frozen=True)
class SavedLink:
    """Parents of a label before and after a change."""

    child: int
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SavedStep:
    """Step of the undo stack; see `napari_sam3.session.history.Step`.

    Parameters
    ----------
    key : hashable
        Key of the plane.
    before, after : DraftSet
        Drafts on that plane.
    wrote : bool
        Whether the step wrote to labels, or changed drafts only.
    edits : tuple of SavedEdit
        Changed pixels.
    links : tuple of SavedLink
        Changed parents of labels.
    added, removed, objects : tuple of int
        Objects that the step added and removed, and those of its operation, as indices of
        `SavedSession.objects`.
    fresh : tuple of int
        Ids that first appear in the label image with this step.
    kind : str or None
        Kind of the operation, if there is one.
    labels : tuple of int
        Labels of the operation.
    writes : tuple of LabelWrite
        Writes of the operation.
    policy : {"keep", "overwrite", "inside"}
        Write policy at the time of the step.
    category : str
        Class chosen at the time of the step.
    batch : int
        Consecutive steps with the same number, other than 0, are undone together.
    origin : hashable or None
        Key of the plane on which the user acted, if it is another one.
    """

    key: Hashable
    before: DraftSet
    after: DraftSet
    wrote: bool
    edits: tuple[SavedEdit, ...]
    links: tuple[SavedLink, ...]
    added: tuple[int, ...]
    removed: tuple[int, ...]
    objects: tuple[int, ...]
    fresh: tuple[int, ...]
    kind: Kind | None
    labels: tuple[int, ...]
    writes: tuple[LabelWrite, ...]
    policy: Policy
    category: str
    batch: int
    origin: Hashable | None


@dataclass(frozen=True, eq=False)
class SavedSession:
    """State of a session on one image.

    Parameters
    ----------
    image : ImageIdentity
        Identity of the image.
    path, scene : str
        Path and scene of the image, empty if unknown.
    shape : tuple of int
        Shape of the label image.
    dtype : str
        Data type of the label image.
    labels : tuple of LabelWrite
        All pixels other than background, plane by plane.
    objects : tuple of AcceptedObject
        All present and removed objects, without duplicates.
    present : tuple of int
        Present objects, as indices of `objects`.
    links : tuple of SavedLink
        Parents by label.
    drafts : tuple of PlaneDrafts
        Draft objects with their prompts.
    steps : tuple of SavedStep
        Undo stack, oldest step first.
    start : str
        Labels before the first step, as described by `describe_labels`. Empty if unknown.
    classes : tuple of LabelClass
        Available classes.
    category : str
        Chosen class.
    mode : {"one", "many"}
        Whether a prompt selects one object or all similar ones.
    policy : {"keep", "overwrite", "inside"}
        Write policy.
    shown : hashable or None
        Key of the plane shown.
    """

    image: ImageIdentity
    path: str
    scene: str
    shape: tuple[int, ...]
    dtype: str
    labels: tuple[LabelWrite, ...]
    objects: tuple[AcceptedObject, ...]
    present: tuple[int, ...]
    links: tuple[SavedLink, ...]
    drafts: tuple[PlaneDrafts, ...]
    steps: tuple[SavedStep, ...]
    start: str
    classes: tuple[LabelClass, ...]
    category: str
    mode: Literal["one", "many"]
    policy: Policy
    shown: Hashable | None


@record
class _DraftSetRecord(TypedDict):
    drafts: Annotated[tuple[DraftPart, ...], LIST]
    current: Int | None


@record
class _DraftsRecord(TypedDict):
    key: KeyPart
    hand: Annotated[DraftSet, Parts(_DraftSetRecord)]


@record
class _EditRecord(TypedDict):
    before: WritePart
    after: WritePart


_Counts = Annotated[tuple[Count, ...], LIST]
_Ints = Annotated[tuple[Int, ...], LIST]
_Writes = Annotated[tuple[WritePart, ...], LIST]


@record
class _LinkRecord(TypedDict):
    child: Count
    before: _Counts
    after: _Counts


_Links = Annotated[tuple[Annotated[SavedLink, Parts(_LinkRecord)], ...], LIST]


@record
class _StepRecord(TypedDict):
    key: KeyPart
    before: Annotated[DraftSet, Parts(_DraftSetRecord)]
    after: Annotated[DraftSet, Parts(_DraftSetRecord)]
    wrote: bool
    edits: Annotated[tuple[Annotated[SavedEdit, Parts(_EditRecord)], ...], LIST]
    links: _Links
    added: _Counts
    removed: _Counts
    objects: _Counts
    fresh: _Ints
    kind: Kind | None
    labels: _Ints
    writes: _Writes
    policy: Policy
    category: Text
    batch: Count
    origin: KeyPart | None


@record
class _ClassRecord(TypedDict):
    name: Text
    color: Text


@record
class _SavedRecord(TypedDict):
    format: Text
    version: Int
    image: IdentityPart
    path: Text
    scene: Text
    shape: Shape
    dtype: Literal["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
    labels: _Writes
    objects: Annotated[tuple[ObjectPart, ...], LIST]
    present: _Counts
    links: _Links
    drafts: Annotated[tuple[Annotated[PlaneDrafts, Parts(_DraftsRecord)], ...], LIST]
    steps: Annotated[tuple[Annotated[SavedStep, Parts(_StepRecord)], ...], LIST]
    start: Text
    classes: Annotated[tuple[Annotated[LabelClass, Parts(_ClassRecord)], ...], LIST]
    category: Text
    mode: Literal["one", "many"]
    policy: Policy
    shown: KeyPart | None


_SAVED: Schema[SavedSession] = Schema(
    Annotated[SavedSession, Parts(_SavedRecord)], "the saved session", plain
)


def write_saved_session(path: str | os.PathLike[str], saved: SavedSession) -> Path:
    """Write a compressed saved session atomically, replacing an existing file.

    Raises
    ------
    RecordError
        If the session cannot be stored.
    SessionFileError
        If the session is too large, or the file cannot be written.
    """
    path = Path(path)
    content = dump({"format": FORMAT, "version": VERSION, **plain(saved)}, "the saved session")
    if len(content) > MAX_SESSION_BYTES:
        raise SessionFileError(
            f"the session is too large: {len(content)} bytes. Expected at most "
            f"{MAX_SESSION_BYTES}. Save the labels instead."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, gzip.compress(content, 1, mtime=0))
    except OSError as error:
        raise SessionFileError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Expected a folder with "
            "free space. Choose another folder, or free some space."
        ) from error
    return path


def read_saved_session(path: str | os.PathLike[str]) -> SavedSession:
    """Read a saved session. The keys of its planes are `PlaneIndex`.

    Raises
    ------
    SessionFileError
        If the file cannot be read, is not a saved session, or is damaged.
    """
    path = Path(path)
    try:
        content = _content(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SessionFileError(
            f"{str(path)!r} cannot be read: {reason}. Expected a session that napari-sam3 saved. "
            "Check the file."
        ) from error
    try:
        found = parse(content, "the saved session")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise RecordError.unreadable(f"it is {reprlib.repr(found)}", f"a {FORMAT}")
        check_version(found.get("version"), "its version")
        saved = _SAVED.read(found)
        _check(saved)
    except RecordError as error:
        raise SessionFileError(
            f"{str(path)!r} is not a saved session of this version: {error}"
        ) from error
    return saved


def _content(path: Path) -> bytes:
    with gzip.open(path, "rb") as file:
        content = read_session_bytes(file)
    if len(content) > MAX_SESSION_BYTES:
        raise OSError(f"it holds more than {MAX_SESSION_BYTES} bytes")
    return content


def _check(saved: SavedSession) -> None:
    """Raise RecordError for invalid indices of objects, too many pixels or planes outside."""
    count = len(saved.objects)
    beyond = f"one of the {count} objects of the session"
    for step in saved.steps:
        if any(at >= count for at in (*step.added, *step.removed, *step.objects)):
            raise RecordError.unreadable("a step names an object that is missing", beyond)
    if any(at >= count for at in saved.present):
        raise RecordError.unreadable("it names an object that is missing", beyond)
    size = sum(labels_text_bytes(w.text) for w in _writes(saved) if isinstance(w, PackedWrite))
    size += sum(one.draft.seed.crop.size for one in saved.objects if one.draft.seed is not None)
    if size > MAX_UNPACKED_BYTES:
        raise RecordError.unreadable(
            f"its labels take {size} bytes", f"at most {MAX_UNPACKED_BYTES}"
        )
    for write in saved.labels:
        plane, shape = write.plane, saved.shape
        if isinstance(plane, PlaneIndex):
            shape = plane.shape_of(shape) if plane.ndim == len(shape) else ()
        if len(shape) != 2 or any(
            part.stop > length for part, length in zip(write.region, shape, strict=True)
        ):
            raise RecordError.unreadable(
                f"labels of {plane} lie outside", f"planes of the shape {saved.shape}"
            )


def _writes(saved: SavedSession) -> Iterator[LabelWrite]:
    yield from saved.labels
    for step in saved.steps:
        yield from step.writes
        for edit in step.edits:
            yield edit.before
            yield edit.after
