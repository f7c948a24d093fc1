"""Image features on disk: one safetensors file per field, whole or not there at all."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from pydantic import ValidationError

from napari_sam3.core.rendering import Rendering
from napari_sam3.records.strict import RecordError
from sam3.errors import FeaturesError
from sam3.files import write_whole

from .folder import (
    SUFFIX,
    StoreError,
    discard,
    field_files,
    open_root,
    prune,
    reason,
    remove_abandoned,
)
from .record import StoredField, field_from_json, field_to_json, tensors_digest

if TYPE_CHECKING:
    from sam3.predictor import ImageFeatures

__all__ = ["DEFAULT_STORE_BYTES", "NO_LIMIT", "EmbeddingStore", "StoreError", "StoreInfo"]
__all__ += ["default_store_folder"]

logger = logging.getLogger(__name__)

DEFAULT_STORE_BYTES = 20 * 10**9
NO_LIMIT = 1 << 62
_METADATA_KEY = "napari_sam3_field"


def default_store_folder() -> Path:
    """Return where a store is kept if no other place is chosen; it need not exist."""
    return platformdirs.user_cache_path("napari-sam3", appauthor=False) / "embeddings"


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds.

    Parameters
    ----------
    fields, nbytes, limit_bytes : int
        Number of fields, bytes of their files, and how many these may become.
    models : dict of (preset, fingerprint, resolution, precision) to int
        What they were made with, and how many with each.
    renderings : dict of Rendering to int
        Contrast and channels, and how many with each.
    """

    fields: int
    nbytes: int
    limit_bytes: int
    models: dict[tuple[str, str, int, str], int]
    renderings: dict[Rendering, int]


