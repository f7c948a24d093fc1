"""Tensors of a weights file, read into memory that the process owns.

Parameters are never memory-mapped: replacing or truncating a mapped file while the model is in use
would change its parameters or kill the process. Reading from the system's page cache is limited by
memory bandwidth alone, so the memory of every parameter is allocated first, and a few threads read
the bytes straight into it. Only data types other than float32 need an intermediate copy.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sam3.errors import CheckpointError

__all__ = [
    "StoredTensor",
    "WeightsFile",
    "empty_parameter",
    "fill",
    "hash_of",
    "open_weights",
    "map_in_threads",
]

#: Called with consecutive pieces of a tensor's bytes.
OnBytes = Callable[[memoryview], object]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_HEADER_LENGTH = 8  # bytes, little-endian, before a header in JSON
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_ALIGNMENT = 64  # bytes: a cache line, and the width of the widest vector registers
_LARGE_PAGE = 2 << 20  # bytes, on most systems
_CHUNK = 1 << 20  # bytes: few enough to be in the core's cache still when they are hashed
_THREADS = 4  # more threads do not fill memory any faster


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file.

    Parameters
    ----------
    shape : tuple of int
    read_into : callable
        Fills a contiguous float32 tensor of the same number of elements, converting if needed,
        and calls a function with its bytes, chunk by chunk. Safe to call from several threads.
    """

    shape: tuple[int, ...]
    read_into: Callable[[Tensor, OnBytes], None]


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
        Tensors by their names in the file.
    metadata : mapping of str to str
        Metadata of the file.
    """

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]


def open_weights(path: Path, stack: ExitStack) -> WeightsFile:
    """Open a safetensors file or a PyTorch archive; the content determines which.

    Parameters
    ----------
    path : Path
        An existing file.
    stack : ExitStack
        Closes the file; the tensors can be read until then.

    Raises
    ------
    CheckpointError
        If the file is neither, is damaged or truncated, or holds objects other than tensors.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_LENGTH + 1)
        if head[:2] == b"PK":
            return _open_torch(path)
        if head[_HEADER_LENGTH:] == b"{":
            return _open_safetensors(path, stack)
    except CheckpointError:
        raise
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the weights file {path} ({path.stat().st_size} bytes) cannot be read: "
            f"{_reason(error)}. Expected a complete file. It is probably truncated; download or "
            "copy it again."
        ) from error
    raise CheckpointError(
        f"{path} is neither a safetensors file nor a PyTorch archive: {_kind_of(head)}. Expected "
        "sam3.pt, model.safetensors or a file written by this project. Get sam3.pt from "
        "huggingface.co/facebook/sam3, or choose another file."
    )


def _kind_of(head: bytes) -> str:
    """Describe a file by its first bytes."""
    if not head:
        return "it is empty, as after a download that was stopped"
    if head.startswith(b"<"):
        return "it is a web page, such as one to log in"
    if head.startswith(b"version "):
        return "it is a pointer of Git LFS, without the content"
    return f"it begins with {head!r}"


def _reason(error: Exception) -> str:
    """Return the first sentence of an error of a library."""
    return str(error).strip().partition(". ")[0].rstrip(".")


def empty_parameter(shape: Sequence[int]) -> Tensor:
    """Return an uninitialised float32 tensor in memory of its own.

    From 4 MB on, numpy asks the system for large pages. These are used only where they are
    complete, so the tensor starts on a page boundary: fresh memory then costs thousands of page
    faults instead of hundreds of thousands.
    """
    size = 4 * math.prod(shape)
    alignment = _LARGE_PAGE if size >= 2 * _LARGE_PAGE else _ALIGNMENT
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return torch.from_numpy(memory[start : start + size].view(np.float32).reshape(shape))


