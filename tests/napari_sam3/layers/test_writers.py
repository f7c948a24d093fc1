"""File > Save of Labels layers, through napari and its plugin manager."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import roifile
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Labels
from napari.plugins._npe2 import file_extensions_string_for_layers
from npe2 import PluginManager, PluginManifest
from pycocotools.coco import COCO

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats.choice import FORMATS, export_labels
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.layers.label_layer import placement
from napari_sam3.layers.opened_labels import get_outlines_reader, layer_data
from napari_sam3.layers.writers import layer_axes, prefer_own_writers

PLACED: dict[str, Any] = {
    "scale": (30, 0.5, 0.25),
    "translate": (0, 3, 4),
    "units": ("s", "µm", "µm"),
    "axis_labels": ("t", "y", "x"),
}
AXES = ImageAxes.of("tyx", units=("s", "um", "um"), scale=(30, 0.5, 0.25), translate=(0, 3, 4))


@pytest.fixture(autouse=True)
def manifest(npe2pm: Any) -> None:
    npe2pm.register(PluginManifest.from_distribution("napari-sam3"))
    npe2pm.register(PluginManifest.from_distribution("napari"))


@pytest.fixture
def pixels() -> npt.NDArray[np.uint16]:
    pixels = np.zeros((2, 40, 50), np.uint16)
    pixels[0, 5:20, 6:30], pixels[1, 20:25, 6:9] = 3, 12
    return pixels


@pytest.fixture
def viewer(pixels: npt.NDArray[np.uint16]) -> ViewerModel:
    """Return a viewer with labels as the plugin makes them: placed like their image."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(pixels.shape), **PLACED)
    features = pd.DataFrame({"index": [3, 12], "plane": ["0", "1"], "score": [0.5, np.nan]})
    features["class"] = pd.Categorical(["nucleus", ""])
    viewer.add_layer(Labels(pixels, name="cells", features=features, **placement(image)))
    return viewer


def save(viewer: ViewerModel, path: Path, plugin: str | None = None) -> Path:
    (written,) = viewer.layers["cells"].save(str(path), plugin=plugin)
    assert written == str(path)
    return path


@pytest.mark.parametrize("name", ["l.ome.zarr", "l.zarr"])
def test_ome_zarr(
    viewer: ViewerModel, pixels: npt.NDArray[np.uint16], tmp_path: Path, name: str
) -> None:
    image = open_image(save(viewer, tmp_path / name))
    np.testing.assert_array_equal(np.asarray(image.data), pixels)
    assert image.axes == AXES
    about: Any = zarr.open_group(tmp_path / name, mode="r").attrs["ome"]
    assert about["image-label"]["properties"] == [
        {"label-value": 3, "score": 0.5, "class": "nucleus"},
        {"label-value": 12},
    ]


def test_tiffs(viewer: ViewerModel, pixels: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    path = save(viewer, tmp_path / "l.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    axes = open_image(path).axes
    assert (axes.names, axes.units, axes.scale) == (AXES.names, AXES.units, AXES.scale)
    with tifffile.TiffFile(save(viewer, tmp_path / "m.tif", "napari-sam3")) as file:
        assert file.is_imagej
    assert open_image(tmp_path / "m.tif").axes.scale == AXES.scale


def test_plain_tiffs_are_written_here_once_the_widget_is_open(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    """napari's own have no scale; in its dialog the first kind of file is the plugin's, too."""
    # As where napari's own plugin was met first.
    known: Any = PluginManager.instance()._contrib._writers
    known.sort(key=lambda row: row[-1].command.startswith("napari-sam3."))
    with tifffile.TiffFile(save(viewer, tmp_path / "l.tif")) as file:
        assert not file.is_imagej
    prefer_own_writers()
    with tifffile.TiffFile(save(viewer, tmp_path / "l.tif")) as file:
        assert file.is_imagej
    kinds, writers = file_extensions_string_for_layers([viewer.layers["cells"]])
    assert writers[0].command == "napari-sam3.write_tiff"
    assert str(kinds).startswith("SAM 3 TIFF with scale (*.tif *.tiff);;")
    assert "napari builtins labels" in str(kinds)


def test_tables_from_naparis_dialog(viewer: ViewerModel, tmp_path: Path) -> None:
    rows = pd.read_csv(save(viewer, tmp_path / "l.csv"))
    assert rows[["id", "plane", "area"]].to_numpy().tolist() == [[3, 0, 360], [12, 1, 15]]
    assert rows["class"].tolist()[0] == "nucleus"
    typed = pd.read_parquet(save(viewer, tmp_path / "l.parquet"))
    assert typed["area"].tolist() == [360, 15]


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].keeps.pixels == "yes"])
def test_every_format_from_file_to_viewer_to_file(
    viewer: ViewerModel, tmp_path: Path, name: str
) -> None:
    """Equal in pixels, scale, units and classes, as far as the format holds them."""
    keeps, suffix = FORMATS[name].keeps, FORMATS[name].suffixes[0]
    if keeps.planes == "no":
        layer = viewer.layers["cells"]
        layer.data, layer.features = layer.data[:1], layer.features.iloc[:1]
    first = save(viewer, tmp_path / f"a{suffix}", "napari-sam3")
    one = read_labels(first)
    image = viewer.layers[0]
    data, about, _ = layer_data(first, image if keeps.planes != "no" else None)
    layer = viewer.add_layer(Labels(data, **{**about, "name": "again"}))
    second = tmp_path / f"b{suffix}"
    layer.save(str(second), plugin="napari-sam3")
    two = read_labels(second)
    np.testing.assert_array_equal(np.asarray(one.data[...]), np.asarray(two.data[...]))
    if keeps.scale != "no":
        assert two.axes.scale == AXES.scale
        assert two.axes.units == AXES.units
    if keeps.classes != "no":
        assert two.table.known(3, (0,))["class"] == "nucleus"
        assert one.table.rows == two.table.rows
    one.close()
    two.close()


