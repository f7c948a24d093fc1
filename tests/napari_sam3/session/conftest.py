"""The stack that tests of propagation work on."""

from __future__ import annotations

import pytest

from napari_sam3.session.session import LabelingSession
from sam3 import Predictor, load_predictor
from tests.napari_sam3.batch_samples import stack as wandering
from tests.napari_sam3.session.stack_table import PLANES, Table, make_table


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


@pytest.fixture
def table(predictor: Predictor) -> Table:
    """Return two discs that wander through six planes, and a small model of random weights."""
    return make_table(LabelingSession(predictor), wandering(PLANES))
