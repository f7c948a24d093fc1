"""Values of any type in tables of objects: they come back with the labels."""

from __future__ import annotations

import datetime
import decimal
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_sam3 import read_labels
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.object_table import ObjectTable
from tests.napari_sam3.labels.table_samples import STACK, classes

VALUES: dict[str, Any] = {
    "text": 'ä, "q"\n',
    "true": True,
    "words": "true",  # as text
    "digits": "007",
    "date": datetime.date(2024, 5, 1),
    "price": decimal.Decimal("1.5"),
    "half": np.float16(0.5),
    "big": 2**63,
    "list": [1, "a"],
    "nested": {"x": 1.5, "y": None},
    "infinite": float("inf"),
    "score": 0.25,
}


def test_a_class_is_kept_whatever_its_type(tmp_path: Path) -> None:
    kinds: list[tuple[Any, str]] = [(0, "0"), (0.0, "0"), (True, "True"), ("0", "0"), (2.5, "2.5")]
    kinds += [(None, "object"), (np.nan, "object"), (pd.NA, "object"), (np.int64(3), "3")]
    for value, expected in kinds:
        table = ObjectTable.from_features(
            pd.DataFrame({"index": [1], "class": pd.Series([value], dtype=object)})
        )
        found = classes(STACK, table, tmp_path / "l.json")
        assert found[1, "0"] == expected, value
    for column in (
        pd.Series([0.0, None]),
        pd.Series([0, None], dtype="Int64"),
        pd.Series(["0", None], dtype="category"),
        pd.Series(["0", None], dtype="string"),
    ):
        frame = pd.DataFrame({"label": [1, 2], "class": column})
        frame.to_csv(tmp_path / "t.csv", index=False)
        for table in (ObjectTable.from_features(frame), ObjectTable.read(tmp_path / "t.csv")):
            found = classes(STACK, table, tmp_path / "l.json")
            assert (found[1, "0"], found[2, "0"]) == ("0", "object")
    (tmp_path / "t.csv").write_text("id,class\n1,007\n2,1e5\n")
    found = classes(STACK, ObjectTable.read(tmp_path / "t.csv"), tmp_path / "l.json")
    assert (found[1, "0"], found[2, "0"]) == ("007", "1e5")


@pytest.mark.parametrize("name", ["l.geojson", "l.json", "l_seg.npy"])
def test_values_of_any_type_come_back_with_the_labels(name: str, tmp_path: Path) -> None:
    table = ObjectTable({(1, ""): {"class": "cell", **VALUES}})
    path = export_labels(STACK, tmp_path / name, table=table)
    with closing(read_labels(path)) as read:
        known = dict(read.table.known(1, (1,)))
    assert known == {"class": "cell", **VALUES, "date": "2024-05-01", "infinite": "inf"}


def test_values_for_qupath_are_numbers_and_texts(tmp_path: Path) -> None:
    table = ObjectTable({(1, ""): VALUES})
    content = json.loads(export_labels(STACK, tmp_path / "l.geojson", table=table).read_text())
    properties = content["features"][0]["properties"]
    assert all(isinstance(value, int | float) for value in properties["measurements"].values())
    assert all(isinstance(value, str) for value in properties["metadata"].values())
    assert properties["metadata"]["date"] == "2024-05-01"
    # As another program writes them.
    properties["metadata"] = {"note": "x", "n": "3", "bad": None, "also": "NaN"}
    (tmp_path / "l.geojson").write_text(json.dumps(content))
    with closing(read_labels(tmp_path / "l.geojson")) as read:
        known = read.table.known(1, (0,))
    assert (known["note"], known["n"], known["also"]) == ("x", 3, "NaN")
    assert "bad" not in known
