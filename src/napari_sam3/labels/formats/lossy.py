"""Detection of lossy compression, which changes label ids."""

from __future__ import annotations

import zlib
from typing import Any

from .codestreams import (
    JPEG_XL_CONTAINER,
    jpeg_frame,
    jpeg_xl_is_lossy,
    jpeg_xr_is_lossy,
    lerc_is_lossy,
)

__all__ = ["is_lossy", "is_lossy_tiff"]

#: The headers of a stream lie within these first bytes.
_HEAD = 1 << 16
# Frames of JPEG that are exact: lossless, and their differential and arithmetic kinds.
_EXACT_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_COD = b"\xff\x52"
_AVIF = b"ftypavi"
_JPEG_XL = (b"\xff\x0a", JPEG_XL_CONTAINER)
_JPEG_XR = (b"II\xbc", b"WMPHOTO\0")
_LERC = (b"Lerc2 ", b"CntZImage ")
# Compressions of TIFF that are never exact and that no stream of theirs tells: JPEG of TIFF 6.0,
# luminances in logarithms, scanned documents, and what cameras denoise.
_NEVER_EXACT = {6, 34676, 34677, 34718, 34719, 48124}
_PIXAR_LOG, _LERC_TIFF, _LERC_PARAMETERS = 32909, 34887, 50674


def is_lossy(head: bytes) -> bool:
    """Return whether an encoded image is lossy, by its first bytes.

    Parameters
    ----------
    head : bytes
        First bytes of a file or stream. Only JPEG, JPEG 2000, JPEG XL, JPEG XR, LERC, WebP and
        AVIF can be lossy.
    """
    if head[:2] == b"\xff\xd8":
        return jpeg_frame(head) not in _EXACT_FRAMES
    if head.startswith(_JPEG_2000):
        # The COD segment ends with the wavelet transform: 0 is the irreversible one.
        at = head.find(_COD)
        return at >= 0 and head[at + 13 : at + 14] == b"\0"
    if head.startswith(_JPEG_XL):
        return jpeg_xl_is_lossy(head)
    if head.startswith(_JPEG_XR):
        return jpeg_xr_is_lossy(head)
    if head.startswith(_LERC):
        return lerc_is_lossy(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return b"VP8L" not in head[12:]
    return head[4:11] == _AVIF


def is_lossy_tiff(page: Any) -> bool:
    """Return whether the pixels of a TIFF are lossy.

    Parameters
    ----------
    page : tifffile.TiffPage
        A page of an open file.
    """
    lengths = [(at, n) for at, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    if page.compression == 1 or not lengths:
        return False
    if page.compression in _NEVER_EXACT:
        return True
    if page.compression == _PIXAR_LOG:
        return bool(page.bitspersample > 8)
    handle = page.parent.filehandle
    handle.seek(lengths[0][0])
    if page.compression == _LERC_TIFF:
        return is_lossy(_unpacked(handle.read(lengths[0][1]), page))
    return is_lossy(handle.read(min(lengths[0][1], _HEAD)))


def _unpacked(stream: bytes, page: Any) -> bytes:
    """Return a LERC stream of a TIFF without the compression that was put over it."""
    parameters = page.tags.valueof(_LERC_PARAMETERS)
    over = parameters[1] if parameters is not None and len(parameters) > 1 else 0
    if over == 1:
        return zlib.decompress(stream)
    if over == 2:
        import imagecodecs

        return bytes(imagecodecs.zstd_decode(stream))
    return stream
