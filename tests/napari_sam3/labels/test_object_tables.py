"""Tables of objects as other programs have them: types, gaps, names and planes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from pyarrow import parquet

from napari_sam3.cli.main import main
from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.output import LabelOutput
from napari_sam3.labels.formats.regions import write_regions
from napari_sam3.labels.output_files import ExportError
from tests.napari_sam3.labels.table_samples import STACK, classes


@pytest.mark.parametrize("kind", [int, float, str, object, "Int64", "category", "csv", "parquet"])
def test_a_plane_is_one_plane(tmp_path: Path, kind: Any) -> None:
    table = pd.DataFrame({"label": [1, 1, 2], "plane": [0, 2, 1], "class": ["a", "b", "c"]})
    if kind in ("csv", "parquet"):
        table.loc[3] = [2, None, "d"]  # which makes floats of integers
        file = tmp_path / f"t.{kind}"
        table.to_csv(file) if kind == "csv" else table.to_parquet(file)
        known = ObjectTable.read(file)
    else:
        known = ObjectTable.from_features(table.astype({"plane": kind}))
    found = classes(STACK, known, tmp_path / "l.json")
    other = "d" if kind in ("csv", "parquet") else "object"
    expected = {(1, "0"): "a", (1, "1"): "object", (1, "2"): "b"}
    expected |= {(2, "0"): other, (2, "1"): "c", (2, "2"): other}
    assert found == expected


@pytest.mark.parametrize(
    ("planes", "shape", "expected"),
    [
        (["0"], (), ""),  # a stack of one plane, saved as a plane
        (["0"], (1,), "0"),
        ([""], (1,), "0"),
        (["0 1"], (3,), "1"),
        (["0 2"], (1, 3), "0 2"),
        (["2"], (1, 3), "0 2"),
        (["2"], (3, 1), "2 0"),
        (["2 0"], (3,), "2"),
        (["(0, 2)"], (1, 3), "0 2"),
        (["0 0 1"], (3,), "1"),
    ],
)
def test_axes_of_length_one_come_and_go(
    planes: list[str], shape: tuple[int, ...], expected: str, tmp_path: Path
) -> None:
    table = ObjectTable.from_features(
        pd.DataFrame({"index": [1], "plane": planes, "class": ["cell"]})
    )
    found = classes(np.ones((*shape, 3, 3), int), table, tmp_path / "l.json")
    assert found[1, expected] == "cell"
    if planes[0]:
        assert list(found.values()).count("cell") == 1


def test_planes_that_do_not_fit_are_said(tmp_path: Path) -> None:
    table = ObjectTable({(1, "2 3"): {"class": "cell"}, (1, ""): {"score": 0.5}})
    with pytest.warns(UserWarning, match=r"such as '2 3', do not fit labels of shape \(3, 8, 9\)"):
        found = classes(STACK, table, tmp_path / "l.json")
    assert set(found.values()) == {"object"}


@pytest.mark.parametrize("name", ["index", "label", "label_value", "label-value", "Label"])
@pytest.mark.parametrize("kind", [int, float, str, object, "UInt64", "gaps"])
def test_labels_are_found_in_any_column_of_theirs(tmp_path: Path, name: str, kind: Any) -> None:
    table = pd.DataFrame({"note": ["x", "y"], name: [2, 1], "class": ["b", "a"]})
    if kind == "gaps":
        table.loc[2] = ["z", None, "c"]
    else:
        table = table.astype({name: kind})
    tables = [ObjectTable.from_features(table)]
    if name != "index" or kind not in (str, object):
        table.to_csv(tmp_path / "t.csv", index=False)
        tables.append(ObjectTable.read(tmp_path / "t.csv"))
    for known in tables:
        assert known.known(1, (0,)) == {"note": "y", "class": "a"}
        assert known.known(2, (0,)) == {"note": "x", "class": "b"}
        assert len(known.rows) == 2
    indexed = pd.DataFrame({"class": ["b", "a"]}, index=pd.Index([2, 1], name="label"))
    assert ObjectTable.from_features(indexed).known(1, ()) == {"class": "a"}


def test_a_table_by_position_and_rows_given_twice() -> None:
    by_position = ObjectTable.from_features(pd.DataFrame({"class": [None, "a", "b"]}))
    assert by_position.known(2, ()) == {"class": "b"}
    texts = pd.DataFrame({"label": ["cell", "debris"], "size": [3, 4]})
    assert ObjectTable.from_features(texts).known(1, ()) == {"label": "debris", "size": 4}
    twice = pd.DataFrame({"index": [1, 1], "class": ["a", None], "score": [0.5, 0.75]})
    with pytest.warns(UserWarning, match=r"1 of 2 rows .* such as 1. The last value counts"):
        assert ObjectTable.from_features(twice).known(1, ()) == {"class": "a", "score": 0.75}
    nested = pd.DataFrame({"label": [1, 1], "area": [2, 4]}).groupby("label").agg({"area": ["max"]})
    assert ObjectTable.from_features(nested).known(1, ()) == {"area max": 4}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    tifffile.imwrite(tmp_path / "l.tif", STACK, photometric="minisblack")
    (tmp_path / "t.csv").write_text("id,class\n1,Zelle ä\n", encoding=encoding)
    argv = ["export", "l.tif", "-o", "l.geojson", "--table", "t.csv"]
    argv = [str(tmp_path / one) if "." in one else one for one in argv]
    assert main(argv) == 0
    features = json.loads((tmp_path / "l.geojson").read_text(encoding="utf-8"))["features"]
    kinds = {f["properties"].get("classification", {}).get("name") for f in features}
    assert kinds == {"Zelle ä", None}


def test_columns_that_hold_no_labels_are_refused(tmp_path: Path) -> None:
    for text, why in (
        ("id\n1.5\n", "not labels"),
        ("id\nx\n", "not labels"),
        ("a\n1\n", "column 'id'"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ExportError, match=why):
            ObjectTable.read(tmp_path / "t.csv")


def test_parquet_keeps_types(tmp_path: Path) -> None:
    moment = pd.Timestamp("2026-01-02 03:04:05.000000006", tz="UTC")
    table = pd.DataFrame(
        {
            "index": [1, 2],
            "good": [True, False],
            "maybe": pd.array([True, None], "boolean"),
            "when": pd.to_datetime(["2026-01-02", None]),
            "moment": [moment, moment],
            "took": pd.to_timedelta(["1h", "2h"]),
            "day": [datetime.date(2026, 1, 2), None],
            "count": pd.array([3, None], "Int64"),
            "large": np.array([2**64 - 1, 1], np.uint64),
            "kind": pd.Categorical(["a", None]),
            "mixed": [1, "x"],
            "half": [1, 0.5],
        }
    )
    path = write_regions(
        LabelOutput.of(tmp_path / "l.parquet", STACK[0], table=ObjectTable.from_features(table))
    )
    schema = {field.name: str(field.type) for field in parquet.read_schema(path)}
    assert (schema["good"], schema["maybe"], schema["day"]) == ("bool", "bool", "date32[day]")
    assert schema["when"].startswith("timestamp")
    assert schema["moment"] == "timestamp[ns, tz=UTC]"
    assert schema["took"].startswith("duration")
    assert (schema["large"], schema["count"], schema["half"]) == ("uint64", "int64", "double")
    first, second = parquet.read_table(path).to_pylist()
    assert (first["large"], first["kind"], first["mixed"]) == (2**64 - 1, "a", "1")
    assert (first["moment"], second["maybe"], second["count"]) == (moment, None, None)
    again = ObjectTable.read(path)
    assert again.known(1, ())["good"] is True
    assert again.known(1, ())["took"] == datetime.timedelta(hours=1)
    for suffix in ("csv", "json", "geojson", "zip", "zarr"):  # no other writer trips over them
        assert export_labels(STACK[0], tmp_path / f"l.{suffix}", table=again).exists()


def test_ids_of_64_bits(tmp_path: Path) -> None:
    largest = 2**64 - 1
    labels = np.zeros((4, 5), np.uint64)
    labels[1:3, 1:3] = largest
    (tmp_path / "t.csv").write_text(f"id,class\n{largest},cell\n")
    table = ObjectTable.read(tmp_path / "t.csv")
    path = write_regions(LabelOutput.of(tmp_path / "l.parquet", labels, table=table))
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["id"], row["class"], row["area"]) == (largest, "cell", 4)


def read_csv(tmp_path: Path, text: str, name: str = "t.csv") -> ObjectTable:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return ObjectTable.read(tmp_path / name)


@pytest.mark.parametrize("value", ["-1", "0.5", "z=1", "1_2", "first", "0 -1", "'1'", "1;x"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "features"])
def test_a_plane_that_cannot_be_read_is_never_every_plane_unsaid(
    value: str, kind: str, tmp_path: Path
) -> None:
    text = f"id,plane,class\n1,{value},A\n2,0,B\n1,1,C\n"
    if kind == "features":
        table = pd.DataFrame({"index": [1, 2], "plane": [value, "0"]})
        with pytest.warns(UserWarning, match=r"1 of 2 rows.*every plane"):
            ObjectTable.from_features(table)
        return
    if kind == "parquet":
        pd.DataFrame({"id": [1, 2, 1], "plane": [value, "0", "1"]}).to_parquet(tmp_path / "t.csv")
        (tmp_path / "t.csv").rename(tmp_path / "t.parquet")
    with pytest.raises(ExportError, match=r"1 of 3 rows of .* invalid plane: .*row 1"):
        read_csv(tmp_path, text) if kind == "csv" else ObjectTable.read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "text",
    [
        "id,plane,class\n1,0,A\n1,2,B\n",
        "ID,Plane,Class\n1,0,A\n1,2,B\n",
        "id, plane, class\n1, 0, A\n1, 2, B\n",
        " Label , PLANE , CLASS \n1,0,A\n1,2,B\n",
        "id,z,class\n1,0,A\n1,2,B\n",
        "id,Z,Class\n1,0.0,A\n1,2.0,B\n",
        "id,axis-0,class\n1,0,A\n1,2,B\n",
        "id;plane;class\n1;0;A\n1;2;B\n",
        "id\tplane\tclass\n1\t0\tA\n1\t2\tB\n",
        'id,"plane","class"\n1,"(0,)",A\n1,"[2]",B\n',
        ",id,plane,class,\n0,1,0,A,\n1,1,2,B,\n",
    ],
)
def test_headers_are_known_however_they_are_written(text: str, tmp_path: Path) -> None:
    found = classes(STACK, read_csv(tmp_path, text), tmp_path / "l.json")
    assert [found[1, plane] for plane in "012"] == ["A", "object", "B"]
    assert {found[2, plane] for plane in "012"} == {"object"}


def test_columns_of_axes_follow_the_axes_of_the_labels(tmp_path: Path) -> None:
    labels = np.ones((2, 3, 4, 5), np.uint8)
    for columns in ("t,z", "z,t", "T,Z"):
        one, two = (1, 2) if columns.lower() == "t,z" else (2, 1)
        table = read_csv(tmp_path, f"id,{columns},class\n1,{one},{two},A\n")
        axes = ImageAxes.of("tzyx")
        path = export_labels(labels, tmp_path / "l.csv", axes=axes, table=table, overwrite=True)
        found = pd.read_csv(path).set_index("plane")["class"]
        assert found.dropna().to_dict() == {"1 2": "A"}
    # Centres along z are a measurement, which is said.
    with pytest.warns(UserWarning, match=r"'z' has the value 0\.5.*not a plane"):
        table = read_csv(tmp_path, "id,z,class\n1,0.5,A\n2,1,B\n")
    assert table.known(1, (0,)) == {"z": 0.5, "class": "A"}


@pytest.mark.parametrize("gap", ["", "nan", "NaN", "NA", "N/A", "NULL", "None", "<NA>", "#N/A"])
def test_classes_with_gaps_are_kept_as_they_were_meant(gap: str, tmp_path: Path) -> None:
    labels = np.arange(1, 6, dtype=np.uint8).reshape(1, 5)
    table = read_csv(tmp_path, f"id,class\n1,1.0\n2,{gap}\n3,2.0\n4,debris\n5,007\n")
    found = classes(labels, table, tmp_path / "l.json")
    assert [found[n, ""] for n in range(1, 6)] == ["1", "object", "2", "debris", "007"]
    frame = pd.DataFrame({"id": [1, 2, 3], "class": ["1.0", gap, "A"]})
    frame.to_parquet(tmp_path / "t.parquet")
    table = ObjectTable.read(tmp_path / "t.parquet")
    assert [table.known(n, ()).get("class") for n in (1, 2, 3)] == ["1", None, "A"]


@pytest.mark.parametrize("suffix", ["json", "geojson", "zip", "csv", "parquet"])
def test_rows_about_no_object_are_said(suffix: str, tmp_path: Path) -> None:
    rows = "1,0,A\n1,5,B\n7,,C\n2,1,D\n" + "".join(f"{n},,E\n" for n in range(20, 30))
    table = read_csv(tmp_path, "id,plane,class\n" + rows)
    told = r"12 of 14 rows of .*t\.csv.*: 1 on plane 5, 7, 20, 21, 22, \.\.\."
    with pytest.warns(UserWarning, match=told):
        export_labels(STACK, tmp_path / f"l.{suffix}", table=table)
    # Rows that all belong to somebody, to background, or are kept in any case, are no news.
    table = read_csv(tmp_path, "id,class\n0,\n1,A\n2,B\n")
    export_labels(STACK, tmp_path / f"l.{suffix}", table=table, overwrite=True)
    export_labels(STACK, tmp_path / "l.zarr", table=read_csv(tmp_path, "id,class\n9,A\n"))


def test_ids_that_lost_digits_are_refused(tmp_path: Path) -> None:
    for text in ("9007199254740993.0", "9.2e18", "1e30"):
        with pytest.raises(ExportError, match=r"not labels, such as .*2\^53"):
            read_csv(tmp_path, f"id,class\n{text},A\n")
    pd.DataFrame({"id": [2.0**60, 1.0]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ExportError, match="not labels"):
        ObjectTable.read(tmp_path / "t.parquet")
    assert read_csv(tmp_path, "id,class\n9007199254740993,A\n5e3,B\n").rows.keys() == {
        (9007199254740993, ""),
        (5000, ""),
    }


def test_rows_that_do_not_fit_the_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="line 3 has 3 values for 2 columns"):
        read_csv(tmp_path, "id,class\n1,A\n2,B,C\n")
    with pytest.raises(ExportError, match="'class' is duplicated"):
        read_csv(tmp_path, "id,class,class\n1,A,B\n")


def test_a_table_for_a_format_without_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "l.npy", STACK)
    (tmp_path / "t.csv").write_text("id,class\n1,A\n")
    argv = ["export", tmp_path / "l.npy", "-o", tmp_path / "o.tif", "--table", tmp_path / "t.csv"]
    assert main(list(map(str, argv))) == 2
    assert "--table" in capsys.readouterr().err
    assert not (tmp_path / "o.tif").exists()


@pytest.mark.parametrize(
    "text",
    [
        'id;"class, kind";score\n1;a;0,5\n',
        "id;class, kind;score\n1;a;0,5\n",
        "id\tclass, kind\tscore\n1\ta\t0.5\n",
        "sep=;\r\nid;class, kind;score\r\n1;a;0,5\r\n",
        'sep=,\nid,"class, kind",score\n1,a,0.5\n',
        '\n \n\nid,"class, kind",score\n\n1,a,0.5\n',
        "score;class, kind;Label\n0,5;a;1\n",
    ],
)
def test_columns_are_found_whatever_separates_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert ObjectTable.read(tmp_path / "t.csv").rows == {
        (1, ""): {"class, kind": "a", "score": 0.5}
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_contradict_each_other_are_told(kind: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"label": [1, 1, 2, 2], "frame": [0, 1, 0, 0], "class": list("abcc")})
    file = tmp_path / f"t.{kind}"
    table.to_csv(file, index=False) if kind == "csv" else table.to_parquet(file)
    with pytest.warns(UserWarning, match=r"1 of 4 rows .* such as 1\. The last value counts"):
        ObjectTable.read(file)
    named = table.iloc[:3].rename(columns={"frame": "plane"})
    named.to_csv(file, index=False) if kind == "csv" else named.to_parquet(file)
    assert ObjectTable.read(file).rows[1, "1"] == {"class": "b"}
