"""Objects like the examples are found, wherever the examples are, and others are not."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import torch
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import closing
from skimage.segmentation import clear_border

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.automatic.find import Found, click, merge_found
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar import search as similar_search
from napari_sam3.inference.similar.examples import Concept, Example, learn_concept
from napari_sam3.inference.similar.matching import levelled, of_one_kind, parted, raised
from napari_sam3.inference.similar.search import LEAST_SCORE, find_similar, shown
from sam3 import Predictor, load_predictor
from sam3.concepts.detector import Detector, load_detector
from sam3.errors import PromptError
from tests.sam3.tiny_detector import save_tiny_detector

SHAPE = (200, 200)
DISCS = [(30, 40), (30, 100), (30, 160), (90, 40), (90, 160), (150, 100)]
SMALL = [(60, 70), (90, 100), (150, 40), (150, 160), (180, 70)]


class Control:
    """Hear of progress, and want an end after so many reports."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.shares: list[float] = []
        self.stop_after = stop_after

    @property
    def cancelled(self) -> bool:
        return self.stop_after is not None and len(self.shares) >= self.stop_after

    abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        if fraction is not None:
            self.shares.append(fraction)


def scene(seed: int) -> tuple[ArrayPlane, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return large bright discs and small grey ones, and the labels of either."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.random.default_rng(seed).normal(30, 4, SHAPE)
    labels = []
    for places, radius, value in ((DISCS, 15, 200), (SMALL, 8, 110)):
        truth = np.zeros(SHAPE, np.int32)
        for number, (row, column) in enumerate(places, start=1):
            truth[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = number
        light[truth > 0] += value - 30
        labels.append(truth)
    plane = plane_from_array(np.clip(light, 0, 255).astype(np.uint8))
    return ArrayPlane(plane), labels[0], labels[1]


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


@pytest.fixture(scope="module")
def cache() -> EmbeddingCache:
    return EmbeddingCache(limit_bytes=500_000_000)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    save_tiny_detector(path)
    return load_detector(path, "cpu")


def examples(labels: npt.NDArray[np.int32], *numbers: int, wanted: bool = True) -> list[Example]:
    return [Example(PlaneMask.from_array(labels == number), wanted) for number in numbers]


def centres(found: tuple[Found, ...]) -> set[tuple[int, int]]:
    """Return the middles of masks, rounded to 10 px."""
    boxes = [one.mask.bbox for one in found]
    return {(round((a + c) / 20) * 10, round((b + d) / 20) * 10) for a, b, c, d in boxes}


def search(
    chosen: list[Example], on: ArrayPlane, at: ArrayPlane, model: Predictor, cache: EmbeddingCache
) -> tuple[Found, ...]:
    concept = learn_concept(chosen, on, model, cache, Control())
    assert concept is not None
    found = find_similar(at, model, cache, Control(), concept)
    assert found is not None
    return found


def assert_apart(found: tuple[Found, ...], places: list[tuple[int, int]]) -> None:
    """All places are found, and score higher by 0.2 than anything else."""
    assert centres(found[: len(places)]) == set(places)
    last = found[len(places) - 1].score
    assert last > 0.7
    assert all(one.score < last - 0.2 for one in found[len(places) :])


def test_all_of_the_kind_are_found_and_none_of_the_other(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, large, small = scene(0)
    found = search(examples(large, 1), plane, plane, embedded, cache)
    assert_apart(found, DISCS)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    found = search(examples(small, 1, 2), plane, plane, embedded, cache)
    assert_apart(found, SMALL)
    assert all(LEAST_SCORE <= one.score <= 1 for one in found)


def test_no_proposal_is_clicked_on_twice(
    embedded: Predictor, cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicked: list[tuple[FieldOfView, Seed]] = []

    def noted(
        seeds: Sequence[Seed], plane: ArrayPlane, field: FieldOfView, *rest: Any, near: bool
    ) -> Any:
        clicked.extend((field, seed) for seed in seeds)
        return click(seeds, plane, field, *rest, near=near)

    monkeypatch.setattr(similar_search, "click", noted)
    plane, large, _ = scene(0)
    search(examples(large, 1), plane, plane, embedded, cache)
    assert len(clicked) == len(set(clicked)) >= len(DISCS)


def test_examples_of_another_image_find_the_same(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, large, _ = scene(0)
    other, _, _ = scene(1)
    found = search(examples(large, 1, 4), plane, other, embedded, cache)
    assert_apart(found, DISCS)


def test_a_box_serves_as_an_example(embedded: Predictor, cache: EmbeddingCache) -> None:
    plane, _, _ = scene(0)
    box = Example.from_box((24.0, 14.0, 56.0, 46.0), SHAPE)
    assert_apart(search([box], plane, plane, embedded, cache), DISCS)


def test_unwanted_examples_push_their_kind_down(embedded: Predictor, cache: EmbeddingCache) -> None:
    plane, large, small = scene(0)
    both = examples(large, 1) + examples(small, 1)
    without = search(both, plane, plane, embedded, cache)
    rejected = [*examples(large, 1, 2), *examples(small, 1, 2, wanted=False)]
    rejecting = search(rejected, plane, plane, embedded, cache)
    assert centres(shown(rejecting, 0.5)) == set(DISCS)
    assert set(SMALL) & centres(shown(without, 0.3))


def test_objects_of_one_size_and_brightness_are_ranked_by_their_texture(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(0)
    light = rng.normal(30, 2, SHAPE)
    smooth = np.zeros(SHAPE, np.int32)
    for number, (row, column) in enumerate(DISCS, start=1):
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 15**2
        light[disc] = rng.normal(150, 2 if number <= 3 else 45, np.count_nonzero(disc))
        smooth[disc] = number if number <= 3 else 0
    plane = ArrayPlane(plane_from_array(np.clip(light, 0, 255).astype(np.uint8)))
    found = search(examples(smooth, 1), plane, plane, embedded, cache)
    assert centres(found[:3]) == set(DISCS[:3])
    assert found[2].score > found[3].score + 0.02


def test_all_of_one_kind_are_found_however_much_they_vary(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.random.default_rng(0).normal(30, 4, SHAPE)
    truth = np.zeros(SHAPE, np.int32)
    middles = [(row, column) for row in range(25, 200, 50) for column in range(25, 200, 50)]
    for index, (row, column) in enumerate(middles):
        disc = (rows - row) ** 2 + (columns - column) ** 2 < (8 + 10 * index / 15) ** 2
        light[disc] += 40 + 160 * (7 * index % 16) / 15
        truth[disc] = index + 1
    plane = ArrayPlane(plane_from_array(np.clip(light, 0, 255).astype(np.uint8)))
    # The examples are the largest ones; without the third step, some of the small ones score low.
    found = shown(search(examples(truth, 14, 15, 16), plane, plane, embedded, cache), 0.5)
    hit = {int(np.bincount(truth[one.mask.region][one.mask.crop]).argmax()) for one in found}
    assert hit == set(range(1, 17))


def test_all_coins_are_found(embedded: Predictor, cache: EmbeddingCache) -> None:
    image = skimage.data.coins()
    light = clear_border(closing(image > threshold_otsu(image), np.ones((3, 3))))
    truth = np.asarray(label(light), np.int32)
    coins = {int(one) for one in np.flatnonzero(np.bincount(truth.ravel()) > 600)} - {0}
    plane = ArrayPlane(plane_from_array(image))
    found = shown(search(examples(truth, min(coins)), plane, plane, embedded, cache), 0.5)
    hit = {int(np.bincount(truth[one.mask.region][one.mask.crop]).argmax()) for one in found}
    assert len(coins) == 22
    assert hit >= coins


def test_logits_of_objects_rise_on_a_plane_with_one_kind() -> None:
    logits = np.array([5.0, 4.0, 3.0, 1.0, -2.0, -2.0])
    one = raised(logits, np.array([3.0, 3.0, 3.0, 3.0, 3.0, -3.0]))
    assert one[4] > 0, "an object, though unlike the examples"
    assert one[5] < -1.9, "not an object"
    assert one[0] == pytest.approx(5, abs=0.1)
    assert (np.argsort(one[:5]) == np.argsort(logits[:5])).all()


def test_most_objects_tell_whether_a_plane_has_one_kind() -> None:
    def alike(*logits: float, strict: tuple[float, ...] | None = None) -> bool:
        return of_one_kind(np.array(logits), np.array(strict or logits))

    assert alike(5, 4, 1, -1, -1)
    assert not alike(5, 4, 1, -1, -1, -1)
    assert not alike(5, 4, 1, 1), "too few to tell"
    assert alike(5, 4, 1, 1, 1, 1, strict=(5, 4, 1, -3, -3, -3))
    assert not alike(5, 4, 1, 1, 1, 1, 1, strict=(5, 4, 1, -3, -3, -3, -3))


def test_a_gap_parts_two_kinds() -> None:
    def apart(*logits: float) -> bool:
        return parted(np.array(logits))

    many = np.linspace(5, 4, 10)
    assert apart(*many, 1.2, 1.1, -1.0)
    assert not apart(*many, 2.4, 1.1, -1.0), "without a gap there is one kind"
    assert not apart(*many[1:], 1.2, 1.1, -1.0), "few above a gap may be freaks"
    # The more the objects above a gap differ, the wider it must be.
    assert not apart(*np.linspace(7, 4, 10), 1.2, 1.1, -1.0)


def test_better_candidates_lower_strict_logits_more() -> None:
    kept = np.full(6, True)
    logits = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 0.0])
    better = logits + 1
    lost = [
        (levelled(some, kept, strict) - some)[5]
        for strict in (False, True)
        for some in (logits, better)
    ]
    assert lost[3] < lost[2] < lost[1] < lost[0] < 0


def test_a_rarer_second_kind_is_not_shown(embedded: Predictor, cache: EmbeddingCache) -> None:
    rows, columns = np.mgrid[:260, :260]
    rng = np.random.default_rng(7)
    light = rng.normal(30, 4, (260, 260))
    middles = [(row, column) for row in range(30, 260, 50) for column in range(30, 260, 50)]
    rare = {int(one) for one in rng.permutation(25)[:7]}
    truth = np.zeros((260, 260), np.int32)
    for number, (row, column) in enumerate(middles):
        size, shade = 1 + 0.08 * rng.standard_normal(2)
        small, dark = (0.5, 0.6) if number in rare else (1.0, 1.0)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < (16 * size * small) ** 2
        light[disc] += 150 * shade * dark
        truth[disc] = number + 1
    common = sorted(set(range(25)) - rare)
    plane = ArrayPlane(plane_from_array(np.clip(light, 0, 255).astype(np.uint8)))
    chosen = examples(truth, *(number + 1 for number in common[:3]))
    found = shown(search(chosen, plane, plane, embedded, cache), 0.5)
    hit = {int(np.bincount(truth[one.mask.region][one.mask.crop]).argmax()) - 1 for one in found}
    assert hit == set(common)


def test_tiles_together_find_what_the_whole_does(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, large, _ = scene(0)
    concept = learn_concept(examples(large, 1, 2), plane, embedded, cache, Control())
    assert concept is not None
    whole = find_similar(plane, embedded, cache, Control(), concept)
    halves = [
        find_similar(plane, embedded, cache, Control(), concept, (rows, slice(0, 200)))
        for rows in (slice(0, 100), slice(100, 200))
    ]
    together = merge_found([half or () for half in halves], AutomaticSettings())
    # A half has fewer candidates to compare with each other, so that its scores are closer.
    assert centres(shown(together, 0.7)) == centres(shown(whole or (), 0.7)) == set(DISCS)


def test_progress_moves_and_a_search_can_be_cancelled(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, large, _ = scene(0)
    concept = learn_concept(examples(large, 1), plane, embedded, cache, Control())
    assert concept is not None
    control = Control()
    assert find_similar(plane, embedded, cache, control, concept) is not None
    assert control.shares == sorted(control.shares)
    assert len(set(control.shares)) > 2
    assert find_similar(plane, embedded, cache, Control(stop_after=2), concept) is None


def test_an_image_without_any_instance_gives_nothing(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, large, _ = scene(0)
    blank = ArrayPlane(np.full((*SHAPE, 3), 90, np.uint8))
    assert shown(search(examples(large, 1), plane, blank, embedded, cache), 0.5) == ()


def test_bad_examples_are_refused(embedded: Predictor, cache: EmbeddingCache) -> None:
    plane, large, _ = scene(0)
    with pytest.raises(PromptError, match="no positive example"):
        find_similar(plane, embedded, cache, Control(), Concept())
    for box, message in (
        ((10.0, 10.0, 10.0, 40.0), "has no area"),
        ((float("nan"), 0.0, 5.0, 5.0), "has no area"),
        ((300.0, 300.0, 320.0, 330.0), "outside the plane"),
    ):
        with pytest.raises(PromptError, match=message):
            Example.from_box(box, SHAPE)
    empty = Example(PlaneMask.from_array(np.zeros(SHAPE, bool)))
    outside = Example(PlaneMask(190, 190, np.ones((20, 20), bool)))
    for example, message in ((empty, "has no pixels"), (outside, "lies outside the plane")):
        with pytest.raises(PromptError, match=message):
            learn_concept([example], plane, embedded, cache, Control())
    only_unwanted = learn_concept(
        examples(large, 1, wanted=False), plane, embedded, cache, Control()
    )
    assert only_unwanted is not None
    with pytest.raises(PromptError, match="no positive example"):
        find_similar(plane, embedded, cache, Control(), only_unwanted)


def test_the_detector_is_asked_where_there_is_one(detector: Detector) -> None:
    plane, large, small = scene(0)
    other, _, _ = scene(1)
    cache = EmbeddingCache(limit_bytes=500_000_000)
    chosen = [*examples(large, 1), *examples(small, 1, wanted=False)]
    concept = learn_concept(chosen, plane, detector.predictor, cache, Control(), detector)
    assert concept is not None
    assert sum(len(tokens) for tokens in concept.tokens) == 2
    # A part of the other image that is one field.
    part = ArrayPlane(other.region(slice(0, 120), slice(0, 120)))
    found = find_similar(part, detector.predictor, cache, Control(), concept, detector=detector)
    assert found is not None
    # On a plane of one field the answers are the detector's own, none twice.
    features = detector.encode(part.region(slice(0, 120), slice(0, 120)))
    direct = detector.find(features, examples=concept.tokens)
    scores = {round(float(score), 4) for score in direct.scores}
    assert found or not (direct.scores > LEAST_SCORE).any()
    assert all(round(one.score, 4) in scores for one in found)
    assert (
        find_similar(
            other, detector.predictor, cache, Control(stop_after=1), concept, detector=detector
        )
        is None
    )


def test_features_for_clicks_serve_with_the_trunk_and_without(detector: Detector) -> None:
    plane, _, _ = scene(0)
    field = next(iter(fields_over(plane.shape, detector.predictor.config.resolution, 0)))
    cache = EmbeddingCache(limit_bytes=500_000_000)
    clicks = cache.encode_field(field, plane, detector.predictor, Control())
    assert clicks.trunk is None
    kept = cache.encode_field(field, plane, detector.predictor, Control(), keep_trunk=True)
    fresh = EmbeddingCache().encode_field(
        field, plane, detector.predictor, Control(), keep_trunk=True
    )
    assert kept.trunk is not None
    assert fresh.trunk is not None
    assert torch.equal(kept.trunk, fresh.trunk)
    again = cache.encode_field(field, plane, detector.predictor, Control())
    assert again.encoded is kept.encoded


def test_a_concept_can_be_sent_to_another_process(embedded: Predictor) -> None:
    plane, large, _ = scene(0)
    concept = learn_concept(examples(large, 1), plane, embedded, EmbeddingCache(), Control())
    sent = pickle.dumps(concept)
    assert len(sent) < 10_000
    again = pickle.loads(sent)
    assert concept is not None
    assert again.wanted[0].area == concept.wanted[0].area == examples(large, 1)[0].mask.area
