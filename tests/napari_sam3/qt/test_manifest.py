from __future__ import annotations

from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManager, PluginManifest

from napari_sam3.layers.sample_data import make_nuclei, make_series


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    (entry,) = entry_points(group="napari.manifest", name="napari-sam3")
    assert entry.value == "napari_sam3:napari.yaml"
    return PluginManifest.from_distribution("napari-sam3")


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert manifest.name == "napari-sam3"
    assert manifest.contributions.commands


def test_the_widget_is_in_both_menus(manifest: PluginManifest) -> None:
    (widget,) = manifest.contributions.widgets or []
    assert (widget.command, widget.display_name) == ("napari-sam3.segment", "SAM 3")
    items = manifest.contributions.menus["napari/layers/segment"]
    assert [getattr(item, "command", None) for item in items] == ["napari-sam3.segment"]


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "layers"),
    [
        ("coins", (303, 384), "uint8", 1),
        ("ihc", (512, 512, 3), "uint8", 1),
        ("nuclei", (512, 512), "uint16", 2),
        ("stack", (24, 256, 256), "uint16", 2),
        ("series", (16, 256, 256), "uint16", 2),
    ],
)
def test_samples_open_without_a_network(
    manifest: PluginManifest, key: str, shape: tuple[int, ...], dtype: str, layers: int
) -> None:
    (sample,) = (s for s in manifest.contributions.sample_data or [] if s.key == key)
    manager = PluginManager()
    manager.register(manifest)
    manager.activate(manifest.name)
    made = [Layer.create(*data) for data in sample.open(_registry=manager.commands)]
    assert len(made) == layers
    assert (made[0].data.shape, str(made[0].data.dtype)) == (shape, dtype)
    if layers == 2:
        truth = made[1].data
        assert len(np.unique(truth)) > 20
        assert np.allclose(made[0].scale, made[1].scale)
        # The truth lies on the objects: they are much brighter than the ground.
        assert made[0].data[truth > 0].mean() > 2 * np.median(made[0].data[truth == 0])


def test_made_images_are_the_same_every_time() -> None:
    first, second = (make_nuclei((1, 64, 64), count=6, seed=1) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_nuclei_keep_their_labels_and_move_less_than_their_size() -> None:
    image, labels = make_series((6, 96, 96), count=5, seed=2)
    again, _ = make_series((6, 96, 96), count=5, seed=2)
    assert (image == again).all()
    for number in range(1, 6):
        frames = labels == number
        moved = [a.any() and b.any() and not (a & b).any() for a, b in pairwise(frames)]
        assert frames.any()
        assert not any(moved)
    assert (labels[0] != labels[-1]).any()


@pytest.mark.parametrize("path", [("&Layers", "Segment"), ("&Plugins",)])
def test_the_widget_opens_by_a_click_in_the_menu(
    make_napari_viewer: Any, npe2pm: Any, manifest: PluginManifest, path: tuple[str, ...]
) -> None:
    npe2pm.register(manifest)
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((20, 20), np.uint8))
    menu = viewer.window._qt_window.menuBar()
    for title in path:
        (menu,) = (action.menu() for action in menu.actions() if action.text() == title)
        menu.aboutToShow.emit()
    (entry,) = (action for action in menu.actions() if "SAM 3" in action.text())
    entry.trigger()
    (widget,) = viewer.window.dock_widgets.values()
    assert type(widget).__name__ == "SegmentWidget"
    assert widget.panel.image.count() == 1
    widget.shut_down()
    assert widget.wait(60)
