"""Ids of any size and sign through the formats that hold them as numbers."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3 import export_labels, read_labels

FORMATS = ("l.zip", "l.geojson", "l.json", "l.yolo", "l.via.json", "l.labelme.json", "l_seg.npy")
IDS = {
    "u4": (1, 65_535, 65_536, (1 << 32) - 1),
    "u8": (1 << 53, (1 << 53) + 1, 1 << 63, (1 << 64) - 1),
    "i8": (-(1 << 63), -1, 5, (1 << 63) - 1),
}


def labels(ids: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    made = np.zeros((20, 60), dtype)
    for at, number in enumerate(ids):
        made[3:9, 3 + 12 * at : 9 + 12 * at] = number
    return made


def read(path: Path) -> npt.NDArray[Any]:
    with closing(read_labels(path, shape=(20, 60))) as found:
        return np.asarray(found.data[:])


@pytest.mark.parametrize("dtype", IDS)
@pytest.mark.parametrize("name", FORMATS)
def test_ids_come_back(name: str, dtype: str, tmp_path: Path) -> None:
    if name == "l_seg.npy" and dtype == "i8":
        pytest.skip("Cellpose has no negative labels: refused")
    made = labels(IDS[dtype], dtype)
    np.testing.assert_array_equal(read(export_labels(made, tmp_path / name)), made)


def test_objects_without_an_id_get_free_ones_beside_the_largest(tmp_path: Path) -> None:
    path = export_labels(labels((3, (1 << 64) - 1, 7), "u8"), tmp_path / "l.geojson")
    content = json.loads(path.read_text())
    properties = [one["properties"] for one in content["features"]]
    (seven,) = (one for one in properties if one["measurements"]["label"] == 7)
    seven["name"], seven["measurements"] = "a cell", {}
    path.write_text(json.dumps(content))
    found = read(path)
    assert set(np.unique(found).tolist()) == {0, 3, 4, (1 << 64) - 1}


def test_ids_that_no_type_holds_together_are_numbered_anew(tmp_path: Path) -> None:
    path = export_labels(labels((1, 2), "u8"), tmp_path / "l.geojson")
    content = json.loads(path.read_text())
    for feature, label in zip(content["features"], (-1, (1 << 64) - 1), strict=True):
        feature["properties"]["measurements"]["label"] = label
    path.write_text(json.dumps(content))
    assert set(np.unique(read(path)).tolist()) == {-1, 0, 1}


def test_geojson_objects_without_a_place_are_counted_and_the_others_read(tmp_path: Path) -> None:
    made = labels((1, 2, 3, 4), "u2")
    path = export_labels(made, tmp_path / "l.geojson")
    content = json.loads(path.read_text())
    first, second, third, _ = content["features"]
    first["geometry"] = None
    second["geometry"]["coordinates"] = []
    third["geometry"] = {"type": "MultiPolygon", "coordinates": []}
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="3 "):
        found = read(path)
    np.testing.assert_array_equal(found, np.where(made == 4, made, 0))
