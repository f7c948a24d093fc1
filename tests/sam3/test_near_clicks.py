"""Clicks decoded in windows of an image give nearly the masks of clicks decoded in all of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.layers.sample_data import make_nuclei
from sam3 import ImageFeatures, Predictor, load_predictor
from sam3.errors import PromptError
from sam3.near_clicks import predict_near


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("tiny", device="cpu")


@pytest.fixture(scope="module")
def nuclei(predictor: Predictor) -> tuple[ImageFeatures, npt.NDArray[np.float64]]:
    """Return an encoded image, and clicks (x, y) on the middles of its nuclei."""
    image, truth = make_nuclei((1, 224, 200), count=20, seed=4, radii=(8, 12))
    places = [np.argwhere(truth[0] == number) for number in range(1, truth.max() + 1)]
    middles = [place[len(place) // 2][::-1] for place in places if len(place) > 150]
    return predictor.encode(image[0]), np.array(middles, float)[:, None]


def test_masks_are_nearly_those_of_the_whole_image(
    predictor: Predictor, nuclei: tuple[ImageFeatures, npt.NDArray[np.float64]]
) -> None:
    features, clicks = nuclei
    assert len(clicks) > 16, "more than are decoded at once"
    whole = predictor.predict(features, clicks, np.ones(clicks.shape[:2]), crop="later")
    near = predict_near(predictor, features, clicks)
    assert near.logits.shape == whole.logits.shape
    assert near.masks.shape == whole.masks.shape
    best = whole.scores.argmax(1)
    rows = np.arange(len(best))
    ours, theirs = near.logits[rows, best] > 0, whole.logits[rows, best] > 0
    iou = (ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))
    assert iou.mean() > 0.93
    assert iou.min() > 0.7
    assert np.abs(near.scores - whole.scores).mean() < 0.05
    far = np.ones_like(ours)
    cells = (clicks[:, 0] * np.array([128 / 200, 128 / 224])).astype(int)
    for one, (column, row) in zip(far, cells, strict=True):
        one[max(0, row - 56) : row + 56, max(0, column - 56) : column + 56] = False
    assert (near.logits[rows, best][far] == -32).all(), "nothing is said about what is far away"


def test_a_window_of_the_whole_image_gives_the_same_masks(
    predictor: Predictor, nuclei: tuple[ImageFeatures, npt.NDArray[np.float64]]
) -> None:
    features, clicks = nuclei
    some = clicks[:3]
    whole = predictor.predict(features, some, np.ones((3, 1)), crop="later")
    same = predict_near(predictor, features, some, window=99)
    np.testing.assert_allclose(same.logits, whole.logits, atol=1e-3)
    np.testing.assert_allclose(same.scores, whole.scores, atol=1e-4)


def test_a_mask_that_its_window_cuts_off_is_that_of_the_whole_image(predictor: Predictor) -> None:
    image = np.full((224, 224), 40, np.uint8)
    image[100:124, 10:214] = 200  # a bar longer than a window
    image[160:180, 160:180] = 200
    features = predictor.encode(image)
    clicks = np.array([[[110.0, 112.0]], [[170.0, 170.0]]])
    whole = predictor.predict(features, clicks, np.ones((2, 1)), crop="later")
    near = predict_near(predictor, features, clicks)
    np.testing.assert_array_equal(near.logits[0], whole.logits[0])
    assert near.masks[0, 0].draw(near.logits[0, 0]).pixels.shape[1] > 150
    assert (near.logits[1] == -32).any(), "the other one is decoded in its window"
    alone = predict_near(predictor, features, clicks[:1])
    assert alone.scores.shape == (3,), "of one object, as `predict` returns it"


def test_a_click_outside_of_the_image_is_refused(
    predictor: Predictor, nuclei: tuple[ImageFeatures, npt.NDArray[np.float64]]
) -> None:
    with pytest.raises(PromptError, match="outside"):
        predict_near(predictor, nuclei[0], [[[900.0, 3.0]]])
