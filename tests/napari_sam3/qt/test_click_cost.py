"""What a click costs the window, counted: draws, reads, pieces of work. No times: they vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.rendering import Rendering
from napari_sam3.layers import present_objects
from napari_sam3.qt import workers
from napari_sam3.qt.controls import LayerChoice

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


def test_a_click_does_not_look_through_the_layers_to_choose_from(
    counted: tuple[Any, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = counted
    shown: list[Any] = []
    show = LayerChoice.show

    def note(choice: LayerChoice, *arguments: Any) -> None:
        shown.append(choice)
        show(choice, *arguments)

    monkeypatch.setattr(LayerChoice, "show", note)
    desk.hand.click(PLACE)
    desk.settle()
    assert desk.session.prediction is not None
    assert not shown
    desk.viewer.add_labels(np.zeros(desk.widget.binding.image.data.shape, np.uint16))
    desk.settle()
    assert shown, "it is offered"


def test_what_the_panel_says_needs_no_look_at_every_object(
    open_desk: OpenDesk, blobs: Image, predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(blobs)
    binding, session = desk.widget.binding, desk.session
    desk.hand.click(PLACE)
    desk.settle()
    desk.hand.type("Q")
    labels = binding.labels_on(binding.plane)
    found = [
        Instance(n + 1, PlaneMask(n // 30 * 3, n % 30 * 3, np.ones((2, 2), bool)), 1.0)
        for n in range(200)
    ]
    session.write_batch(
        session.begin_batch(labels), session.plane_key, labels, found, predictor, Rendering()
    )
    session.end_batch()
    looked: list[int] = []
    find = present_objects._find_pixel

    def look(data: Any, one: Any) -> Any:
        looked.append(one.id)
        return find(data, one)

    monkeypatch.setattr(present_objects, "_find_pixel", look)
    assert binding.accepted == 200
    looked.clear()
    desk.hand.click((96, 60))
    desk.settle()
    session.delete(100)
    desk.hand.rest()
    assert binding.accepted == 199
    session.undo()
    assert binding.accepted == 200
    assert set(looked) <= {100}, "the pixels of the others are known"
    data = np.asarray(binding.labels.data)
    data[data == 7] = 0  # by another tool
    assert binding.accepted == 199
    assert set(looked) <= {7, 100}


def test_points_are_added_with_their_symbols(counted: tuple[Any, dict[str, int]]) -> None:
    desk, _ = counted
    points = desk.widget.binding.points
    changes: list[str] = []

    def note(_: Any) -> None:
        changes.append("symbols")

    points.events.symbol.connect(note)
    desk.hand.click(PLACE)
    desk.settle()
    assert [str(one) for one in points.symbol] == ["ring"]
    assert not changes, "each change draws all points again"
    desk.hand.click((30, 30), right=True)
    desk.settle()
    assert [str(one) for one in points.symbol] == ["ring", "cross"]
