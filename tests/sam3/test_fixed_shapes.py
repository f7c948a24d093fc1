"""Padding that makes prompts alike changes no mask, and decoders see few shapes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam3 import load_predictor as load_in_plugin
from sam3 import ImageFeatures, Predictor, load_predictor
from sam3.config import ModelConfig, get_preset
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.decoder_graphs import Decode, DecoderGraphs
from sam3.model.fixed_shapes import FixedShapes, PaddedPrompts, decode_padded, pad_prompts
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.model_builder import build_click_model

SMALL = replace(
    get_preset("sam3").with_resolution(336),
    trunk=replace(get_preset("tiny").trunk, depth=1, global_blocks=(0,)),
)
RENDERED = replace(get_preset("tiny").with_resolution(252), name="drawn prompts")
BOXES = np.array([[100, 50, 500, 350], [20, 20, 120, 220], [300, 100, 580, 380]])
DRAW = np.random.default_rng(0)
POINTS = {
    count: {
        "point_coords": DRAW.uniform(0, 399, (3, count, 2)),
        "point_labels": np.resize([1, 1, 0], (3, count)),
    }
    for count in (1, 2, 5, 13)
}
PROMPTS: dict[str, dict[str, Any]] = {
    "clicks": POINTS[1],
    "two clicks": POINTS[2],
    "more points than projections save work for": POINTS[13],
    "boxes": {"box": BOXES},
    "masks": {"mask": True},
    "boxes and clicks": {"box": BOXES, **POINTS[2]},
    "boxes, clicks and masks": {"box": BOXES, **POINTS[5], "mask": True},
}


@pytest.fixture(scope="module", params=[SMALL, RENDERED], ids=lambda config: str(config.name))
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor(build_click_model(request.param), device="cpu")


@pytest.fixture(scope="module")
def features(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(data.coffee())


def with_masks(prompts: dict[str, Any], predictor: Predictor) -> dict[str, Any]:
    prompts = dict(prompts)
    if prompts.pop("mask", False):
        side = predictor.config.mask_size
        prompts["mask_input"] = np.random.default_rng(1).normal(size=(3, 1, side, side))
    return prompts


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
def test_padding_changes_no_mask(
    predictor: Predictor, features: ImageFeatures, prompts: dict[str, Any], multimask: bool
) -> None:
    prompts = with_masks(prompts, predictor)
    padded = Predictor(predictor.model, device="cpu", fingerprint=predictor.fingerprint)
    padded.fix_shapes()
    expected = predictor.predict(features, **prompts, multimask_output=multimask)
    found = padded.predict(features, **prompts, multimask_output=multimask)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=5e-5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert (found.masks != expected.masks).mean() < 1e-4


@torch.inference_mode()
def test_padding_that_is_not_hidden_would_show(
    predictor: Predictor, features: ImageFeatures
) -> None:
    """Without this, a decoder that takes no notice of its prompts would pass the test above."""
    model, side = predictor.model, predictor.model.image_side(features.encoded)
    coords, labels = torch.tensor([[[90.0, 50], [200, 150], [0, 0]]]), torch.tensor([[1, 0, -1]])
    expected = model.decode(side, coords, labels, None).logits
    padded = pad_prompts(coords, labels, None)
    shown = model.decode(side, padded.coords, padded.labels, None).logits
    hidden = decode_padded(model, side, padded, None).logits
    assert (shown - expected).abs().max() > 100 * (hidden - expected).abs().max()


@torch.inference_mode()
def test_objects_are_padded_too_and_not_returned(
    predictor: Predictor, features: ImageFeatures
) -> None:
    model, side = predictor.model, predictor.model.image_side(features.encoded)
    seen: list[PaddedPrompts] = []

    def run(side: ImageSide, prompts: PaddedPrompts, multimask: bool | None) -> RawMasks:
        seen.append(prompts)
        return decode_padded(model, side, prompts, multimask)

    coords = 200 * torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 0, -1]).expand(5, 3)
    mask = torch.randn(5, 1, *[predictor.config.mask_size] * 2)
    found = FixedShapes(run).decode(side, coords, labels, mask)
    assert seen[0].labels.shape == (8, 4)
    assert seen[0].valid.sum() == 5 * 3
    for ours, theirs in zip(found, model.decode(side, coords, labels, mask), strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=5e-5)


def test_a_hundred_requests_have_few_shapes() -> None:
    rng = np.random.default_rng(0)
    shapes, given = set(), set()
    for _ in range(100):
        objects, count = int(rng.integers(1, 33)), int(rng.integers(0, 17))
        labels = torch.ones(objects, count, dtype=torch.long)
        padded = pad_prompts(torch.zeros(objects, count, 2), labels, None)
        given.add(labels.shape)
        shapes.add(padded.labels.shape)
        assert padded.coords.shape[:2] == padded.valid.shape == padded.labels.shape
    assert len(given) > 80
    assert len(shapes) <= 6 * 4, "objects 1 to 32, prompts 2 to 16"


def record(decode: Decode) -> tuple[Callable[[], None], RawMasks]:
    """Do as a CUDA graph does: each replay reads and writes the memory of the first call."""
    masks = decode()

    def replay() -> None:
        for old, new in zip(masks, decode(), strict=True):
            assert old is not None
            assert new is not None
            old.copy_(new)

    return replay, masks


@torch.inference_mode()
def test_graphs_are_recorded_once_and_serve_every_image(predictor: Predictor) -> None:
    recorded: list[Decode] = []

    def capture(decode: Decode) -> tuple[Callable[[], None], RawMasks]:
        recorded.append(decode)
        return record(decode)

    model = predictor.model
    decoder = FixedShapes(DecoderGraphs(model, capture))
    images = [predictor.encode(image).encoded for image in (data.coffee(), data.astronaut())]
    sides = [model.image_side(encoded) for encoded in images]
    earlier = None
    for x, number in ((50.0, 0), (90.0, 1), (120.0, 0), (70.0, 0)):
        coords, labels = torch.tensor([[[x, 80.0], [0, 0]]]), torch.tensor([[1, -1]])
        found = decoder.decode(sides[number], coords, labels, None, True)
        expected = model.decode(sides[number], coords, labels, None, True)
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=5e-5)
        if earlier is not None:
            assert (earlier[0].logits == earlier[1]).all(), "later replays leave results alone"
        earlier = found, found.logits.clone()
    assert len(recorded) == 1


@torch.inference_mode()
def test_a_device_that_cannot_record_decodes_as_usual_and_says_so_once(
    predictor: Predictor, features: ImageFeatures, caplog: pytest.LogCaptureFixture
) -> None:
    def capture(decode: Decode) -> tuple[Callable[[], None], RawMasks]:
        raise RuntimeError("operation not permitted when stream is capturing")

    model = predictor.model
    side = model.image_side(features.encoded)
    decoder = FixedShapes(DecoderGraphs(model, capture))
    coords, labels = torch.tensor([[[50.0, 80.0], [0, 0]]]), torch.tensor([[1, -1]])
    with caplog.at_level(logging.WARNING):
        found = [decoder.decode(side, coords, labels, None, True).logits for _ in range(2)]
    expected = model.decode(side, coords, labels, None, True).logits
    for logits in found:
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=5e-5)
    assert [r.getMessage()[:28] for r in caplog.records] == ["decoding without CUDA graphs"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. 2 GiB in private pools (e.g., CUDA Graphs)"),
        RuntimeError("CUDA error: device-side assert triggered"),
    ],
)
@torch.inference_mode()
def test_other_errors_while_recording_are_not_hidden(
    predictor: Predictor, features: ImageFeatures, error: RuntimeError
) -> None:
    errors = [error]

    def capture(decode: Decode) -> tuple[Callable[[], None], RawMasks]:
        if errors:
            raise errors.pop()
        return record(decode)

    decoder = FixedShapes(DecoderGraphs(predictor.model, capture))
    side = predictor.model.image_side(features.encoded)
    prompts = torch.tensor([[[50.0, 80.0], [0, 0]]]), torch.tensor([[1, -1]]), None
    with pytest.raises(RuntimeError, match=str(error)[:10]):
        decoder.decode(side, *prompts)
    expected = predictor.model.decode(side, *prompts).logits
    found = decoder.decode(side, *prompts).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-5)


def test_loaded_with_fixed_shapes() -> None:
    usual = load_predictor(device="cpu")
    features = usual.encode(data.coins())
    clicks: dict[str, Any] = {"point_coords": [[154, 127], [160, 130]], "point_labels": [1, 1]}
    expected = usual.predict(features, **clicks)
    for load in (load_predictor, load_in_plugin):
        predictor = load(device="cpu", fixed_shapes=True)
        seen: list[int] = []
        predictor.model.mask_decoder.register_forward_pre_hook(
            lambda _, given, seen=seen: seen.append(given[1].shape[1])
        )
        found = predictor.predict(features, **clicks)
        assert seen == [4], "two clicks and a padding point"
        np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=5e-4)
        assert (found.masks != expected.masks).mean() < 1e-4


class Elsewhere(TorchDispatchMode):
    """Collects operations that touch a tensor outside the GPU, which no graph can record."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        if any(x.device.type != "cuda" for x in tensors):
            self.operations.append(str(func))
        return out


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("config", [SMALL, RENDERED], ids=lambda config: str(config.name))
def test_the_decoder_stays_on_the_gpu(config: ModelConfig, multimask: bool) -> None:
    """Tensors that only say where they are stand for those of a GPU."""
    with FakeTensorMode(), torch.device("cuda"), torch.no_grad():
        model, grid, width = ClickModel(config).eval(), config.grid, config.channels
        shapes = ((width, grid), (width // 4, 2 * grid), (width // 8, 4 * grid))
        encoded = EncodedImage(*(torch.randn(1, c, s, s) for c, s in shapes))
        side = model.image_side(encoded)
        prompts = pad_prompts(
            torch.zeros(3, 3, 2),
            torch.zeros(3, 3, dtype=torch.long),
            torch.zeros(3, 1, 4 * grid, 4 * grid),
        )
        with Elsewhere() as elsewhere:
            decode_padded(model, side, prompts, multimask)
    assert elsewhere.operations == []
