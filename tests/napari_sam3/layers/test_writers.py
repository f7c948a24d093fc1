"""File > Save of Labels layers, through napari and its plugin manager."""

from __future__ import annotations

import json
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
from npe2 import PluginManifest
from pycocotools.coco import COCO

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.layers.label_layer import placement
from napari_sam3.layers.writers import layer_axes

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


def test_ome_tiff_is_written_here_and_other_tiffs_by_napari(
    viewer: ViewerModel, pixels: npt.NDArray[np.uint16], tmp_path: Path
) -> None:
    path = save(viewer, tmp_path / "l.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    axes = open_image(path).axes
    assert (axes.names, axes.units, axes.scale) == (AXES.names, AXES.units, AXES.scale)
    with tifffile.TiffFile(save(viewer, tmp_path / "l.tif")) as file:
        assert not file.is_ome
    with pytest.warns(UserWarning, match="not a valid writer"):
        viewer.layers["cells"].save(str(tmp_path / "m.tif"), plugin="napari-sam3")


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
