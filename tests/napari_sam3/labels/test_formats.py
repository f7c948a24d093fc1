"""Label images in the formats of other programs, read back by libraries of these."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import roifile
import shapely
import skimage.draw
import tifffile
import zarr
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage.measure import regionprops_table

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats import label_planes, tiff
from napari_sam3.labels.formats.choice import FORMATS, export_labels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.labels.output_files import ExportError
from sam3.errors import ImageError

AXES = ImageAxes.of("tzyx", units=("s", "um", "um", "um"), scale=(30, 2, 0.5, 0.25))
TABLE = ObjectTable(
    {
        (1, "0 0"): {"score": 0.75, "points": 2, "class": "nucleus"},
        (1, "1 2"): {"score": 0.5, "points": 1, "class": "nucleus"},
        (70_001, ""): {"score": 0.25, "class": "cell body"},
    }
)


@pytest.fixture(scope="module")
def labels() -> npt.NDArray[np.uint32]:
    """Return objects on 2 x 3 planes: with holes, in parts, at corners, of single pixels."""
    random = np.random.default_rng(0)
    labels = np.zeros((2, 3, 70, 90), np.uint32)
    labels[0, 0, 5:25, 5:30] = 1
    labels[0, 0, 10:15, 10:20] = 0  # a hole,
    labels[0, 0, 12, 14] = 1  # a pixel in it,
    labels[0, 0, 15, 20] = 0  # and another hole that touches it at a corner
    labels[1, 2, 0:3, 0:4] = 1
    labels[0, 1, 40:45, 60:80] = labels[0, 1, 60:70, 80:90] = 70_001
    labels[0, 2, 30, 30] = labels[0, 2, 31, 31] = 3
    noise = random.integers(0, 4, (20, 20))
    labels[1, 0, 20:40, 20:40] = np.where(noise < 3, noise, 255)
    return labels


def rasterised(rings: list[npt.NDArray[Any]], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Fill rings by the even-odd rule, a pixel being in where its centre is."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        inside ^= skimage.draw.polygon2mask(shape, np.asarray(ring)[:, ::-1] - 0.5)
    return inside


@pytest.mark.parametrize("name", ["l.tif", "l.ome.tif"])
@pytest.mark.parametrize("highest", [255, 70_001])
def test_tiff_with_metadata(
    labels: npt.NDArray[np.uint32], tmp_path: Path, name: str, highest: int
) -> None:
    expected = np.where(labels > highest, 0, labels)
    path = export_labels(expected, tmp_path / name, axes=AXES)
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), expected)
        series = file.series[0]
        assert (series.axes, series.dtype.itemsize) == ("TZYX", 2 if highest == 255 else 4)
        # ImageJ has no 32-bit integers.
        ome = name == "l.ome.tif" or highest > 65535
        assert (bool(file.is_ome), bool(file.is_imagej)) == (ome, not ome)
    assert open_image(path).axes == AXES


@pytest.mark.parametrize(
    ("axes", "imagej"), [("cyx", "CYX"), ("qzyx", "TZYX"), ("tyx", "TYX"), ("yx", "YX")]
)
def test_axes_of_tiff(tmp_path: Path, axes: str, imagej: str) -> None:
    data = np.arange(2 ** len(axes)).reshape((2,) * len(axes))
    path = export_labels(data, tmp_path / "l.tif", axes=ImageAxes.of(axes))
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == imagej
        np.testing.assert_array_equal(file.asarray(), data)


def test_more_axes_than_tiff_has_names_for(tmp_path: Path) -> None:
    data = np.arange(64).reshape((2,) * 6)
    np.testing.assert_array_equal(tifffile.imread(export_labels(data, tmp_path / "l.tif")), data)


def test_imagej_rois(labels: npt.NDArray[np.uint32], tmp_path: Path) -> None:
    path = export_labels(labels, tmp_path / "rois.zip", axes=AXES, table=TABLE)
    rois = roifile.roiread(path)
    assert isinstance(rois, list)
    found = np.zeros_like(labels)
    for roi in rois:
        number, t, z = (int(part) for part in roi.name.split("-")[:3])
        assert (roi.t_position, roi.z_position, roi.position) == (t + 1, z + 1, 0)
        coordinates = roi.coordinates(multi=True)
        rings = coordinates if isinstance(coordinates, list) else [coordinates]
        inside = rasterised(rings, labels.shape[2:])
        assert not found[t, z][inside].any()
        found[t, z][inside] = number
        rows, columns = np.nonzero(inside)
        box = roi.top, roi.left, roi.bottom, roi.right
        assert box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    np.testing.assert_array_equal(found, labels)
    names = {roi.name for roi in rois}
    assert len(names) == len(rois)
    assert "70001-0000-0001-cell_body" in names
    kinds = {roi.name: roi.roitype for roi in rois}
    assert kinds["0001-0001-0002-nucleus"] == roifile.ROI_TYPE.TRACED
    stack = export_labels(labels[0], tmp_path / "stack.zip")
    assert {roi.position for roi in roifile.roiread(stack)} == {1, 2, 3}  # type: ignore[union-attr]


def test_geojson(labels: npt.NDArray[np.uint32], tmp_path: Path) -> None:
    path = export_labels(labels, tmp_path / "l.geojson", axes=AXES, table=TABLE)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    found = np.zeros_like(labels)
    rows, columns = np.mgrid[: labels.shape[2], : labels.shape[3]] + 0.5
    for feature in content["features"]:
        geometry: Any = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        about = feature["properties"]
        place = feature["geometry"]["plane"]
        inside = shapely.contains_xy(geometry, columns, rows)
        found[place["t"], place["z"]][inside] = int(about["name"])
        assert about["measurements"]["area"] == inside.sum() == geometry.area
        assert about["objectType"] == "annotation"
    np.testing.assert_array_equal(found, labels)
    ids = [feature["id"] for feature in content["features"]]
    assert len(set(ids)) == len(ids)
    (cell,) = (f for f in content["features"] if f["properties"]["name"] == "70001")
    assert cell["geometry"]["type"] == "MultiPolygon"
    assert cell["properties"]["classification"]["name"] == "cell body"
    assert cell["properties"]["measurements"]["score"] == 0.25
    again = export_labels(
        labels, tmp_path / "d.geojson", axes=AXES, table=TABLE, object_type="detection"
    )
    others = json.loads(again.read_text().replace("detection", "annotation"))["features"]
    assert [{**one, "id": 0} for one in others] == [{**o, "id": 0} for o in content["features"]]
    # QuPath asks what to do about objects that are there already.
    assert not {one["id"] for one in others} & set(ids)


# pycocotools hands numpy an object of the kind that numpy 1 knew.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco(labels: npt.NDArray[np.uint32], tmp_path: Path) -> None:
    path = export_labels(labels, tmp_path / "l.json", table=TABLE, image_name="image.tif")
    coco = COCO(str(path))
    found = np.zeros_like(labels)
    for image in coco.loadImgs(coco.getImgIds()):
        assert image["file_name"] == "image.tif"
        at = tuple(int(part) for part in image["plane"].split())
        for annotation in coco.loadAnns(coco.getAnnIds([image["id"]])):
            inside = coco.annToMask(annotation).astype(bool)
            found[at][inside] = annotation["label"]
            assert annotation["area"] == inside.sum()
            # Its own encoder makes the same text.
            encoded = coco_mask.encode(np.asfortranarray(inside))
            assert encoded["counts"].decode() == annotation["segmentation"]["counts"]
            assert coco_mask.toBbox(encoded).tolist() == annotation["bbox"]
    np.testing.assert_array_equal(found, labels)
    (cell,) = (a for a in coco.loadAnns(coco.getAnnIds()) if a["label"] == 70_001)
    assert cell["score"] == 0.25
    assert coco.loadCats([cell["category_id"]])[0]["name"] == "cell body"


@pytest.mark.parametrize("name", ["regions.csv", "regions.parquet"])
def test_table_of_regions(labels: npt.NDArray[np.uint32], tmp_path: Path, name: str) -> None:
    path = export_labels(labels, tmp_path / name, axes=AXES, table=TABLE)
    read = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    seen = 0
    for t, z in np.ndindex(2, 3):
        rows = read[read["plane"] == f"{t} {z}"].sort_values("id")
        expected = regionprops_table(
            labels[t, z].astype(np.int64), properties=("label", "area", "centroid", "bbox")
        )
        for column, wanted in (
            ("id", expected["label"]),
            ("area", expected["area"]),
            ("centroid_y", expected["centroid-0"]),
            ("centroid_x", expected["centroid-1"]),
            ("y0", expected["bbox-0"]),
            ("x1", expected["bbox-3"]),
            ("area_physical", expected["area"] * 0.125),
            ("centroid_x_physical", expected["centroid-1"] * 0.25),
        ):
            np.testing.assert_allclose(rows[column], wanted)
        assert (rows["t_physical"] == 30 * t).all()
        seen += len(rows)
    assert seen == len(read)
    assert set(read["unit"]) == {"micrometer"}
    (first,) = read[(read["id"] == 1) & (read["plane"] == "0 0")].to_dict("records")
    assert (first["score"], first["points"], first["class"]) == (0.75, 2, "nucleus")
    assert read["score"].isna().sum() == len(read) - 3


def test_a_table_is_read_as_it_was_written(labels: npt.NDArray[np.uint32], tmp_path: Path) -> None:
    for name in ("regions.csv", "regions.parquet"):
        table = ObjectTable.read(export_labels(labels, tmp_path / name, axes=AXES, table=TABLE))
        assert table.known(1, (1, 2)) == TABLE.known(1, (1, 2))
        assert table.known(70_001, (0, 1)) == TABLE.known(70_001, (0, 1))
        assert table.known(3, (0, 2)) == {}
    (tmp_path / "other.csv").write_text("name,area\na,3\n")
    with pytest.raises(ExportError, match="no column 'id'"):
        ObjectTable.read(tmp_path / "other.csv")
    with pytest.raises(ExportError, match=r"missing\.csv"):
        ObjectTable.read(tmp_path / "missing.csv")


def test_ome_zarr(labels: npt.NDArray[np.uint32], tmp_path: Path) -> None:
    path = export_labels(labels, tmp_path / "l.ome.zarr", axes=AXES, table=TABLE, version="0.4")
    image = open_image(path)
    np.testing.assert_array_equal(np.asarray(image.data), labels)
    assert image.axes == AXES
    about: Any = zarr.open_group(path, mode="r").attrs["image-label"]
    assert about["properties"][1] == {"label-value": 70_001, "score": 0.25, "class": "cell body"}


@pytest.mark.filterwarnings("ignore:.* has no holes:UserWarning")
@pytest.mark.filterwarnings("ignore:objects overlap:UserWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_array_gives_the_same_file(
    labels: npt.NDArray[np.uint32], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where planes are larger than what is read at once."""
    if name.startswith("cellpose"):
        labels = labels[0]
    elif name == "labelme":
        labels = labels[1, 0]
    before = (1,) * (labels.ndim - 2)
    stored = zarr.create_array(tmp_path / "stored.zarr", data=labels, chunks=(*before, 32, 32))
    lazy = dask.array.from_array(labels, chunks=(*before, 50, 50))
    suffix = FORMATS[name].suffixes[0]
    written = [export_labels(labels, tmp_path / f"0{suffix}", name)]
    monkeypatch.setattr(label_planes, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(label_planes, "TILE", 16)
    monkeypatch.setattr(tiff, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(tiff, "TILE", 32)
    for number, other in enumerate((stored, lazy), 1):
        written.append(export_labels(other, tmp_path / f"{number}{suffix}", name))
    first, *others = (_content(path) for path in written)
    for other in others:
        assert other == first


def _content(path: Path) -> Any:
    """Return what a file says, whatever the order of objects."""
    if path.suffix == ".zarr":
        return np.asarray(open_image(path).data).tobytes()
    if ".tif" in path.name:
        return tifffile.imread(path).tobytes()
    if path.suffix == ".zip":
        return sorted(roi.tobytes() for roi in roifile.roiread(path))  # type: ignore[union-attr]
    if path.suffix == ".parquet":
        return sorted(map(str, pd.read_parquet(path).to_dict("records")))
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return sorted(csv.reader(file))
    if path.name.endswith(("_seg.npy", ".yolo", ".via.json", ".labelme.json")):
        return read_labels(path).data.tobytes()
    content = json.loads(path.read_text())
    items = content.get("features") or content["annotations"]
    return sorted(json.dumps({**item, "id": 0}) for item in items)


@pytest.mark.parametrize(
    ("names", "plane"),
    [
        ("zyx", {"c": -1, "z": 1, "t": 0}),
        ("cyx", {"c": 1, "z": 0, "t": 0}),
        ("qyx", {"c": -1, "z": 1, "t": 0}),
        ("TYX", {"c": -1, "z": 0, "t": 1}),
        (("Time", "Y", "X"), {"c": -1, "z": 0, "t": 1}),
        (("depth", "y", "x"), {"c": -1, "z": 1, "t": 0}),
        (("Channel", "y", "x"), {"c": 1, "z": 0, "t": 0}),
    ],
)
def test_geojson_names_the_plane(
    tmp_path: Path, names: Sequence[str], plane: dict[str, int]
) -> None:
    labels = np.zeros((2, 4, 5), np.uint8)
    labels[1, 2:, 2:] = 9
    path = export_labels(labels, tmp_path / "l.geojson", axes=ImageAxes.of(names))
    (feature,) = json.loads(path.read_text())["features"]
    assert feature["geometry"]["plane"] == plane


@pytest.mark.parametrize(
    ("names", "letters"),
    [
        ("TZYX", "tz"),
        (("Time", "Depth", "Row", "Column"), "tz"),
        (("Z", "T", "y", "x"), "zt"),
        (("Frames", "CHANNEL", "Slice", "y", "x"), "tcz"),
        (("axis_0", "z", "y", "x"), "tz"),
        (("axis_0", "axis_1", "y", "x"), "zt"),
        (("scene", "t", "c", "z", "y", "x"), " tcz"),
    ],
)
def test_planes_are_those_of_any_names(tmp_path: Path, names: Sequence[str], letters: str) -> None:
    shape = tuple(1 if letter == " " else 2 for letter in letters)
    labels = np.zeros((*shape, 4, 5), np.uint8)
    for number, at in enumerate(np.ndindex(shape), 1):
        labels[at][1:3, 1:3] = number
    axes = ImageAxes.of(names)
    content = json.loads(export_labels(labels, tmp_path / "l.geojson", axes=axes).read_text())
    for feature in content["features"]:
        place = {"c": 0} | feature["geometry"]["plane"]
        found = labels[tuple(max(0, place[at]) if at != " " else 0 for at in letters)]
        assert found.max() == int(feature["properties"]["name"])
    if labels.ndim <= 5:
        for roi in roifile.roiread(export_labels(labels, tmp_path / "l.zip", axes=axes)):  # type: ignore[union-attr]
            at = tuple(getattr(roi, f"{letter}_position") - 1 for letter in letters)
            assert labels[at].max() == int(roi.name.split("-")[0])
        with tifffile.TiffFile(export_labels(labels, tmp_path / "l.tif", axes=axes)) as file:
            assert file.series[0].axes == f"{letters.upper()}YX"


def test_planes_that_geojson_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    labels = np.ones((2, 2, 2, 2, 4, 5), np.uint8)
    with pytest.raises(ImageError, match="has no planes for the axes axis_0"):
        export_labels(labels, tmp_path / "l.geojson")
    assert not list(tmp_path.iterdir())


def test_labels_that_imagej_cannot_place(tmp_path: Path) -> None:
    wide = dask.array.zeros((4, 40_000), dtype=np.uint8)
    with pytest.raises(ExportError, match=r"labels of shape \(4, 40000\) do not fit ImageJ ROIs"):
        export_labels(wide, tmp_path / "l.zip")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file size")
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_left_of_what_could_not_be_written(tmp_path: Path, name: str) -> None:
    """As on a full disk, which a limit of file size looks like to the program."""
    noise = np.random.default_rng(0).integers(0, 200, (90, 110)).astype(np.uint8)
    np.save(tmp_path / "labels.npy", noise)
    program = (
        "import resource, sys; from napari_sam3.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    output = tmp_path / f"out{FORMATS[name].suffixes[0]}"
    argv = ["export", str(tmp_path / "labels.npy"), "-o", str(output), "--format", name]
    # A measurement of coverage could not write its own file either, and would say so.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        capture_output=True,
        text=True,
        check=False,
        env=plain,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["labels.npy"]
