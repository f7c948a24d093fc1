"""Bad input in the real viewer: a clear message, the viewer alive, nothing lost."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication

from napari_sam3.core.planes import plane_from_array
from napari_sam3.session.session import LabelingSession
from sam3.errors import ImageError
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


def still_works(desk: Any, place: tuple[float, float] = (20, 20)) -> None:
    """Label an object after whatever went wrong."""
    before = len(desk.session.objects)
    desk.hand.click(place)
    desk.settle()
    desk.hand.type("N")
    assert len(desk.session.objects) == before + 1
    assert not desk.widget.panel.status.styleSheet(), "the error is gone"


def test_no_image(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk()
    assert "Open an image" in desk.status
    desk.viewer.add_labels(np.zeros((20, 20), int))
    assert "Open an image" in desk.status
    desk.add_image(blobs)
    still_works(desk)


@pytest.mark.parametrize("victim", ["image", "labels", "points", "boxes", "preview"])
def test_a_layer_deleted_in_mid_prediction(
    open_desk: OpenDesk, predictor: Predictor, blobs: Image, victim: str
) -> None:
    gate, started = threading.Event(), threading.Event()

    def slow() -> Predictor:
        started.set()
        assert gate.wait(60)
        return predictor

    desk = open_desk(blobs, model=slow)
    desk.hand.click((20, 20))
    desk.hand.wait_until(started.is_set, "the worker to start")
    layer = getattr(desk.widget.binding, victim)
    desk.viewer.layers.remove(getattr(layer, "__wrapped__", layer))
    gate.set()
    desk.settle()
    QApplication.processEvents()
    if victim == "image":
        assert "Open an image" in desk.status
        desk.add_image(blobs)
    else:
        assert f"{layer.name!r} was deleted" in desk.status
        assert desk.widget.panel.way_back.text() == "Restore layers"
        desk.widget.panel.way_back.click()
        assert len(desk.widget.binding.points.data) == 1, "the click is not lost"
        desk.press("accept")
        desk.settle()
        assert len(desk.session.objects) == 1
    still_works(desk, (50, 45))


def test_an_image_deleted_keeps_what_was_accepted(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    still_works(desk)
    desk.viewer.layers.remove(desk.viewer.layers[0])
    QApplication.processEvents()
    assert "was deleted. Choose another one" in desk.status
    names = ["image labels", "SAM 3 preview", "SAM 3 boxes", "SAM 3 points"]
    assert [layer.name for layer in desk.viewer.layers] == names, "they serve the next image"
    assert [np.any(layer.data) for layer in desk.viewer.layers] == [True, False, False, False]


def test_a_click_outside_the_image(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    desk.viewer.scene.camera.zoom /= 2
    desk.hand.click((20, 20))
    desk.settle()
    desk.hand.click((-20, 30))
    told = re.search(r"row -(\d+\.\d), column (\d+\.\d) lies outside .*rows 0 to 99", desk.status)
    assert told is not None
    assert np.allclose([float(told[1]), float(told[2])], (20, 30), atol=0.5)
    assert desk.status not in [str(n.message) for n in notification_manager.records]
    assert len(desk.widget.binding.points.data) == 1
    assert len(desk.session.prompts.points) == 1
    still_works(desk, (25, 25))


def test_a_box_without_area(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    desk.hand.drag((20, 10), (20, 60))
    assert "too small" in desk.status
    assert desk.session.prompts.is_empty
    assert len(desk.widget.binding.boxes.data) == 0
    boxes = desk.widget.binding.boxes
    boxes.add_rectangles([[[10, 10], [11, 11]]])  # what a plain click leaves behind
    assert desk.session.prompts.is_empty
    still_works(desk)
    assert not desk.session.objects[0].prompts.box


def test_background_clicks_alone(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    desk.hand.click((5, 5), right=True)
    assert "background clicks only" in desk.status
    still_works(desk)
    assert desk.session.objects[0].prompts.labels == (0, 1)


def test_an_image_without_any_value(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(np.full((40, 50), np.nan), contrast_limits=(0, 1))
    told = lambda: "no finite value" in desk.status  # noqa: E731
    desk.hand.wait_until(told, "the message", 20)
    desk.hand.click((20, 20))
    desk.hand.wait_until(told, "the message again", 20)
    assert f"{desk.widget.binding.image.name!r} of shape (40, 50)" in desk.status
    assert "2000 values" in desk.status
    desk.widget.set_image(desk.add_image(blobs))
    still_works(desk)


@pytest.mark.filterwarnings("ignore:invalid value")  # napari's own, of such an image
def test_an_image_of_unknown_lengths_is_refused_in_words(open_desk: OpenDesk, blobs: Image) -> None:
    import dask.array as da

    lazy = da.from_array(blobs, chunks=30)
    desk = open_desk()
    layer = desk.viewer.add_image(lazy[lazy.max(1) > 100], name="bright rows")
    desk.hand.wait_until(lambda: "compute_chunk_sizes" in desk.status, "the message", 20)
    assert "'bright rows' are not known" in desk.status
    assert desk.widget.binding is None
    desk.viewer.layers.remove(layer)
    desk.add_image(blobs)
    still_works(desk)


def test_a_mask_without_pixels_is_a_miss(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs[:1, :1])
    desk.hand.click((0, 0))
    desk.settle()
    assert desk.session.prediction.mask.is_empty
    assert "no mask" in desk.status.lower()
    told = len(notification_manager.records)
    desk.hand.type("N")
    desk.settle()
    assert "mask is empty" in desk.status
    assert len(notification_manager.records) == told, "a line, no message over the window"
    assert len(desk.session.prompts.points) == 1


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.full((40, 50), 9, np.uint8), {}),
        (np.zeros((40, 50), np.float32), {"contrast_limits": (0, 1)}),
        (np.where(np.eye(40, 50) > 0, np.nan, 3.5), {"contrast_limits": (0, 9)}),
        (np.arange(2000, dtype=np.uint16).reshape(40, 50) * 32, {}),
        (np.random.default_rng(0).integers(0, 255, (40, 50, 4), np.uint8), {"rgb": True}),
        (np.random.default_rng(0).random((40, 50, 3)), {"rgb": True}),
        (np.eye(40, 50) > 0, {}),
        (np.linspace(-9, 5, 2000).reshape(40, 50), {}),
    ],
    ids=["constant", "zero", "some NaN", "16 bit", "RGBA", "float RGB", "bool", "negative"],
)
def test_any_picture_can_be_labelled(
    open_desk: OpenDesk, image: Any, options: dict[str, Any]
) -> None:
    desk = open_desk(image, **options)
    still_works(desk)
    assert desk.widget.binding.labels.data.shape == (40, 50)


def test_an_empty_image(predictor: Predictor) -> None:
    # napari's own Image layer cannot be made of one, so it can only come from a script.
    with pytest.raises(ImageError, match=r"is empty: shape \(0, 20\)"):
        plane_from_array(np.zeros((0, 20), np.uint8))
    session = LabelingSession(predictor)
    with pytest.raises(ImageError, match=r"shape \(0, 20, 3\)"):
        session.set_plane(np.zeros((0, 20, 3), np.uint8), "empty", np.zeros((0, 20), int))
    assert session.plane_key is None


@pytest.mark.parametrize("kind", ["missing", "damaged", "text"])
def test_a_weights_file_that_cannot_be_used(
    open_desk: OpenDesk, predictor: Predictor, blobs: Image, tmp_path: Path, kind: str
) -> None:
    weights = tmp_path / ("weights.safetensors" if kind == "damaged" else "weights.pt")
    if kind != "missing":
        weights.write_bytes(b"\x10" * 99 if kind == "damaged" else b"these are no weights")
    desk = open_desk(blobs)
    desk.hand.click((20, 20))
    desk.settle()
    desk.widget.set_model(weights)
    desk.settle()
    assert weights.name in desk.status
    assert desk.widget.panel.model.currentText() == weights.name
    assert len(desk.session.prompts.points) == 1
    desk.widget.set_predictor(predictor)
    desk.settle()
    still_works(desk, (25, 25))
