"""Image features on disk: one zarr group a field, whole or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import platformdirs

from napari_sam3.core.rendering import Rendering
from napari_sam3.records.checks import Node, RecordError, parse
from sam3.files import read_bounded

from .folder import (
    MAX_JSON_BYTES,
    StoreError,
    Workroom,
    field_folders,
    folder_bytes,
    open_root,
    prune,
    reason,
)
from .record import StoredField, StoredTensor

if TYPE_CHECKING:
    import torch

    from sam3.predictor import ImageFeatures

__all__ = ["DEFAULT_STORE_BYTES", "NO_LIMIT", "EmbeddingStore", "StoreError", "StoreInfo"]
__all__ += ["default_store_folder"]

logger = logging.getLogger(__name__)

DEFAULT_STORE_BYTES = 20 * 10**9
NO_LIMIT = 1 << 62
_ATTRIBUTE = "napari_sam3"
# A tensor of the full-size model takes 85 MB.
MAX_TENSOR_BYTES = 1 << 30


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

    A field is written aside and moved into place when it is complete, so that killing a process
    at any moment leaves no half of one. What a disk or a power cut damages is found out by
    checksums when it is read; it is then deleted, and encoded again.

    Parameters
    ----------
    path : path-like
        Folder of the store, a zarr v3 group; made if there is none.
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
        If it is no store of this version, or cannot be made.
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
        self._workroom = Workroom(self.path)
        self._lock = threading.Lock()
        self._nbytes: int | None = None  # counted when the first field is written

    def __contains__(self, key: str) -> bool:
        """Whether there is a field under a key; it may still turn out to be damaged."""
        return (self.path / key / "zarr.json").is_file()

    def get(self, key: str) -> ImageFeatures | None:
        """Return the features under a key, on the CPU; None if there are none.

        A damaged field is deleted, if the store may be written, and then there is none.
        """
        if key not in self:
            return None
        folder = self.path / key
        try:
            features = self._read(key)
        except MemoryError:
            raise
        except Exception as error:  # zarr and its codecs raise many kinds for damaged files
            logger.warning("the stored field %s cannot be used: %s", folder, error)
            # Too many open files or a lost network folder say nothing about the field.
            damaged = not isinstance(error, OSError) or isinstance(error, FileNotFoundError)
            if damaged and not self.read_only:
                self._workroom.discard(folder)
            return None
        if not self.read_only:
            with contextlib.suppress(OSError):  # it only decides what is deleted first
                os.utime(folder)
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
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = StoredField(
            key, features.fingerprint, preset, features.resolution, precision, features.size,
            rendering, now,
        )  # fmt: skip
        try:
            self._write(about, features)
        except RecordError as error:
            raise StoreError(f"a field cannot be stored: {error}") from error
        except OSError as error:
            raise StoreError(
                f"the embedding store {str(self.path)!r} cannot be written ({reason(error)}); it "
                "is only read from now on. Make room and open it again, or choose another folder"
            ) from error

    def about(self, key: str) -> StoredField | None:
        """Return what a field was made with, without its features; None if there is none."""
        with contextlib.suppress(OSError, RecordError, ValueError, KeyError, TypeError):
            content = parse(read_bounded(self.path / key / "zarr.json", MAX_JSON_BYTES), key).value
            return StoredField.from_record(Node(content["attributes"][_ATTRIBUTE], key))
        return None

    def stored(self) -> Iterator[StoredField]:
        """Go through what all fields were made with, in no order; damaged ones are passed over."""
        for folder in field_folders(self.path):
            about = self.about(folder.name)
            if about is not None:
                yield about

    def info(self) -> StoreInfo:
        """Return what the store holds; takes a look at every field."""
        fields = list(self.stored())
        return StoreInfo(
            len(fields),
            sum(folder_bytes(folder) for folder in field_folders(self.path)),
            self.limit_bytes,
            dict(Counter((f.preset, f.fingerprint, f.resolution, f.precision) for f in fields)),
            dict(Counter(f.rendering for f in fields)),
        )

    def close(self) -> None:
        """Take away what is needed for writing only; the store may be used again."""
        self._workroom.close()

    # ------------------------------------------------------------------ files

    def _read(self, key: str) -> ImageFeatures:
        import zarr

        from sam3.model.click_model import EncodedImage
        from sam3.predictor import ImageFeatures

        group = zarr.open_group(self.path / key, mode="r", zarr_format=3)
        about = StoredField.from_record(Node(group.attrs[_ATTRIBUTE], f"the field {key}"))
        names = tuple(one.name for one in about.tensors)
        if about.key != key or names != EncodedImage._fields:
            raise RecordError(f"it is the field {about.key} with {', '.join(names)}")
        arrays: dict[str, Any] = {name: group[name] for name in names}
        tensors = [_to_tensor(arrays[t.name], t) for t in about.tensors]
        encoded = EncodedImage(*tensors)
        return ImageFeatures(encoded, about.size, about.fingerprint, about.resolution)

    def _write(self, about: StoredField, features: ImageFeatures) -> None:
        folder, aside = self.path / about.key, self._workroom.new_folder()
        try:
            _write_group(aside, about, features)
            size = folder_bytes(aside)
            try:
                aside.rename(folder)
            except OSError:
                if about.key not in self:
                    raise
                return  # another process was faster; its field is the same
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        with self._lock:
            if self._nbytes is not None:
                self._nbytes += size
            if self._nbytes is None or self._nbytes > self.limit_bytes:
                self._nbytes = prune(self.path, self.limit_bytes, self._workroom, folder)


def _write_group(folder: Path, about: StoredField, features: ImageFeatures) -> None:
    """Write a field as a zarr group; each tensor is one chunk."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    arrays = {name: _to_array(t) for name, t in features.encoded._asdict().items()}
    tensors = tuple(
        StoredTensor(
            name, tuple(t.shape), str(t.dtype).removeprefix("torch."), _digest(arrays[name])
        )
        for name, t in features.encoded._asdict().items()
    )
    whole = StoredField(**{**about.__dict__, "tensors": tensors})
    group = zarr.open_group(
        folder, mode="w-", zarr_format=3, attributes={_ATTRIBUTE: whole.to_record()}
    )
    for name, array in arrays.items():
        group.create_array(
            name,
            data=array,
            chunks=array.shape,
            # Noisy floats shrink by a tenth, whatever packs them; this unpacks fastest.
            compressors=[BloscCodec(cname="lz4", shuffle="bitshuffle"), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )


def _to_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    import torch

    tensor = tensor.cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has no such type; the bits are what counts
        tensor = tensor.view(torch.int16)
    return np.asarray(tensor.numpy())


def _to_tensor(stored: Any, about: StoredTensor) -> torch.Tensor:
    """Bring a zarr array back, bit for bit, or raise RecordError."""
    import torch

    dtype = np.dtype("int16" if about.dtype == "bfloat16" else about.dtype)
    kind = tuple(stored.shape), stored.dtype, tuple(stored.chunks)
    # Before a pixel is read: a few bytes of metadata can announce any amount of memory.
    size = math.prod(about.shape) * dtype.itemsize
    if kind != (about.shape, dtype, about.shape) or size > MAX_TENSOR_BYTES:
        raise RecordError(f"its {about.name} is not what was written")
    array = np.asarray(stored[...])
    if _digest(array) != about.digest:
        raise RecordError(f"its {about.name} is not what was written")
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if about.dtype == "bfloat16" else tensor


def _digest(array: npt.NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
