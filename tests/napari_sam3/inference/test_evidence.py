"""Evidence in the image that an object is on a plane."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import Sighting
from napari_sam3.inference.tracking.evidence import FEATURES, Place, contrast_of, evidence, look_of

ROWS, COLUMNS = np.ogrid[:96, :96]
DISC = (ROWS - 48) ** 2 + (COLUMNS - 48) ** 2 < 20**2
MASK = PlaneMask.from_array(DISC)


def plane(blur: float = 0.0, share: float = 1.0, sign: int = 1) -> ArrayPlane:
    """Return a disc of 160 on a ground of 60, or turned round, blurred and dimmed."""
    disc = ndimage.gaussian_filter(DISC.astype(float), blur) * 100 * share
    grey = 60 + disc if sign > 0 else 195 - disc
    return ArrayPlane(plane_from_array(grey.astype(np.uint8), contrast=(0, 255)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_look_measures_core_ring_and_rim(sign: int) -> None:
    look = look_of(MASK, plane(sign=sign))
    assert look.core == look.inside == (160 if sign > 0 else 95)
    assert look.contrast == sign * 100
    assert look.stands_out
    assert contrast_of(MASK, plane(sign=sign)) == look.contrast
    assert look_of(MASK, plane(blur=6, sign=sign)).edge < 0.5 * look.edge


def test_a_mask_that_fills_its_plane_has_no_surroundings() -> None:
    mask = PlaneMask.from_array(np.ones((96, 96), bool))
    filled = look_of(mask, plane())
    assert filled.contrast == contrast_of(mask, plane()) == 0
    assert not filled.stands_out


@pytest.mark.parametrize("sign", [1, -1])
def test_evidence_of_bright_and_dark_objects_is_the_same(sign: int) -> None:
    sharp, hazy = look_of(MASK, plane(sign=sign)), look_of(MASK, plane(6, 0.4, sign))
    small = PlaneMask.from_array(ndimage.binary_erosion(DISC, iterations=10))
    large = PlaneMask.from_array(ndimage.binary_dilation(DISC, iterations=4))
    now = small, look_of(small, plane(6, 0.4, sign)), 0.9
    measured = evidence(now, hazy.contrast, (large, sharp), (MASK, sharp), presence=3.0)
    values = dict(zip(FEATURES, measured, strict=True))
    assert values["score"] == 0.9
    assert values["presence"] == 0.5
    assert values["area"] == pytest.approx(np.log(small.area / MASK.area))
    assert values["growth"] == pytest.approx(np.log(small.area / large.area))
    assert values["contrast"] < 0.45
    assert values["contrast_at_mask_before"] == pytest.approx(hazy.contrast / sharp.contrast)
    assert values["edge"] < 0.3
    assert values["brightness"] == pytest.approx(0.4, abs=0.05)
    assert values["change_from_before"] == pytest.approx(-0.6, abs=0.05)
    same = evidence((MASK, sharp, 0.9), sharp.contrast, (MASK, sharp), (MASK, sharp), None)
    assert same.tolist() == [0.9, 1, 1, 1, 1, 0, 1, 0, 0, 0]


def test_a_place_serves_every_plane_of_its_shape() -> None:
    place, hazy = Place(MASK, (96, 96)), plane(6, 0.4)
    assert look_of(MASK, hazy, place) == look_of(MASK, hazy)
    assert contrast_of(MASK, hazy, place) == contrast_of(MASK, hazy) == look_of(MASK, hazy).contrast


def test_a_sighting_finds_its_place_anew_on_planes_of_another_shape() -> None:
    seen = Sighting(MASK, 0)
    first = seen.place((96, 96))
    assert seen.place((96, 96)) is first
    assert seen.place((69, 96)).inside.shape < first.inside.shape
