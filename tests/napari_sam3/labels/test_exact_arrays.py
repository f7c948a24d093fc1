"""Labels in zarr arrays whose codecs change values: refused, wherever labels come from."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import imagecodecs.numcodecs as ic
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel

from napari_sam3 import read_labels
from napari_sam3.core.errors import LayerError
from napari_sam3.labels.exact_arrays import is_exact
from napari_sam3.labels.ome_zarr import open_labels
from napari_sam3.layers.label_layer import check_labels
from sam3.errors import ImageError

numcodecs: Any = import_module("numcodecs")  # without types
zarr3: Any = import_module("numcodecs.zarr3")
ic.register_codecs()
SIDE = 64
#: Codecs of zarr 2 as compressor or filter, their data type, and whether ids survive them.
CODECS: dict[str, tuple[Any, str, bool]] = {
    "zstd": (numcodecs.Zstd(), "u4", True),
    "delta": (numcodecs.Delta("u4"), "u4", True),
    "bits enough": (numcodecs.BitRound(22), "f4", True),
    "decimals": (numcodecs.Quantize(1, "f4"), "f4", True),
    "wide enough": (numcodecs.AsType("u8", "u4"), "u4", True),
    "lossless JPEG": (ic.Jpegls(), "u2", True),
    "lossless JPEG XL": (ic.Jpegxl(lossless=True), "u2", True),
    "PNG": (ic.Png(), "u2", True),
    "LERC": (ic.Lerc(level=0), "u4", True),
    "bitround": (numcodecs.BitRound(4), "f4", False),
    "quantize": (numcodecs.Quantize(-2, "f4"), "f4", False),
    "fixedscaleoffset": (numcodecs.FixedScaleOffset(0, 0.1, "u4"), "u4", False),
    "astype": (numcodecs.AsType("f2", "u4"), "u4", False),
    "imagecodecs_jpeg": (ic.Jpeg(level=90), "u1", False),
    "imagecodecs_jpegls": (ic.Jpegls(level=2), "u2", False),
    "imagecodecs_jpeg2k": (ic.Jpeg2k(level=40, reversible=False), "u2", False),
    "imagecodecs_jpegxl": (ic.Jpegxl(lossless=False, distance=2.0), "u2", False),
    "imagecodecs_lerc": (ic.Lerc(level=3.0), "u4", False),
    "imagecodecs_sz3": (ic.Sz3(shape=(SIDE, SIDE), dtype="f4", mode="abs", abs=1.0), "f4", False),
}
FILTERS = (
    numcodecs.Delta,
    numcodecs.BitRound,
    numcodecs.Quantize,
    numcodecs.AsType,
    numcodecs.FixedScaleOffset,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # zarr and numcodecs, of codecs outside zarr 3


def write(path: Path, codec: Any, dtype: str, *, ome: bool = False) -> Path:
    """Write labels in a codec, as an array or as OME-Zarr 0.4."""
    used: dict[str, Any] = {"filters": [codec]} if isinstance(codec, FILTERS) else {}
    used = used or {"compressors": codec}
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("0", shape=(SIDE, SIDE), chunks=(SIDE, SIDE), dtype=dtype, **used)
    array[10:20, 10:20] = 3
    if ome:
        axes = [{"name": name, "type": "space"} for name in "yx"]
        scale = [{"type": "scale", "scale": [1.0, 1.0]}]
        levels: Any = [{"path": "0", "coordinateTransformations": scale}]
        entry: Any = {"version": "0.4", "axes": axes, "datasets": levels}
        group.attrs["multiscales"] = [entry]
        group.attrs["image-label"] = {"version": "0.4"}
    return path


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_is_tried(name: str, tmp_path: Path) -> None:
    codec, dtype, exact = CODECS[name]
    path = write(tmp_path / "labels.zarr", codec, dtype)
    assert is_exact(zarr.open_array(path / "0", mode="r")) == exact
    if exact:
        assert np.asarray(read_labels(path / "0").data[12, 12]) == 3
    else:
        with pytest.raises(ImageError, match=rf"compression \({name}\) changes the label ids"):
            read_labels(path / "0")


@pytest.mark.parametrize("inside", [False, True])
def test_codecs_of_zarr_3_and_inside_of_shards_are_tried(inside: bool, tmp_path: Path) -> None:
    shards: dict[str, Any] = {"shards": (128, 128)} if inside else {}
    for keep, exact in ((4, False), (22, True)):
        array = zarr.create_array(
            tmp_path / f"{keep}.zarr", shape=(256, 256), chunks=(64, 64), dtype="f4",
            filters=[zarr3.BitRound(keepbits=keep)], **shards,
        )  # fmt: skip
        assert is_exact(array) == exact


def test_large_chunks_are_tried_by_a_part_of_them(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(1 << 20, 1 << 20), chunks=(1 << 20, 1 << 20), dtype="u2",
        zarr_format=2, compressors=ic.Jpeg2k(level=40, reversible=False),
    )  # fmt: skip
    assert not is_exact(array)


@pytest.mark.parametrize(("keep", "exact"), [(4, False), (22, True)])
def test_large_shards_are_tried_by_a_chunk_of_them(keep: int, exact: bool) -> None:
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(1 << 20, 1 << 20), shards=(1 << 20, 1 << 20),
        chunks=(64, 64), dtype="f4", filters=[zarr3.BitRound(keepbits=keep)],
    )  # fmt: skip
    assert is_exact(array) == exact


def test_labels_are_not_opened_for_writing_in_a_lossy_codec(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.zarr", ic.Jpeg(level=90), "u1", ome=True)
    for read_only in (False, True):
        with pytest.raises(ImageError, match="changes the label ids"):
            open_labels(path, read_only=read_only)
    open_labels(write(tmp_path / "good.zarr", numcodecs.Zstd(), "u1", ome=True))


def test_a_layer_in_a_lossy_codec_is_refused_before_anything_is_accepted(tmp_path: Path) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((SIDE, SIDE), np.uint8))
    path = write(tmp_path / "labels.zarr", ic.Jpeg(level=90), "u1")
    lossy = viewer.add_labels(zarr.open_array(path / "0", mode="r+"), name="lossy")
    with pytest.raises(LayerError, match=r"'lossy' is not a label image.* Choose \"new layer\""):
        check_labels(lossy, image)
    path = write(tmp_path / "good.zarr", numcodecs.Zstd(), "u1")
    check_labels(viewer.add_labels(zarr.open_array(path / "0", mode="r+")), image)
