"""Masks of objects that fade are narrowed, and the next plane goes on from what is left."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask, iou_of, overlap
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Candidate, ObjectPrediction, Question
from napari_sam3.inference.tracking.ending import EndRules, Sighting, Trail
from napari_sam3.inference.tracking.evidence import FEATURES
from napari_sam3.inference.tracking.followers import Before, MaskFollower
from napari_sam3.inference.tracking.found import FoundMask, above_logit, alike, apart, joined
from napari_sam3.inference.tracking.limits import box_draft, mask_draft
from sam3 import load_predictor

ROWS, COLUMNS = np.ogrid[:96, :96]
DISTANCE = np.hypot(ROWS - 48, COLUMNS - 48)
RADIUS = 20
#: A pixel needs a logit of 10 times the brightness that is missing.
BY_BRIGHTNESS = (*(-10.0 * (name == "brightness") for name in FEATURES), 10.0)
RULES = EndRules(narrowing=BY_BRIGHTNESS)


class Unwatched:
    """A control that is never cancelled."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Do nothing."""


def disc(radius: float) -> PlaneMask:
    """Return a disc in the middle, maybe empty."""
    return PlaneMask.from_array(radius > DISTANCE)


def plane(share: float, blur: float = 0.0) -> ArrayPlane:
    """Return the largest disc with a share of its contrast, out of focus."""
    sharp = disc(RADIUS).to_array((96, 96)).astype(float)
    grey = np.round(60 + 100 * share * ndimage.gaussian_filter(sharp, blur)).astype(np.uint8)
    return ArrayPlane(plane_from_array(grey, contrast=(0, 255)))


def above(logit: float) -> PlaneMask:
    """Return the pixels of a logit as high as they are px from the rim."""
    return disc(max(0.0, RADIUS - logit))


def trail(rules: EndRules, *planes: ArrayPlane) -> Trail:
    """Return a trail from the first of some planes."""
    return Trail(Sighting(disc(RADIUS), 0), rules, planes.__getitem__)


def test_the_dimmer_an_object_the_narrower_its_mask() -> None:
    planes = [plane(share) for share in (1.0, 1.0, 0.7, 0.4)]
    ours = trail(RULES, *planes)
    found = FoundMask(disc(RADIUS), 0.9, above=above)
    masks = [ours.judge(found, index, planes[index])[0] for index in (1, 2, 3)]
    assert masks[0].area == found.mask.area
    radii = [np.sqrt(mask.area / np.pi) for mask in masks]
    assert radii == pytest.approx([20, 17, 14], abs=0.4)
    assert ours.before().mask is masks[-1]


def test_a_mask_that_is_narrowed_away_is_an_end() -> None:
    planes = [plane(1.0), plane(0.2)]
    ours = trail(RULES, *planes)
    found = FoundMask(disc(RADIUS), 0.9, above=lambda logit: above(3 * logit))
    mask, ended = ours.judge(found, 1, planes[1])
    assert mask.is_empty
    assert ended == "only 0 px were found"
    assert ours.mask.area == disc(RADIUS).area


@pytest.mark.parametrize(
    "rules",
    [
        EndRules(),
        replace(EndRules.calibrated(in_time=True), narrowing=BY_BRIGHTNESS),
    ],
)
def test_other_masks_stay_as_they_are(rules: EndRules) -> None:
    planes = [plane(1.0), plane(0.5)]
    ours = trail(rules, *planes)
    found = FoundMask(disc(RADIUS), 0.9, above=above)
    assert ours.judge(found, 1, planes[1]) == (found.mask, "")


def test_a_mask_of_a_memory_stays_as_it_is() -> None:
    planes = [plane(1.0), plane(0.5)]
    ours = trail(RULES, *planes)
    found = FoundMask(disc(RADIUS), 0.9, presence=3.0)
    assert ours.judge(found, 1, planes[1]) == (found.mask, "")


def test_calibrated_rules_narrow_what_fades_and_nothing_else() -> None:
    """By the weights that are shipped."""
    found = FoundMask(disc(RADIUS), 0.9, above=above)
    steady = [plane(1.0)] * 4
    ours = trail(EndRules.calibrated(), *steady)
    same = [ours.judge(found, index, steady[index]) for index in (1, 2, 3)]
    assert [(mask.area, ended) for mask, ended in same] == [(found.mask.area, "")] * 3
    fading = [plane(share, blur) for share, blur in ((1.0, 0), (0.8, 2), (0.7, 4), (0.6, 5))]
    ours = trail(EndRules.calibrated(), *fading)
    narrowed = [ours.judge(found, index, fading[index]) for index in (1, 2, 3)]
    assert not any(ended for _, ended in narrowed)
    assert narrowed[-1][0].area < 0.9 * found.mask.area


