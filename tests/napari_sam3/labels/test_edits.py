"""Changes of labels that are taken back and done again, and what they take to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelWrite, Policy, final_writes
from napari_sam3.labels.edits import LabelEdit, mask_of_label, write_object
from napari_sam3.labels.targets import ArrayTarget


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_edits_undone_in_order_leave_no_trace(kind: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    start_values = rng.integers(0, 4, (24, 20)).astype(np.uint8)
    array: Any = start_values.copy()
    if kind == "zarr":
        array = zarr.array(array, chunks=(7, 7))

    class Target(ArrayTarget):
        """Reads and writes through slices alone, as layers do."""

        def __init__(self) -> None:
            super().__init__(np.zeros((24, 20), np.uint8))
            self.array = array

        def read(self, region: Any) -> Any:
            return np.array(array[region])

        def maximum(self) -> int:
            return int(np.asarray(array[:]).max())

    target, done = Target(), []
    for _ in range(data.draw(st.integers(1, 6))):
        top, left = (data.draw(st.integers(0, 15)) for _ in range(2))
        crop = rng.random((data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5)))) < 0.7
        mask = PlaneMask.from_array(crop, top, left)
        label = data.draw(st.integers(1, 9))
        policies: list[Policy] = ["keep", "overwrite"]
        policy = data.draw(st.sampled_from(policies))
        replaced = None
        if data.draw(st.booleans()) and (np.asarray(array[:]) == label).any():
            replaced = mask_of_label(target, label)
        try:
            written = write_object(target, mask, label, policy, replaced=replaced)
        except LabelError:
            continue
        if written is not None:
            done.append(written.edit)
            assert np.array_equal(written.write.values, target.read(written.write.region))
            assert (target.read(written.mask.region)[written.mask.crop] == label).all()
            if policy == "overwrite":
                assert (target.read(mask.region)[mask.crop] == label).all()
    end = np.array(array[:])
    for edit in reversed(done):
        edit.revert()
    assert np.array_equal(array[:], start_values)
    for edit in done:
        edit.apply()
    assert np.array_equal(array[:], end)


def test_an_edit_leaves_pixels_alone_that_were_changed_since() -> None:
    labels = np.zeros((9, 9), np.uint8)
    target = ArrayTarget(labels)
    after = np.full((4, 4), 5, np.uint8)
    edit = LabelEdit.between(target, (slice(2, 6), slice(2, 6)), after)
    assert edit is not None
    edit.apply()
    labels[3, 3] = 8
    edit.revert()
    assert labels[3, 3] == 8
    assert labels.sum() == 8


def test_what_is_kept_of_an_edit_is_a_small_part_of_its_pixels() -> None:
    rows, columns = np.mgrid[:400, :400]
    labels = (rows // 40 * 10 + columns // 40).astype(np.uint32)
    before, after = labels.copy(), np.where(rows > columns, 7, labels)
    edit = LabelEdit.between(ArrayTarget(labels), (slice(0, 400), slice(0, 400)), after)
    assert edit is not None
    assert edit.after == 7, "one number where all pixels share it"
    assert isinstance(edit.before, bytes)
    assert len(edit.before) + len(edit.changed) < labels.nbytes / 40
    edit.apply()
    np.testing.assert_array_equal(labels, after)
    edit.revert()
    np.testing.assert_array_equal(labels, before)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), count=st.integers(1, 6))
def test_successive_writes_are_told_with_the_pixels_that_all_of_them_left(
    seed: int, count: int
) -> None:
    rng, labels = np.random.default_rng(seed), np.zeros((24, 20), np.uint16)
    writes = []
    for label in range(1, count + 1):
        (top, bottom), (left, right) = (np.sort(rng.choice(n, 2, replace=False)) for n in (25, 21))
        region = slice(int(top), int(bottom)), slice(int(left), int(right))
        labels[region][rng.random(labels[region].shape) < 0.5] = label
        writes.append(LabelWrite("plane", region, labels[region].copy()))
    final = final_writes(writes)
    assert [write.region for write in final] == [write.region for write in writes]
    for write in final:
        assert write.values.dtype == labels.dtype
        assert np.array_equal(write.values, labels[write.region])
