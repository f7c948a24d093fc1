"""The public notebook's calls for concepts, unchanged, on random weights of small sizes."""

from __future__ import annotations

import logging
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from sam3 import build_sam3_image_model
from sam3.errors import FeaturesError, PromptError, UnsupportedError
from sam3.model.box_ops import (
    box_cxcywh_to_xyxy,
    box_xywh_to_cxcywh,
    box_xywh_to_xyxy,
    box_xyxy_to_cxcywh,
)
from sam3.model.sam3_image_processor import ImageState, Sam3Processor
from sam3.notebook.image_model import Sam3ImageModel
from sam3.visualization_utils import draw_box_on_image, normalize_bbox
from sam3.weights import load as checkpoint
from tests.sam3.tiny_detector import save_tiny_detector

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IMAGE = Image.fromarray(data.coffee()[:200, :300])
BOX = [0.5, 0.5, 0.3, 0.4]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "both.safetensors"
    save_tiny_detector(path)
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> Sam3ImageModel:
    return build_sam3_image_model(
        bpe_path="absent.txt.gz",
        device="cpu",
        checkpoint_path=weights,
        enable_inst_interactivity=True,
    )


@pytest.fixture
def processor(model: Sam3ImageModel) -> Sam3Processor:
    return Sam3Processor(model, confidence_threshold=0.2)


@pytest.fixture
def state(processor: Sam3Processor) -> ImageState:
    return processor.set_image(IMAGE)


def scores(state: ImageState) -> list[float]:
    found: list[float] = state["scores"].tolist()
    return found


def test_results_of_a_text(processor: Sam3Processor, state: ImageState) -> None:
    processor.set_confidence_threshold(0)
    assert processor.set_text_prompt(state=state, prompt="cup") is state
    assert state.keys() == ("masks", "boxes", "scores")
    assert state["masks"].shape == (30, 1, 200, 300)
    assert state["masks"].dtype == torch.bool
    assert state["boxes"].shape == (30, 4)
    assert len(set(scores(state))) > 20, "the queries differ"
    assert state["masks"].any()


def test_texts_and_boxes_add_up_until_they_are_reset(
    processor: Sam3Processor, state: ImageState
) -> None:
    processor.set_confidence_threshold(0)
    text = scores(processor.set_text_prompt("cup", state))
    both = scores(processor.add_geometric_prompt(BOX, True, state))
    assert both != text
    other = scores(processor.set_text_prompt("hat", state))
    assert other != both
    assert (state.boxes, state.labels) == ([BOX], [True]), "a new text keeps the boxes"
    two = scores(processor.add_geometric_prompt([0.2, 0.2, 0.1, 0.1], False, state))
    assert two != other
    assert processor.reset_all_prompts(state) is state
    assert not state.keys()
    assert "masks" not in state
    with pytest.raises(KeyError, match="after set_text_prompt"):
        state["masks"]
    box = scores(processor.add_geometric_prompt(torch.tensor(BOX), True, state))
    assert box not in (text, both, other)
    processor.reset_all_prompts(state)
    assert scores(processor.set_text_prompt("cup", state)) == text


def test_a_threshold_needs_no_new_inference(
    processor: Sam3Processor, state: ImageState, model: Sam3ImageModel
) -> None:
    processor.set_confidence_threshold(0)
    every = scores(processor.set_text_prompt("cup", state))
    middle = sorted(every)[15]
    passes: list[object] = []
    assert model.detector_model is not None
    handle = model.detector_model.decoder.register_forward_hook(lambda *a: passes.append(a))
    try:
        assert processor.set_confidence_threshold(middle, state) is state
        assert scores(state) == [score for score in every if score > middle]
        assert len(state["masks"]) == len(state["boxes"]) == len(scores(state))
        assert not passes
        processor.set_text_prompt("cup", state)
        assert len(passes) == 1
    finally:
        handle.remove()


