"""Pixels that come slowly, or not at all: the window stays alive and says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class Remote:
    """An image that the plugin's thread waits for, or cannot have."""

    def __init__(self, data: Image) -> None:
        self._data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim
        self.there, self.broken = threading.Event(), False

    def __getitem__(self, key: Any) -> Any:
        if threading.current_thread().name.startswith("napari-sam3"):
            assert self.there.wait(60)
            if self.broken:
                raise OSError("the server at 10.0.0.7 does not answer")
        return self._data[key]


def test_slow_reading_can_be_stopped_and_the_window_stays_alive(
    open_desk: Callable[..., Any], blobs: Image
) -> None:
    remote = Remote(blobs)
    desk = open_desk(remote)
    desk.session.look_ahead = 0
    stop = desk.widget.panel.stop_work
    # The image is recognised by its pixels first.
    remote.there.set()
    desk.hand.wait_until(lambda: desk.widget.wait(0), "the image to be known", 30)
    remote.there.clear()
    assert not stop.isVisible()
    desk.hand.click((20, 20))
    started = time.monotonic()
    desk.hand.wait_until(stop.isVisible, "the button", 30)
    assert time.monotonic() - started > 1
    assert desk.session.busy
    assert "Encoding the image" in desk.status
    stop.click()
    assert not stop.isVisible()
    remote.there.set()
    desk.settle()
    assert desk.session.prediction is None
    assert desk.session.prompts.points, "the click stays"
    desk.session.predict()
    desk.settle()
    assert desk.session.prediction is not None
    assert not stop.isVisible()


def test_what_cannot_be_read_is_named_and_can_be_tried_again(
    open_desk: Callable[..., Any], blobs: Image
) -> None:
    remote = Remote(blobs)
    remote.there.set()
    remote.broken = True
    desk = open_desk(remote)
    desk.hand.click((20, 20))
    desk.settle()
    assert "does not answer" in desk.status
    assert "try again" in desk.status
    remote.broken = False
    desk.hand.click((22, 21))
    desk.settle()
    assert desk.session.prediction is not None
