"""What other tools set in torch for themselves changes nothing here: the same masks, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3 import load_predictor
from sam3.model_builder import random_predictor
from sam3.predictor import Predictor

State = Callable[[], AbstractContextManager[object]]
IMAGE = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    # As `torch.use_deterministic_algorithms`, which also loads the compiler: in one process with
    # a viewer's Mesa that ends it.
    torch._C._set_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(False, warn_only=False)


STATES: dict[str, State] = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "device meta": lambda: default_device("meta"),
    "within a device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
}


def answers(predictor: Predictor) -> list[npt.NDArray[np.generic]]:
    features = predictor.encode(IMAGE)
    click = predictor.predict(features, [[30, 40]], [1], crop=True)
    box = predictor.predict(
        features, box=[20, 20, 50, 50], mask_input=click.logits[:1], multimask_output=False
    )
    two = predictor.predict(features, [[[30, 40]], [[50, 20]]], [[1], [1]], return_logits=True)
    crops = [np.asarray(crop.pixels) for crop in click.masks]
    return [click.logits, click.scores, *crops, box.logits, box.masks, two.masks]


@pytest.fixture(scope="module")
def expected() -> list[npt.NDArray[np.generic]]:
    return answers(load_predictor(device="cpu", resolution=252))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_loaded_and_used_under_it(state: State, expected: list[npt.NDArray[np.generic]]) -> None:
    with state():
        predictor = load_predictor(device="cpu", resolution=252)
        found = answers(predictor)
    for one in (found, answers(predictor)):
        assert [a.dtype for a in one] == [a.dtype for a in expected]
        assert all(np.array_equal(a, b) for a, b in zip(one, expected, strict=True))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_random_weights_are_the_same(state: State) -> None:
    with state():
        under = random_predictor("tiny", seed=0)
    assert under.fingerprint == random_predictor("tiny", seed=0).fingerprint


def test_8_bits_under_autocast(eight_bit_products: None) -> None:
    plain = load_predictor(device="cpu", precision="int8", resolution=252)
    for state in ("autocast", "inference mode", "float64", "device meta"):
        with STATES[state]():
            under = load_predictor(device="cpu", precision="int8", resolution=252)
            found = answers(under)
        assert all(np.array_equal(a, b) for a, b in zip(found, answers(plain), strict=True))
