"""The predictor: shapes, what it accepts, and what it refuses with a useful message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data

from sam3.errors import (
    DeviceError,
    DeviceMemoryError,
    FeaturesError,
    ImageError,
    PromptError,
    Sam3Error,
)
from sam3.model_builder import random_predictor
from sam3.predictor import ImageFeatures, Predictor, load_predictor
from sam3.runtime.devices import choose_device

SIZE = (48, 70)
POINT: dict[str, Any] = {"point_coords": [[30, 20]], "point_labels": [1]}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return random_predictor()


@pytest.fixture(scope="module")
def features(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(data.coffee()[: SIZE[0], : SIZE[1]])


def test_shapes_for_one_and_more_objects(predictor: Predictor, features: ImageFeatures) -> None:
    side = predictor.config.mask_size
    assert features.size == SIZE
    one = predictor.predict(features, **POINT)
    assert one.masks.shape == (3, *SIZE)
    assert one.scores.shape == (3,)
    assert one.logits.shape == (3, side, side)
    assert one.logits.dtype == np.float32
    assert one.masks.dtype == np.bool_
    single = predictor.predict(features, **POINT, multimask_output=False, return_logits=True)
    assert single.masks.shape == (1, *SIZE)
    assert single.masks.dtype == np.float32
    boxes = predictor.predict(features, box=[[5, 5, 30, 40], [20, 10, 60, 45]])
    assert boxes.masks.shape == (2, 3, *SIZE)
    assert boxes.logits.shape == (2, 3, side, side)


def test_masks_are_the_logits_above_zero(predictor: Predictor, features: ImageFeatures) -> None:
    masks = predictor.predict(features, **POINT).masks
    logits = predictor.predict(features, **POINT, return_logits=True).masks
    assert (masks == (logits > 0)).all()
    assert 0 < masks.mean() < 1


def test_a_batch_equals_its_objects_one_by_one(
    predictor: Predictor, features: ImageFeatures
) -> None:
    boxes = np.array([[5, 5, 30, 40], [20, 10, 60, 45], [0, 0, 69, 47]])
    together = predictor.predict(features, box=boxes)
    for i, box in enumerate(boxes):
        alone = predictor.predict(features, box=box)
        np.testing.assert_allclose(together.logits[i], alone.logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(together.scores[i], alone.scores, atol=1e-5)


def test_a_mask_alone_is_a_prompt(predictor: Predictor, features: ImageFeatures) -> None:
    side = predictor.config.mask_size
    mask = np.full((1, side, side), -10, np.float32)
    mask[:, 20:60, 20:60] = 10
    other = np.ascontiguousarray(mask[:, ::-1, ::-1])
    ours = predictor.predict(features, mask_input=mask)
    assert ours.masks.shape == (3, *SIZE)
    assert not np.allclose(ours.logits, predictor.predict(features, mask_input=other).logits)


def test_predicting_changes_nothing(predictor: Predictor, features: ImageFeatures) -> None:
    before = [t.clone() for t in features.encoded]
    first = predictor.predict(features, **POINT)
    second = predictor.predict(features, **POINT)
    assert (first.logits == second.logits).all()
    assert all(torch.equal(a, b) for a, b in zip(before, features.encoded, strict=True))


def test_prompts_are_drawn_where_they_are(predictor: Predictor) -> None:
    encoder = predictor.model.prompt_encoder
    side = predictor.config.mask_size
    cell = 448 / side
    coords = torch.tensor([[[100.0, 40.0], [300.0, 200.0], [10.0, 20.0], [150.0, 160.0]]])
    clicks, box = torch.tensor([[1, 0, -1, -1]]), torch.tensor([[-1, -1, 2, 3]])
    drawn = encoder.draw(coords, clicks, side)[0, 0]
    row, column = int(40.5 / cell), int(100.5 / cell)
    assert drawn.argmax() == row * side + column
    assert drawn[int(200.5 / cell), int(300.5 / cell)] < drawn.median() - 4
    far = drawn[row, column:][5:]  # away from the click, ever less likely
    assert (far.diff()[:40] < 0).all()
    assert float(drawn[row, column + 30]) == pytest.approx(-4, abs=0.1)  # log2(1 + 30 / 2)
    plateau = encoder.draw(coords, box, side)[0, 0]
    inside = plateau[
        int(20.5 / cell) + 1 : int(160.5 / cell), int(10.5 / cell) + 1 : int(150.5 / cell)
    ]
    assert (inside == 3).all()
    assert (plateau == 3).sum() < 1.2 * inside.numel()
    assert float(plateau[60, 60]) < -2
    nothing = encoder.draw(coords, torch.full((1, 4), -1), side)
    assert (nothing == 0).all()
    background_alone = encoder.draw(coords, torch.tensor([[0, -1, -1, -1]]), side)
    assert background_alone.min() < -5
    assert background_alone.max() == 0


def test_bad_images_are_refused(predictor: Predictor) -> None:
    with pytest.raises(ImageError, match=r"\(4, 4, 5\).*Choose up to three channels"):
        predictor.encode(np.zeros((4, 4, 5), np.uint8))


# The others are in test_prompts.py.
BAD_PROMPTS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "no prompt was given"),
    "row, column": (
        {"point_coords": [[40, 69]], "point_labels": [1]},
        r"\(x=40, y=69\) lies outside.*width 70 and height 48.*not \(row, column\)",
    ),
    "mask size": ({"mask_input": np.zeros((1, 9, 9))}, r"\(1, 9, 9\)\. Expected \(1, 128, 128\)"),
}


@pytest.mark.parametrize(("prompts", "message"), BAD_PROMPTS.values(), ids=BAD_PROMPTS.keys())
def test_bad_prompts_are_refused(
    predictor: Predictor, features: ImageFeatures, prompts: dict[str, Any], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        predictor.predict(features, **prompts)


def test_swapped_box_corners_are_put_right(
    predictor: Predictor, features: ImageFeatures, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="sam3"):
        swapped = predictor.predict(features, box=[30, 40, 5, 6])
    assert "reordered the corners of boxes: [30.0, 40.0, 5.0, 6.0]" in caplog.text
    assert (swapped.logits == predictor.predict(features, box=[5, 6, 30, 40]).logits).all()


def test_features_of_other_weights_are_refused(features: ImageFeatures) -> None:
    with pytest.raises(FeaturesError, match="Encode the image again"):
        random_predictor(seed=1).predict(features, **POINT)


def test_out_of_memory_is_typed_and_survived(
    predictor: Predictor, features: ImageFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(predictor.model.mask_decoder, "forward", exhausted)
        with pytest.raises(DeviceMemoryError, match="Request fewer objects"):
            predictor.predict(features, **POINT)
    assert predictor.predict(features, **POINT).masks.shape == (3, *SIZE)


def test_encoding_tells_its_progress_and_can_be_stopped(predictor: Predictor) -> None:
    image = data.coffee()[:50, :60]
    heard: list[float] = []
    features = predictor.encode(image, progress=heard.append)
    assert heard == pytest.approx([i / 6 for i in range(1, 7)])

    class StopHereError(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.4:
            raise StopHereError

    with pytest.raises(StopHereError):
        predictor.encode(image, progress=stop)
    again = predictor.encode(image)
    assert all(torch.equal(a, b) for a, b in zip(again.encoded, features.encoded, strict=True))


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    for name in ("cuda:99", "toaster"):
        with pytest.raises(DeviceError, match=rf"{name}.*Expected one of cpu"):
            choose_device(name)


def test_the_released_model_by_name_says_where_to_get_it() -> None:
    with pytest.raises(FileNotFoundError, match=r"Request access at.*facebook/sam3"):
        load_predictor("sam3")


IMAGE_TYPES = ["uint8", "uint16", "int32", "float32", "float64", "bool"]
SIDES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.integers(1, 3000), st.integers(1, 7)),
    st.tuples(st.integers(1, 7), st.integers(1, 3000)),
)
#: Places as shares of the image's side: within, on the border, a little and far outside.
SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]), st.floats(-2, 3))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=SIDES,
    channels=st.sampled_from([None, 1, 3, 4]),
    dtype=st.sampled_from(IMAGE_TYPES),
    place=st.tuples(SHARES, SHARES),
    extent=st.tuples(st.floats(-0.2, 1.5), st.floats(-0.2, 1.5)),
    label=st.sampled_from([0, 1]),
    multimask=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_image_and_prompt_gives_a_result_or_our_error(
    predictor: Predictor,
    size: tuple[int, int],
    channels: int | None,
    dtype: str,
    place: tuple[float, float],
    extent: tuple[float, float],
    label: int,
    multimask: bool,
    seed: int,
) -> None:
    height, width = size
    rng = np.random.default_rng(seed)
    values = rng.random(size if channels is None else (*size, channels))
    image = (values * (1 if dtype.startswith("float") else 250)).astype(dtype)
    features = predictor.encode(image)  # every such image can be encoded
    x, y = place[0] * width, place[1] * height
    masks = 3 if multimask else 1
    asked: list[dict[str, Any]] = [
        {"point_coords": [[x, y]], "point_labels": [label]},
        {"box": [x, y, x + extent[0] * width, y + extent[1] * height]},
    ]
    for prompt in asked:
        inside = 0 <= x < width and 0 <= y < height
        try:
            found = predictor.predict(features, **prompt, multimask_output=multimask)
        except Sam3Error:  # a refusal is fine for what lies outside or has no area
            assert not inside or "box" in prompt
            continue
        assert found.masks.shape == (masks, height, width)
        assert np.isfinite(found.logits).all()
        cropped = predictor.predict(features, **prompt, multimask_output=multimask, crop=True)
        for mask, crop in zip(found.masks, cropped.masks, strict=True):
            assert abs(int(mask.sum()) - int(crop.pixels.sum())) <= 2 + mask.size // 1000
