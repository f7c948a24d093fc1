"""Layers that were deleted are named, and made anew with the prompts in hand."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.errors import LabelError, LayerError
from sam3.errors import ImageError
from sam3.predictor import Predictor
from tests.napari_sam3.layers.test_layers import Image, click


def test_labels_that_were_deleted_are_named_and_made_anew(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    lost: list[LayerError] = []
    binding.layers_lost.connect(lost.append)
    click(binding, 20, 20)
    viewer.layers.remove(binding.labels)
    assert "'blobs labels' was deleted" in str(lost[0])
    with pytest.raises(LabelError, match="was deleted"):
        binding.accept()
    viewer.layers.remove(binding.points)
    viewer.layers.remove(binding.preview)
    binding.restore()
    assert binding.session.prompts.points == ((20, 20),)
    assert len(binding.points.data) == 1
    assert binding.preview.data.any()
    binding.accept()
    assert binding.labels.data.any()
    binding.close()
    assert [layer.name for layer in viewer.layers] == ["blobs", "blobs labels"]


def test_an_image_that_was_deleted_is_named(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    click(binding, 20, 20)
    viewer.layers.remove(image)
    with pytest.raises(ImageError, match="Open an image"):
        binding.accept()
    binding.close()


def test_an_image_whose_axes_go_with_it(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    image = viewer.add_image(np.stack([[blobs, blobs]] * 2))
    binding = bind(viewer, image, predictor=predictor)
    for layer in (binding.labels, binding.points, binding.boxes, binding.preview, image):
        viewer.layers.remove(layer)
    assert viewer.dims.ndim == 2
    with pytest.raises(ImageError, match="Open an image"):
        binding.accept()
    binding.close()


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 2, 64, 64), (64, 65)])
def test_an_image_that_is_given_another_shape(
    predictor: Predictor, blobs: Image, shape: tuple[int, ...]
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    binding = bind(viewer, image, predictor=predictor)
    click(binding, 20, 20)
    binding.accept()
    written = binding.labels.data.copy()
    with pytest.raises(LayerError, match=r"does not fit the image .* Choose"):
        image.data = np.zeros(shape, blobs.dtype)
    np.testing.assert_array_equal(binding.labels.data, written)
    image.data = blobs
    click(binding, 20, 20)
    binding.accept()
    assert len(binding.session.objects) == 2
    binding.close()


def test_closing_leaves_no_callback_behind(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    points, labels = viewer.add_points(ndim=2), viewer.add_labels(np.zeros(blobs.shape, int))
    points.mode = "add"

    def callbacks() -> dict[str, int]:
        groups = {"dims": viewer.dims, "list": viewer.layers, "image": image}
        groups |= {"points": points, "labels": labels}
        counts = {
            f"{group}.{name}": len(emitter.callbacks)
            for group, owner in groups.items()
            for name, emitter in owner.events.emitters.items()
        }
        counts |= {"drag": len(points.mouse_drag_callbacks), "keys": len(points.keymap)}
        return counts

    before = callbacks()
    for _ in range(3):
        binding = bind(viewer, image, labels, points=points, predictor=predictor)
        binding.close()
    assert callbacks() == before
    assert [layer.name for layer in viewer.layers] == ["blobs", "Points", "Labels"]
