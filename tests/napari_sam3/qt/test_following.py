"""Images that move, are copied, or take turns; objects that would not be seen, losses not told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


# ------------------------------------------------------------ images that move and follow


def test_everything_moves_with_the_image(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(np.stack([blobs] * 4), scale=(2, 1, 1))
    binding, dims = desk.widget.binding, desk.viewer.dims
    desk.hand.click((20, 20))
    desk.settle()
    desk.hand.drag((66, 10), (86, 32))
    desk.settle()
    before, area = desk.session.draft_set, desk.session.prediction.mask.area
    for name, value in (
        ("affine", [[1, 0, 0, 0], [0, 1, 0.2, 5], [0, -0.2, 1, 5], [0, 0, 0, 1]]),
        ("translate", (0, 500, -70)),
    ):
        setattr(binding.image, name, value)
        desk.settle()
        assert desk.session.draft_set.same_as(before), f"{name}: no prompt was read half-way"
        assert desk.session.prediction.mask.area == area
    desk.session.reject()
    binding.image.affine = np.eye(4)
    binding.image.scale = (4, 1, 1)
    desk.hand.rest()
    # A slider of the image's own planes, and a view of nothing else.
    assert [tuple(one) for one in dims.range] == [(0, 12, 4), (500, 599, 1), (-70, 19, 1)]
    assert np.allclose(binding.preview.scale, (4, 1, 1))


def test_spare_layers_do_not_widen_the_view_of_the_next_image(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(np.stack([blobs] * 3), scale=(2, 1, 1), translate=(90, 9000, -9000))
    labels = desk.widget.binding.labels
    desk.viewer.layers.remove(desk.widget.binding.image)
    desk.hand.wait_until(lambda: desk.widget.binding is None, "the image to be let go", 10)
    desk.viewer.layers.remove(labels)
    image = desk.viewer.add_image(blobs, scale=(0.1, 0.1))
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the new image", 10)
    assert [tuple(one) for one in desk.viewer.dims.range] == [(0, 9.9, 0.1), (0, 8.9, 0.1)]
    # There is one set of layers, not another one without content for three axes.
    names = [f"{image.name} labels", "SAM 3 preview", "SAM 3 boxes", "SAM 3 points"]
    assert [layer.name for layer in desk.viewer.layers] == [image.name, *names]
    image.translate = (300, 300)
    desk.hand.rest()
    assert desk.viewer.dims.range[-1][:2] == pytest.approx((300, 308.9))
    stack = desk.viewer.add_image(np.stack([blobs] * 3))
    desk.widget._go_on_with(stack)
    desk.hand.rest()
    assert [layer.name for layer in desk.viewer.layers][3:] == [f"{stack.name} labels", *names[1:]]
    assert {layer.ndim for layer in list(desk.viewer.layers)[2:]} == {3}


def test_a_copy_of_own_labels_is_a_layer_of_the_user(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    own, image = desk.widget.binding.labels, desk.widget.binding.image
    copy = desk.viewer.add_labels(
        own.data.copy(), name="backup", metadata=dict(own.metadata), translate=(50, 0)
    )
    image.scale = (2, 2)
    assert np.allclose(own.scale, 2)
    desk.widget.panel.image.activated.emit(0)
    assert desk.widget.binding.labels.unique_id == own.unique_id
    assert np.allclose(copy.scale, 1)
    assert np.allclose(copy.translate, (50, 0))


# --------------------------------------------------------------- steps of several images


def test_undo_takes_back_what_was_done_to_the_image_shown(
    open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    first, own = desk.widget.binding.image, desk.widget.binding.labels

    def accept(place: tuple[int, int]) -> None:
        desk.hand.click(place)
        desk.settle()
        desk.hand.type("N")

    def choose(image: Any) -> None:
        desk.widget._go_on_with(image)
        desk.hand.rest()

    accept((20, 20))
    second = desk.add_image(blobs[::-1].copy())
    choose(second)
    other = desk.widget.binding.labels
    undo = desk.widget.panel.buttons["undo"]
    assert not undo.isEnabled(), "nothing was done here"
    desk.hand.type("Control-Z")
    assert own.data.any(), "what was accepted on another image stays"
    accept((75, 20))
    choose(first)
    for _ in range(3):
        desk.hand.type("Control-Z")
        desk.settle()
    assert not own.data.any()
    assert other.data.any()
    desk.hand.type("Control-Shift-Z")
    desk.hand.type("Control-Shift-Z")
    assert own.data.any()
    # What cannot be taken back any more is not in the way of what can.
    desk.viewer.layers.remove(next(one for one in desk.viewer.layers if one == second))
    desk.viewer.layers.remove(next(one for one in desk.viewer.layers if one == other))
    desk.hand.type("Control-Z")
    assert not own.data.any()
    # Nor are steps in other labels of the same image.
    desk.hand.type("Control-Shift-Z")
    accept((75, 20))
    count = len(np.unique(own.data))
    desk.widget.set_image(first)
    desk.hand.type("Control-Z")
    assert len(np.unique(own.data)) == count


# ------------------------------------------------------------------------- seen and told


def test_new_objects_are_seen_whatever_is_hidden(open_desk: OpenDesk, blobs: Image) -> None:
    from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

    desk = open_desk(blobs)
    binding = desk.widget.binding
    labels = binding.labels

    def accept() -> int:
        desk.hand.click((20, 20))
        desk.settle()
        desk.hand.type("N")
        desk.settle()
        label: int = desk.session.objects[-1].id
        seen = labels.get_color(label)
        assert seen is not None
        assert seen[3] > 0.3, "the new object is seen"
        desk.hand.type("Control-Z")
        desk.hand.type("Q")
        return label

    labels.show_selected_label = True
    labels.selected_label = 77
    accept()
    assert not labels.show_selected_label
    clear = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0.01]])
    for colormap in (
        CyclicLabelColormap(colors=clear),
        DirectLabelColormap(color_dict={None: (1, 0, 0, 0.001)}),
        DirectLabelColormap(color_dict={None: "transparent"}),
    ):
        labels.colormap = colormap
        accept()
    for color in ("transparent", "#ff000000", "#ff000005"):
        binding.set_classes({"cell": color}, show=True)
        desk.session.category = "cell"
        accept()


def test_what_could_not_be_restored_is_said_for_longer_than_a_moment(
    open_desk: OpenDesk, blobs: Image
) -> None:
    from napari_sam3.qt.notices import _on_view
    from napari_sam3.session.restoring import RestoreResult

    desk = open_desk(blobs)
    desk.widget.binding.labels_restored.emit(RestoreResult(3, (), (), renumbered=True))
    assert not _on_view()
    desk.widget.binding.labels_restored.emit(RestoreResult(1, (3,), (2,), renumbered=False))
    desk.hand.rest()
    assert ["Not restored: label 2" in one.message.text() for one in _on_view()] == [True]
