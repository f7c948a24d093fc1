"""Saving and opening labels from the first view of the panel, by real clicks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam3.labels.formats.choice import FORMATS, export_labels
from napari_sam3.labels.formats.keeps import MARKS
from napari_sam3.labels.formats.reading import read_labels
from tests.napari_sam3.conftest import Desk, OpenDesk

#: Its methods are typed as those of an object.
TYPIST: Any = QTest
SCALE, PLACE = (0.5, 0.25), (3.0, 4.0)


def push(button: Any) -> None:
    TYPIST.mouseClick(button, Qt.MouseButton.LeftButton)
    QApplication.processEvents()


def some_labels() -> npt.NDArray[np.uint16]:
    pixels = np.zeros((60, 80), np.uint16)
    pixels[5:20, 6:30] = 3
    pixels[10:12, 10:12] = 0
    pixels[30:35, 40:70] = 70_001 % 65_536
    return pixels


@pytest.fixture
def desk(open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a desk with an image of a scale, and labels with classes that are in use."""
    monkeypatch.chdir(tmp_path)
    desk = open_desk()
    image = desk.viewer.add_image(
        np.zeros((60, 80), np.uint8), name="cells", scale=SCALE, translate=PLACE, units=("µm",) * 2
    )
    features = pd.DataFrame({"index": [3, 4465], "class": ["nucleus", "cell"], "score": [0.5, 1]})
    labels = desk.viewer.add_labels(
        some_labels(),
        name="mine",
        features=features,
        scale=SCALE,
        translate=PLACE,
        units=("µm",) * 2,
    )
    assert desk.widget.set_image(image, labels)
    return desk


def open_dialog(desk: Desk) -> Any:
    push(desk.widget.panel.files.save)
    dialog = desk.widget.files.dialog
    assert dialog.isVisible()
    return dialog


def choose_format(dialog: Any, name: str) -> None:
    row = list(FORMATS).index(name)
    table = dialog.formats
    table.scrollToItem(table.item(row, 0))
    at = table.visualItemRect(table.item(row, 0)).center()
    button = Qt.MouseButton.LeftButton
    TYPIST.mouseClick(table.viewport(), button, Qt.KeyboardModifier.NoModifier, at)
    QApplication.processEvents()
    assert table.currentRow() == row


def done(desk: Desk) -> None:
    assert desk.widget.wait(60)
    desk.hand.rest()


def test_the_buttons_are_in_the_first_view(desk: Desk) -> None:
    files = desk.widget.panel.files
    assert files.save.isVisible()
    assert files.open.isVisible()


def test_the_dialog_shows_all_formats_and_the_labels_in_use(desk: Desk) -> None:
    """Whatever is selected; the plugin's preview is no layer to save."""
    desk.viewer.add_labels(np.ones((60, 80), np.uint8), name="another")
    desk.viewer.layers.selection.active = desk.viewer.layers["cells"]
    dialog = open_dialog(desk)
    names = [dialog.layer.itemText(at) for at in range(dialog.layer.count())]
    assert names == ["mine", "another"]
    assert dialog.layer.currentText() == "mine"
    assert dialog.formats.rowCount() == len(FORMATS)
    for row, one in enumerate(FORMATS.values()):
        shown = [dialog.formats.item(row, n).text() for n in range(dialog.formats.columnCount())]
        assert shown[0] == one.title
        assert MARKS[one.keeps.scale] in shown[2:]
    push(dialog.buttons.button(dialog.buttons.StandardButton.Cancel))
    assert desk.widget.files.dialog is None


def test_saving_and_opening_again(desk: Desk, tmp_path: Path) -> None:
    """In pixels, scale, units and classes, for formats of all kinds."""
    for name in ("geojson", "coco", "cellpose", "ome-zarr"):
        dialog = open_dialog(desk)
        choose_format(dialog, name)
        path = tmp_path / f"cells{FORMATS[name].suffixes[0]}"
        assert dialog.file.text() == str(path)
        push(dialog.save)
        done(desk)
        assert desk.status == f"Saved {path}."
        before = len(desk.viewer.layers)
        desk.widget.files.open_file(path)
        done(desk)
        assert desk.status == f"Opened 2 objects from {path.name}."
        layer = desk.widget.binding.labels
        assert len(desk.viewer.layers) == before + 1
        assert layer.name == "cells labels"
        np.testing.assert_array_equal(layer.data, some_labels())
        assert tuple(layer.scale) == SCALE
        assert tuple(layer.translate) == PLACE
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.features.set_index("index")["class"].to_dict() == {3: "nucleus", 4465: "cell"}
        desk.widget.set_image(desk.viewer.layers["cells"], desk.viewer.layers["mine"])
        desk.viewer.layers.remove(layer.name)


def test_names_keep_their_stem_and_files_are_replaced_when_asked(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "here.zip").write_text("mine")
    dialog = open_dialog(desk)
    dialog.file.setFocus()
    dialog.file.selectAll()
    TYPIST.keyClicks(dialog.file, "here.ome.tif")
    assert dialog.save.isEnabled()
    assert not dialog.replace.isVisible()
    assert dialog.chosen[2] == "ome-tiff"  # which the name means
    choose_format(dialog, "imagej-roi")
    assert dialog.file.text() == "here.zip"
    assert dialog.replace.isVisible()
    assert not dialog.save.isEnabled()
    button = Qt.MouseButton.LeftButton
    at = QPoint(12, dialog.replace.height() // 2)
    TYPIST.mouseClick(dialog.replace, button, Qt.KeyboardModifier.NoModifier, at)
    assert dialog.save.isEnabled()
    choose_format(dialog, "geojson")
    assert dialog.file.text() == "here.geojson"
    choose_format(dialog, "imagej-roi")
    push(dialog.save)
    done(desk)
    np.testing.assert_array_equal(read_labels(tmp_path / "here.zip").data, some_labels())


def test_what_cannot_be_saved_or_opened_is_said(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    dialog = open_dialog(desk)
    dialog.file.selectAll()
    TYPIST.keyClicks(dialog.file, "file/l.zip")
    push(dialog.save)
    done(desk)
    assert "file/l.zip" in desk.status or "cannot be written to" in desk.status
    assert desk.status != f"Saved {tmp_path / 'file' / 'l.zip'}."
    other = export_labels(np.ones((9, 9), np.uint8), tmp_path / "other.tif")
    desk.widget.files.open_file(other)
    done(desk)
    assert "9 x 9" in desk.status
    assert desk.widget.binding.labels.name == "mine"


def test_outlines_of_others_get_the_scale_of_the_image(desk: Desk, tmp_path: Path) -> None:
    corners = [[4, 3], [9, 3], [9, 8], [4, 8], [4, 3]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    (tmp_path / "l.geojson").write_text(json.dumps(geometry))
    desk.widget.files.open_file(tmp_path / "l.geojson")
    done(desk)
    layer = desk.widget.binding.labels
    assert layer.data[3:8, 4:9].all()
    assert np.count_nonzero(layer.data) == 25
    assert (tuple(layer.scale), tuple(layer.translate)) == (SCALE, PLACE)
    # And napari's own dialog writes it with its scale under a plain name.
    layer.save(str(tmp_path / "plain.tif"))
    with tifffile.TiffFile(tmp_path / "plain.tif") as file:
        assert file.is_imagej
    assert read_labels(tmp_path / "plain.tif").axes.scale == SCALE
