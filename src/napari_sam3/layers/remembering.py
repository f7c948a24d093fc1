"""What of a binding outlives its process: journals, session files, and replay."""

from __future__ import annotations

import os
from collections.abc import Hashable

from psygnal import Signal

from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.labels.targets import LabelTarget
from napari_sam3.records.session_file import read_session, write_session
from napari_sam3.session.replaying import replay_into
from napari_sam3.session.restoring import RestoreResult

from .journaling import identify_layer
from .plane_source import PlaneKey
from .sync import Following

__all__ = ["Remembering"]


class Remembering(Following):
    """The part of `Binding` that keeps what was done."""

    labels_restored = Signal(object)

    def keep_journal(
        self,
        image: ImageIdentity | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """Write everything that is accepted to disk at once, so that a crash loses nothing of it.

        Parameters
        ----------
        image : ImageIdentity, optional
            From `identify_layer`; found out here if not given, for which some pixels are read.
        folder : path-like, optional
            Where to write; the user's cache folder by default.
        limit_bytes : int
            Most bytes for all journals in the folder; the oldest are deleted first.
        """
        if self._keeper.journal is None:
            identity = image if image is not None else identify_layer(self.layers.image)
            self._keeper.begin(identity, folder=folder, limit_bytes=limit_bytes)

    def restore_labels(self, path: str | os.PathLike[str]) -> int | None:
        """Bring back what a journal holds, as one step; returns the number of objects.

        Labels that are there now stay as they are: what is restored goes into free pixels, under
        free ids. What that leaves out is told by `labels_restored`; the journal is kept then.

        Parameters
        ----------
        path : path-like
            From `find_journals`.
        """
        result: RestoreResult | None = self._guard(lambda: self._keeper.restore(path))
        if result is None:
            return None
        self.labels_restored.emit(result)
        return result.objects

    def note_labels(self) -> None:
        """Find out what the labels are, for the journal; on any thread."""
        self._keeper.note_start()

    def save_session(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write all that was done to labels of this image to a file, to be replayed later."""
        ours = [one for one in self.session.operations if self._source.is_ours(one.plane)]
        image = identify_layer(self.layers.image)
        self._guard(lambda: write_session(path, ours, image, overwrite=overwrite))

    def replay(self, path: str | os.PathLike[str]) -> int | None:
        """Do again what a session file holds, on this image and into these labels.

        Masks are predicted on this thread. Returns the number of operations.
        """

        def do() -> int:
            stored = read_session(path, self._source.key)
            return replay_into(self.session, stored.operations, self._plane_by_key)

        count: int | None = self._guard(do)
        self._current = False
        self._guard(self._ensure_plane)
        return count

    def _plane_by_key(self, key: Hashable) -> tuple[PlaneImage, LabelTarget]:
        assert isinstance(key, PlaneKey)
        return self._source.render(key.plane), self._store.plane(key.plane)
