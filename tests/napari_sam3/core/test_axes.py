"""Names, units and scale of axes, as files tell them; colours only where a file says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam3.core.axes import ImageAxes, axis_to_follow
from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import read_image
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.tiff import write_labels
from napari_sam3.labels.ome_zarr import create_labels
from napari_sam3.layers.writers import write_ome_tiff
from sam3.errors import ImageError

STACK = np.arange(2 * 3 * 20 * 30, dtype=np.uint16).reshape(2, 3, 20, 30)


def both(path: Path) -> ImageAxes:
    """Return the axes that are found without and with reading the pixels."""
    with_pixels, opened = read_image(path), open_image(path)
    axes = opened.axes
    assert with_pixels.axes == axes
    assert len(opened.shape) == axes.ndim
    opened.close()
    return axes


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff(tmp_path: Path, compression: str | None) -> None:
    about = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    about |= {"PhysicalSizeY": 500, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 2}
    about |= {"TimeIncrement": 90, "TimeIncrementUnit": "ms"}
    path = tmp_path / "i.ome.tif"
    tifffile.imwrite(path, STACK, metadata=about, compression=compression)
    assert both(path) == ImageAxes(
        ("t", "z", "y", "x"),
        ("millisecond", "micrometer", "nanometer", "micrometer"),
        (90, 2, 500, 0.25),
        (0, 0, 0, 0),
    )


def test_imagej_tiff(tmp_path: Path) -> None:
    path = tmp_path / "i.tif"
    about = {"axes": "ZCYX", "unit": "\\u00B5m", "spacing": 1.5, "finterval": 3}
    resolution = (4.0, 2.0)  # px a unit
    tifffile.imwrite(path, STACK, imagej=True, metadata=about, resolution=resolution)
    axes = both(path)
    assert axes.names == ("z", "c", "y", "x")
    assert axes.units == ("micrometer", None, "micrometer", "micrometer")
    assert axes.scale == (1.5, 1, 0.5, 0.25)


def test_other_tiffs_are_in_pixels_whatever_the_printer(tmp_path: Path) -> None:
    about: Any = {"resolution": (300, 300), "resolutionunit": "INCH", "metadata": None}
    tifffile.imwrite(tmp_path / "i.tif", STACK[0], photometric="minisblack", **about)
    axes = ImageAxes.default(3)
    assert both(tmp_path / "i.tif") == axes
    assert axes.names == ("z", "y", "x")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    axes = ImageAxes.of("tcyx", units=("s", None, "µm", "µm"), scale=(5, 1, 0.2, 0.1))
    create_labels(tmp_path / "i.zarr", (2, 3, 600, 700), np.uint16, axes, version=version).finish()
    image = open_image(tmp_path / "i.zarr")
    assert (image.axes, image.multiscale, image.rgb) == (axes, True, False)


def test_zarr_with_names_alone(tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "i.zarr", data=STACK, dimension_names=("time", "depth", "row", "column")
    )
    assert open_image(tmp_path / "i.zarr").axes.names == ("time", "depth", "row", "column")
    older = zarr.create_array(tmp_path / "2.zarr", data=STACK[0], zarr_format=2)
    older.attrs["_ARRAY_DIMENSIONS"] = ["depth", "row", "column"]
    assert open_image(tmp_path / "2.zarr").axes.names == ("depth", "row", "column")


@pytest.mark.parametrize("colours", [3, 4])
def test_a_last_axis_of_3_or_4_is_asked_about(tmp_path: Path, colours: int) -> None:
    data = np.zeros((20, 30, colours), np.uint8)
    np.save(tmp_path / "i.npy", data)
    zarr.create_array(tmp_path / "i.zarr", data=data)
    tifffile.imwrite(tmp_path / "grey.tif", data, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", data.T, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "rgb.tif", data, photometric="rgb")
    for name in ("i.npy", "i.zarr", "grey.tif", "c.tif"):
        silent = not name.endswith("tif")
        if silent:
            with pytest.raises(ImageError, match=r"rgb=False \(--no-rgb\).*rgb=True \(--rgb\)"):
                open_image(tmp_path / name)
        image = open_image(tmp_path / name, rgb=False if silent else None)
        assert (image.rgb, len(image.shape)) == (False, 3)
        if not name.startswith("c"):
            told = open_image(tmp_path / name, rgb=True)
            assert (told.rgb, told.shape, told.axes) == (True, (20, 30), ImageAxes.default(2))
    image = open_image(tmp_path / "rgb.tif")
    assert (image.rgb, image.shape) == (True, (20, 30))
    with pytest.raises(ImageError, match="not a colour image"):
        open_image(tmp_path / "c.tif", rgb=True)


def test_npy_is_mapped_and_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", STACK)
    image = open_image(tmp_path / "i.npy")
    assert isinstance(image.data, np.memmap)
    np.testing.assert_array_equal(image.data, STACK)
    bad: Any = np.array([[1, None]], object)
    np.save(tmp_path / "bad.npy", bad)
    np.save(tmp_path / "line.npy", STACK[0, 0, 0])
    for name, complaint in (("bad", "Python objects"), ("line", r"shape \(30,\)")):
        with pytest.raises(ImageError, match=complaint):
            open_image(tmp_path / f"{name}.npy")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_negative_scale_is_kept_where_the_format_can(tmp_path: Path, version: str) -> None:
    axes = ImageAxes.of("zyx", units=("µm",) * 3, scale=(-2, -0.5, 0.5))
    create_labels(tmp_path / "i.zarr", (3, 60, 70), np.uint16, axes, version=version).finish()
    assert open_image(tmp_path / "i.zarr").axes.scale == (-2, -0.5, 0.5)
    labels = np.zeros((3, 60, 70), np.uint16)
    labels[1, 10:20, 10:20] = 1
    for name in ("i.tif", "i.ome.tif"):
        with pytest.warns(UserWarning, match=r"negative along z, y.*OME-Zarr to keep the sign"):
            write_labels(tmp_path / name, labels, axes=axes, overwrite=True)
        assert open_image(tmp_path / name).axes.scale == (2, 0.5, 0.5)
    export_labels(labels, tmp_path / "i.csv", axes=axes)
    header, row = (tmp_path / "i.csv").read_text().splitlines()
    assert float(row.split(",")[header.split(",").index("area_physical")]) == 25


@pytest.mark.parametrize("step", [0.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_distance_counts_pixels(tmp_path: Path, step: float) -> None:
    axes = ImageAxes.of("yx", units=("µm", "µm"), scale=(step, 0.5))
    assert (axes.scale, axes.units) == ((1, 0.5), (None, "micrometer"))
    with pytest.raises(ImageError, match="no scale of 0"):
        ImageAxes(("y", "x"), (None, None), (step, 1.0), (0.0, 0.0))
    about: dict[str, Any] = {"name": "cells", "scale": (step, 0.5), "axis_labels": ("y", "x")}
    with pytest.warns(UserWarning, match="'cells' has the scale .* saved in pixels"):
        write_ome_tiff(str(tmp_path / "i.ome.tif"), np.ones((8, 9), np.uint8), about)


def test_a_group_of_images_names_them(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "i.zarr", mode="w", zarr_format=2)
    for path in ("A/1/0", "A/1/1", "B/2/0"):
        root.require_group(path.rpartition("/")[0])
        create_labels(tmp_path / "i.zarr" / path, (20, 30), np.uint16, version="0.4")
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    with pytest.raises(
        ImageError, match=r"group of several images.*i\.zarr/A/1/0'.*i\.zarr/B/2/0'"
    ):
        open_image(tmp_path / "i.zarr")
    with pytest.raises(ImageError, match=r"i\.zarr/A/1/1'"):
        open_image(tmp_path / "i.zarr" / "A")
    series = tmp_path / "raw.zarr"
    zarr.open_group(series, mode="w", zarr_format=3).attrs["ome"] = {"bioformats2raw.layout": 3}
    for number in range(8):
        create_labels(series / str(number), (20, 30), np.uint16, version="0.5")
    with pytest.raises(ImageError, match=r"raw\.zarr/0'.*raw\.zarr/4', \.\.\.$"):
        open_image(series)
    assert open_image(series / "0").shape == (20, 30)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "jpeg", "packbits", "lzma", "deflate"])
def test_compressed_tiffs_are_read(tmp_path: Path, compression: Any) -> None:
    pixels = np.repeat(np.arange(40, dtype=np.uint8)[:, None], 50, axis=1)
    tifffile.imwrite(tmp_path / "i.tif", pixels, compression=compression)
    both(tmp_path / "i.tif")
    image = open_image(tmp_path / "i.tif")
    assert np.abs(np.asarray(image.data[:]).astype(int) - pixels).max() <= 2
    image.close()


def test_an_axis_is_known_by_name_letter_or_number() -> None:
    axes = ImageAxes.of(("Time", "Z", "y", "x"))
    assert [axes.number_of(given) for given in ("time", "t", "z", " Z", -1, 7)] == [
        0,
        0,
        1,
        1,
        -1,
        7,
    ]
    for wrong in ("y", "c", ""):  # rows are no axis to go along
        with pytest.raises(ImageError, match=r"no axis '.?' .*\(Time, Z\)"):
            axes.number_of(wrong)
    with pytest.raises(ImageError, match="single plane"):
        ImageAxes.default(2).number_of("z")


def test_objects_are_not_followed_through_channels() -> None:
    assert axis_to_follow({0: "t", 1: "z"}) == 1
    assert axis_to_follow({0: "t", 1: "c"}) == 0
    assert axis_to_follow({0: "z", 1: "Channel", 2: "-3"}) == 2
    assert axis_to_follow({3: "C"}) == 3
    assert axis_to_follow({}) is None
