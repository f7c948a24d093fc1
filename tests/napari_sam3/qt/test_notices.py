"""Messages in the corner of the window do not pile up, and the status line is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import notification_manager

from napari_sam3.qt.notices import MOST, Notices, _on_view
from tests.napari_sam3.conftest import OpenDesk


def texts() -> list[str]:
    return sorted(notice.message.text() for notice in _on_view() if notice.isVisible())


def test_an_error_again_and_again_is_one_message(
    open_desk: OpenDesk, blobs: npt.NDArray[np.uint8]
) -> None:
    desk = open_desk(blobs)
    desk.hand.click((20, 20))
    desk.settle()
    desk.widget.binding.labels.editable = False
    for _ in range(5):
        desk.widget.binding.accept()
    assert len(texts()) == 1
    assert texts()[0] == desk.status


def test_what_several_pieces_of_work_meet_is_told_once(open_desk: OpenDesk) -> None:
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda new: told.append(str(new.message)))
    desk = open_desk(np.full((100, 90), np.nan, np.float32))
    desk.hand.wait_until(lambda: told, "the error")
    for _ in range(3):
        desk.session.prepare()
        desk.settle()
    assert told == [desk.status]
    desk.hand.click((20, 20))  # whoever tries again is told again
    desk.hand.wait_until(lambda: len(told) > 1, "the error")
    desk.settle()
    assert set(told) == {desk.status}


def test_the_newest_few_stay_and_those_of_others_are_left_alone(make_napari_viewer: Any) -> None:
    from napari.utils.notifications import show_warning

    make_napari_viewer(show=True)
    show_warning("somebody else's")
    notices = Notices()
    for number in range(6):
        notices.show(f"error {number}", warning=number % 2 == 0)
    assert texts() == [*(f"error {n}" for n in range(6 - MOST, 6)), "somebody else's"]
    notices.show("error 4", warning=True)
    notices.show("error 3", warning=True)
    assert texts() == ["error 3", "error 4", "error 5", "somebody else's"]


def test_deleted_labels_are_not_said_to_be_kept(open_desk: OpenDesk, blobs: Any) -> None:
    for cleared in (False, True):
        desk = open_desk(blobs, name="cells")
        if cleared:
            desk.viewer.layers.clear()
        else:
            desk.viewer.layers.remove(desk.widget.binding.image)
        desk.hand.wait_until(lambda desk=desk: desk.widget.binding is None, "the end", 30)
        assert "'cells' was deleted" in desk.status
        assert ("its labels are kept" in desk.status) != cleared
