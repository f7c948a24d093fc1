"""Names, units and scale of axes, as files tell them; colours only where a file says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import read_image
from napari_sam3.labels.ome_zarr import create_labels
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
    with pytest.raises(ImageError, match="no image in colour"):
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
