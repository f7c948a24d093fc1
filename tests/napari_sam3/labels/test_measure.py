"""Area, centroid and bounding box: those of skimage, whole or in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops

from napari_sam3.labels.measure import Measure, measure

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


@given(masks, st.integers(0, 50), st.integers(0, 50))
def test_measures_are_those_of_skimage(mask: npt.NDArray[Any], row: int, column: int) -> None:
    measured = measure(mask, row, column)
    if not mask.any():
        assert measured == Measure()
        return
    plane = np.zeros((row + mask.shape[0], column + mask.shape[1]), np.uint8)
    plane[row:, column:] = mask
    (expected,) = regionprops(plane)
    assert (measured.area, measured.bbox) == (expected.area, expected.bbox)
    np.testing.assert_allclose(measured.centroid, expected.centroid)


@given(masks, st.data())
def test_parts_add_up_to_the_whole(mask: npt.NDArray[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, mask.shape[0]))
    assert measure(mask[:cut], 3, 4) + measure(mask[cut:], 3 + cut, 4) == measure(mask, 3, 4)