class EmbeddingStore:
    """Features of fields on disk. Several threads and processes may use one at once.

    A field is written to a temporary file and renamed when it is complete, so that killing a
    process at any moment leaves no half of one. What a disk or a power cut damages is detected by
    checksums when it is read; it is then deleted, and encoded again. Each file can be read with
    `sam3.ImageFeatures.load`.

    Parameters
    ----------
    path : path-like
        Folder of the store; made if there is none.
    limit_bytes : int, optional
        Most bytes of all fields; those used longest ago are deleted for new ones. By default the
        limit that the store was made with, `DEFAULT_STORE_BYTES` for a new one.
    read_only : bool
        Change nothing. A folder that this user cannot write to is read only in any case.

    Attributes
    ----------
    path : Path
        The folder.
    limit_bytes : int
        The limit.
    read_only : bool
        Whether nothing is written.

    Raises
    ------
    StoreError
        If it is not a store of this version, or cannot be made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limit_bytes: int | None = None,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        new_limit = DEFAULT_STORE_BYTES if limit_bytes is None else limit_bytes
        made_with = open_root(self.path, new_limit, create=not read_only)
        self.limit_bytes = made_with if limit_bytes is None else limit_bytes
        self.read_only = read_only or not os.access(self.path, os.W_OK)
        self._lock = threading.Lock()
        self._nbytes: int | None = None  # counted when the first field is written

    def file_of(self, key: str) -> Path:
        """Return the path of the field under a key, whether it exists or not."""
        return self.path / f"{key}{SUFFIX}"

    def __contains__(self, key: str) -> bool:
        """Whether there is a field under a key; it may still turn out to be damaged."""
        return self.file_of(key).is_file()

    def get(self, key: str) -> ImageFeatures | None:
        """Return the features under a key, on the CPU; None if there are none.

        A damaged field is deleted, if the store may be written, and then there is none.
        """
        if key not in self:
            return None
        file = self.file_of(key)
        try:
            features = self._read(key)
        except (FeaturesError, RecordError, OSError) as error:
            logger.warning("the stored field %s cannot be used: %s", file, error)
            # Too many open files or a lost network folder say nothing about the field.
            cause = error.__cause__ if isinstance(error, FeaturesError) else error
            damaged = not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError)
            if damaged and not self.read_only:
                discard(file)
            return None
        if not self.read_only:
            with contextlib.suppress(OSError):  # it only decides which is evicted first
                os.utime(file)
        return features

    def put(
        self, key: str, features: ImageFeatures, *, preset: str, precision: str,
        rendering: Rendering,
    ) -> None:  # fmt: skip
        """Store features, unless there are some under the key already.

        Parameters
        ----------
        key : str
            From `napari_sam3.inference.cache.embedding_key`.
        features : ImageFeatures
            Stored bit for bit.
        preset, precision : str
            The model's configuration and arithmetic.
        rendering : Rendering
            How the image that was encoded was made.

        Raises
        ------
        StoreError
            If it cannot be written, for example because the disk is full.
        """
        if self.read_only:
            raise StoreError(f"the embedding store {str(self.path)!r} is read only")
        if key in self:
            return
        try:
            self._write(key, features, preset, precision, rendering)
        except RecordError as error:
            raise StoreError(f"a field cannot be stored: {error}") from error
        except OSError as error:
            raise StoreError(
                f"the embedding store {str(self.path)!r} cannot be written ({reason(error)}); it "
                "is only read from now on. Make room and open it again, or choose another folder"
            ) from error

    def about(self, key: str) -> StoredField | None:
        """Return what a field was made with, without its features; None if there is none."""
        from safetensors import SafetensorError

        with contextlib.suppress(OSError, RecordError, SafetensorError):
            return self._about(key)
        return None

    def stored(self) -> Iterator[StoredField]:
        """Yield what each field was made with, in no order; damaged ones are skipped."""
        for file in field_files(self.path):
            about = self.about(file.name.removesuffix(SUFFIX))
            if about is not None:
                yield about

    def info(self) -> StoreInfo:
        """Return what the store holds; reads the header of every field."""
        fields = list(self.stored())
        nbytes = 0
        for file in field_files(self.path):
            with contextlib.suppress(OSError):  # another process may delete it just now
                nbytes += file.stat().st_size
        return StoreInfo(
            len(fields),
            nbytes,
            self.limit_bytes,
            dict(Counter((f.preset, f.fingerprint, f.resolution, f.precision) for f in fields)),
            dict(Counter(f.rendering for f in fields)),
        )

    # ------------------------------------------------------------------ files

    def _about(self, key: str) -> StoredField:
        from safetensors import safe_open

        with safe_open(self.file_of(key), framework="numpy") as file:
            content = (file.metadata() or {}).get(_METADATA_KEY, "")
        about = field_from_json(content)
        if about.key != key:
            raise RecordError(f"the file {key} holds the field {about.key}")
        return about

    def _read(self, key: str) -> ImageFeatures:
        from sam3.features import ImageFeatures

        features = ImageFeatures.load(self.file_of(key))
        about = self._about(key)
        made_with = (features.size, features.fingerprint, features.resolution)
        if made_with != (about.size, about.fingerprint, about.resolution):
            raise RecordError("its two descriptions contradict each other")
        if tensors_digest(features.encoded) != about.digest:
            raise RecordError("its tensors are not what was written")
        return features

    def _write(
        self, key: str, features: ImageFeatures, preset: str, precision: str, rendering: Rendering
    ) -> None:
        features = replace(features, trunk=None).to("cpu")  # useful only while in memory
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            about = StoredField(
                key, features.fingerprint, preset, features.resolution, precision, features.size,
                rendering, now, tensors_digest(features.encoded),
            )  # fmt: skip
        except ValidationError as error:
            raise RecordError(str(error)) from error
        content = features.to_bytes({_METADATA_KEY: field_to_json(about)})
        file = self.file_of(key)
        if self._nbytes is None:
            remove_abandoned(self.path)
        write_whole(file, content)
        with self._lock:
            if self._nbytes is not None:
                self._nbytes += len(content)
            if self._nbytes is None or self._nbytes > self.limit_bytes:
                self._nbytes = prune(self.path, self.limit_bytes, file)
