"""Masks as run lengths and labels as texts: exact there and back, and nothing else taken."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.masks import PlaneMask
from napari_sam3.records import rle
from napari_sam3.records.rle import (
    labels_from_text,
    labels_text_shape,
    labels_to_text,
    mask_to_runs,
    runs_to_mask,
)
from napari_sam3.records.schema import MASK
from napari_sam3.records.strict import RecordError
from tests.napari_sam3.record_samples import crops, masks, plane_masks, same


def test_runs_go_along_rows_and_begin_with_unset_pixels() -> None:
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    assert mask_to_runs(mask) == [1, 3, 2]
    assert mask_to_runs(~mask) == [0, 1, 3, 2]
    assert mask_to_runs(np.zeros((0, 0), bool)) == []
    assert mask_to_runs(np.ones((2, 2), bool)) == [0, 4]


@given(masks)
@settings(deadline=None)
def test_every_mask_comes_back(mask: npt.NDArray[np.bool_]) -> None:
    shape = mask.shape[0], mask.shape[1]
    assert same(runs_to_mask(mask_to_runs(mask), shape), mask)
    assert same(runs_to_mask(mask_to_runs(mask.T), shape[::-1]), np.ascontiguousarray(mask.T))


@given(plane_masks)
@settings(deadline=None)
def test_every_mask_of_a_plane_comes_back(mask: PlaneMask) -> None:
    back = MASK.read(MASK.write(mask))
    assert same(back, mask)
    assert not back.crop.flags.writeable


@pytest.mark.parametrize(
    "runs",
    [
        [3, 2],  # too few pixels
        [3, 4],
        [7, -1],
        [2, 0, 4],  # only the first may be 0
        [3, 3.0],
        [3, True, 2],
        [3, "3"],
        [1 << 70],
        [],
    ],
)
def test_lengths_that_are_no_runs_of_the_mask_are_refused(runs: list[Any]) -> None:
    with pytest.raises(RecordError, match="2 x 3 px"):
        runs_to_mask(runs, (2, 3))


def test_a_mask_of_absurd_size_is_refused_before_it_takes_memory() -> None:
    tracemalloc.start()
    with pytest.raises(RecordError, match="at most"):
        runs_to_mask([1 << 50], (1 << 25, 1 << 25))
    with pytest.raises(RecordError, match=r"mask\.height"):
        MASK.read({"row": 0, "column": 0, "height": 1 << 60, "width": 1, "runs": [1]})
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@given(crops)
@settings(deadline=None)
def test_all_labels_come_back_in_their_dtype(values: npt.NDArray[Any]) -> None:
    text = labels_to_text(values)
    assert labels_text_shape(text) == values.shape
    assert same(labels_from_text(text), values)


def test_labels_in_another_byte_order_or_layout_keep_their_values() -> None:
    values = np.arange(12, dtype=">i4").reshape(3, 4)
    back = labels_from_text(labels_to_text(values.T[::-1]))
    assert back.dtype == np.dtype(np.int32)
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, values.T[::-1])


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2)), np.zeros((2, 2), bool), np.zeros(3, int), np.zeros((2, 2), "M8[s]")],
)
def test_what_is_no_crop_of_labels_is_not_stored(values: npt.NDArray[Any]) -> None:
    with pytest.raises(RecordError, match="2-D integers"):
        labels_to_text(values)


@given(crops, st.data())
@settings(deadline=None)
def test_damaged_text_gives_our_error_or_labels_of_the_announced_shape(
    values: npt.NDArray[Any], data: st.DataObject
) -> None:
    text = labels_to_text(values)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:at] + data.draw(st.sampled_from(["", "A", "\n", "é", "=", "0"])) + text[at + 1 :]
    )
    try:
        back = labels_from_text(damaged)
    except RecordError:
        return
    assert back.shape == labels_text_shape(damaged)


def bomb(head: str, size: int) -> str:
    return f"{head} " + base64.b64encode(zlib.compress(bytes(size), 9)).decode()


@pytest.mark.parametrize(
    "text",
    [
        bomb("uint8 10x10", 1 << 26),  # unpacks to more than it announces
        bomb("uint8 9999999999x9999999999", 100),  # announces what no memory holds
        bomb("int64 20000x10000", 100),  # announces what so short a text cannot hold
        bomb("uint8 10x10", 99),
        bomb("float32 5x5", 100),
        bomb("uint8 100", 100),
        "uint8 10x10 " + base64.b64encode(b"no zlib at all, really none of it").decode(),
        "",
    ],
)
def test_labels_that_are_not_what_they_announce_are_refused_without_taking_memory(
    text: str,
) -> None:
    tracemalloc.start()
    with pytest.raises(RecordError, match=r"undamaged copy"):
        labels_from_text(text)
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.stop()


def test_text_after_the_labels_is_refused() -> None:
    content = zlib.compress(bytes(4)) + b"more"
    with pytest.raises(RecordError, match="another size"):
        labels_from_text(f"uint8 2x2 {base64.b64encode(content).decode()}")


def test_the_longest_runs_that_deflate_can_shrink_are_read_again() -> None:
    values = np.zeros((4000, 4000), np.uint64)
    assert same(labels_from_text(labels_to_text(values)), values)
    assert values.nbytes < rle.MAX_CROP_BYTES
