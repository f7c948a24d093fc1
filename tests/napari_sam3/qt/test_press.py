"""A mask is predicted while the mouse button is down; real events in the real viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from skimage.draw import disk

from sam3 import load_predictor

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
DISC, OTHER = (40.0, 40.0), (40.0, 130.0)


@pytest.fixture
def desk(open_desk: Callable[..., Any]) -> Any:
    image = np.full((200, 180), 20, np.uint8)
    for centre in (DISC, OTHER):
        image[disk(centre, 16)] = 200
    desk = open_desk(image, model=load_predictor(device="cpu"))
    desk.session.mode = "one"
    desk.hand.click(DISC)
    desk.settle()
    assert desk.session.accept() is not None
    return desk


def press(desk: Any, predictions: list[Any]) -> None:
    """Press the button on the second disc, and wait for the prediction."""
    predictions.clear()
    desk.hand.move(OTHER)
    desk.hand._mouse(QEvent.Type.MouseButtonPress, OTHER, LEFT, True)
    desk.hand.wait_until(lambda: bool(predictions), "a mask is predicted before the release")
    assert desk.widget.wait(60)
    assert not desk.session.draft_set.drafts


def test_a_release_shows_the_mask_that_its_press_predicted(
    desk: Any, predictions: list[Any]
) -> None:
    press(desk, predictions)
    before = len(predictions)
    desk.hand._mouse(QEvent.Type.MouseButtonRelease, OTHER, LEFT, False)
    desk.settle()
    assert len(predictions) == before
    assert 700 < desk.session.prediction.mask.area < 900


def test_other_things_may_happen_before_the_release(desk: Any, predictions: list[Any]) -> None:
    press(desk, predictions)
    desk.hand.type("Control-Z")  # drops the label, whose draft the click then belongs to
    desk.hand._mouse(QEvent.Type.MouseButtonRelease, OTHER, LEFT, False)
    desk.settle()
    assert not desk.session.objects
    (draft,) = desk.session.draft_set.drafts
    assert len(draft.prompts.points) == 2
    assert desk.session.prediction.prompts == draft.prompts
    assert desk.session.prediction.mask.area > 1200, "both discs"
    desk.hand.type("Q")

    press(desk, predictions)
    for place in ((30.0, 120.0), (22.0, 112.0)):
        desk.hand._mouse(QEvent.Type.MouseMove, place, LEFT, True)
    desk.hand._mouse(QEvent.Type.MouseButtonRelease, (22.0, 112.0), LEFT, False)
    desk.settle()
    (draft,) = desk.session.draft_set.drafts
    assert draft.prompts.box is not None
    assert not draft.prompts.points
    assert desk.session.prediction.prompts == draft.prompts
