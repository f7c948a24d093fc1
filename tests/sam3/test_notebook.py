"""The calls of the public notebook, unchanged, on random weights of the embedded sizes."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import sam3
from sam3 import build_sam3_image_model
from sam3.config import get_preset
from sam3.errors import CheckpointNotFoundError, ConfigError, PromptError, UnsupportedError
from sam3.model.sam3_image_processor import ImageState, Sam3Processor
from sam3.model_builder import build_click_model
from sam3.notebook.image_model import Sam3ImageModel
from sam3.weights import load as checkpoint

IMAGES = [data.coffee()[:200, :300], data.astronaut()[:256, :180]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("weights")) / "weights.safetensors"
    checkpoint.save(build_click_model(get_preset("tiny"), seed=0), path)
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> Sam3ImageModel:
    return build_sam3_image_model(
        bpe_path=str(weights.parent / "absent.txt.gz"),
        device="cpu",
        checkpoint_path=weights,
        enable_inst_interactivity=True,
    )


@pytest.fixture(scope="module")
def state(model: Sam3ImageModel) -> ImageState:
    return Sam3Processor(model).set_image(Image.fromarray(IMAGES[0]))


def test_signature_is_the_public_one() -> None:
    parameters = inspect.signature(build_sam3_image_model).parameters
    public = {n: p.default for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY}
    assert public == {
        "bpe_path": None,
        "device": None,
        "eval_mode": True,
        "checkpoint_path": None,
        "load_from_HF": True,
        "enable_segmentation": True,
        "enable_inst_interactivity": False,
        "compile": False,
    }
    assert Path(sam3.__file__).name == "__init__.py"


def test_shapes_of_one_and_many_objects(model: Sam3ImageModel, state: ImageState) -> None:
    side = get_preset("tiny").mask_size
    masks, scores, logits = model.predict_inst(
        state,
        point_coords=np.array([[100, 80]]),
        point_labels=np.array([1]),
        multimask_output=True,
    )
    assert masks.shape == (3, 200, 300)
    assert masks.dtype == np.bool_
    assert scores.shape == (3,)
    assert logits.shape == (3, side, side)
    best = logits[scores.argmax()][None]
    box = np.array([20, 20, 120, 130])
    for form in (box, box[None, :]):
        masks, scores, _ = model.predict_inst(
            state, point_coords=None, point_labels=None, box=form, multimask_output=False
        )
        assert masks.shape == (1, 200, 300)
    masks, scores, _ = model.predict_inst(
        state,
        point_coords=np.array([[[50, 50], [60, 60]], [[150, 90], [0, 0]]]),
        point_labels=np.array([[1, 0], [1, -1]]),
        box=np.stack([box, box + 20]),
        mask_input=np.stack([best, best]),
        return_logits=True,
    )
    assert masks.shape == (2, 3, 200, 300)
    assert masks.dtype == np.float32
    assert scores.shape == (2, 3)


def test_coordinates_in_unit_range(model: Sam3ImageModel, state: ImageState) -> None:
    pixels = model.predict_inst(state, [[150, 100]], [1], box=[30, 20, 210, 160])
    unit = model.predict_inst(
        state, [[0.5, 0.5]], [1], box=[0.1, 0.1, 0.7, 0.8], normalize_coords=False
    )
    np.testing.assert_allclose(pixels[2], unit[2], atol=1e-4)


def test_batch_of_images_of_different_sizes(model: Sam3ImageModel) -> None:
    processor = Sam3Processor(model)
    tensor = torch.from_numpy(IMAGES[1]).permute(2, 0, 1)
    batch = processor.set_image_batch([Image.fromarray(IMAGES[0]), tensor])
    boxes = [np.array([[20, 20, 120, 130]]), np.array([[10, 10, 90, 90], [50, 60, 170, 250]])]
    masks, scores, logits = model.predict_inst_batch(
        batch, None, None, box_batch=boxes, multimask_output=False
    )
    assert [m.shape for m in masks] == [(1, 200, 300), (2, 1, 256, 180)]
    assert [s.shape for s in scores] == [(1,), (2, 1)]
    for image, given, found in zip(IMAGES, boxes, logits, strict=True):
        alone = model.predict_inst(processor.set_image(image), box=given, multimask_output=False)
        np.testing.assert_allclose(found, alone[2], rtol=1e-5, atol=1e-5)
    points = [np.array([[[50, 60]]]), np.array([[[20, 30]], [[70, 90]]])]
    labels = [np.array([[1]]), np.array([[1], [1]])]
    masks, scores, _ = model.predict_inst_batch(batch, points, labels, box_batch=None)
    assert [m.shape for m in masks] == [(3, 200, 300), (2, 3, 256, 180)]
    with pytest.raises(PromptError, match="box_batch has 1 entries for 2 images"):
        model.predict_inst_batch(batch, box_batch=boxes[:1])
    with pytest.raises(
        PromptError, match=r"holds 2 images\. Expected one\. Use predict_inst_batch"
    ):
        model.predict_inst(batch, box=boxes[0])


def test_states_are_independent_and_never_change(model: Sam3ImageModel) -> None:
    processor = Sam3Processor(model)
    a, b = (processor.set_image(image) for image in IMAGES)
    first = model.predict_inst(a, [[100, 80]], [1])[2]
    model.predict_inst(b, [[30, 30]], [1], mask_input=first[:1])
    assert (model.predict_inst(a, [[100, 80]], [1])[2] == first).all()


def test_the_callers_autocast_changes_nothing(model: Sam3ImageModel) -> None:
    processor = Sam3Processor(model)
    exact = model.predict_inst(processor.set_image(IMAGES[0]), [[100, 80]], [1])
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = model.predict_inst(processor.set_image(IMAGES[0]), [[100, 80]], [1])
    assert found[2].dtype == np.float32
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_model_is_a_module(model: Sam3ImageModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert model.to("cpu").eval() is model
    assert sum(p.numel() for p in model.parameters()) > 4e6


def test_weights_from_the_environment_and_the_preset(
    weights: Path, model: Sam3ImageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM3_CHECKPOINT", str(weights))
    from_environment = build_sam3_image_model(enable_inst_interactivity=True, device="cpu")
    assert from_environment.predictor.fingerprint == model.predictor.fingerprint
    tiny = build_sam3_image_model(
        enable_inst_interactivity=True, device="cpu", preset="tiny", resolution=252
    )
    assert tiny.predictor.config.resolution == 252
    assert tiny.predictor.fingerprint != model.predictor.fingerprint


def test_no_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAM3_CHECKPOINT", raising=False)
    with pytest.raises(CheckpointNotFoundError, match="Request access") as caught:
        build_sam3_image_model(load_from_HF=False, enable_inst_interactivity=True)
    assert len(str(caught.value).splitlines()) == 3


def test_what_is_missing_is_refused(model: Sam3ImageModel, state: ImageState) -> None:
    with pytest.raises(UnsupportedError, match="enable_inst_interactivity=True"):
        build_sam3_image_model(preset="tiny", device="cpu")
    processor = Sam3Processor(model)
    with pytest.raises(UnsupportedError, match="no concept detector"):
        processor.set_text_prompt("a cell", state)
    with pytest.raises(UnsupportedError, match="no concept detector"):
        processor.add_geometric_prompt([0.5, 0.5, 0.1, 0.1], True, state)
    with pytest.raises(ConfigError, match=r"1008\. Expected 448"):
        Sam3Processor(model, resolution=1008)


def test_the_example_makes_all_eight_pictures(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "examples" / "sam1_task.py"
    files = runpy.run_path(str(source))["main"](["--preset", "tiny", "--output", str(tmp_path)])
    assert [file.name[0] for file in files] == list("1234567788")
    coins, found = data.coins(), np.asarray(Image.open(tmp_path / "4-box.png"))
    changed = (found != coins[..., None]).any(-1)
    assert 500 < changed.sum() < 4000
    assert changed[102:149, 314:360].sum() > 0.9 * changed.sum()
