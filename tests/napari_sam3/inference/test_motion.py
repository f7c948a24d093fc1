"""Objects that move between planes: masks go along with their pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import skimage.feature
from skimage.feature import match_template

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.motion import moved
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from sam3 import load_predictor

SHAPE = 120, 150
TEXTURE = np.random.default_rng(5).normal(0, 12, (21, 21))


def disc(row: int, column: int, radius: int = 10) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 < radius**2)


def picture(*places: tuple[int, int], seed: int = 0) -> ArrayPlane:
    """Show discs with one texture on noise."""
    light = np.random.default_rng(seed).normal(50, 4, SHAPE)
    for row, column in places:
        there = np.zeros(SHAPE)
        for (y, x), value in np.ndenumerate(TEXTURE):
            if 0 <= row + y - 10 < SHAPE[0] and 0 <= column + x - 10 < SHAPE[1]:
                there[row + y - 10, column + x - 10] = value
        light = np.where(disc(row, column), 150 + there, light)
    return ArrayPlane(plane_from_array(light.clip(0, 255).astype(np.uint8), contrast=(0, 255)))


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-14, 12), (0, 19)])
def test_a_mask_goes_where_its_pixels_are(shift: tuple[int, int]) -> None:
    before, now = picture((60, 70)), picture((60 + shift[0], 70 + shift[1]), seed=1)
    found = moved(PlaneMask.from_array(disc(60, 70)), before, now)
    np.testing.assert_array_equal(found.to_array(SHAPE), disc(60 + shift[0], 70 + shift[1]))


@pytest.mark.parametrize("start", [(2, 3), (118, 147), (60, 1), (119, 149)])
def test_a_mask_at_the_rim_stays_in_the_plane(start: tuple[int, int]) -> None:
    mask = PlaneMask.from_array(disc(*start))
    inwards = min(max(start[0], 12), 108), min(max(start[1], 12), 138)
    for now in (picture(start, seed=1), picture(inwards, seed=1), picture(seed=1)):
        found = moved(mask, picture(start), now)
        assert found.area == mask.area
        assert found.to_array(SHAPE).sum() == mask.area


@pytest.mark.parametrize("shift", [0, 2])
def test_only_what_looks_different_is_searched_for(
    shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[tuple[int, ...]] = []

    def match(image: npt.NDArray[np.float32], template: npt.NDArray[np.float32]) -> object:
        searched.append(image.shape)
        return match_template(image, template)

    monkeypatch.setattr(skimage.feature, "match_template", match)
    mask = PlaneMask.from_array(disc(60, 70))
    found = moved(mask, picture((60, 70)), picture((60, 70 + shift), seed=1))
    assert (found is mask) == (not searched) == (shift == 0)


def test_it_stays_where_nothing_fits_better() -> None:
    mask, even = PlaneMask.from_array(disc(60, 70)), np.full((*SHAPE, 3), 90, np.uint8)
    for now in (ArrayPlane(even), picture(seed=3)):
        assert moved(mask, picture((60, 70)), now) is mask
    assert moved(mask, ArrayPlane(even), picture((60, 70))) is mask
    whole = PlaneMask.from_array(np.ones(SHAPE, bool))
    assert moved(whole, picture((60, 70)), picture((60, 90))) is whole
    # The same texture farther off than the object is long is another object.
    assert moved(mask, picture((60, 70)), picture((60, 120))) is mask


def test_a_large_object_is_searched_for_in_a_thinned_region() -> None:
    rows, columns = np.ogrid[:900, :900]
    light = np.random.default_rng(0).normal(60, 3, (900, 900))
    before, after = light.copy(), light.copy()
    before[(rows - 400) ** 2 + (columns - 400) ** 2 < 150**2] = 180
    after[(rows - 440) ** 2 + (columns - 352) ** 2 < 150**2] = 180
    shown = (rows - 400) ** 2 + (columns - 400) ** 2 < 150**2
    planes = [
        ArrayPlane(plane_from_array(one.astype(np.uint8), contrast=(0, 255)))
        for one in (before, after)
    ]
    found = moved(PlaneMask.from_array(shown), *planes)
    top, left = found.bbox[:2]
    assert abs(top - (440 - 149)) < 6
    assert abs(left - (352 - 149)) < 6


def test_an_object_that_jumps_is_followed() -> None:
    places = [(30 + 9 * n, 20 + 15 * n) for n in range(7)]
    planes = [picture(place, seed=n) for n, place in enumerate(places)]
    prompt = ObjectPrompt(0, 1, mask=PlaneMask.from_array(disc(*places[0])))
    found = {
        one.plane: one.mask for one in propagate(planes, [prompt], load_predictor("tiny", "cpu"))
    }
    assert sorted(found) == list(range(7))
    for plane, place in enumerate(places):
        ours, truth = found[plane].to_array(SHAPE), disc(*place)
        assert (ours & truth).sum() / (ours | truth).sum() > 0.7, plane


def test_through_time_an_object_may_bleach() -> None:
    """Through z the same planes are out of focus, where it ends."""

    def plane(index: int) -> ArrayPlane:
        light = np.random.default_rng(index).normal(50, 3, SHAPE)
        light[disc(60, 70, 14)] += 140 * 0.6**index
        return ArrayPlane(plane_from_array(light.clip(0, 255).astype(np.uint8), contrast=(0, 255)))

    planes, model = [plane(index) for index in range(9)], load_predictor("tiny", "cpu")
    prompt = ObjectPrompt(0, 1, mask=PlaneMask.from_array(disc(60, 70, 14)))
    rules = EndRules.calibrated(in_time=True), EndRules.calibrated()
    followed, ended = (
        [one.plane for one in propagate(planes, [prompt], model, rules=one) if one.mask.area]
        for one in rules
    )
    assert followed == list(range(9))
    assert ended == followed[: len(ended)]
    assert 0 < len(ended) < 9, "of its light 1.7 % is left on the last plane"
    kept = EndRules.from_json({"in_time": True})
    assert kept == rules[0]
    assert EndRules.from_json({"in_time": False}) == rules[1]
    assert "in_time" not in rules[1].to_json()
