"""Label images and tables as files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.tiff import write_labels
from napari_sam3.labels.output_files import ExportError
from napari_sam3.labels.table import ObjectRow, format_table, write_table
from sam3.errors import ImageError

ROW = ObjectRow(
    id=3,
    plane="7",
    score=0.875,
    area=120,
    centroid_y=4.5,
    centroid_x=10.25,
    x0=5,
    y0=1,
    x1=16,
    y1=9,
    points=2,
    boxes=1,
)


@pytest.mark.parametrize(("highest", "stored"), [(65535, np.uint16), (65536, np.uint32)])
def test_labels_come_back_in_the_smallest_type(
    tmp_path: Path, highest: int, stored: type[np.generic]
) -> None:
    labels = np.zeros((3, 40, 50), np.int64)
    labels[1, 10:20, 5:9] = highest
    path = write_labels(tmp_path / "new" / "folder" / "labels.tif", labels)
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        read = file.asarray()
    assert read.dtype == stored
    np.testing.assert_array_equal(read, labels)


def test_ids_that_no_tiff_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="from -1 to 5"):
        write_labels(tmp_path / "labels.tif", np.array([[-1, 5]]))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    path.write_bytes(b"precious")
    with pytest.raises(ExportError, match="exists already"):
        write_labels(path, np.ones((2, 2), np.uint8))
    assert path.read_bytes() == b"precious"
    write_labels(path, np.ones((2, 2), np.uint8), overwrite=True)
    assert tifffile.imread(path).sum() == 4
    assert [file.name for file in tmp_path.iterdir()] == ["labels.tif"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"folder .*file.* cannot be written to"):
        write_labels(tmp_path / "file" / "labels.tif", np.ones((2, 2), np.uint8))


def test_table_has_one_line_an_object(tmp_path: Path) -> None:
    path = write_table(tmp_path / "objects.csv", [ROW])
    with path.open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line == {
        "id": "3",
        "plane": "7",
        "score": "0.875",
        "area": "120",
        "centroid_y": "4.5",
        "centroid_x": "10.25",
        "x0": "5",
        "y0": "1",
        "x1": "16",
        "y1": "9",
        "points": "2",
        "boxes": "1",
    }
    assert "10.2, 4.5" in format_table([ROW])


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([[0, 1], [2, 3]], "builtins.list"),
        (None, "builtins.NoneType"),
        ("cells.tif", "builtins.str"),
        (torch.zeros(4, 4, dtype=torch.int32), "torch.Tensor"),
        (Image.new("I", (4, 4)), "PIL.Image.Image"),
    ],
)
@pytest.mark.parametrize("name", ["l.zarr", "l.tif", "l.geojson", "l_seg.npy", "l.csv"])
def test_what_is_not_an_array_is_named(name: str, labels: Any, kind: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=rf"not an array: {kind}\. Expected a numpy"):
        export_labels(labels, tmp_path / name)
    assert not list(tmp_path.iterdir())
