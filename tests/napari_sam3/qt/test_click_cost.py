"""What a click costs the window, counted: draws, reads, pieces of work. No times: they vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.qt import workers

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
PLACE = (20, 20)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the window wait for an answer as long as it takes: machines that test are busy."""
    monkeypatch.setattr(workers, "BLINK", 30.0)


@pytest.fixture
def counted(patient: None, open_desk: OpenDesk, blobs: Image) -> tuple[Any, dict[str, int]]:
    """Return a desk whose image is encoded and at rest, and what happens from now on."""
    desk = open_desk(blobs)
    desk.session.look_ahead = 0
    desk.hand.click(PLACE)
    desk.settle()
    desk.hand.type("Q")
    for _ in range(3):
        desk.hand.rest()
    counts = {"draws": 0, "masks drawn": 0, "edits": 0}

    def count(name: str) -> Callable[..., None]:
        def up(*_: Any) -> None:
            counts[name] += 1

        return up

    canvas = desk.viewer.window._qt_viewer.canvas._scene_canvas
    canvas.events.draw.connect(count("draws"))
    binding = desk.widget.binding
    binding.preview.events.set_data.connect(count("masks drawn"))
    desk.session.drafts_changed.connect(count("edits"))
    return desk, counts


def test_a_click_on_what_is_encoded_is_drawn_once_with_its_mask(
    counted: tuple[Any, dict[str, int]],
) -> None:
    desk, counts = counted
    desk.hand.click(PLACE)
    assert desk.session.prediction is not None, "answered before the click is drawn"
    desk.settle()
    desk.hand.rest()
    # The press draws nothing, nor does the point before its mask.
    assert counts == {"draws": 1, "masks drawn": 1, "edits": 1}


def test_a_click_more_draws_the_mask_once(counted: tuple[Any, dict[str, int]]) -> None:
    desk, counts = counted
    desk.hand.click(PLACE)
    desk.settle()
    desk.hand.rest()
    counts.update(dict.fromkeys(counts, 0))
    desk.hand.click((24, 24))
    desk.settle()
    desk.hand.rest()
    assert counts == {"draws": 1, "masks drawn": 1, "edits": 1}


def test_what_the_panel_says_needs_no_look_at_every_object(
    counted: tuple[Any, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = counted
    registry = desk.session._parts.objects
    looks: list[Any] = []
    within = registry.within

    def look(source: Any) -> Any:
        looks.append(source)
        return within(source)

    monkeypatch.setattr(registry, "within", look)
    desk.hand.click(PLACE)
    desk.settle()
    assert desk.widget.panel.object.text().endswith("0 objects accepted")
    assert looks == []
    desk.hand.type("N")
    assert desk.widget.panel.object.text() == "1 object accepted"
    assert len(looks) == 1, "the table of objects alone goes through all of them"
