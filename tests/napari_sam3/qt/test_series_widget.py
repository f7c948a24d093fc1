"""A series of images in the window, by real events: labelled, saved, left and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam3 import ImageSeries
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.qt.series_list import SeriesModel
from tests.napari_sam3 import annotating
from tests.napari_sam3.effort import calls

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Safety, "folder", str(tmp_path / "journals"))


def make_folder(folder: Path, blobs: Image, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        image = np.roll(blobs, number % 3, axis=1) + np.uint8(number)
        tifffile.imwrite(folder / f"cells{number}.tif", image)
    return folder


class Series:
    """A desk with a series open on it."""

    def __init__(self, desk: Any, source: Any, labels: Any = None) -> None:
        self.desk, self.run = desk, desk.widget.series
        self.panel = desk.widget.panel.series
        desk.session.policy = "overwrite"
        self.run.open(source, labels)
        self.wait(lambda: self.run.shown is not None, "the first image")

    @property
    def key(self) -> str:
        return str(self.run.shown.opened.item.key)

    @property
    def labels(self) -> Any:
        return self.run.shown.labels.data

    def wait(self, done: Callable[[], bool], what: str) -> None:
        self.desk.hand.wait_until(done, what, 60)

    def settle(self) -> None:
        """Wait until all is written and nothing is on its way."""
        self.wait(
            lambda: (
                not (self.run.saving.dirty or self.run.saving.writing or self.run._busy)
                and not self.desk.session.busy
                and self.run.files.wait(0)
            ),
            "the files",
        )
        self.desk.hand.rest()

    def label(self, *places: tuple[int, int]) -> None:
        for number, place in enumerate(places):
            self.desk.hand.click(place, shift=number > 0)
            self.desk.settle()

    def press(self, button: Any) -> None:
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
        self.desk.hand.rest()

    def go(self, key: str) -> None:
        """Press a key and wait for another image."""
        before = self.run.shown
        self.desk.hand.type(key)
        self.wait(lambda: self.run.shown is not before, "another image")
        self.desk.hand.rest()

    def states(self) -> list[str]:
        return [self.run.series.entry(item).state for item in self.run.series.items]


def test_a_series_is_labelled_by_clicks_and_one_key_an_image(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 3)
    series = Series(open_desk(), folder)
    desk, panel = series.desk, series.panel
    assert panel.next.isVisible()
    assert panel.fold.isVisible()
    assert "Image 1 of 3" in panel.fold.toggleButton().text()
    series.label((20, 20), (50, 45))
    # As you go: the first of them is on the disk before the image is left.
    path = folder / "cells0.labels.ome.tif"
    series.wait(path.exists, "labels saved as you go")
    series.settle()
    assert series.states()[0] == "work"
    series.go(".")
    assert series.key == "cells1.tif"
    first = tifffile.imread(path)
    assert len(np.unique(first)) == 3, "two objects and the background"
    assert (folder / "cells0.labels.csv").exists()
    assert series.states() == ["done", "todo", "todo"]
    assert len([one for one in desk.viewer.layers if one.name == "cells1.tif"]) == 1
    assert not series.labels.any()
    # By button, with nothing on the image: it was passed over.
    before = series.run.shown
    series.press(panel.next)
    series.wait(lambda: series.run.shown is not before, "another image")
    assert series.states() == ["done", "skipped", "todo"]
    assert not (folder / "cells1.labels.ome.tif").exists()
    # And back, to what was labelled, with its objects, table and undo.
    series.go(",")
    series.go(",")
    assert series.key == "cells0.tif"
    np.testing.assert_array_equal(series.labels, first)
    objects = desk.session.objects_in(series.run.shown.labels.unique_id)
    assert [len(one.prompts.points) for one in objects] == [1, 1]
    assert len(series.run.shown.labels.features) == 2
    desk.hand.type("Control-Z")
    desk.settle()
    assert len(np.unique(series.labels)) == 2, "the last object is undone"
    series.settle()
    assert len(np.unique(tifffile.imread(path))) == 2, "and on the disk as well"
    assert series.states()[0] == "done", "it stays done"
    # Only those not done.
    panel.only_open.setChecked(True)
    series.go(".")
    assert series.key == "cells2.tif"


def test_clicks_not_accepted_and_undo_come_back_in_another_window(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 2)
    series = Series(open_desk(), folder, tmp_path / "out")
    series.label((20, 20), (50, 45))
    points = series.desk.session.prompts.points
    series.desk.widget.shut_down()
    assert (tmp_path / "out" / "cells0.labels.ome.tif").exists()
    again = Series(open_desk(), folder, tmp_path / "out")
    assert again.key == "cells0.tif"
    again.desk.settle()
    assert again.desk.session.prompts.points == points
    assert len(again.run.shown.labels.features) == 1
    assert len(again.run.shown.opened.notes) == 0
    again.desk.hand.type("N")
    again.desk.hand.type("Control-Z")
    again.desk.hand.type("Control-Z")
    again.desk.hand.type("Control-Z")
    again.desk.settle()
    assert not again.labels.any()


def test_mixed_images_an_unreadable_one_and_labels_that_do_not_fit(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 1)
    (folder / "d2.tif").write_bytes(b"II*\0")
    stack = np.stack([blobs, blobs, blobs, blobs]).astype(np.float32)
    tifffile.imwrite(folder / "d3.tif", stack, photometric="minisblack")
    tifffile.imwrite(folder / "d4.tif", np.stack([blobs.T] * 3, axis=-1), photometric="rgb")
    tifffile.imwrite(folder / "d4.labels.ome.tif", np.ones((5, 5), np.uint8))
    tifffile.imwrite(folder / "d5.tif", (blobs > 99).astype(np.uint16) * 900)
    series = Series(open_desk(), folder)
    told: list[str] = []
    series.run._notices.show = lambda text, warning: told.append(text)
    series.label((20, 20))
    series.go(".")
    assert series.key == "d3.tif"
    assert any("Skipped d2.tif" in text for text in told)
    assert series.states()[1] == "skipped"
    row = series.panel.model.index(1)
    tip = series.panel.model.data(row, Qt.ItemDataRole.ToolTipRole)
    assert "d2.tif" in tip
    assert series.desk.widget.binding.plane.index == (2,)
    series.label((50, 45))
    series.go(".")
    assert any("d4.labels.ome.tif" in text for text in told)
    series.label((45, 50))
    series.go(".")
    assert tifffile.imread(folder / "d4.labels.ome.tif").shape == (5, 5)
    assert tifffile.imread(folder / "d4.labels-2.ome.tif").any()
    series.label((20, 20))
    # The end: saved and told, and nothing more.
    series.desk.hand.type(".")
    series.wait(lambda: not series.run.series.remaining, "the last one")
    assert series.key == "d5.tif"
    assert tifffile.imread(folder / "d5.labels.ome.tif").any()


def test_nothing_is_lost_where_labels_cannot_be_written(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 2)
    series = Series(open_desk(), folder)
    # Where the labels should be is a folder of somebody else.
    (folder / "cells0.labels.ome.tif").mkdir()
    real = series.run.series._files.write

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    series.run.series._files.write = full
    series.label((20, 20))
    series.desk.hand.type(".")
    series.wait(lambda: "No space left" in series.desk.status, "the error")
    assert series.key == "cells0.tif", "the image is not left"
    assert series.labels.any()
    series.run.series._files.write = real
    series.go(".")
    assert tifffile.imread(folder / "cells0.labels-2.ome.tif").any()


def test_other_programs_change_files_while_they_are_open(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 2)
    series = Series(open_desk(), folder)
    told: list[str] = []
    series.run._notices.show = lambda text, warning: told.append(text)
    series.label((20, 20), (50, 45))
    path = folder / "cells0.labels.ome.tif"
    series.settle()
    tifffile.imwrite(path, np.full((100, 90), 7, np.uint8))
    tifffile.imwrite(folder / "cells0.tif", blobs[::-1])
    series.go(".")
    assert (tifffile.imread(path) == 7).all(), "theirs is left alone"
    assert len(np.unique(tifffile.imread(folder / "cells0.labels-2.ome.tif"))) == 3
    assert any("cells0.labels-2.ome.tif" in text for text in told)
    assert any("cells0.tif was changed by another program" in text for text in told)


def test_a_series_that_is_open_elsewhere_says_who_has_it(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 1)
    desk = open_desk()
    with ImageSeries(folder):
        desk.widget.series.open(folder)
        desk.hand.wait_until(lambda: "open elsewhere: by" in desk.status, "the error", 30)
        assert not desk.widget.panel.series.fold.isVisible()
    desk.widget.series.open(folder)
    desk.hand.wait_until(lambda: desk.widget.series.shown is not None, "the series", 30)
    desk.widget.series.open(tmp_path / "nowhere")
    desk.hand.wait_until(lambda: "no such folder" in desk.status.lower(), "the error", 30)


def test_the_next_image_is_encoded_while_this_one_is_labelled(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "in", blobs, 2)
    desk = open_desk()
    # A model that has learnt nothing would look at places of other sizes as well.
    desk.session.level = 0
    series, session = Series(desk, folder), desk.session
    series.settle()
    series.wait(lambda: series.run._ahead is not None, "the next image")
    series.wait(
        lambda: (
            series.desk.widget.runner.wait(0) and len(session.ahead._come) > 0 and not session.busy
        ),
        "the next image to be encoded",
    )
    series.desk.widget.wait()
    series.desk.hand.rest()
    encoded: list[Any] = []
    encode = session.predictor.encode

    def counted(*arguments: Any, **options: Any) -> Any:
        encoded.append(arguments[0].shape)
        return encode(*arguments, **options)

    session.predictor.encode = counted
    try:
        session.look_ahead = 0
        series.go(".")
        series.label((50, 45))
    finally:
        session.predictor.encode = encode
    assert session.prediction is not None
    assert not encoded, "the click found what was encoded before"


def test_keys_work_while_the_list_of_images_has_the_focus(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    series = Series(open_desk(), make_folder(tmp_path / "in", blobs, 3))
    view, desk, hand = series.panel.view, series.desk, cast(Any, QTest)
    series.panel.fold.unfold(True)
    desk.hand.rest()
    series.label((20, 20))
    row = view.visualRect(series.panel.model.index(0)).center()
    hand.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=row)
    view.setFocus()
    hand.keyClick(view, "n")
    desk.settle()
    assert [one.id for one in desk.session.objects] == [1]
    hand.keyClick(view, ".")
    series.wait(lambda: series.key == "cells1.tif", "the next image")
    # After a choice the canvas has the focus again.
    view.setFocus()
    view.setCurrentIndex(series.panel.model.index(2))
    hand.keyClick(view, Qt.Key.Key_Return)
    series.wait(lambda: series.key == "cells2.tif", "the image chosen")
    window = desk.viewer.window._qt_window
    desk.hand.wait_until(lambda: window.focusWidget() is desk.hand.canvas, "the focus", 10)


def test_a_list_of_ten_thousand_images_is_looked_through_with_little_work(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    tifffile.imwrite(folder / "image00000.tif", blobs)
    for number in range(1, 10_000):
        os.link(folder / "image00000.tif", folder / f"image{number:05}.tif")
    series = Series(open_desk(), folder)
    view, model = series.panel.view, series.panel.model
    series.panel.fold.unfold(True)
    series.desk.hand.rest()
    model._pictures.clear()

    def look_through() -> None:
        for step in (view.scrollToBottom, view.scrollToTop):
            step()
            series.desk.hand.rest()
        series.panel.only_open.setChecked(True)
        series.desk.hand.rest()

    assert calls(look_through) < 150_000
    assert model.rowCount() == 10_000
    assert len(model._wanted) + len(model._pictures) < 200, "only what is seen is read"
    rows = view.visibleRegion().boundingRect().height() // view.sizeHintForRow(0)
    series.wait(lambda: len(model._pictures) >= rows > 0 and not model._wanted, "pictures")
    assert isinstance(model, SeriesModel)


# ------------------------------------------------------------------------- kill -9


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_a_folder_is_labelled_with_one_gesture_an_image_through_a_kill(
    blobs: Image, tmp_path: Path, count: int
) -> None:
    folder = make_folder(tmp_path / "in", blobs, count)
    command = [sys.executable, "-m", annotating.__name__, str(folder), str(tmp_path / "journals")]
    stop = f"object cells{count // 2}.tif 3\n"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if line == stop:
                running.kill()  # at once: the last object may not even be in its file
                break
        running.stdout.read()
    assert lines[-1] == stop
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    resumed = done.stdout.splitlines()
    assert resumed[0] == f"object cells{count // 2}.tif 3", "three of five were there already"
    words = resumed[-1].split()
    clicks, others = int(words[1]), int(words[3])
    left = count - count // 2
    assert others == left, "one gesture an image, besides the clicks"
    assert clicks == 5 * (left - 1) + 2
    with ImageSeries(folder) as series:
        assert series.counts() == {"done": count}
        for item in series.items:
            labels = series.read(item).labels
            assert labels is not None
            assert len(np.unique(labels)) == 6, item.key
            assert series.entry(item).objects == 5
