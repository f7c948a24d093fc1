"""Real predictors for the plugin's tests: random weights, the embedded architecture."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3.config import get_preset
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Small models on a busy machine are several times faster without threads of torch."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """Return the embedded architecture at a small input size, so that planes have many fields."""
    config = dataclasses.replace(get_preset("tiny"), resolution=112)
    return Predictor(build_click_model(config, seed=0).eval(), device="cpu")


@pytest.fixture
def blobs() -> npt.NDArray[np.uint8]:
    """Return an image (100 x 90) of bright discs on a dark ground."""
    rows, columns = np.mgrid[:100, :90]
    image = np.full((100, 90), 20, np.uint8)
    for row, column in ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 12**2] = 200
    return image
