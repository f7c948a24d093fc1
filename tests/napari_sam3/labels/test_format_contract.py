"""What every output format does: the same tests for each, read back by its own programs."""

from __future__ import annotations

import json
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
from pycocotools import mask as coco_mask

from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats.choice import FORMATS, check_target, export_labels, format_of
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.output_files import ExportError
from sam3.errors import ImageError

#: Label, plane of the stack, area in px.
Objects = set[tuple[int, int, int]]
SHAPE = (2, 12, 15)


@pytest.fixture(scope="module")
def labels() -> npt.NDArray[np.uint16]:
    """Return an object with a hole, one of two parts on two planes, and one of a large id."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[0, 1:6, 1:6], labels[0, 3, 3] = 1, 0
    labels[0, 8, 2:5] = labels[0, 10:12, 12:15] = labels[1, 2:4, 2:4] = 2
    labels[1, 6:, 9:14] = 300
    return labels


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

    @abstractmethod
    def read(self, path: Path) -> Objects:
        """Return what a file of the format holds."""

    def test_the_file_name_means_the_format(self) -> None:
        assert format_of(self.file).name == self.name
        assert format_of(self.file.upper()).name == self.name

    def test_objects_come_back(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / self.file)
        assert path == tmp_path / self.file
        assert self.read(path) == objects_of(labels)
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    @pytest.mark.parametrize("kind", ["uint8", "int64", "uint32", "lazy", "big-endian"])
    def test_any_integers_do(self, labels: npt.NDArray[Any], tmp_path: Path, kind: str) -> None:
        made = np.where(labels > 255, 255, labels)
        given: Any = made.astype(">u2" if kind == "big-endian" else np.uint16)
        if kind == "lazy":
            given = dask.array.from_array(made, chunks=(1, 5, 7))
        elif kind != "big-endian":
            given = made.astype(kind)
        assert self.read(export_labels(given, tmp_path / self.file)) == objects_of(made)

    def test_what_is_known_of_objects_may_be_given(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        table = ObjectTable({(1, "0"): {"class": "nucleus", "score": 0.5}, (9, "1"): {"score": 1}})
        path = export_labels(labels, tmp_path / self.file, table=table)
        assert self.read(path) == objects_of(labels)

    def test_no_objects_are_a_file_too(self, tmp_path: Path) -> None:
        for number, kind in enumerate((np.uint16, bool)):
            empty: Any = np.zeros(SHAPE, kind)
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
        other[0] = 0
        for attempt in (check_target, lambda path: export_labels(other, path)):
            with pytest.raises(ExportError, match="exists already"):
                attempt(path)
        assert self.read(path) == objects_of(labels)
        check_target(path, overwrite=True)
        export_labels(other, path, overwrite=True)
        assert self.read(path) == objects_of(other)
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    def test_missing_folders_are_made(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / "new" / "folder" / self.file)
        assert self.read(path) == objects_of(labels)


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

    def read(self, path: Path) -> Objects:
        rois = roifile.roiread(path) if path.stat().st_size > 22 else []  # bytes of an empty ZIP
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

    def read(self, path: Path) -> Objects:
        content = json.loads(path.read_text(encoding="utf-8"))
        planes = {image["id"]: int(image["plane"]) for image in content["images"]}
        return {
            (one["label"], planes[one["image_id"]], int(coco_mask.area(one["segmentation"])))
            for one in content["annotations"]
        }


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
