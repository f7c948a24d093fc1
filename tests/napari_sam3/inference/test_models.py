"""The choice of a model: files, and the download from a real server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QWidget

from napari_sam3.inference.models import EMBEDDED
from napari_sam3.qt.model_menu import (
    BROWSE,
    DOWNLOAD,
    REMOTE,
    ModelMenu,
    model_choices,
    remember,
)
from napari_sam3.qt.panel import Panel
from napari_sam3.qt.settings import Settings
from tests.sam3.test_download import Hub, hub

__all__ = ["hub"]


@pytest.fixture
def menu(qtbot: Any, hub: Hub, tmp_path: Path) -> Iterator[ModelMenu]:
    """Return a menu whose downloads come from the server of this test."""
    parent, panel = QWidget(), Panel()
    qtbot.addWidget(parent)
    qtbot.addWidget(panel)
    panel.show()
    menu = ModelMenu(panel, parent, Settings())
    menu.options |= {"endpoint": hub.url, "cache_dir": tmp_path}
    yield menu
    menu.close()


def press(button: str) -> None:
    """Press a button of the message box that opens next."""

    def find() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, find)
            return
        (wanted,) = (b for b in box.buttons() if b.text().replace("&", "") == button)
        wanted.click()

    QTimer.singleShot(0, find)


def choose(menu: ModelMenu, data: str) -> None:
    combo = menu._panel.model
    combo.activated.emit([combo.itemData(i) for i in range(combo.count())].index(data))


def test_files_of_one_name_are_told_apart_and_lost_ones_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "sam3.pt", tmp_path / "b" / "sam3.pt", tmp_path / "c.pt"]
    for path in paths[:2]:
        path.parent.mkdir()
        path.touch()
    choices = model_choices([str(path) for path in paths], EMBEDDED)
    names = [f"sam3.pt ({tmp_path / 'a'})", f"sam3.pt ({tmp_path / 'b'})"]
    assert [text for text, _ in choices][1:3] == names
    assert [data for _, data in choices][-3:] == [BROWSE, REMOTE, DOWNLOAD]
    assert len(choices) == 6
    assert (str(paths[2]), str(paths[2])) not in choices
    assert ("c.pt", str(paths[2])) in model_choices([], str(paths[2]))


def test_the_file_used_last_is_remembered_first() -> None:
    assert remember(("a", "b"), "b") == ("b", "a")
    assert len(remember(tuple(map(str, range(20))), "new")) == 8


def test_without_consent_nothing_is_fetched(menu: ModelMenu, hub: Hub) -> None:
    press("Cancel")
    choose(menu, DOWNLOAD)
    assert menu.job is None
    assert not hub.ranges
    assert menu._panel.model.currentData() == EMBEDDED


def test_with_consent_the_weights_are_fetched_and_chosen(
    menu: ModelMenu, hub: Hub, qtbot: Any
) -> None:
    hub.content = b"weights" * 3_000_000
    press("Download")
    with qtbot.waitSignal(menu.chosen, timeout=60_000) as chosen:
        choose(menu, DOWNLOAD)
        assert menu._panel.stop.isVisible()
        assert "Downloading the weights" in menu._panel.status.text()
    assert Path(chosen.args[0]).read_bytes() == hub.content
    assert menu.job is None
    assert not menu._panel.stop.isVisible()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "GatedRepo", "are gated. Expected a login"),
        (403, "GatedRepo", "your account has no access"),
        (401, "RepoNotFound", "does not show facebook/sam3 to you"),
    ],
)
def test_each_refusal_has_its_own_message(
    menu: ModelMenu, hub: Hub, qtbot: Any, status: int, code: str, message: str
) -> None:
    hub.status, hub.error_code = status, code
    with qtbot.waitSignal(menu.failed, timeout=60_000) as failed:
        menu.download()
    assert message in str(failed.args[0])
    assert not menu._panel.stop.isVisible()


def test_a_download_can_be_stopped(menu: ModelMenu, hub: Hub, qtbot: Any, tmp_path: Path) -> None:
    hub.content = b"weights" * 30_000_000
    told: list[object] = []
    menu.chosen.connect(told.append)
    menu.failed.connect(told.append)
    menu.download()
    job = menu.job
    assert job is not None
    with qtbot.waitSignal(job.progressed, timeout=60_000):
        pass
    menu._panel.stop.click()
    assert menu.job is None
    assert job.wait(60)
    QApplication.processEvents()
    assert not told
    assert not list(tmp_path.rglob("sam3.pt"))


def test_a_refusal_stands_in_the_panel_and_the_model_in_use_stays(
    open_desk: Any, hub: Hub, tmp_path: Path
) -> None:
    desk = open_desk()
    hub.status, hub.error_code = 403, "GatedRepo"
    desk.widget.models.options |= {"endpoint": hub.url, "cache_dir": tmp_path}
    desk.widget.models.download()
    desk.hand.wait_until(lambda: desk.widget.models.job is None, "the refusal")
    assert "Your account has no access" in desk.status
    assert desk.status.endswith("or the embedded model.")
    assert desk.widget.panel.status.styleSheet()
    assert desk.widget.panel.model.currentData() == EMBEDDED
