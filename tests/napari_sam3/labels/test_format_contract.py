"""Every output format is held to the contract, and read back by its own programs."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

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

from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats.choice import FORMATS
from tests.napari_sam3.labels.format_contract import (
    OURS,
    SHAPE,
    FormatContract,
    Objects,
    objects_of,
)


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
