"""The journal of a binding: written with every change, and brought back after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import LabelError
from .identity import ImageIdentity, identify
from .journal import Journal, JournalError
from .masks import Region
from .operations import LabelChange, LabelWrite
from .recovery import Restored, discard_journal, read_journal

if TYPE_CHECKING:
    from napari.layers import Image

    from .label_layer import LabelStore
    from .plane_source import PlaneSource
    from .session import LabelingSession

__all__ = ["Keeper", "identify_layer"]

MOST_HELD = 32


def identify_layer(image: Image) -> ImageIdentity:
    """Tell an image from others by a bounded sample of its pixels; see `identify`."""
    return identify(image.data, image.name, rgb=image.rgb, multiscale=image.multiscale)


class Keeper:
    """Keeps a journal of what is done to the labels of one binding.

    Parameters
    ----------
    session : LabelingSession
        Tells what is done.
    source : PlaneSource
        Names the planes of the image.
    store : callable
        Returns the labels, which may be made anew.
    empty : bool
        The labels held nothing when the binding began.
    on_error : callable
        Told once if the journal cannot be written.
    """

    def __init__(
        self,
        session: LabelingSession,
        source: PlaneSource,
        store: Callable[[], LabelStore],
        *,
        empty: bool,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._session, self._source, self._store = session, source, store
        self._start = "empty" if empty else "given"
        self._on_error = on_error
        self._journal: Journal | None = None
        # Who the image is may take a while to find out; nothing is lost meanwhile.
        self._waiting: list[LabelChange] = []
        # Of a batch that is taken back, or done again: written to the disk many at a time.
        self._held: list[LabelChange] = []
        session.labels_changed.connect(self._on_change)

    @property
    def journal(self) -> Journal | None:
        """The journal, once it has begun."""
        return self._journal

    def begin(
        self,
        image: ImageIdentity,
        *,
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """Begin the journal, with what was done so far; errors go to `on_error`."""
        data = self._store().data
        try:
            self._journal = Journal(
                image,
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

    def restore(self, path: str | os.PathLike[str]) -> int:
        """Bring back what a journal holds, and go on with it in the present one.

        Parameters
        ----------
        path : path-like
            From `find_journals`. It is deleted once its content is in the labels, and in the
            present journal if there is one.

        Returns
        -------
        int
            The number of objects that are back.

        Raises
        ------
        LabelError
            If the labels do not have the shape of the ones the journal was about.
        JournalError, RecordError
            If the journal cannot be read.
        """
        restored = read_journal(path, self._source.key)
        self._check(restored)
        touched: dict[Hashable, list[Region]] = {}

        def write(key: Any, region: Region, values: npt.NDArray[Any]) -> None:
            self._store().plane(key.plane).write(region, values)
            touched.setdefault(key, []).append(region)

        restored.apply(write)
        source = self._store().layer.unique_id
        self._session.adopt(restored.operations, restored.objects, source)
        left = tuple(self._read(key, regions) for key, regions in touched.items())
        changes = [LabelChange(one, "do", ()) for one in restored.operations]
        if changes:
            changes[-1] = LabelChange(restored.operations[-1], "do", left)
            self._on_change(*changes)
            # Everybody else hears of it once.
            self._session.labels_changed.disconnect(self._on_change)
            self._session.labels_changed.emit(changes[-1])
            self._session.labels_changed.connect(self._on_change)
        if self._journal is not None and self._journal.problem is None:
            discard_journal(path)
        return len(restored.objects)

    def _check(self, restored: Restored) -> None:
        header, data = restored.header, self._store().data
        if header is not None and header.shape != tuple(data.shape):
            raise LabelError(
                f"the journal is about labels of shape {header.shape}, but "
                f"{self._store().layer.name!r} has {tuple(data.shape)}; choose a new layer"
            )
        highest = max((int(w.values.max(initial=0)) for w in restored.writes()), default=0)
        limit = int(np.iinfo(data.dtype).max)
        if highest > limit:
            raise LabelError(
                f"the journal holds the label {highest}, but labels of dtype {data.dtype} end at "
                f"{limit}; choose a new layer"
            )

    def _read(self, key: Any, regions: list[Region]) -> LabelWrite:
        """Return the smallest region of a plane around others, as it is now."""
        rows, columns = (
            slice(min(r[axis].start for r in regions), max(r[axis].stop for r in regions))
            for axis in (0, 1)
        )
        values = self._store().plane(key.plane).read((rows, columns))
        return LabelWrite(key, (rows, columns), values)

    def _on_change(self, *changes: LabelChange) -> None:
        ours = [change for change in changes if self._source.is_ours(change.operation.plane)]
        if self._journal is None:
            self._waiting += ours
        else:
            self._held += ours
            if len(self._held) >= MOST_HELD or any(
                one.direction == "do" or not one.more for one in changes
            ):
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
