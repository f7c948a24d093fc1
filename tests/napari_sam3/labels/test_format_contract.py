"""What every output format does: the same tests for each, read back by its own programs."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import dask.array
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import roifile
import shapely
import skimage.draw
import tifffile
import yaml
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats.choice import FORMATS, check_target, export_labels, format_of
from napari_sam3.labels.formats.loaded import LoadedLabels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.labels.output_files import ExportError
from sam3.errors import ImageError

#: Label, plane of the stack, area in px.
Objects = set[tuple[int, int, int]]
SHAPE = (2, 12, 15)
AXES = ImageAxes.of("zyx", units=("um",) * 3, scale=(2, 0.5, 0.25), translate=(1, 2, 3))
PIXELS = ImageAxes.default(3)
OURS = "napari-sam3"
TABLE = ObjectTable(
    {
        (1, "0"): {"class": "cell body; ß", "score": 0.5, "points": 3},
        (40, "0"): {"class": "object", "score": 0.25},
        (300, "1"): {"class": "007"},
    }
)


def some_labels() -> npt.NDArray[np.uint16]:
    """Return an object with a hole, one of two parts on two planes, and one of a large id."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[0, 1:6, 1:6], labels[0, 3, 3] = 1, 0
    labels[0, 8, 2:5] = labels[0, 10:12, 12:15] = labels[1, 2:4, 2:4] = 40
    labels[1, 6:, 9:14] = 300
    return labels


@pytest.fixture
def labels(request: pytest.FixtureRequest) -> npt.NDArray[np.uint16]:
    """Return as many planes of `some_labels` as the format holds."""
    return some_labels()[: request.cls.planes]


