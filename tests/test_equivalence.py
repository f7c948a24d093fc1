"""Clicks on a large plane against clicks on crops: see benchmarks/equivalence.py."""

from __future__ import annotations

import pytest

from benchmarks.equivalence import compare, make_scene
from sam3 import load_predictor


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_masks_on_a_large_plane_are_those_of_crops(one_torch_thread: None) -> None:
    found = compare(make_scene(60), load_predictor(device="cpu"), moved_every=5)
    assert found.objects == 60
    assert found.plane_iou == pytest.approx(found.crop_iou, abs=0.01)
    assert found.cut == 0
    assert len(found.levels) >= 3, "objects of all sizes were answered at one level"
    assert found.plane_shift >= found.crop_shift - 0.01, "it matters where fields lie"
