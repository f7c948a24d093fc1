"""Labels of ImageJ: ROI files and archives of them, planes, and floats that are labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile

from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.reading import read_labels
from sam3.errors import ImageError
from tests.napari_sam3.labels.label_samples import SHAPE, read, square


def zipped(path: Path, *rois: roifile.ImagejRoi) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for number, roi in enumerate(rois):
            file.writestr(f"roi {number}.roi", roi.tobytes())
        file.writestr("__MACOSX/._0.roi", b"rubbish")
        file.writestr("readme.txt", b"rubbish")
    return path


def roi(corners: Any, kind: Any = roifile.ROI_TYPE.POLYGON, name: str = "") -> roifile.ImagejRoi:
    made = roifile.ImagejRoi.frompoints(np.array(corners))
    made.roitype, made.name = kind, name
    return made


def test_shapes_of_imagej(tmp_path: Path) -> None:
    box = roifile.ImagejRoi(top=3, left=4, bottom=8, right=9, roitype=roifile.ROI_TYPE.RECT)
    oval = roifile.ImagejRoi(top=10, left=4, bottom=14, right=8, roitype=roifile.ROI_TYPE.OVAL)
    traced = roi([[12, 3], [15, 3], [15, 5], [12, 5]], roifile.ROI_TYPE.TRACED)
    line = roi([[1, 1], [5, 5]], roifile.ROI_TYPE.POLYLINE)
    path = zipped(tmp_path / "r.zip", box, oval, traced, line)
    with pytest.warns(UserWarning, match=r"1 object\(s\) have no area"):
        pixels = read(path)
    assert np.bincount(pixels.ravel()).tolist()[1:] == [25, 12, 6]
    np.testing.assert_array_equal(pixels == 1, square(3, 4, 8, 9) == 1)


def test_one_roi_file_and_names_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.roi").write_bytes(roi([[4, 3], [9, 3], [9, 8], [4, 8]]).tobytes())
    np.testing.assert_array_equal(read(tmp_path / "a.roi"), square(3, 4, 8, 9))
    # ImageJ names ROIs by their centre: these are no labels.
    named = [roi([[x, 3], [x + 4, 3], [x + 4, 8]], name=f"0005-00{x:02}") for x in (2, 12)]
    assert np.unique(read(zipped(tmp_path / "n.zip", *named))).tolist() == [0, 1, 2]


def test_rois_on_planes(tmp_path: Path) -> None:
    """Slices, hyperstacks whose channels change fastest, and 0 for every plane."""
    sliced, everywhere = roi([[4, 3], [9, 3], [9, 8]]), roi([[14, 3], [19, 3], [19, 8]])
    sliced.position = 3
    path = zipped(tmp_path / "r.zip", sliced, everywhere)
    pixels = read(path, shape=(4, *SHAPE))
    assert [np.unique(plane).tolist()[1:] for plane in pixels] == [[2], [2], [1, 2], [2]]
    sliced.position = 6  # the 6th of 2 channels in 3 slices: channel 2, slice 3
    path = zipped(tmp_path / "h.zip", sliced)
    axes = ImageAxes.of("zcyx")
    assert np.argwhere(read(path, shape=(3, 2, *SHAPE), axes=axes))[0, :2].tolist() == [2, 1]
    sliced.position, sliced.z_position = 0, 2
    path = zipped(tmp_path / "z.zip", sliced)
    planes = np.argwhere(read(path, shape=(3, 2, *SHAPE), axes=axes))[:, :2]
    assert np.unique(planes, axis=0).tolist() == [[1, 0], [1, 1]]


def test_damaged_rois(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"Iout", b"PK\5\6 rubbish")):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        with pytest.raises(ImageError, match="cannot be read as a ROI file of ImageJ"):
            read(path)


def test_labels_of_imagej_in_float32(tmp_path: Path) -> None:
    pixels = np.zeros((3, *SHAPE), np.float32)
    pixels[1, 3:8, 4:9] = 70_001
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    path = tmp_path / "l.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata=about, resolution=(4, 4))
    loaded = read_labels(path)
    assert loaded.axes.scale == (2, 0.25, 0.25)
    out = export_labels(loaded.data, tmp_path / "o.ome.tif", axes=loaded.axes)
    loaded.close()
    written = tifffile.imread(out)
    assert written.dtype == np.uint32
    np.testing.assert_array_equal(written, pixels)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 2.0**24 + 2, -1e30])
def test_floats_that_are_no_labels(tmp_path: Path, value: float) -> None:
    pixels = np.zeros(SHAPE, np.float32)
    pixels[3, 4] = value
    tifffile.imwrite(tmp_path / "l.tif", pixels)
    loaded = read_labels(tmp_path / "l.tif")
    with pytest.raises(ImageError, match="Expected whole numbers up to 16777216"):
        export_labels(loaded.data, tmp_path / "o.geojson")
    loaded.close()
