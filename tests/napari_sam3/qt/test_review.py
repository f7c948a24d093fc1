"""The review area in the window: sliders, the table, the walk by keys, and linking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_sam3.batch import Repeated, segment
from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.labels.ome_zarr import create_labels
from napari_sam3.layers.saved_sessions import save_session
from napari_sam3.layers.writers import save_labels
from napari_sam3.session.candidates import CandidatePlane
from tests.napari_sam3.conftest import Desk, OpenDesk
from tests.napari_sam3.effort import calls


def square(row: int, column: int, side: int, score: float, number: int = 0) -> Instance:
    return Instance(number, PlaneMask(row, column, np.ones((side, side), bool)), score)


def put(desk: Desk, z: int, *found: Instance) -> None:
    """Give the session candidates on a plane."""
    target = desk.widget.binding.labels_on(PlaneIndex((1, 2), (z,)))
    desk.session.candidates.put(CandidatePlane(target.key, target), found, 0.0)


def push(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    QApplication.processEvents()


def open_review(desk: Desk) -> Any:
    push(desk.widget.panel.finding.review)
    return desk.widget.finding.review.panel


def choose(panel: Any, row: int) -> None:
    """Click on a row of the table."""
    table = panel.table
    place: QPoint = table.visualRect(panel.model.index(row, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)  # type: ignore[call-overload]
    QApplication.processEvents()


def column(panel: Any, at: int) -> list[str]:
    model = panel.model
    return [model.data(model.index(row, at)) for row in range(model.rowCount())]


def test_review_in_the_window(open_desk: OpenDesk, tmp_path: Any) -> None:
    desk = open_desk(np.zeros((4, 100, 100), np.uint8))
    binding, candidates = desk.widget.binding, desk.session.candidates
    put(desk, 0, square(10, 10, 10, 0.4), square(40, 60, 20, 0.9))
    put(desk, 2, square(70, 20, 12, 0.2))
    panel = open_review(desk)
    desk.hand.wait_until(lambda: panel.model.rowCount() == 3, "the rows")
    assert panel.isVisible()
    assert column(panel, 0) == ["candidate"] * 3
    assert column(panel, 1) == ["0.20", "0.40", "0.90"]
    assert column(panel, 2) == ["144", "100", "400"]
    assert column(panel, 4) == ["2", "0", "0"]

    # A row goes to its plane, and has its object in the middle.
    choose(panel, 0)
    assert binding.viewer.dims.current_step[0] == 2
    np.testing.assert_allclose(desk.viewer.scene.camera.center[-2:], (75.5, 25.5))
    assert candidates.current.score == 0.2

    # The sliders answer without the model.
    panel.area.setValue((120, 400))
    desk.hand.wait_until(lambda: len(candidates.shown) == 2, "the filter")
    panel.score.setValue((0.5, 1.0))
    desk.hand.wait_until(lambda: column(panel, 1) == ["0.90"], "the filter")
    panel.score.setValue((0.0, 1.0))
    panel.area.setValue((0, 400))
    desk.hand.wait_until(lambda: panel.model.rowCount() == 3, "all rows")

    # The worst first, by keys: dropped, accepted, and the last one stays.
    desk.session.reviewing.select(None)
    desk.hand.type("Shift-W")
    assert candidates.current.score == 0.2
    desk.hand.type("Shift-K")
    assert candidates.current.score == 0.4
    assert binding.viewer.dims.current_step[0] == 0
    desk.hand.type("Shift-Y")
    assert candidates.current.score == 0.9
    assert np.count_nonzero(binding.labels.data) == 100
    push(panel.accept_all)
    assert np.unique(binding.labels.data).tolist() == [0, 1, 2]
    desk.hand.wait_until(lambda: column(panel, 0) == ["1", "2"], "accepted rows")

    # Selecting a label selects its row, and a row its label.
    binding.labels.selected_label = 2
    assert [one.row() for one in panel.table.selectionModel().selectedRows()] == [1]
    choose(panel, 0)
    assert binding.labels.selected_label == 1

    desk.press("undo")
    rows = ["1", "candidate"]
    desk.hand.wait_until(lambda: sorted(column(panel, 0)) == rows, "undo", 10)
    for count in (2, 3):  # the single accept, and the one that was dropped
        desk.press("undo")
        desk.hand.wait_until(lambda n=count: column(panel, 0) == ["candidate"] * n, "undo", 10)
    assert not binding.labels.data.any()


def test_results_on_disk_come_as_candidates_and_are_linked(
    open_desk: OpenDesk, tmp_path: Any
) -> None:
    desk = open_desk(np.zeros((4, 60, 60), np.uint8))
    binding, candidates = desk.widget.binding, desk.session.candidates
    planes = create_labels(tmp_path / "found.zarr", (4, 60, 60), np.uint16, ImageAxes.of("zyx"))
    for z in range(4):
        planes.array[z, 10:20, 10:20] = z + 1
    planes.finish({z + 1: {"score": 0.5 + z / 10} for z in range(4)})
    panel = open_review(desk)
    desk.widget.finding.review.read(str(tmp_path / "found.zarr"))
    desk.hand.wait_until(lambda: panel.model.rowCount() == 4, "candidates")
    assert column(panel, 1) == ["0.50", "0.60", "0.70", "0.80"]
    assert not np.any(binding.labels.data)
    push(panel.accept_all)
    assert len(np.unique(binding.labels.data)) == 5
    push(panel.link)
    assert np.unique(binding.labels.data).tolist() == [0, 1]
    assert "4 labels are 1 objects" in desk.status
    desk.hand.wait_until(lambda: column(panel, 4) == ["0 (+3)"], "one row")
    desk.press("undo")
    assert len(np.unique(binding.labels.data)) == 5
    # What does not fit is said.
    other = create_labels(tmp_path / "other.zarr", (2, 9, 9), np.uint16, ImageAxes.of("zyx"))
    other.finish()
    desk.widget.finding.review.read(str(tmp_path / "other.zarr"))
    assert "labels of 2 x 9 x 9" in desk.status
    assert not candidates.all


def test_ten_thousand_rows_are_shown_and_sorted_with_little_work(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1, 1000, 1000), np.uint8))
    panel = open_review(desk)
    found = [square(10 * (n // 100), 10 * (n % 100), 5 + n % 4, n / 10_000) for n in range(10_000)]

    def rows(number: int) -> None:
        desk.hand.wait_until(lambda: panel.model.rowCount() == number, "the rows", 30)

    def show() -> None:
        put(desk, 0, *found)
        rows(10_000)

    def keep_the_best() -> None:
        panel.score.setValue((0.9, 1.0))
        rows(1000)

    def sort() -> None:
        panel.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
        QApplication.processEvents()

    assert calls(show) < 400 * len(found)
    assert calls(sort) < 60 * len(found)
    assert column(panel, 2)[:2500] == ["64"] * 2500
    assert calls(keep_the_best) < 20 * len(found)


def test_sorting_keeps_the_row_of_the_object_highlighted(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((2, 100, 100), np.uint8))
    put(desk, 0, square(10, 10, 10, 0.4), square(40, 60, 20, 0.9), square(70, 20, 15, 0.2))
    panel = open_review(desk)
    desk.hand.wait_until(lambda: panel.model.rowCount() == 3, "the rows")
    choose(panel, 1)
    header = panel.table.horizontalHeader()
    for section, areas in ((2, ("100", "225", "400")), (2, ("400", "225", "100")), (1, ())):
        x = header.sectionViewportPosition(section) + header.sectionSize(section) // 2
        QTest.mouseClick(
            header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(x, header.height() // 2)
        )  # type: ignore[call-overload]
        QApplication.processEvents()
        assert not areas or tuple(column(panel, 2)) == areas
        (selected,) = panel.table.selectionModel().selectedRows()
        assert column(panel, 1)[selected.row()] == "0.40"
        assert column(panel, 1)[panel.table.currentIndex().row()] == "0.40"
    assert desk.session.candidates.current.score == 0.4


@pytest.mark.parametrize("with_viewer", [False, True])
def test_the_area_goes_with_the_widget(open_desk: OpenDesk, with_viewer: bool) -> None:
    desk = open_desk(np.zeros((50, 50), np.uint8))
    open_review(desk)
    if with_viewer:
        return  # the viewer is closed by its fixture
    desk.widget.shut_down()
    QApplication.processEvents()
    assert desk.widget.finding.review.panel is None


def test_a_closed_area_opens_again_and_its_table_leaves_keys_to_napari(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((100, 100), np.uint8))
    target = desk.widget.binding.labels_on(PlaneIndex((0, 1), ()))
    twins = square(10, 10, 10, 0.4), square(10, 10, 10, 0.4)
    desk.session.candidates.put(CandidatePlane(target.key, target), twins, 0.0)
    panel = open_review(desk)
    panel.parentWidget().destroyOnClose()  # the cross of the dock
    assert not panel.isVisible()
    panel = open_review(desk)
    assert panel.isVisible()
    seen: list[Any] = []
    for _ in twins:  # equal rows are shown one after the other, too
        QTest.keyClick(panel.table, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier)  # type: ignore[call-overload]
        QApplication.processEvents()
        seen.append(desk.session.candidates.current)
    assert set(seen) == set(desk.session.candidates.all)


def test_the_brush_is_given_up_with_the_image(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((100, 100), np.uint8))
    labels = desk.widget.binding.labels
    desk.hand.type("Shift-B")
    assert labels.preserve_labels
    desk.widget.set_image(None)
    assert (str(labels.mode), labels.preserve_labels) == ("pan_zoom", False)


def test_a_row_is_dropped_whatever_plane_is_shown(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((4, 60, 60), np.uint8))
    binding = desk.widget.binding
    put(desk, 0, square(10, 10, 10, 0.4, number=7), square(40, 40, 8, 0.9))
    put(desk, 1, square(12, 10, 10, 0.5, number=7))
    put(desk, 2, square(10, 10, 5, 0.8))
    panel = open_review(desk)
    push(panel.accept_all)
    desk.hand.wait_until(
        lambda: (
            set(column(panel, 0)) == {str(one) for one in np.unique(binding.labels.data)[1:]}
            and column(panel, 4) == ["0 (+1)", "2", "0"]
        ),
        "accepted rows",
    )
    drawn = np.array(binding.labels.data)
    row, other, last = (int(name) for name in column(panel, 0))

    # The object of the row, on the planes that it is on, though another plane is shown.
    choose(panel, 0)
    binding.viewer.dims.set_current_step(0, 2)
    desk.hand.type("Shift-K")
    assert set(np.unique(binding.labels.data)) == {0, other, last}
    desk.press("undo")
    np.testing.assert_array_equal(binding.labels.data, drawn)
    desk.hand.wait_until(lambda: panel.model.rowCount() == 3, "undo")

    # The row that is highlighted, however it became so: by a label, or by arrows.
    choose(panel, 0)
    binding.labels.selected_label = last
    desk.hand.type("Shift-K")
    assert set(np.unique(binding.labels.data)) == {0, row, other}
    desk.press("undo")
    desk.hand.wait_until(lambda: panel.model.rowCount() == 3, "undo")
    choose(panel, 0)
    QTest.keyClick(panel.table, Qt.Key.Key_Down)  # type: ignore[call-overload]
    QApplication.processEvents()
    desk.hand.type("Shift-K")
    assert set(np.unique(binding.labels.data)) == {0, row, last}
    # A label without a row is not the object shown before.
    choose(panel, 0)
    binding.labels.selected_label = 99
    desk.hand.type("Shift-K")
    assert set(np.unique(binding.labels.data)) == {0, row, last}
    assert "no object or candidate is selected" in desk.status.lower()


def test_the_walk_begins_anew_with_another_image(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1, 60, 60), np.uint8))
    for scores in ((0.5, 0.9), (0.3, 0.8)):
        put(desk, 0, square(10, 10, 10, scores[0]), square(40, 40, 10, scores[1]))
        desk.session.candidates.accept()
        rows = {row.score: row.label for row in desk.widget.binding.review.rows()}
        desk.hand.type("Shift-W")
        assert desk.widget.binding.labels.selected_label == rows[scores[0]]
        desk.widget.set_image(desk.add_image(np.zeros((1, 60, 60), np.uint8)))


FILES = {
    "ome-tiff": "found.labels.ome.tif",
    "tiff": "found.tif",
    "ome-zarr": "found.zarr",
    "imagej-roi": "found.zip",
    "geojson": "found.geojson",
    "coco": "found.json",
    "labelme": "found.labelme.json",
    "via": "found.via.json",
    "cellpose": "found_seg.npy",
}


def test_results_of_files_and_folders_of_all_kinds_are_opened(
    open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((40, 50), np.uint8)
    desk = open_desk(image)
    candidates, binding = desk.session.candidates, desk.widget.binding
    pixels = np.zeros((40, 50), np.uint32)
    pixels[5:15, 5:20], pixels[20:33, 30:44] = 3, 7
    panel = open_review(desk)

    def read(what: str, path: Path) -> list[PlaneMask]:
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))
        candidates.clear()
        panel.read_actions[what].trigger()
        QApplication.processEvents()
        return [one.mask for one in candidates.all]

    for name, file in FILES.items():
        path = save_labels(Labels(pixels), tmp_path / file, name)
        masks = read("folder" if path.is_dir() else "file", path)
        drawn = np.zeros((40, 50), bool)
        for mask in masks:
            drawn[mask.region] |= mask.crop
        assert len(masks) == 2, (name, desk.status)
        np.testing.assert_array_equal(drawn, pixels > 0, err_msg=name)
        assert not np.any(binding.labels.data)
    # A batch, by its labels and by the folder of its records.
    for _ in segment(
        image, Repeated({2: PromptSet(box=(5, 5, 20, 15))}), output=tmp_path / "b.zarr"
    ):
        pass
    by_labels = read("folder", tmp_path / "b.zarr")
    by_records = read("folder", tmp_path / "b.zarr.batch")
    assert len(by_labels) == len(by_records) == 1
    np.testing.assert_array_equal(by_labels[0].crop, by_records[0].crop)
    assert candidates.all[0].score < 1
    # A session, with the scores that its objects had.
    candidates.accept()
    score = desk.session.objects[0].score
    path = save_session(binding, tmp_path / "day.session.json.gz")
    assert len(read("file", path)) == 1
    assert candidates.all[0].score == pytest.approx(score, abs=1e-4)
    # What holds no labels of this image is said by name.
    (tmp_path / "other.json").write_text("{}")
    assert not read("file", tmp_path / "other.json")
    assert "other.json" in desk.status
    small = save_labels(Labels(pixels[:, :20]), tmp_path / "small.tif", "tiff")
    assert not read("file", small)
    assert "40 x 20" in desk.status