def filled(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Fill the holes of objects."""
    made = labels.copy()
    made[0, 3, 3] = labels[0, 3, 2]
    return made


def objects_of(pixels: Any) -> Objects:
    """Count the pixels of each label on each plane."""
    return {
        (int(label), plane, int(area))
        for plane, picture in enumerate(np.asarray(pixels))
        for label, area in zip(*np.unique(picture, return_counts=True), strict=True)
        if label
    }


class FormatContract(ABC):
    """The tests; a subclass names a format and reads it back."""

    name: ClassVar[str]
    file: ClassVar[str]
    #: How many planes the format holds, up to those of `SHAPE`.
    planes: ClassVar[int] = SHAPE[0]

    @abstractmethod
    def read(self, path: Path) -> Objects:
        """Return what a file of the format holds, as its own programs see it."""

    def strip(self, path: Path) -> None:
        """Take out of a file what other programs do not write; nothing by default."""
        assert path.exists()

    def expected(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return labels as the format can hold them."""
        keeps = FORMATS[self.name].keeps
        return filled(labels) if keeps.holes == "no" != keeps.pixels else labels

    def reread(self, path: Path, **options: Any) -> LoadedLabels:
        """Read a file as labels into memory."""
        loaded = read_labels(path, **options)
        try:
            return dataclasses.replace(loaded, data=np.asarray(loaded.data[...]))
        finally:
            loaded.close()

    def test_the_file_name_means_the_format(self) -> None:
        assert format_of(self.file).name == self.name
        assert format_of(self.file.upper()).name == self.name

    def test_objects_come_back(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / self.file)
        assert path == tmp_path / self.file
        assert self.read(path) == objects_of(self.expected(labels))
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    @pytest.mark.parametrize("kind", ["uint8", "int64", "uint32", "lazy", "big-endian"])
    def test_any_integers_do(self, labels: npt.NDArray[Any], tmp_path: Path, kind: str) -> None:
        made = np.where(labels > 255, 255, labels)
        given: Any = made.astype(">u2" if kind == "big-endian" else np.uint16)
        if kind == "lazy":
            given = dask.array.from_array(made, chunks=(1, 5, 7))
        elif kind != "big-endian":
            given = made.astype(kind)
        expected = objects_of(self.expected(made))
        assert self.read(export_labels(given, tmp_path / self.file)) == expected

    def test_what_is_known_of_objects_may_be_given(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        rows: dict[tuple[int, str], dict[str, Any]] = {
            (1, "0"): {"class": "nucleus", "score": 0.5},
            (300, "1"): {"score": 1},
        }
        table = ObjectTable({row: rows[row] for row in rows if int(row[1]) < self.planes})
        path = export_labels(labels, tmp_path / self.file, table=table)
        assert self.read(path) == objects_of(self.expected(labels))

    def test_no_objects_are_a_file_too(self, tmp_path: Path) -> None:
        for number, kind in enumerate((np.uint16, bool)):
            empty: Any = np.zeros((self.planes, *SHAPE[1:]), kind)
            assert self.read(export_labels(empty, tmp_path / f"{number}{self.file}")) == set()

    @pytest.mark.parametrize("unusable", [np.zeros(SHAPE), np.zeros(3, int), np.zeros((0, 3), int)])
    def test_what_is_no_label_image_is_refused(
        self, tmp_path: Path, unusable: npt.NDArray[Any]
    ) -> None:
        with pytest.raises(ImageError, match="labels of"):
            export_labels(unusable, tmp_path / self.file)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_replaced_only_when_asked(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        path = export_labels(labels, tmp_path / self.file)
        other = labels.copy()
        other[0, 8:] = 0
        for attempt in (check_target, lambda path: export_labels(other, path)):
            with pytest.raises(ExportError, match="exists already"):
                attempt(path)
        assert self.read(path) == objects_of(self.expected(labels))
        check_target(path, overwrite=True)
        export_labels(other, path, overwrite=True)
        assert self.read(path) == objects_of(self.expected(other))
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    def test_missing_folders_are_made(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / "new" / "folder" / self.file)
        assert self.read(path) == objects_of(self.expected(labels))

    # ------------------------------------------------------------- file -> labels -> file

    def test_what_is_kept_comes_back_twice(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        """Nothing is promised that does not come back, and nothing comes back unannounced."""
        keeps = FORMATS[self.name].keeps
        rows = {row: TABLE.rows[row] for row in TABLE.rows if int(row[1]) < self.planes}
        path = export_labels(labels, tmp_path / self.file, axes=AXES, table=ObjectTable(rows))
        if keeps.pixels == "no":
            with pytest.raises(ImageError, match="is a table, which holds no pixels"):
                read_labels(path)
            kept = ObjectTable.read(path)
            assert kept.known(1, (0,))["class"] == TABLE.known(1, (0,))["class"]
            assert kept.known(40, (0,))["score"] == 0.25
            return
        for _ in range(2):
            loaded = self.reread(path)
            self.compare(loaded, labels, dataclasses.asdict(keeps))
            again = tmp_path / f"again_{self.file}"
            path = export_labels(
                loaded.data, again, self.name, axes=loaded.axes, table=loaded.table, overwrite=True
            )

    def test_other_programs_find_what_is_kept_for_them(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        """One plane, since the places of planes are ours in many formats."""
        keeps = {
            name: "no" if value == "ours" else value
            for name, value in dataclasses.asdict(FORMATS[self.name].keeps).items()
        }
        if keeps["pixels"] == "no":
            return
        labels, axes = labels[0], AXES.take((1, 2))
        table = ObjectTable({(n, ""): TABLE.known(n, (0,)) for n in (1, 40)})
        path = export_labels(labels, tmp_path / self.file, axes=axes, table=table)
        self.strip(path)
        loaded = self.reread(path, shape=labels.shape)
        self.compare(loaded, labels[None], {**keeps, "planes": "no"})

    def compare(
        self, loaded: LoadedLabels, labels: npt.NDArray[Any], keeps: dict[str, str]
    ) -> None:
        """Compare what was read with labels, `AXES` and `TABLE`."""
        pixels = np.asarray(loaded.data[...]).reshape(labels.shape)
        expected = filled(labels) if keeps["holes"] == "no" else labels
        np.testing.assert_array_equal(pixels > 0, expected > 0)
        same = keeps["labels"] != "no" and keeps["parts"] != "no"
        assert np.array_equal(pixels, expected) == same
        one, two = int(pixels[0, 1, 1]), int(pixels[0, 8, 2])
        assert (pixels[0, 10, 13] == two) == (keeps["parts"] != "no")
        axes, wanted = loaded.axes, AXES.take(range(3 - loaded.axes.ndim, 3))
        scaled = axes.scale == wanted.scale and axes.units == wanted.units
        assert scaled == (keeps["scale"] != "no")
        assert (axes.translate == wanted.translate) == (keeps["place"] != "no")
        at = (0,) * (loaded.data.ndim - 2)
        first, second = loaded.table.known(one, at), loaded.table.known(two, at)
        has = first.get("class"), second.get("class")
        assert (has == ("cell body; ß", "object")) == (keeps["classes"] != "no")
        values = first.get("score"), first.get("points"), second.get("score")
        assert (values == (0.5, 3, 0.25)) == (keeps["table"] != "no")
        if keeps["planes"] != "no" and keeps["classes"] != "no":
            assert loaded.table.known(300, (1,)) == {"class": "007"}

    def test_stacks_are_kept_or_refused(self, tmp_path: Path) -> None:
        if FORMATS[self.name].keeps.planes == "no":
            with pytest.raises(ExportError, match="Expected a single plane"):
                export_labels(some_labels(), tmp_path / self.file)
            assert list(tmp_path.iterdir()) == []


def strip_json(path: Path, *names: str) -> None:
    """Take names out of a JSON file, wherever they are."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in (OURS, *names)}
        return [stripped(one) for one in value] if isinstance(value, list) else value

    path.write_text(json.dumps(stripped(json.loads(path.read_text("utf-8")))), "utf-8")


class TestOmeZarr(FormatContract):
    name, file = "ome-zarr", "l.zarr"

    def read(self, path: Path) -> Objects:
        return objects_of(open_image(path).data)


class TestTiff(FormatContract):
    name, file = "tiff", "l.tif"

    def read(self, path: Path) -> Objects:
        return objects_of(tifffile.imread(path))


class TestOmeTiff(TestTiff):
    name, file = "ome-tiff", "l.ome.tif"


class TestImagejRois(FormatContract):
    name, file = "imagej-roi", "l.zip"

    def strip(self, path: Path) -> None:
        with zipfile.ZipFile(path, "a") as file:
            file.comment = b""

    def read(self, path: Path) -> Objects:
        rois = roifile.roiread(path) if zipfile.ZipFile(path).namelist() else []
        found = set()
        for roi in rois if isinstance(rois, list) else [rois]:
            rings: Any = roi.coordinates(multi=True)
            inside = np.zeros(SHAPE[1:], bool)
            for ring in rings if isinstance(rings, list) else [rings]:
                inside ^= skimage.draw.polygon2mask(SHAPE[1:], ring[:, ::-1] - 0.5)
            found.add((int(roi.name.split("-")[0]), roi.position - 1, int(inside.sum())))
        return found


class TestGeojson(FormatContract):
    name, file = "geojson", "l.geojson"

    def strip(self, path: Path) -> None:
        strip_json(path)

    def read(self, path: Path) -> Objects:
        found = set()
        for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
            area = int(shapely.from_geojson(json.dumps(feature["geometry"])).area)
            name = feature["properties"]["name"]
            found.add((int(name), feature["geometry"]["plane"]["z"], area))
        return found


# pycocotools hands numpy an object of the kind that numpy 1 knew.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestCoco(FormatContract):
    name, file = "coco", "l.json"

    def strip(self, path: Path) -> None:
        strip_json(path, "label")
        content = json.loads(path.read_text("utf-8"))
        # A category for objects without a class is ours.
        content["categories"] = [{**one, "name": one["name"]} for one in content["categories"]]
        path.write_text(json.dumps(content), "utf-8")

    def read(self, path: Path) -> Objects:
        content = json.loads(path.read_text(encoding="utf-8"))
        planes = {image["id"]: int(image["plane"]) for image in content["images"]}
        return {
            (one["label"], planes[one["image_id"]], int(coco_mask.area(one["segmentation"])))
            for one in content["annotations"]
        }


class TestCellpose(FormatContract):
    name, file = "cellpose", "l_seg.npy"

    def strip(self, path: Path) -> None:
        content = np.load(path, allow_pickle=True).item()
        content.pop(OURS)
        np.save(path, content, allow_pickle=True)

    def read(self, path: Path) -> Objects:
        content = np.load(path, allow_pickle=True).item()
        masks = content["masks"]
        present = np.unique(masks[masks > 0])
        assert present.tolist() == list(range(1, len(content["ismanual"]) + 1))
        assert ((content["outlines"] == masks) | (content["outlines"] == 0)).all()
        labels = np.array([0, *content[OURS]["labels"]])
        return objects_of(labels[masks])


class TestCellposeMasks(TestTiff):
    name, file = "cellpose-masks", "l_masks.tif"


@pytest.mark.filterwarnings("ignore:YOLO has no holes:UserWarning")
class TestYolo(FormatContract):
    name, file = "yolo", "l.yolo"

    def data(self, path: Path) -> Any:
        return yaml.safe_load((path / "data.yaml").read_text("utf-8"))

    def strip(self, path: Path) -> None:
        content = self.data(path)
        content.pop(OURS)
        (path / "data.yaml").write_text(yaml.safe_dump(content), "utf-8")

    def read(self, path: Path) -> Objects:
        ours = self.data(path)[OURS]
        pixels = np.zeros(SHAPE, int)
        for file in (path / "labels").iterdir():
            lines = file.read_text().splitlines()
            for line, label in zip(lines, ours["ids"][file.name], strict=True):
                corners = np.array(line.split()[1:], np.float32).reshape(-1, 2)
                corners = (corners * (SHAPE[2], SHAPE[1])).astype(np.int32)  # as ultralytics does
                fill_inclusively(pixels[int(ours["planes"][file.name])], corners, label)
        return objects_of(pixels)


def fill_inclusively(plane: npt.NDArray[Any], corners: npt.NDArray[Any], label: int) -> None:
    """Draw a polygon as PIL does, with its outline."""
    image = Image.new("1", plane.shape[::-1])
    ImageDraw.Draw(image).polygon([tuple(xy) for xy in corners.tolist()], fill=1, outline=1)
    plane[np.asarray(image)] = label


@pytest.mark.filterwarnings("ignore:VIA has no holes:UserWarning")
class TestVia(FormatContract):
    name, file = "via", "l.via.json"

    def strip(self, path: Path) -> None:
        strip_json(path)

    def read(self, path: Path) -> Objects:
        pixels = np.zeros(SHAPE, int)
        for image in json.loads(path.read_text("utf-8"))["_via_img_metadata"].values():
            for region in image["regions"]:
                shape = region["shape_attributes"]
                assert shape["name"] == "polygon"
                corners = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1)
                plane = pixels[int(image["file_attributes"]["plane"])]
                label = int(region["region_attributes"]["label"])
                fill_inclusively(plane, corners, label)
                # Readers in Python do this, which loses objects of a single row or column.
                at = skimage.draw.polygon(corners[:, 1], corners[:, 0])
                drawn = np.zeros(plane.shape, bool)
                drawn[at] = True
                if min(np.ptp(corners, axis=0)) > 0:
                    fill_inclusively(drawn, corners, False)
                    assert not drawn.any()
        return objects_of(pixels)


class TestLabelme(FormatContract):
    name, file, planes = "labelme", "l.labelme.json", 1

    def strip(self, path: Path) -> None:
        strip_json(path)

    def read(self, path: Path) -> Objects:
        content = json.loads(path.read_text("utf-8"))
        pixels = np.zeros((1, content["imageHeight"], content["imageWidth"]), int)
        for shape in content["shapes"]:
            corners, label = np.array(shape["points"]), shape["group_id"]
            if shape["shape_type"] == "polygon":
                fill_inclusively(pixels[0], corners, label)
                continue
            assert shape["shape_type"] == "mask"
            (x0, y0), (x1, y1) = shape["points"]
            mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
            pixels[0, y0 : y1 + 1, x0 : x1 + 1][mask] = label
        return objects_of(pixels)


class TestCsv(FormatContract):
    name, file = "csv", "l.csv"

    def read(self, path: Path) -> Objects:
        return set(self.table(path)[["id", "plane", "area"]].itertuples(index=False, name=None))

    def table(self, path: Path) -> Any:
        """Return the table with its planes as numbers."""
        return pd.read_csv(path)


class TestParquet(TestCsv):
    name, file = "parquet", "l.parquet"

    def table(self, path: Path) -> Any:
        return pd.read_parquet(path).astype({"plane": int})


def test_every_format_is_held_to_the_contract() -> None:
    held = FormatContract.__subclasses__()
    for one in held:
        held += one.__subclasses__()
    assert sorted(one.name for one in held) == sorted(FORMATS)
