"""Named tensors of a file, read into memory of their own.

A parameter never lies in the mapped file itself: the file may be replaced or cut short while the
model is in use, which changes what is mapped or ends the process. Reading is a copy, though, and
copying from the system's cache is bound by memory alone. So every parameter gets its memory first,
and the bytes are read straight into it by a few threads; only other kinds of numbers than float32
need a detour.
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
    "side_by_side",
]

#: Called with bytes that follow on those of the call before.
Seen = Callable[[memoryview], object]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_HEADER_LENGTH = 8  # bytes, little-endian, before a header in JSON
_KINDS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_ALIGNMENT = 64  # bytes: a cache line, and the widest vector registers
_LARGE_PAGE = 2 << 20  # bytes, on most systems
_PIECE = 1 << 20  # bytes: so many are still in the core's cache when they are hashed
_THREADS = 4  # more do not fill memory any faster


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file.

    Parameters
    ----------
    shape : tuple of int
    read_into : callable
        Fills a contiguous float32 tensor of that many elements, converting where needed, and tells
        a function of its bytes, piece by piece. May be called by several threads at once.
    """

    shape: tuple[int, ...]
    read_into: Callable[[Tensor, Seen], None]


@dataclass(frozen=True)
class WeightsFile:
    """What is in a weights file.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
        By their names in the file.
    metadata : mapping of str to str
        What else the file says.
    """

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]


def open_weights(path: Path, stack: ExitStack) -> WeightsFile:
    """Open a safetensors file or a PyTorch archive, told from the content.

    Parameters
    ----------
    path : Path
        An existing file.
    stack : ExitStack
        Closes the file; its tensors can be read until then.

    Raises
    ------
    CheckpointError
        If the file is neither, is damaged or truncated, or holds other objects than tensors.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_LENGTH + 1)
        if head[:2] == b"PK":
            return _open_torch(path)
        if head[_HEADER_LENGTH:] == b"{":
            return _open_safetensors(path, stack)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the weights file {path} ({path.stat().st_size} bytes) cannot be read: {error}. "
            "It is probably truncated; download or copy it again."
        ) from error
    raise CheckpointError(
        f"{path} is neither a safetensors file nor a PyTorch archive (it begins with {head!r}); "
        "expected sam3.pt, model.safetensors or a file written by this project."
    )


def empty_parameter(shape: Sequence[int]) -> Tensor:
    """Return a float32 tensor of any values, its memory apart from that of all others.

    The memory is numpy's, which asks the system for large pages from 4 MB on. These are given only
    where they are whole, so it begins where one begins: fresh memory then costs thousands of page
    faults instead of hundreds of thousands.
    """
    size = 4 * math.prod(shape)
    alignment = _LARGE_PAGE if size >= 2 * _LARGE_PAGE else _ALIGNMENT
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return torch.from_numpy(memory[start : start + size].view(np.float32).reshape(shape))


def fill(jobs: Iterable[tuple[Tensor, Sequence[StoredTensor]]]) -> list[bytes]:
    """Read tensors into contiguous float32 ones, several at a time.

    Parameters
    ----------
    jobs : iterable of (tensor, sources)
        The sources come one after the other in the tensor's memory.

    Returns
    -------
    list of bytes
        A hash of each tensor, as :func:`hash_of` makes it: taken while its bytes are at hand.
    """

    def fill_one(job: tuple[Tensor, Sequence[StoredTensor]]) -> bytes:
        tensor, sources = job
        digest = xxhash.xxh3_128()
        parts = tensor.view(-1).split([math.prod(one.shape) for one in sources])
        for source, part in zip(sources, parts, strict=True):
            if len(part):
                source.read_into(part, digest.update)
        return digest.digest()

    return side_by_side(fill_one, jobs)


def hash_of(tensor: Tensor) -> bytes:
    """Hash of the values, 16 bytes. Not against forgery, but as fast as memory can be read."""
    return xxhash.xxh3_128_digest(_bytes_of(tensor.detach().cpu().contiguous()))


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def side_by_side(function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Map items by a few threads; for work that is bound by memory and lets go of the GIL."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    with ThreadPoolExecutor(min(_THREADS, cores), "weights") as pool:
        return list(pool.map(function, items))


class _Bytes:
    """A file of which threads read parts; what was opened stays, whatever takes its name."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path, self._file = path, file
        self._lock = threading.Lock()

    def read_into(self, buffer: memoryview, offset: int, seen: Seen = len) -> None:
        while buffer:
            try:
                count = self._some(buffer[:_PIECE], offset)
            except OSError as error:
                raise CheckpointError(
                    f"the weights file {self._path} cannot be read at byte {offset}: {error}. "
                    "Copy it again, from where it is whole."
                ) from error
            if count == 0:
                raise CheckpointError(
                    f"the weights file {self._path} ends at byte {offset}, before its last tensor: "
                    "it was cut short while it was read. Download or copy it again."
                )
            seen(buffer[:count])
            buffer, offset = buffer[count:], offset + count

    def _some(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:  # elsewhere the place in the file is one for all threads
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0


def _open_safetensors(path: Path, stack: ExitStack) -> WeightsFile:
    # The library checks the header and that all tensors are there; it maps the file, so no more.
    with safe_open(path, framework="pt") as checked:
        metadata = dict(checked.metadata() or {})
    file = stack.enter_context(FileIO(path))
    source = _Bytes(path, file)
    length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
    header = json.loads(file.read(length))
    first = _HEADER_LENGTH + length
    tensors = {
        name: _stored(source, name, entry, first)
        for name, entry in header.items()
        if name != "__metadata__"
    }
    return WeightsFile(tensors, metadata)


def _stored(source: _Bytes, name: str, entry: Mapping[str, Any], first: int) -> StoredTensor:
    """Describe a tensor by its entry in the header; `first` is where the tensors begin."""
    kind, (start, stop) = str(entry["dtype"]), entry["data_offsets"]

    def read_into(target: Tensor, seen: Seen) -> None:
        if kind == "F32":
            source.read_into(_bytes_of(target), first + start, seen)
            return
        if kind not in _KINDS:
            raise CheckpointError(
                f"the tensor {name!r} is of the kind {kind}; expected one of {', '.join(_KINDS)}. "
                "Convert it to float32."
            )
        raw = np.empty(stop - start, np.uint8)
        source.read_into(raw.data, first + start)
        target.copy_(torch.from_numpy(raw).view(_KINDS[kind]))
        seen(_bytes_of(target))

    return StoredTensor(tuple(entry["shape"]), read_into)


def _open_torch(path: Path) -> WeightsFile:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds objects other than tensors and could run code when opened; it was not "
            f"loaded ({str(error).splitlines()[0]}). Use a file with weights only."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not named tensors.")
    tensors = {
        name.removeprefix("module."): StoredTensor(tuple(tensor.shape), partial(_copy, tensor))
        for name, tensor in content.items()
        if isinstance(tensor, Tensor)
    }
    return WeightsFile(tensors, {})


def _copy(source: Tensor, target: Tensor, seen: Seen) -> None:
    target.copy_(source.reshape(-1))
    seen(_bytes_of(target))
