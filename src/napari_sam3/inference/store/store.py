"""Image features on disk: one safetensors file per field, written atomically."""

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
    """Return the default folder of the store, which may not exist."""
    return platformdirs.user_cache_path("napari-sam3", appauthor=False) / "embeddings"


@dataclass(frozen=True)
class StoreInfo:
    """Content of a store.

    Parameters
    ----------
    fields, nbytes, limit_bytes : int
        Number of fields, bytes of their files, and the largest number of bytes.
    models : dict of (preset, fingerprint, resolution, precision) to int
        Number of fields by model.
    renderings : dict of Rendering to int
        Number of fields by contrast and channels.
    """

    fields: int
    nbytes: int
    limit_bytes: int
    models: dict[tuple[str, str, int, str], int]
    renderings: dict[Rendering, int]


class EmbeddingStore:
    """Features of fields on disk, for concurrent use by threads and processes.

    A field is written to a temporary file that is renamed when complete, so a killed process
    leaves no partial field. Checksums detect damage by a disk or a power cut; a damaged field is
    deleted and encoded again. `sam3.ImageFeatures.load` reads each file.

    Parameters
    ----------
    path : path-like
        Folder of the store, created if it does not exist.
    limit_bytes : int, optional
        Most bytes of all fields. New fields replace the least recently used ones. By default the
        limit of the existing store, or `DEFAULT_STORE_BYTES` for a new one.
    read_only : bool
        Whether to change nothing. A folder without write permission is always read only.

    Attributes
    ----------
    path : Path
        Folder of the store.
    limit_bytes : int
        Most bytes of all fields.
    read_only : bool
        Whether the store is never changed.

    Raises
    ------
    StoreError
        If the folder is not a store of this version, or cannot be created.
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
        """Return the path of a field, which may not exist."""
        return self.path / f"{key}{SUFFIX}"

    def __contains__(self, key: str) -> bool:
        """Whether the store has a file for a key. The file may be damaged."""
        return self.file_of(key).is_file()

    def get(self, key: str) -> ImageFeatures | None:
        """Return the features of a key, on the CPU, or None.

        A damaged field counts as missing, and is deleted unless the store is read only.
        """
        if key not in self:
            return None
        file = self.file_of(key)
        try:
            features = self._read(key)
        except (FeaturesError, RecordError, OSError) as error:
            logger.warning("the stored field %s cannot be used: %s", file, error)
            # Too many open files or a lost network folder do not mean that the field is damaged.
            cause = error.__cause__ if isinstance(error, FeaturesError) else error
            damaged = not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError)
            if damaged and not self.read_only:
                discard(file)
            return None
        if not self.read_only:
            with contextlib.suppress(OSError):  # the time only affects the order of eviction
                os.utime(file)
        return features

    def put(
        self, key: str, features: ImageFeatures, *, preset: str, precision: str,
        rendering: Rendering,
    ) -> None:  # fmt: skip
        """Store features unless the store has the key already.

        Parameters
        ----------
        key : str
            From `napari_sam3.inference.cache.embedding_key`.
        features : ImageFeatures
            Features, stored without loss.
        preset, precision : str
            Configuration and data type of the model.
        rendering : Rendering
            How the encoded image was converted to 8 bits.

        Raises
        ------
        StoreError
            If the features cannot be written, for example to a full disk.
        """
        if self.read_only:
            raise StoreError(
                f"the embedding store is read-only: {str(self.path)!r}. Expected a writable one. "
                "Choose another one."
            )
        if key in self:
            return
        try:
            self._write(key, features, preset, precision, rendering)
        except RecordError as error:
            raise StoreError(f"a field cannot be stored: {error}") from error
        except OSError as error:
            raise StoreError(
                f"the embedding store {str(self.path)!r} cannot be written: {reason(error)}. "
                "Expected a writable folder with free space. It is read-only from now on: free "
                "some space and open it again, or choose another one."
            ) from error

    def about(self, key: str) -> StoredField | None:
        """Return the record of a field without reading its features, or None."""
        from safetensors import SafetensorError

        with contextlib.suppress(OSError, RecordError, SafetensorError):
            return self._about(key)
        return None

    def stored(self) -> Iterator[StoredField]:
        """Yield the records of all fields in any order, except damaged ones."""
        for file in field_files(self.path):
            about = self.about(file.name.removesuffix(SUFFIX))
            if about is not None:
                yield about

    def info(self) -> StoreInfo:
        """Return a summary of the store. Reads the header of every field."""
        fields = list(self.stored())
        nbytes = 0
        for file in field_files(self.path):
            with contextlib.suppress(OSError):  # another process may delete it meanwhile
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
            raise RecordError(
                f"the file {key} holds the field {about.key}. Expected that of its name. It is "
                "encoded again."
            )
        return about

    def _read(self, key: str) -> ImageFeatures:
        from sam3.features import ImageFeatures

        features = ImageFeatures.load(self.file_of(key))
        about = self._about(key)
        made_with = (features.size, features.fingerprint, features.resolution)
        if made_with != (about.size, about.fingerprint, about.resolution):
            raise RecordError.unreadable("its two descriptions differ", "equal ones")
        if tensors_digest(features.encoded) != about.digest:
            raise RecordError.unreadable("its tensors were changed", "those that were written")
        return features

    def _write(
        self, key: str, features: ImageFeatures, preset: str, precision: str, rendering: Rendering
    ) -> None:
        features = replace(features, trunk=None).to("cpu")  # the trunk's map is kept in memory only
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
