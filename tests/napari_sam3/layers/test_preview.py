"""The layer of the masks in hand: in place, as small as they are, and cheap to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.layers.label_layer import placement
from napari_sam3.layers.preview import FILL, OUTLINE, Preview, preview_colors
from sam3.predictor import Predictor

SHAPE = (3, 400, 300)
PLANE = PlaneIndex((1, 2), (1,))
Shown = tuple[ViewerModel, Preview, Any]


@pytest.fixture
def shown() -> Shown:
    """Return a viewer, a preview of its image, and the data that the layer was given."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE, np.uint8), scale=(3, 0.5, 0.5), translate=(1, 2, 3))
    layer = viewer.add_labels(
        np.zeros((1, 1, 1), np.uint8), colormap=preview_colors(), **placement(image)
    )
    given: list[tuple[int, ...]] = []
    layer.events.data.connect(lambda: given.append(layer.data.shape))
    return viewer, Preview(layer, image), given


def block(row: int, column: int, height: int, width: int) -> PlaneMask:
    return PlaneMask.from_array(np.ones((height, width), bool), row, column)


def seen(preview: Preview) -> npt.NDArray[np.uint8]:
    """What the preview shows in the pixels of the image."""
    whole, layer = np.zeros(SHAPE, np.uint8), preview.layer
    places = np.argwhere(layer.data)
    world = [preview.image.world_to_data(layer.data_to_world(place)) for place in places]
    for place, at in zip(places, np.rint(world).astype(int) if world else [], strict=True):
        whole[tuple(at)] = layer.data[tuple(place)]
    return whole


def test_masks_that_follow_each_other_are_drawn_into_the_same_array(shown: Shown) -> None:
    viewer, preview, given = shown
    extent = viewer.layers.extent.world.copy()
    for row, column, height, width in (
        (10, 20, 30, 40), (15, 20, 40, 41), (370, 260, 30, 40), (0, 0, 3, 3), (200, 290, 60, 10),
    ):  # fmt: skip
        preview.show([(block(row, column, height, width), True)], PLANE)
        expected = np.zeros(SHAPE, np.uint8)
        inside = expected[1, row : row + height, column : column + width]
        inside[...] = OUTLINE
        inside[1:-1, 1:-1] = FILL
        assert (seen(preview) == expected).all()
        assert np.allclose(viewer.layers.extent.world, extent), "no more to see than the image"
    preview.show([], PLANE)
    assert not seen(preview).any()
    assert given == [(1, 320, 300)]


def test_masks_near_each_other_move_no_layer(shown: Shown) -> None:
    """Moving a layer has napari look through all layers and sliders, at each click."""
    viewer, preview, _ = shown
    preview.show([(block(200, 100, 30, 40), True)], PLANE)
    moved: list[Any] = []
    preview.layer.events.translate.connect(moved.append)
    for row, column in ((170, 60), (90, 200), (300, 110)):
        preview.show([(block(row, column, 25, 30), True)], PLANE)
        assert np.argwhere(seen(preview))[0].tolist() == [1, row, column]
        preview.show([], PLANE)
    assert not moved
    preview.show([(block(2, 2, 5, 5), True)], PLANE)
    assert len(moved) == 1, "it was too far away"
    preview.show([], PLANE)
    viewer.layers[0].translate = (4, 5, 6)
    preview.show([], PLANE)
    inside = viewer.layers[0].extent.world
    own = preview.layer.extent.world
    assert (own[0] >= inside[0]).all()
    assert (own[1] <= inside[1]).all()
    preview.show([(block(2, 2, 5, 5), True)], PLANE)
    assert np.argwhere(seen(preview))[0].tolist() == [1, 2, 2]


def test_the_array_is_never_much_larger_than_the_masks(shown: Shown) -> None:
    _, preview, given = shown
    preview.show([(block(0, 0, 390, 290), True)], PLANE)
    preview.show([(block(0, 0, 200, 290), True)], PLANE)
    preview.show([(block(5, 5, 90, 60), True)], PLANE)
    assert seen(preview).sum() > 0
    preview.show([(block(0, 0, 300, 200), True)], PLANE)
    preview.show([], PLANE)
    assert given == [(1, 400, 300), (1, 320, 300)]


@pytest.mark.parametrize("shape", [(40, 30), (45, 200), (10, 12), (200, 200), (1, 1)])
def test_undo_after_the_image_was_given_an_array_of_another_shape(
    predictor: Predictor, blobs: npt.NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    errors: list[BaseException] = []
    with bind(viewer, image, predictor=predictor, on_error=errors.append) as binding:
        for row, column in ((50, 45), (78, 68)):
            binding.points.add([row, column])
            assert binding.accept() is not None
        image.data = np.zeros(shape, np.uint8)
        for _ in range(4):
            binding.undo()
            assert all(np.less_equal(binding.preview.data.shape, np.maximum(shape, 1)))
        assert not binding.session.objects
        assert not binding.labels.data.any()
        assert all("does not fit" in str(error) for error in errors)
        image.data = blobs
        binding.points.add([50, 45])
        assert binding.accept() is not None


def test_planes_across_the_stack(shown: Shown) -> None:
    _, preview, given = shown
    for plane, place in ((PLANE, (1, 50, 60)), (PlaneIndex((0, 1), (7,)), (2, 5, 7))):
        row, column = (place[axis] for axis in plane.axes)
        preview.show([(block(row, column, 1, 2), True)], plane)
        across = tuple(np.add(place, np.eye(3, dtype=int)[plane.axes[1]]))
        assert [tuple(at) for at in np.argwhere(seen(preview))] == [place, across]
    assert given == [(1, 320, 300), (1, 320, 1)]
