"""JPEG XL as labels: what is exact is taken, whatever else it holds, and the rest is not."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_sam3 import read_labels
from napari_sam3.labels.formats.lossy import is_lossy
from sam3.errors import ImageError

SHAPES = ((64, 64), (3, 500), (300, 301), (64, 64, 2), (64, 64, 3), (64, 64, 4))


def labels(shape: tuple[int, ...] = (64, 64), dtype: str = "u1") -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def repacked(shape: tuple[int, ...] = (64, 64)) -> bytes:
    """Return a JPEG XL made from a JPEG."""
    jpeg = imagecodecs.jpeg_encode(labels(shape), level=95)
    return bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))


def without_container(stream: bytes) -> bytes:
    """Return the bare code stream: what a JPEG was repacked from is no longer known."""
    found, at = b"", 0
    while at < len(stream):
        length, kind = struct.unpack_from(">I4s", stream, at)
        end = at + length if length else len(stream)
        found += {b"jxlc": stream[at + 8 : end], b"jxlp": stream[at + 12 : end]}.get(kind, b"")
        at = end
    return found


@pytest.mark.parametrize("shape", SHAPES[:1] + SHAPES[1:2] + SHAPES[4:5])
def test_a_jpeg_that_was_repacked_is_not_exact(shape: tuple[int, ...]) -> None:
    packed = repacked(shape)
    bare = without_container(packed)
    assert imagecodecs.jpegxl_decode(bare).squeeze().shape == shape
    assert is_lossy(packed)
    assert is_lossy(bare)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_streams_are_told_apart_with_any_channels_and_types(
    shape: tuple[int, ...], dtype: str
) -> None:
    pixels = labels(shape, dtype)
    for effort in (1, 7):
        exact = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort))
        lossy = bytes(imagecodecs.jpegxl_encode(pixels, distance=1.5, effort=effort))
        np.testing.assert_array_equal(imagecodecs.jpegxl_decode(exact).squeeze(), pixels)
        assert not is_lossy(exact)
        assert is_lossy(lossy)


def test_a_label_tiff_of_a_repacked_jpeg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    tifffile.imwrite(
        path,
        iter([without_container(repacked())]),
        shape=(64, 64),
        dtype="u1",
        compression="jpegxl",
    )
    with pytest.raises(ImageError, match="changes the label ids"):
        read_labels(path)
    tifffile.imwrite(path, labels(), compression="jpegxl", compressionargs={"lossless": True})
    with closing(read_labels(path)) as read:
        np.testing.assert_array_equal(np.asarray(read.data[:]), labels())
