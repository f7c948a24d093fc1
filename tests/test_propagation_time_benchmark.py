"""The measuring of propagated planes and tracker steps, not what they measure."""

import pytest

from benchmarks.propagation_time import propagation_time_rows, tracker_row
from sam3 import load_predictor
from sam3.config import get_preset


@pytest.mark.usefixtures("one_torch_thread")
def test_a_propagated_plane_is_measured_beside_encoding_and_decoding_it() -> None:
    rows = propagation_time_rows(load_predictor("tiny", "cpu"), planes=1, repeats=1)
    row = next(iter(rows))  # the way without a memory
    assert row.what == "one propagated plane with 16 objects, *mask by mask*"
    assert row.other is not None
    assert row.ours.median > row.other.median / 2
    assert f"{row.ours.median / row.other.median:.2f} of it" in row.other_name


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch_thread")
def test_a_step_of_the_tracker_is_measured_beside_transformers() -> None:
    row = tracker_row(repeats=1, config=get_preset("sam3").with_resolution(252))
    assert "252 x 252 px" in row.what
    assert row.other is not None
    assert min(row.ours.median, row.other.median) > 0