def test_the_model_is_asked_how_sure_it_is_of_each_pixel() -> None:
    tiny, planes = load_predictor("tiny", "cpu"), [plane(1.0), plane(0.6)]
    follower = MaskFollower(tiny, EmbeddingCache(), Unwatched(), planes.__getitem__)
    results = follower.step(1, planes[1], {1: Before(disc(RADIUS), 0)}, reverse=False)
    assert results is not None
    found = results[1]
    assert found.above is not None
    assert found.mask.area > 0
    whole = slice(0, 96), slice(0, 96)
    masks = [found.mask, *(found.above(logit) for logit in (0.0, 1.0, 3.0, 1e3))]
    for larger, smaller in pairwise(masks[1:]):
        assert not (smaller.within(whole) & ~larger.within(whole)).any()
    assert masks[3].area < masks[1].area
    assert masks[4].is_empty


@pytest.mark.parametrize("stands_out", [True, False])
def test_an_object_without_contrast_is_predicted_from_its_mask_and_from_its_box(
    stands_out: bool,
) -> None:
    tiny, planes = load_predictor("tiny", "cpu"), [plane(1.0), plane(0.6)]
    cache, control, shown = EmbeddingCache(), Unwatched(), disc(RADIUS)
    follower = MaskFollower(tiny, cache, control, planes.__getitem__)
    results = follower.step(1, planes[1], {1: Before(shown, 0, stands_out)}, reverse=False)
    assert results is not None
    drafts = mask_draft(1, shown), box_draft(1, shown), mask_draft(1, shown, boxed=True)
    answers = answer(Question(planes[1], drafts), tiny, cache, control)
    assert answers is not None
    by_mask, by_box, by_both = (one.score for one in answers)
    assert len({by_mask, by_box, by_both}) == 3
    expected = by_both if stands_out else (by_mask + by_box) / 2
    assert results[1].score == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("moved_away", [False, True])
def test_an_object_in_time_is_predicted_from_its_box_only_where_its_mask_leads_astray(
    moved_away: bool,
) -> None:
    """The box of the frame before would hold back a cell that spreads."""
    tiny, planes = load_predictor("tiny", "cpu"), [plane(1.0), plane(0.9)]
    cache, control = EmbeddingCache(), Unwatched()
    radius = 6 if moved_away else RADIUS  # the mask prompt alone finds the whole disc
    before = Before(disc(radius), 0, in_time=True)
    follower = MaskFollower(tiny, cache, control, planes.__getitem__)
    results = follower.step(1, planes[1], {1: before}, reverse=False)
    assert results is not None
    drafts = mask_draft(1, before.mask), box_draft(1, before.mask)
    answers = answer(Question(planes[1], drafts), tiny, cache, control)
    assert answers is not None
    by_mask, by_box = answers
    agreement = [iou_of(one.mask, before.mask) for one in answers]
    assert (agreement[0] < agreement[1] / 2) is moved_away
    expected = by_box if moved_away else by_mask
    assert results[1].score == pytest.approx(expected.score, abs=1e-5)
    assert by_mask.score != pytest.approx(by_box.score, abs=1e-3)


