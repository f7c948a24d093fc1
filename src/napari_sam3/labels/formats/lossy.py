"""Compression that changes values: label images that went through it hold ids of no object."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["is_lossy", "is_lossy_tiff"]

#: Bytes of a stream that hold its headers.
_HEAD = 1 << 16
# Frames of JPEG that are exact: lossless, and their differential and arithmetic kinds.
_EXACT_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_COD = b"\xff\x52"
_AVIF = b"ftypavi"


def is_lossy(head: bytes) -> bool:
    """Return whether an encoded image is lossy, by its first bytes.

    Parameters
    ----------
    head : bytes
        The beginning of a JPEG, JPEG 2000, WebP or AVIF file or stream; others are not lossy.
    """
    if head[:2] == b"\xff\xd8":
        return _jpeg_frame(head) not in _EXACT_FRAMES
    if head.startswith(_JPEG_2000):
        # Its style of coding ends in the transformation: 0 is the one in floating point.
        at = head.find(_COD)
        return at >= 0 and head[at + 13 : at + 14] == b"\0"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return b"VP8L" not in head[12:]
    return head[4:11] == _AVIF


def is_lossy_tiff(page: Any) -> bool:
    """Return whether the pixels of a TIFF are lossy.

    Parameters
    ----------
    page : tifffile.TiffPage
        Of an open file.
    """
    lengths = [(at, n) for at, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    if page.compression == 1 or not lengths:
        return False
    handle = page.parent.filehandle
    handle.seek(lengths[0][0])
    return is_lossy(handle.read(min(lengths[0][1], _HEAD)))


def _jpeg_frame(head: bytes) -> int | None:
    """Return the marker of the frame of a JPEG, going from segment to segment."""
    at = 2
    while at + 4 <= len(head):
        mark, kind, length = struct.unpack_from(">BBH", head, at)
        if mark != 0xFF:
            return None
        if kind == 0xFF:  # padding
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return int(kind)
        else:
            at += 2 + length
    return None