def test_outlines_open_by_naparis_own_dialog(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30), np.uint8)
    pixels[3:8, 4:9] = 7
    for name in ("geojson", "imagej-roi", "cellpose", "via", "labelme", "coco", "yolo"):
        path = export_labels(pixels, tmp_path / f"l{FORMATS[name].suffixes[0]}")
        reader = get_outlines_reader(str(path))
        assert reader is not None
        ((data, about, kind),) = reader(str(path))
        assert kind == "labels"
        np.testing.assert_array_equal(data, pixels)
        assert about["metadata"]["format"] == name
    (tmp_path / "a.json").write_text('{"key": 1}')
    (tmp_path / "a.txt").write_text("a letter")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("photo.png", b"")
    for other in ("a.json", "a.txt", "a.zip", "nothing.roi"):
        assert get_outlines_reader(str(tmp_path / other)) is None


def test_objects(viewer: ViewerModel, pixels: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    rois = roifile.roiread(save(viewer, tmp_path / "l.zip"))
    assert sorted(roi.name for roi in rois) == ["0003-0000-nucleus", "0012-0001"]  # type: ignore[union-attr]
    features = json.loads(save(viewer, tmp_path / "l.geojson").read_text())["features"]
    assert [f["geometry"]["plane"]["t"] for f in features] == [0, 1]
    assert features[0]["properties"]["measurements"] == {"label": 3, "area": 360, "score": 0.5}
    coco = COCO(str(save(viewer, tmp_path / "l.json")))
    assert [a["area"] for a in coco.loadAnns(coco.getAnnIds())] == [360, 15]


def test_layers_of_a_list_are_saved_by_name_of_the_plugin(
    viewer: ViewerModel, pixels: npt.NDArray[np.uint16], tmp_path: Path
) -> None:
    viewer.layers.selection = {viewer.layers["cells"]}
    (written,) = viewer.layers.save(str(tmp_path / "l.zarr"), selected=True, plugin="napari-sam3")
    np.testing.assert_array_equal(np.asarray(open_image(written).data), pixels)


def test_saving_over_what_is_shown(viewer: ViewerModel, tmp_path: Path) -> None:
    """The pixels come from the very files that are replaced."""
    path = save(viewer, tmp_path / "l.zarr")
    stored = zarr.open_group(path, mode="r+")["0"]
    viewer.layers["cells"].data = stored
    save(viewer, path)
    assert int(np.asarray(open_image(path).data).max()) == 12


def test_pyramids_are_saved_at_their_finest_level(tmp_path: Path) -> None:
    fine = np.arange(1200).reshape(30, 40)
    layer = Labels([fine, fine[::2, ::2]], multiscale=True)
    layer.save(str(tmp_path / "l.zarr"))
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "l.zarr").data), fine)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    layer = Labels(np.ones((4, 5), np.uint8), name="turned", rotate=30)
    with pytest.warns(UserWarning, match="the rotate of the layer 'turned' cannot be written"):
        layer.save(str(tmp_path / "l.zarr"))


def test_axes_that_nobody_named() -> None:
    layer = Labels(np.ones((3, 4, 5), np.uint8))
    assert layer_axes(layer.as_layer_data_tuple()[1], 3) == ImageAxes.default(3)
    layer.axis_labels = ("-3", "y", "x")
    assert layer_axes(layer.as_layer_data_tuple()[1], 3).names == ("axis_0", "y", "x")