def test_nothing_found_is_no_error(
    processor: Sam3Processor, state: ImageState, caplog: pytest.LogCaptureFixture
) -> None:
    processor.set_confidence_threshold(1)
    with caplog.at_level(logging.INFO):
        processor.set_text_prompt("cup", state)
    assert state["masks"].shape == (0, 1, 200, 300)
    assert state["boxes"].shape == (0, 4)
    assert scores(state) == []
    assert "no instance was found: best score 0." in caplog.text


def test_clicks_and_concepts_share_one_pass_of_the_trunk(
    model: Sam3ImageModel, processor: Sam3Processor
) -> None:
    passes: list[object] = []
    handle = model.click_model.trunk.register_forward_hook(lambda *a: passes.append(a))
    try:
        state = processor.set_image(IMAGE)
        alone = model.predict_inst(state, [[100, 80]], [1])[2]
        processor.set_text_prompt("cup", state)
        processor.add_geometric_prompt(BOX, True, state)
        after = model.predict_inst(state, [[100, 80]], [1])[2]
    finally:
        handle.remove()
    assert len(passes) == 1
    np.testing.assert_array_equal(alone, after)


def test_clicks_alone_keep_no_map(weights: Path) -> None:
    clicks = build_sam3_image_model(
        checkpoint_path=weights,
        device="cpu",
        enable_segmentation=False,
        enable_inst_interactivity=True,
    )
    assert clicks.detector is None
    processor = Sam3Processor(clicks)
    state = processor.set_image(IMAGE)
    assert state.images[0].trunk is None
    with pytest.raises(UnsupportedError, match="enable_segmentation=True"):
        processor.set_text_prompt("cup", state)
    both = build_sam3_image_model(checkpoint_path=weights, device="cpu")
    with pytest.raises(FeaturesError, match="Encode the image again"):
        Sam3Processor(both).set_text_prompt("cup", state)
    with pytest.raises(UnsupportedError, match="enable_inst_interactivity=True"):
        both.predict_inst(Sam3Processor(both).set_image(IMAGE), [[9, 9]], [1])


def test_weights_without_a_detector_say_what_to_do() -> None:
    with pytest.raises(UnsupportedError, match=r"no concept detector.*sam3\.pt"):
        build_sam3_image_model(checkpoint_path=checkpoint.embedded_weights(), device="cpu")
    with pytest.raises(UnsupportedError, match="both False"):
        build_sam3_image_model(preset="tiny", enable_segmentation=False)


@pytest.mark.parametrize(
    "box",
    [
        [0.5, 0.5, 0, 0.2],
        [0.5, 0.5, 0.2],
        [150, 100, 90, 80],
        [1.2, 0.5, 0.1, 0.1],
        [float("nan"), 0.5, 0.1, 0.1],
        [-0.1, 0.5, 0.1, 0.1],
        "box",
        [],
    ],
)
def test_wrong_boxes_are_refused(
    processor: Sam3Processor, state: ImageState, box: list[float]
) -> None:
    with pytest.raises(PromptError, match=r"Expected centre x.*0\.\.1"):
        processor.add_geometric_prompt(box, True, state)
    assert not state.boxes, "the state is as before"


@pytest.mark.parametrize("text", ["", "  \n", "&nbsp;", None, 3])
def test_blank_texts_are_refused(processor: Sam3Processor, state: ImageState, text: str) -> None:
    with pytest.raises(PromptError, match="Expected"):
        processor.set_text_prompt(text, state)
    assert state.text is None


@pytest.mark.parametrize("text", ["cell " * 200, "?!" * 500, "<>&;%", "\ud83d", "\u200b"])
def test_long_and_strange_texts_are_searched_for(
    processor: Sam3Processor, state: ImageState, text: str
) -> None:
    assert "scores" in processor.set_text_prompt(text, state)


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), None, "high"])
def test_wrong_thresholds_are_refused(model: Sam3ImageModel, threshold: float) -> None:
    with pytest.raises(PromptError, match="from 0 to 1"):
        Sam3Processor(model).set_confidence_threshold(threshold)
    with pytest.raises(PromptError, match="from 0 to 1"):
        Sam3Processor(model, confidence_threshold=threshold)


