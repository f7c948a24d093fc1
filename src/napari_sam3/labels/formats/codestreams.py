"""Headers of compressed images: whether a stream is lossless."""

from __future__ import annotations

import struct

__all__ = ["jpeg_frame", "jpeg_xl_is_lossy", "jpeg_xr_is_lossy", "lerc_is_lossy"]

JPEG_XL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_PHOTO = b"WMPHOTO\0"
# Colour spaces of JPEG XL, and the value of what is given by numbers instead of a name.
_GREY, _XYB, _CUSTOM = 1, 2, 2


class _Bits:
    """Bits of a stream, one after the other.

    Parameters
    ----------
    data : bytes
        The stream. Past its end there are zeros.
    order : {"little", "big"}
        Which bit of a byte comes first: the lowest or the highest.
    """

    def __init__(self, data: bytes, order: str) -> None:
        digits = (f"{byte:08b}" for byte in data)
        self._bits = "".join(d[::-1] for d in digits) if order == "little" else "".join(digits)
        self._little, self._at = order == "little", 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        part = self._bits[self._at : self._at + count].ljust(count, "0")
        self._at += count
        return int((part[::-1] if self._little else part) or "0", 2)

    def align(self) -> None:
        """Advance to the next byte."""
        self._at = -(-self._at // 8) * 8


def jpeg_frame(head: bytes) -> int | None:
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


def jpeg_xl_is_lossy(head: bytes) -> bool:
    """Return whether a JPEG XL stream (ISO/IEC 18181-1) is not exact.

    It is not if its colours are its own (XYB), or its first frame is made of cosines (VarDCT), as
    in a JPEG that was repacked. Behind a colour profile (ICC) no frame is looked for.
    """
    if head.startswith(JPEG_XL_CONTAINER):
        if b"jbrd" in head:
            return True
        whole, part = head.find(b"jxlc"), head.find(b"jxlp")
        if whole < 0 and part < 0:
            return False
        head = head[whole + 4 :] if whole >= 0 else head[part + 8 :]
    bits = _Bits(head[2:258], "little")
    _skip_size(bits)
    if bits.take(1):  # all metadata are the default
        return True
    extra = bits.take(1)
    if extra:
        bits.take(3)
        if bits.take(1):
            _skip_size(bits)
        if bits.take(2):  # a preview or an animation: of no label image
            return False
    _skip_depth(bits)
    bits.take(1)
    for _ in range(_choice(bits, (0, 0), (0, 1), (4, 2), (12, 1))):  # alpha and the like
        if not bits.take(1) and not _skip_channel(bits):
            return False
    if bits.take(1):
        return True
    profile = _skip_colours(bits)
    if extra and not bits.take(1):  # how bright the screen is
        bits.take(16 + 16 + 1 + 16)
    if profile or bits.take(2) or not bits.take(1):  # a profile, an extension, or own weights
        return False
    bits.align()
    # A frame that is the default is made of cosines; otherwise its kind comes first.
    return bool(bits.take(1)) or not bits.take(3) >> 2


def jpeg_xr_is_lossy(head: bytes) -> bool:
    """Return whether a JPEG XR stream (ITU-T T.832) was scaled, or had bits or bands left out."""
    at = head.find(_PHOTO)
    if at < 0:
        return False
    bits = _Bits(head[at + len(_PHOTO) : at + 2048], "big")
    bits.take(8)
    tiled = bits.take(1)
    bits.take(7)
    short, _, windows, trimmed = (bits.take(1) for _ in range(4))
    bits.take(4 + 8 + (32 if short else 64))
    if tiled:
        across, down = bits.take(12), bits.take(12)
        bits.take((across + down) * (8 if short else 16))
    if windows:
        bits.take(24)
    bits.take(3)
    scaled, bands = bits.take(1), bits.take(4)
    return bool(trimmed or scaled or bands)


def lerc_is_lossy(stream: bytes) -> bool:
    """Return whether a LERC stream allows for an error that changes whole numbers."""
    if stream.startswith(b"CntZImage "):  # the first version, of floats only
        return bool(struct.unpack_from("<d", stream, 26)[0] > 0)
    version = struct.unpack_from("<i", stream, 6)[0]
    # The checksum, rows and columns, values of a pixel, valid pixels, block and blob, data type.
    at = 10 + (4 if version >= 3 else 0) + (12 if version >= 4 else 8) + 12
    kind = struct.unpack_from("<i", stream, at)[0]
    at += 4 + (8 if version >= 6 else 0)
    error = struct.unpack_from("<d", stream, at)[0]
    return bool(error > (0.5 if kind < 6 else 0))


def _choice(bits: _Bits, *ways: tuple[int, int]) -> int:
    """Return a number stored in one of four ways, each so many bits more than a number."""
    count, least = ways[bits.take(2)]
    return least + bits.take(count)


def _skip_size(bits: _Bits) -> None:
    small = bits.take(1)
    for axis in range(2):
        if axis and bits.take(3):  # the width follows from the height
            return
        if small:
            bits.take(5)
        else:
            _choice(bits, (9, 1), (13, 1), (18, 1), (30, 1))


def _skip_channel(bits: _Bits) -> bool:
    """Skip the description of a further channel; return whether it was understood."""
    kind = _enum(bits)
    _skip_depth(bits)
    _choice(bits, (0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * _choice(bits, (0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == 0:  # alpha, which may be in the colours already
        bits.take(1)
    return kind not in (2, 5)  # inks and sensors, which say more


def _skip_colours(bits: _Bits) -> bool:
    """Skip the description of colours; return whether a profile stands for it."""
    if bits.take(1):
        return False
    if bits.take(1):
        _enum(bits)
        return True
    space = _enum(bits)
    if space == _XYB:
        return False
    if _enum(bits) == _CUSTOM:  # the white point
        _skip_places(bits, 1)
    if space != _GREY and _enum(bits) == _CUSTOM:  # the primaries
        _skip_places(bits, 3)
    if bits.take(1):  # gamma, or the name of a curve
        bits.take(24)
    else:
        _enum(bits)
    _enum(bits)  # the rendering intent
    return False


def _enum(bits: _Bits) -> int:
    return _choice(bits, (0, 0), (0, 1), (4, 2), (6, 18))


def _skip_places(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        _choice(bits, (19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21))


def _skip_depth(bits: _Bits) -> None:
    if bits.take(1):
        _choice(bits, (0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
    else:
        _choice(bits, (0, 8), (0, 10), (0, 12), (6, 1))