def test_a_prediction_that_went_to_something_else_is_left_out() -> None:
    """A mask prompt sometimes finds a region in a larger field, far from where the object was."""
    rows, columns = np.ogrid[:128, :128]

    def predicted(field: FieldOfView, row: int, radius: int, score: float) -> ObjectPrediction:
        logits = np.where(np.hypot(rows - row, columns - 48) < radius, 8, -8)[None]
        mask = field.paste(np.kron(logits[0] > 0, np.ones((field.shape[0] // 128,) * 2, bool)))
        candidate = Candidate(mask, score, logits.astype(np.float32))
        return ObjectPrediction(mask_draft(1, mask), field, (candidate,), 0)

    large, small = FieldOfView(1, (0, 256), (0, 256)), FieldOfView(0, (0, 128), (0, 128))
    expected = predicted(small, 40, 20, 1).mask
    lost, kept = predicted(large, 100, 20, 0.3), predicted(small, 40, 19, 0.8)
    found = joined(alike([lost, kept], expected), expected, 0)
    assert overlap(found.mask, lost.mask) == 0
    assert found.mask.area == pytest.approx(kept.mask.area, rel=0.02)
    assert found.score == pytest.approx(0.8)


def found_in(rows: slice, columns: slice, before: tuple[slice, slice]) -> FoundMask:
    mask, expected = np.zeros((2, 40, 40), bool)
    mask[rows, columns] = expected[before] = True
    return FoundMask(
        PlaneMask.from_array(mask),
        0.8,
        expected=PlaneMask.from_array(expected),
        above=lambda logit: PlaneMask.from_array(mask if logit < 1 else np.zeros_like(mask)),
    )


def test_of_two_objects_that_claim_pixels_the_one_that_was_there_gets_them() -> None:
    """A cell that is found over its neighbour as well leaves it what was the neighbour's alone."""
    left, right = (slice(10, 30), slice(5, 15)), (slice(10, 30), slice(15, 25))
    greedy = found_in(slice(10, 30), slice(5, 28), left)
    other = found_in(slice(10, 30), slice(14, 28), right)
    parted = apart({1: greedy, 2: other})
    assert overlap(parted[1].mask, other.expected or other.mask) == 0
    # One column was the other's: 14 is new to it. Where neither was, from 25 on, both stay.
    assert parted[2].mask.bbox == (10, 15, 30, 28)
    assert parted[1].mask.bbox == (10, 5, 30, 15)
    assert parted[1].above is not None
    assert parted[1].above(0.0).bbox == (10, 5, 30, 15)
    assert parted[1].above(1.0).is_empty


def test_an_object_within_another_keeps_its_pixels() -> None:
    cell = found_in(slice(5, 35), slice(5, 35), (slice(5, 35), slice(5, 35)))
    nucleus = found_in(slice(10, 25), slice(10, 25), (slice(12, 24), slice(12, 24)))
    parted = apart({1: cell, 2: nucleus})
    assert parted[1].mask is cell.mask
    assert parted[2].mask is nucleus.mask


def test_the_outline_of_a_followed_mask_is_smooth() -> None:
    """A thin spur of the logits is no part of it, and what is smooth keeps its size."""
    logits = np.full((128, 128), -8, np.float32)
    rows, columns = np.ogrid[:128, :128]
    logits[np.hypot(rows - 64, columns - 64) < 30] = 8
    area = int((logits > 0).sum())
    logits[64, 94:110] = 8  # as wide as one pixel
    mask = above_logit(FieldOfView(0, (0, 128), (0, 128)), logits, 0, 0.0)
    assert mask.area == pytest.approx(area, rel=0.01)
    assert not mask.within((slice(0, 128), slice(97, 128))).any()


@pytest.mark.parametrize("logit", [0.0, 3.0, 20.0])
def test_a_mask_is_smoothed_as_in_its_whole_field(logit: float) -> None:
    rng = np.random.default_rng(0)
    logits = 4 * ndimage.gaussian_filter(rng.normal(size=(128, 128)), 4).astype(np.float32)
    logits = 12 * logits / logits.std() - 15
    region = FieldOfView(0, (0, 128), (0, 128))
    whole = ndimage.gaussian_filter(np.clip(logits - logit, -2, 2), 1.0) > 0
    mask = above_logit(region, logits, 0, logit).to_array((128, 128))
    largest, count = ndimage.label(whole)
    sizes = np.bincount(largest.ravel())[1:]
    assert mask.any() == whole.any()
    assert not (mask & ~whole).any()
    assert mask.sum() >= sizes.max(initial=0) * (count > 0)


def test_small_holes_of_a_narrowed_mask_are_filled_as_in_other_masks() -> None:
    grey = plane(1.0).region(slice(0, 96), slice(0, 96))[..., 0].copy()
    grey[DISTANCE < 6] = 60  # a core as dark as the background
    ring = ArrayPlane(plane_from_array(grey, contrast=(0, 255)))

    def holes(fill_area: int) -> list[int]:
        """Return the px of the holes at each logit."""
        tiny = load_predictor("tiny", "cpu")
        tiny.model.config = replace(tiny.config, fill_hole_area=fill_area)
        follower = MaskFollower(tiny, EmbeddingCache(), Unwatched(), (ring, ring).__getitem__)
        results = follower.step(1, ring, {1: Before(disc(RADIUS), 0)}, reverse=False)
        assert results is not None
        above = results[1].above
        assert above is not None
        masks = [above(float(logit)).to_array((96, 96)) for logit in range(1, 8)]
        return [int((ndimage.binary_fill_holes(mask) & ~mask).sum()) for mask in masks]

    assert max(holes(0)) > 50
    assert not any(holes(10_000))
