"""Journal, session files and replay of a binding."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam3.core.errors import LabelError
from napari_sam3.images.identity import ImageIdentity, identify
from napari_sam3.labels.start import EMPTY, GIVEN, describe_labels, is_known
from napari_sam3.records.journal import Journal, JournalError
from napari_sam3.records.recovery import discard_journal, read_journal
from napari_sam3.records.session_file import read_session, write_session
from napari_sam3.session.replay import is_start, replay_into

from .layer_data import pixels_of
from .plane_source import PlaneKey

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam3.core.operations import LabelChange
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.labels.targets import LabelTarget
    from napari_sam3.session.restoring import RestoreResult, Start
    from napari_sam3.session.session import LabelingSession

    from .label_layer import LabelStore
    from .plane_source import PlaneSource

__all__ = ["JournalKeeper", "identify_layer"]

MOST_HELD = 32
FIRST = 100
#: Labels with fewer bytes are described at once, which takes a few hundredths of a second.
QUICKLY_DESCRIBED = 1 << 25


def identify_layer(image: Image) -> ImageIdentity:
    """Identify an image by a bounded sample of its pixels; see `identify`."""
    return identify(pixels_of(image), image.name, rgb=image.rgb, multiscale=image.multiscale)


class JournalKeeper:
    """Record operations on the labels of a binding: in a journal, or in a file on request.

    Parameters
    ----------
    session : LabelingSession
        Emits changes of labels.
    source : PlaneSource
        Keys of the planes of the image.
    store : LabelStore
        The labels.
    empty : bool
        Whether the labels were empty when the binding began.
    on_error : callable
        Called with an error if the journal cannot be written.

    Attributes
    ----------
    restored : Signal
        (RestoreResult) after labels were restored from a journal.
    """

    restored = Signal(object)

    def __init__(
        self,
        session: LabelingSession,
        source: PlaneSource,
        store: LabelStore,
        *,
        empty: bool,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._session, self._source, self._store = session, source, store
        self._start: str = EMPTY if empty else GIVEN
        if not session.operations_in(self._source_id):
            session.starts[self._source_id] = self._start
        self._on_error = on_error
        self._journal: Journal | None = None
        # Changes until the image is identified, which may take a while.
        self._waiting: list[LabelChange] = []
        # Changes of an undone or redone batch, which are written together.
        self._held: list[LabelChange] = []
        # Before all other listeners, so that a failing listener cannot prevent it.
        session.labels_changed.connect(self._on_change, priority=FIRST)
        if getattr(store.data, "nbytes", QUICKLY_DESCRIBED) < QUICKLY_DESCRIBED:
            self.note_start()

    @property
    def _source_id(self) -> Hashable:
        identity: Hashable = self._store.layer.unique_id
        return identity

    @property
    def file(self) -> Journal | None:
        """The journal, once it has begun."""
        return self._journal

    def begin(
        self,
        image: ImageIdentity | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """Begin the journal with the changes so far; `on_error` is called with errors.

        Parameters
        ----------
        image : ImageIdentity, optional
            From `identify_layer`; computed here if not given, which reads some pixels.
        folder : path-like, optional
            Folder for the journal; by default the user's cache folder.
        limit_bytes : int
            Maximum bytes of all journals in the folder; the oldest are deleted first.
        """
        if self._journal is not None:
            return
        data = self._store.data
        identity = identify_layer(self._source.image) if image is None else image
        self.note_start()
        try:
            self._journal = Journal(
                identity,
                data.shape,
                data.dtype,
                start=self._start,
                folder=folder,
                limit_bytes=limit_bytes,
            )
        except JournalError as error:
            self._on_error(error)
            return
        self._append(*self._waiting)
        self._waiting.clear()

    def close(self, *, discard: bool = False) -> None:
        """End the journal; it stays on disk unless discarded or empty."""
        self._session.labels_changed.disconnect(self._on_change)
        if self._journal is not None:
            self._write_held()
            self._journal.close(discard=discard)

    def note_start(self) -> None:
        """Describe the labels before the first change, on any thread.

        A journal that began with labels of a file can be restored exactly, including deletions,
        if the labels are known to be the same.
        """
        if is_known(self._start) or self._waiting:
            return
        start = describe_labels(self._store.data)
        if not self._waiting:
            self._start = start
            if not self._session.operations_in(self._source_id):
                self._session.starts[self._source_id] = start

    def restore(self, path: str | os.PathLike[str]) -> RestoreResult:
        """Restore the labels of a journal, as one step of the session.

        Parameters
        ----------
        path : path-like
            From `find_journals`. It is deleted once all of its content is in the labels, and in
            the current journal.

        Raises
        ------
        LabelError
            If the labels do not have the shape of those of the journal, or cannot hold its ids.
        JournalError, RecordError
            If the journal cannot be read.
        """
        restored, store = read_journal(path), self._store
        header = restored.header
        if header is not None and header.shape != tuple(store.data.shape):
            raise LabelError(
                f"the journal does not fit {store.layer.name!r}: it is of shape {header.shape}. "
                f"Expected {tuple(store.data.shape)}. Choose a new layer."
            )
        start: Start = GIVEN
        if header is not None and header.start == EMPTY:
            start = EMPTY
        elif header is not None and header.start not in (GIVEN, EMPTY):
            start = "same" if header.start == describe_labels(store.data) else GIVEN
        result = self._session.restore(restored, store.plane, start)
        safe = self._journal is not None and self._journal.problem is None
        if safe and not (result.partly or result.left_out):
            discard_journal(path)
        self.restored.emit(result)
        return result

    def save_session(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write all operations on the labels of this image to a file; see `write_session`."""
        done = self._session.operations_in(self._source_id)
        ours = [one for one in done if self._source.is_ours(one.plane)]
        start = self._session.starts[self._source_id] if len(ours) == len(done) else GIVEN
        image = identify_layer(self._source.image)
        write_session(path, ours, image, start=start, overwrite=overwrite)

    def replay(self, path: str | os.PathLike[str]) -> int:
        """Replay a session file, and return the number of operations.

        Raises
        ------
        RecordError, ReplayError
            If the file cannot be read, the labels are not those at the start of the session, or
            an operation cannot be replayed; nothing has changed then.
        """
        stored = read_session(path, self._source.key)
        now = describe_labels(self._store.data)
        if not is_known(now) and self._store.maximum() == 0:
            now = EMPTY
        elif not is_known(now) and stored.start == EMPTY:
            now = "other labels"
        same = is_start(stored.start, now, "Choose these, and undo what was done to them since")
        return replay_into(self._session, stored.operations, self._plane_by_key, same_start=same)

    def _plane_by_key(self, key: Hashable) -> tuple[PlaneImage, LabelTarget]:
        assert isinstance(key, PlaneKey)
        return self._source.render(key.plane), self._store.plane(key.plane)

    def _on_change(self, *changes: LabelChange) -> None:
        ours = [change for change in changes if self._source.is_ours(change.operation.plane)]
        if self._journal is None:
            self._waiting += ours
        else:
            self._held += ours
            last = any(change.direction == "do" or not change.more for change in changes)
            if last or len(self._held) >= MOST_HELD:
                self._write_held()

    def _write_held(self) -> None:
        held, self._held = self._held, []
        self._append(*held)

    def _append(self, *changes: LabelChange) -> None:
        assert self._journal is not None
        if not changes:
            return
        try:
            self._journal.append(*changes)
        except JournalError as error:
            self._on_error(error)