def fill(jobs: Iterable[tuple[Tensor, Sequence[StoredTensor]]]) -> list[bytes]:
    """Read tensors into contiguous float32 tensors, several at a time.

    Parameters
    ----------
    jobs : iterable of (tensor, sources)
        The values of the sources are consecutive in the tensor's memory.

    Returns
    -------
    list of bytes
        Hash of each tensor, as by :func:`hash_of`, computed while its bytes are in the cache.
    """

    def fill_one(job: tuple[Tensor, Sequence[StoredTensor]]) -> bytes:
        tensor, sources = job
        digest = xxhash.xxh3_128()
        parts = tensor.view(-1).split([math.prod(source.shape) for source in sources])
        for source, part in zip(sources, parts, strict=True):
            if len(part):
                source.read_into(part, digest.update)
        return digest.digest()

    return map_in_threads(fill_one, jobs)


def hash_of(tensor: Tensor) -> bytes:
    """Hash the values, 16 bytes: as fast as memory can be read, but not cryptographic."""
    return xxhash.xxh3_128_digest(_bytes_of(tensor.detach().cpu().contiguous()))


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def map_in_threads(function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Map items in a few threads, for functions that are memory-bound and release the GIL."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    with ThreadPoolExecutor(min(_THREADS, cores), "weights") as pool:
        return list(pool.map(function, items))


class _SharedFile:
    """A file that several threads read; it stays open even if another file takes its name."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path, self._file = path, file
        self._lock = threading.Lock()

    def read_into(self, buffer: memoryview, offset: int, on_bytes: OnBytes = len) -> None:
        while buffer:
            try:
                count = self._read_some(buffer[:_CHUNK], offset)
            except OSError as error:
                raise CheckpointError(
                    f"the weights file {self._path} cannot be read at byte {offset}: {error}. "
                    "Expected a readable file. Copy it again from an intact file."
                ) from error
            if count == 0:
                raise CheckpointError(
                    f"the weights file {self._path} ends at byte {offset}, before its last "
                    "tensor. Expected a complete file, but it was truncated while it was read. "
                    "Download or copy it again."
                )
            on_bytes(buffer[:count])
            buffer, offset = buffer[count:], offset + count

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:  # without preadv, all threads share one position in the file
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0


def _open_safetensors(path: Path, stack: ExitStack) -> WeightsFile:
    # The library validates the header and that no tensor is cut off. It maps the file, so it is
    # not used for reading.
    with safe_open(path, framework="pt") as validated:
        metadata = dict(validated.metadata() or {})
    file = stack.enter_context(FileIO(path))
    source = _SharedFile(path, file)
    length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
    header = json.loads(file.read(length))
    first = _HEADER_LENGTH + length
    tensors = {
        name: _stored(source, name, entry, first)
        for name, entry in header.items()
        if name != "__metadata__"
    }
    return WeightsFile(tensors, metadata)


def _stored(source: _SharedFile, name: str, entry: Mapping[str, Any], first: int) -> StoredTensor:
    """Describe a tensor by its header entry; `first` is the offset of the first tensor."""
    dtype, (start, stop) = str(entry["dtype"]), entry["data_offsets"]

    def read_into(target: Tensor, on_bytes: OnBytes) -> None:
        if dtype == "F32":
            source.read_into(_bytes_of(target), first + start, on_bytes)
            return
        if dtype not in _DTYPES:
            raise CheckpointError(
                f"the tensor {name!r} has the data type {dtype}. Expected one of "
                f"{', '.join(_DTYPES)}. Convert it to float32."
            )
        raw = np.empty(stop - start, np.uint8)
        source.read_into(raw.data, first + start)
        target.copy_(torch.from_numpy(raw).view(_DTYPES[dtype]))
        on_bytes(_bytes_of(target))

    return StoredTensor(tuple(entry["shape"]), read_into)


def _open_torch(path: Path) -> WeightsFile:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds objects other than tensors, which could run code when loaded, as "
            "checkpoints of a training do. Expected tensors only. Get sam3.pt from "
            "huggingface.co/facebook/sam3, or choose another file."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}. Expected named tensors. Choose another file."
        )
    tensors = {
        name.removeprefix("module."): StoredTensor(tuple(tensor.shape), partial(_copy, tensor))
        for name, tensor in content.items()
        if isinstance(tensor, Tensor)
    }
    return WeightsFile(tensors, {})


def _copy(source: Tensor, target: Tensor, on_bytes: OnBytes) -> None:
    target.copy_(source.reshape(-1))
    on_bytes(_bytes_of(target))