def test_several_images_are_refused(processor: Sam3Processor) -> None:
    batch = processor.set_image_batch([IMAGE, IMAGE])
    with pytest.raises(PromptError, match="holds 2 images"):
        processor.set_text_prompt("cup", batch)


def test_wrong_examples_of_the_detector(model: Sam3ImageModel, state: ImageState) -> None:
    assert model.detector is not None
    find, features = model.detector.find, state.images[0]
    with pytest.raises(PromptError, match="no concept was given"):
        find(features)
    with pytest.raises(PromptError, match="has no area"):
        find(features, boxes=[10, 10, 10, 50])
    with pytest.raises(PromptError, match="lies outside the image"):
        find(features, boxes=[400, 10, 500, 50])
    for labels in ([True, False], [2], [], ["yes"]):
        with pytest.raises(PromptError, match="Expected True"):
            find(features, boxes=[10, 10, 50, 50], labels=labels)
    with pytest.raises(PromptError, match="without boxes"):
        find(features, "cup", labels=[True])


def test_features_with_the_map_are_saved(
    model: Sam3ImageModel, state: ImageState, tmp_path: Path
) -> None:
    assert model.detector is not None
    features = state.images[0]
    features.save(tmp_path / "features.safetensors")
    again = type(features).load(tmp_path / "features.safetensors")
    assert again.nbytes == features.nbytes
    found, expected = (model.detector.find(f, "cup").above(0) for f in (again, features))
    np.testing.assert_array_equal(found.logits, expected.logits)
    for mask, crop in zip(expected.masks(), expected.crops(), strict=True):
        rows, columns = crop.pixels.shape
        place = mask[crop.row : crop.row + rows, crop.column : crop.column + columns]
        assert (place == crop.pixels).all()
        assert mask.sum() == crop.pixels.sum()


def test_forms_of_boxes() -> None:
    xywh = torch.tensor([[10.0, 20, 30, 40]])
    assert box_xywh_to_cxcywh(xywh).tolist() == [[25, 40, 30, 40]]
    assert box_xywh_to_xyxy(xywh).tolist() == [[10, 20, 40, 60]]
    assert box_cxcywh_to_xyxy(torch.tensor([25.0, 40, 30, 40])).tolist() == [10, 20, 40, 60]
    assert box_xyxy_to_cxcywh(box_xywh_to_xyxy(xywh)).tolist() == [[25, 40, 30, 40]]
    assert normalize_bbox([25, 40, 30, 40], 100, 80).tolist() == [
        0.25,
        0.5,
        pytest.approx(0.3),
        0.5,
    ]
    with pytest.raises(PromptError, match="four numbers"):
        normalize_bbox([1, 2, 3], 10, 10)


def test_a_box_is_drawn_on_a_copy() -> None:
    blank = Image.new("RGB", (60, 50))
    drawn = np.asarray(draw_box_on_image(blank, [10, 5, 30, 20], (255, 0, 0), thickness=2))
    rows, columns = drawn[..., 0].nonzero()
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (10, 5, 40, 25)
    assert not drawn[8:20, 15:35].any()
    assert not np.asarray(blank).any()


def test_the_example_makes_its_pictures(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(__file__).parents[2] / "examples" / "find_concepts.py"
    arguments = ["--checkpoint", str(weights), "--output", str(tmp_path), "--threshold", "0.2"]
    files = runpy.run_path(str(source))["main"](arguments)
    assert [file.name for file in files] == ["text.png", "one-box.png", "two-boxes.png"]
    assert all(np.asarray(Image.open(file)).std() > 10 for file in files)
    assert capsys.readouterr().out.count("instances") == 3
