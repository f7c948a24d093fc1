"""Formats by the names of files, and what is said without a library."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from napari_sam3.labels.formats.choice import export_labels, format_of
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.output_files import ExportError


def test_names_of_files_tell_formats() -> None:
    names = {"a.ome.tif": "ome-tiff", "a.TIF": "tiff", "a.ome.zarr": "ome-zarr"}
    names |= {"i.zarr/labels/cells": "ome-zarr", "a.json": "coco", "a.geojson": "geojson"}
    for name, expected in names.items():
        assert format_of(name).name == expected
    with pytest.raises(ExportError, match=r"'a\.bmp' has an unknown extension.*\.geojson"):
        format_of("a.bmp")
    with pytest.raises(ExportError, match=r"unknown format: 'bmp'\. Expected one of ome-zarr"):
        export_labels(np.ones((2, 2), int), "a.tif", "bmp")


@pytest.mark.parametrize(("library", "name"), [("roifile", "l.zip"), ("pyarrow", "l.parquet")])
def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, name: str
) -> None:
    path = export_labels(np.ones((4, 5), int), tmp_path / name)
    for module in [one for one in sys.modules if one.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExportError, match=rf"{library} is not installed.*napari-sam3\[formats\]"):
        export_labels(np.ones((4, 5), int), tmp_path / f"2{name}")
    if library == "pyarrow":
        with pytest.raises(ExportError, match="pyarrow is not installed"):
            ObjectTable.read(path)
    assert [one.name for one in tmp_path.iterdir()] == [name]
