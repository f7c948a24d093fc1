"""The identity of an image, independent of how it is opened: shape, data type and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

__all__ = ["ImageIdentity", "identify", "identify_blocks", "join_blocks"]

MAX_NAME = 255
# At most four planes of sixteen blocks, or one of sixty-four; with 16 KiB each, one megabyte.
PLANES = 4
GRID_OF_MANY, GRID_OF_ONE = 4, 8
BLOCK_BYTES = 1 << 14
_UNREADABLE = b"unreadable"


@dataclass(frozen=True)
class ImageIdentity:
    """An image, without its pixels.

    Parameters
    ----------
    name : str
        Name of the image; ignored in comparisons, since layers are renamed.
    shape : tuple of int
        Shape at the finest level, including the channels of RGB.
    dtype : str
        Data type, such as "uint16".
    digest : str
        Hexadecimal digest of a sample of its pixels.
    """

    name: str = field(compare=False)
    shape: tuple[int, ...]
    dtype: str
    digest: str


#: Digest of each sampled block in their order, None for those that cannot be read or used.
Blocks = Sequence[str | None]


def identify(data: Any, name: str, *, rgb: bool = False, multiscale: bool = False) -> ImageIdentity:
    """Identify an image by at most about a megabyte of its pixels.

    Blocks are taken from a grid over the plane of the last two axes, including the corners, and
    from up to four such planes from the first to the last. Images that differ only between the
    blocks are not distinguished. The same pixels as an array and as a pyramid are two images.
    Blocks that cannot be read, as of a damaged file, are noted as such.

    Parameters
    ----------
    data : array-like
        numpy, dask, zarr or anything with ``shape``, ``dtype`` and basic indexing; if `multiscale`,
        a sequence of such arrays, finest first, of which the coarsest is sampled.
    name : str
        Name of the image.
    rgb : bool
        Whether the last axis holds colour channels.
    multiscale : bool
        Whether `data` is a pyramid.

    Raises
    ------
    sam3.errors.ImageError
        If the image has no planes, or none of its pixels can be read.
    """
    return identify_blocks(data, name, rgb=rgb, multiscale=multiscale)[0]


def identify_blocks(
    data: Any, name: str, *, rgb: bool = False, multiscale: bool = False
) -> tuple[ImageIdentity, list[str | None]]:
    """Identify an image and each of its sampled blocks, to know a repaired image again.

    The digest of a block is None if it cannot be read, has another size, or has no finite value.
    Takes and raises the same as `identify`.
    """
    finest, sampled = (data[0], data[-1]) if multiscale else (data, data)
    shape = tuple(int(n) for n in finest.shape)
    if len(shape) < 2 + rgb:
        raise ImageError(
            f"{name!r} has shape {shape}. Expected at least rows and columns. Choose another image."
        )
    dtype = np.dtype(sampled.dtype)
    if dtype.hasobject:
        raise ImageError(f"{name!r} is of dtype {dtype}. Expected numbers. Convert it.")
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((shape, dtype.name, tuple(int(n) for n in sampled.shape))).encode())
    indices = _blocks(sampled.shape, dtype.itemsize, rgb)
    blocks: list[str | None] = []
    for index, block in zip(indices, _read(sampled, indices, name), strict=True):
        known = None
        if block is None or (block.dtype.kind not in "biuf" and block.dtype.kind != dtype.kind):
            digest.update(_UNREADABLE)
        else:
            values = np.ascontiguousarray(block, dtype.newbyteorder("<")).tobytes()
            digest.update(values)
            sides = tuple(part.stop - part.start for part in index if isinstance(part, slice))
            if block.shape[:2] == sides and _has_value(block):
                known = hashlib.blake2b(values, digest_size=8).hexdigest()
        blocks.append(known)
    return ImageIdentity(name[:MAX_NAME], shape, dtype.name, digest.hexdigest()), blocks


def join_blocks(old: Blocks, new: Blocks) -> list[str | None] | None:
    """Return the facts about an image before and after a repair; None for two images."""
    if len(old) != len(new):
        return None
    known = [(a, b) for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    if not known or any(a != b for a, b in known):
        return None
    return [a if b is None else b for a, b in zip(old, new, strict=True)]


def _has_value(block: npt.NDArray[Any]) -> bool:
    return block.dtype.kind not in "fc" or bool(np.isfinite(block).any())


def _blocks(shape: Sequence[int], itemsize: int, rgb: bool) -> list[tuple[int | slice, ...]]:
    """Return the indices of the blocks."""
    sizes = [int(n) for n in shape]
    if 0 in sizes:
        return []
    channels = sizes.pop() if rgb else 1
    leading, (height, width) = sizes[:-2], sizes[-2:]
    count = int(np.prod(leading, dtype=np.int64))
    side = max(1, int((BLOCK_BYTES / (itemsize * channels)) ** 0.5))
    grid = GRID_OF_MANY if count > 1 else GRID_OF_ONE
    planes = np.unique(np.linspace(0, count - 1, PLANES).astype(np.int64))
    return [
        (*(int(at) for at in np.unravel_index(plane, leading)), rows, columns)
        for plane in planes
        for rows in _spans(height, side, grid)
        for columns in _spans(width, side, grid)
    ]


def _spans(length: int, side: int, count: int) -> list[slice]:
    """Distribute spans over an axis from its first to its last pixel, or divide all of it."""
    if length <= side * count:
        bounds = np.linspace(0, length, -(-length // side) + 1).astype(int)
        return [slice(int(start), int(stop)) for start, stop in pairwise(bounds)]
    starts = np.linspace(0, length - side, count).astype(int)
    return [slice(int(start), int(start) + side) for start in starts]


def _read(
    data: Any, indices: list[tuple[int | slice, ...]], name: str
) -> list[npt.NDArray[Any] | None]:
    """Return the blocks, None for those that cannot be read."""
    try:
        blocks = [data[index] for index in indices]
        if blocks and hasattr(blocks[0], "__dask_graph__"):
            from dask.base import compute

            # All at once, so that a chunk with several blocks is read only once.
            blocks = list(compute(*blocks))
        return [np.asarray(block) for block in blocks]
    except Exception:  # readers of files raise errors of any type
        pass
    found: list[npt.NDArray[Any] | None] = []
    failure: Exception | None = None
    for index in indices:
        try:
            found.append(np.asarray(data[index]))
        except Exception as error:
            found, failure = [*found, None], error
    if failure is not None and all(block is None for block in found):
        raise ImageError(
            f"the pixels of {name!r} cannot be read: {failure}. Expected an array that is read "
            "without errors. Open the image again."
        ) from failure
    return found
