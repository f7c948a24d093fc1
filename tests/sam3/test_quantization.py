"""The encoder with 8-bit linear layers: how near it comes, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_sam3.inference.cache import embedding_key
from napari_sam3.layers.sample_data import LIMITS, coins, ihc, make_nuclei
from sam3 import build_sam3_image_model, load_predictor
from sam3.errors import ConfigError, FeaturesError, UnsupportedError
from sam3.model import quantization
from sam3.model.quantization import Int8Linear, quantize_trunk
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from sam3.weights.load import fingerprint

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def exact() -> Predictor:
    return load_predictor("tiny", device="cpu")


@pytest.fixture(scope="module")
def rounded(eight_bit_products: None) -> Predictor:
    return load_predictor("tiny", device="cpu", precision="int8")


def _samples() -> list[tuple[Image, npt.NDArray[np.float64]]]:
    """Images with clicks (B, 1, 2)."""
    cells, labels = make_nuclei((1, 512, 512), count=60, seed=3)
    centres = [np.argwhere(labels[0] == i).mean(0)[::-1] for i in range(1, 17)]
    low, high = LIMITS
    bright = np.clip((cells[0] - float(low)) / (high - low) * 255, 0, 255).astype(np.uint8)
    grid = [(52.0, 46.0), (116, 49), (176, 47), (229, 43), (285, 46), (343, 42)]
    tissue = [(120.0, 90.0), (300, 200), (410, 400), (256, 256)]
    return [
        (np.repeat(bright[..., None], 3, 2), np.array(centres)[:, None]),
        (np.repeat(coins()[0][0][..., None], 3, 2), np.array(grid)[:, None]),
        (ihc()[0][0], np.array(tissue)[:, None]),
    ]


def test_masks_agree_with_float32_on_the_sample_images(
    exact: Predictor, rounded: Predictor
) -> None:
    found = []
    for image, clicks in _samples():
        ones = np.ones((len(clicks), 1), int)
        first, second = (
            one.predict(one.encode(image), clicks, ones, multimask_output=False).masks[:, 0]
            for one in (exact, rounded)
        )
        union = (first | second).sum((1, 2))
        found += list(((first & second).sum((1, 2)) + (union == 0)) / np.maximum(union, 1))
    assert len(found) == 26
    assert np.mean(found) >= 0.97
    assert np.mean(found) < 1, "else nothing was rounded"


def test_features_are_near_and_are_told_apart(exact: Predictor, rounded: Predictor) -> None:
    image, clicks = _samples()[1]
    first, second = exact.encode(image), rounded.encode(image)
    a, b = first.encoded.embedding, second.encoded.embedding
    assert 1e-4 < float((a - b).norm() / (a - a.mean()).norm()) < 0.02
    assert exact.fingerprint == fingerprint(exact.model) == fingerprint(rounded.model)
    assert rounded.fingerprint == exact.fingerprint + "-int8" == second.fingerprint
    assert embedding_key(image, exact) != embedding_key(image, rounded)
    for predictor, features in ((exact, second), (rounded, first)):
        with pytest.raises(FeaturesError, match="Encode the image again"):
            predictor.predict(features, clicks[0], [1])


def test_the_weights_stay_float32_and_all_there(exact: Predictor, rounded: Predictor) -> None:
    ours, theirs = exact.model.state_dict(), rounded.model.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_copies_encode_alike(rounded: Predictor) -> None:
    image = _samples()[1][0]
    expected = rounded.encode(image).encoded.embedding
    for copied in (copy.deepcopy(rounded), pickle.loads(pickle.dumps(rounded))):
        assert torch.equal(copied.encode(image).encoded.embedding, expected)


def test_progress_is_told_and_may_end_the_encoding(rounded: Predictor) -> None:
    class Stopped(Exception):
        pass

    shares: list[float] = []

    def stop_in_the_middle(share: float) -> None:
        shares.append(share)
        if share > 0.4:
            raise Stopped

    image = _samples()[1][0]
    with pytest.raises(Stopped):
        rounded.encode(image, stop_in_the_middle)
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    shares.clear()
    rounded.encode(image, shares.append)
    assert shares == pytest.approx(np.arange(1, 7) / 6)


@pytest.mark.parametrize(("inside", "outside"), [(64, 96), (48, 48), (12, 20)])
def test_a_layer_comes_near_also_with_channels_that_stick_out(inside: int, outside: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(inside, outside).requires_grad_(False)
    x = torch.randn(50, inside)
    x[:, 3] *= 30
    x[7] = 0
    expected = layer(x)
    scale = expected.std()
    plain, mixed = (
        (Int8Linear(layer.weight, layer.bias, mix=mix)(x) - expected).abs().mean() / scale
        for mix in (False, True)
    )
    assert mixed < 0.02
    assert mixed < plain
    activated = Int8Linear(layer.weight, layer.bias, gelu=True, mix=True)(x)
    assert (activated - F.gelu(expected)).abs().mean() < 0.02 * scale
    hidden = F.gelu(x)
    expected = layer(hidden)
    after = Int8Linear(layer.weight, layer.bias, after_gelu=True)(hidden.clone())
    assert (after - expected).abs().mean() < 0.02 * expected.std()
    assert torch.equal(after[7], after[7].nan_to_num()), "a token of zeros"


def test_what_the_notebook_builds_takes_the_precision(eight_bit_products: None) -> None:
    model = build_sam3_image_model(
        preset="tiny", device="cpu", precision="int8", enable_inst_interactivity=True
    )
    assert model.predictor.fingerprint.endswith("-int8")
    assert model.predictor.dtype == torch.float32


def test_other_devices_are_refused(eight_bit_products: None) -> None:
    model = build_click_model(load_predictor("tiny", device="cpu").config)
    if torch.cuda.is_available():
        with pytest.raises(ConfigError, match='"int8" does not run on the device'):
            Predictor(model, "cuda", "int8")
    predictor = Predictor(model, "cpu", "int8")
    predictor.model.to("meta")
    with pytest.raises(
        ConfigError, match=r"the device 'meta'\. Expected the CPU\. Use device=\"cpu\""
    ):
        predictor.encode(np.zeros((8, 8, 3), np.uint8))


def test_a_wrong_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown precision: 'int4'.*int8"):
        load_predictor("tiny", device="cpu", precision="int4")  # type: ignore[arg-type]


def test_products_that_overflow_or_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, exact: Predictor
) -> None:
    # What a processor without VNNI gives: sums of two products stop at 32767.
    monkeypatch.setattr(quantization, "_product", lambda *_: torch.full((2, 2), 32767.0 * 32))
    with pytest.raises(UnsupportedError, match=r"without overflow.*VNNI.*Use precision="):
        quantize_trunk(exact.model.trunk)

    def missing(*_: object) -> torch.Tensor:
        raise NotImplementedError("no kernel for this processor\nand more")

    monkeypatch.setattr(quantization, "_product", missing)
    with pytest.raises(UnsupportedError, match=r"x86 processors.*no kernel for this processor\)"):
        quantize_trunk(exact.model.trunk)
