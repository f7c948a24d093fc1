"""Labels that the plugin writes, opened by napari again: pixels, scale, units, classes, table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest

from napari_sam3 import ObjectTable, export_labels
from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.beside_images import table_path
from napari_sam3.layers import readers
from napari_sam3.layers.layer_set import find_labels

AXES = ImageAxes.of("zyx", units=["um"] * 3, scale=[2.0, 0.5, 0.25], translate=[0, 0, 0])
TABLE = ObjectTable(
    {(1, ""): {"class": "nucleus", "score": 0.9}, (70000, ""): {"class": "cell", "score": 0.5}}
)


def labels() -> Any:
    data = np.zeros((3, 20, 30), np.uint32)
    data[0, 2:5, 2:9] = 1
    data[1:, 7:15, 4:9] = 70000
    return data


@pytest.fixture
def manager(npe2pm: PluginManager) -> PluginManager:
    root = Path(readers.__file__).parents[1]
    npe2pm.register(PluginManifest.from_file(root / "napari.yaml"))
    return npe2pm


def open_in_napari(path: Path, manager: PluginManager) -> Any:
    viewer = ViewerModel()
    (layer,) = viewer.open(str(path), plugin="napari-sam3")
    return layer


@pytest.mark.parametrize(
    "name", ["cells.labels.ome.tif", "labels.tif", "labels.ome.zarr", "image.zarr/labels/cells"]
)
def test_labels_open_as_they_were_saved(name: str, tmp_path: Path, manager: PluginManager) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    export_labels(labels(), path, axes=AXES, table=TABLE)
    if path.is_file():
        export_labels(labels(), table_path(path), "csv", axes=AXES, table=TABLE)
    layer: Any = open_in_napari(path, manager)
    assert type(layer).__name__ == "Labels"
    np.testing.assert_array_equal(layer.data, labels())
    assert layer.scale.tolist() == [2.0, 0.5, 0.25]
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    table = layer.features.groupby("index").first()
    assert table["class"].to_dict() == {1: "nucleus", 70000: "cell"}
    assert table["score"].to_dict() == pytest.approx({1: 0.9, 70000: 0.5})
    # And can be worked on: the widget takes them for an image that they lie on.
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros(layer.data.shape), scale=layer.scale, units=layer.units,
        axis_labels=layer.axis_labels,
    )  # fmt: skip
    viewer.add_layer(layer)
    found = find_labels(viewer, image)
    assert found is not None
    assert found.unique_id == layer.unique_id
    layer.visible = False
    assert find_labels(viewer, image) is None


def test_saved_by_napari_and_opened_again(tmp_path: Path, manager: PluginManager) -> None:
    export_labels(labels(), tmp_path / "a.labels.ome.zarr", axes=AXES, table=TABLE)
    layer = open_in_napari(tmp_path / "a.labels.ome.zarr", manager)
    layer.save(str(tmp_path / "b.labels.ome.zarr"), plugin="napari-sam3")
    again = open_in_napari(tmp_path / "b.labels.ome.zarr", manager)
    np.testing.assert_array_equal(again.data, layer.data)
    assert again.features["class"].tolist() == layer.features["class"].tolist()
    assert again.scale.tolist() == layer.scale.tolist()


def test_images_and_damaged_files_are_left_to_others(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "no labels.tif", np.zeros((9, 9), np.float32))
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    (tmp_path / "damaged labels.tif").write_bytes(b"II*\0")
    for name in ("no labels.tif", "labels.tif", "damaged labels.tif", "labels.zarr"):
        assert readers.get_labels_reader(str(tmp_path / name)) is None
    assert readers.get_session_reader(str(tmp_path / "x.sam3.json.gz")) is None
    assert readers.get_labels_reader([]) is None


def test_only_names_that_say_so_are_taken(manager: PluginManager, tmp_path: Path) -> None:
    def takes(name: str) -> bool:
        path = tmp_path / name
        path.touch()
        found = manager.iter_compatible_readers([str(path)])
        return any(one.plugin_name == "napari-sam3" for one in found)

    assert takes("a.labels.ome.tif")
    assert takes("day.sam3.json.gz")
    assert not takes("image.tif")
    assert not takes("cells.json.gz")
