"""Everything is found without a click, and however a plane is divided into tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.automatic import match_labels
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask, Region
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.automatic.find import (
    AutomaticSettings,
    Found,
    find_objects,
    merge_found,
    paint_order,
    stability,
)
from napari_sam3.inference.automatic.seeds import Seed, blob_seeds, find_seeds, grid_seeds
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Candidate
from napari_sam3.layers.sample_data import make_nuclei
from sam3 import Predictor, load_predictor
from sam3.errors import ConfigError, PromptError
from sam3.model_builder import random_predictor


class Undisturbed:
    cancelled = abandoned = False

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.fractions: list[float] = []

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.stages.append(stage)
        self.fractions += [] if fraction is None else [fraction]


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


@pytest.fixture(scope="module")
def cache() -> EmbeddingCache:
    return EmbeddingCache(limit_bytes=500_000_000)


def tiles(shape: tuple[int, int], side: int) -> Iterator[Region]:
    for row in range(0, shape[0], side):
        for column in range(0, shape[1], side):
            yield (
                slice(row, min(row + side, shape[0])),
                slice(column, min(column + side, shape[1])),
            )


def label(shape: tuple[int, int], found: Sequence[Found]) -> npt.NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    for number, one in enumerate(paint_order(found), start=1):
        labels[one.mask.region][one.mask.crop] = number
    return labels


def discs(
    shape: tuple[int, int], places: Sequence[tuple[int, int]], radius: float
) -> tuple[ArrayPlane, npt.NDArray[np.int32]]:
    """Return bright discs on a dark, noisy ground, and their labels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, column) in enumerate(places, start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = number
    noise = np.random.default_rng(0).normal(0, 6, shape)
    light = np.clip(40 + 140 * (labels > 0) + noise, 0, 255).astype(np.uint8)
    return ArrayPlane(plane_from_array(light)), labels


def test_nuclei_are_found_once_each(embedded: Predictor, cache: EmbeddingCache) -> None:
    image, truth = make_nuclei((1, 200, 180), count=16, seed=4, radii=(8, 14))
    plane = ArrayPlane(plane_from_array(image[0]))
    control = Undisturbed()
    found = find_objects(plane, embedded, cache, control)
    assert found
    assert set(control.stages) == {"encoding", "predicting"}
    matched = match_labels(truth[0], label(plane.shape, found))
    assert matched.f1 > 0.85
    assert matched.mean_iou > 0.75
    limits = AutomaticSettings()
    for one in found:
        assert limits.min_score <= one.score <= 1.1
        assert limits.min_stability <= one.stability <= 1
        assert one.mask.area >= limits.min_area
        assert one.level == embedded.config.default_level
    assert [one.quality for one in found] == sorted((one.quality for one in found), reverse=True)


def test_objects_on_the_corners_of_tiles_are_one_label_each(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    side, shape = 70, (210, 210)
    corners = [(y, x) for y in (70, 140) for x in (70, 140)]
    plane, truth = discs(shape, [*corners, (35, 35), (105, 139), (200, 70)], radius=11)
    whole = find_objects(plane, embedded, cache, Undisturbed())
    parts = [
        find_objects(plane, embedded, cache, Undisturbed(), region=tile)
        for tile in tiles(shape, side)
    ]
    assert whole is not None
    assert all(part is not None for part in parts)
    crossing = sum(
        one.mask.bbox[0] < tile[0].start or one.mask.bbox[3] > tile[1].stop
        for tile, part in zip(tiles(shape, side), parts, strict=True)
        for one in part or ()
    )
    assert crossing, "masks go beyond the tiles that they were found in"
    together = [part or () for part in parts]
    labels = label(shape, merge_found(together))
    for number in range(1, truth.max() + 1):
        there, counts = np.unique(labels[truth == number], return_counts=True)
        assert there[counts.argmax()] > 0
        assert counts.max() > 0.9 * counts.sum(), "one label, without a seam"
    assert match_labels(truth, labels).f1 == 1
    np.testing.assert_array_equal(labels, label(shape, merge_found(together[::-1])))
    # Batches differ from tile to tile, and with them the last digits of the logits.
    assert np.mean(labels == label(shape, whole)) > 0.999
    bigger = [
        find_objects(plane, embedded, cache, Undisturbed(), region=tile) or ()
        for tile in tiles(shape, 110)
    ]
    assert np.mean(labels == label(shape, merge_found(bigger))) > 0.999


def test_the_model_proposes_its_own_seeds(embedded: Predictor, cache: EmbeddingCache) -> None:
    image, truth = make_nuclei((1, 200, 180), count=16, seed=4, radii=(8, 14))
    plane = ArrayPlane(plane_from_array(image[0]))
    proposed = find_objects(plane, embedded, cache, Undisturbed())
    blobs = find_objects(plane, embedded, cache, Undisturbed(), AutomaticSettings(seeds="blobs"))
    assert proposed
    assert blobs
    assert all(0 <= one.seed.y < 200 and 0 <= one.seed.x < 180 for one in proposed)
    by_proposals, by_blobs = (
        match_labels(truth[0], label(plane.shape, one)) for one in (proposed, blobs)
    )
    assert by_proposals.f1 >= by_blobs.f1
    none = find_objects(plane, embedded, cache, Undisturbed(), AutomaticSettings(min_proposal=1.0))
    assert none == ()


def test_an_object_larger_than_a_field_is_proposed_on_a_higher_level(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, truth = discs((500, 480), [(250, 250), (30, 40)], radius=18)
    large, large_truth = discs((500, 480), [(250, 240)], radius=130)
    for one_plane, one_truth in ((plane, truth), (large, large_truth)):
        found = find_objects(one_plane, embedded, cache, Undisturbed())
        assert found is not None
        assert match_labels(one_truth, label(one_plane.shape, found)).f1 == 1


def test_levels_are_encoded_where_their_objects_may_be(embedded: Predictor) -> None:
    """What takes the time is encoding: what one level shows decides about the others."""
    fields: set[FieldOfView] = set()

    class Counting(EmbeddingCache):
        def encode_field(self, region: FieldOfView, *others: Any, **options: Any) -> Any:
            fields.add(region)
            return super().encode_field(region, *others, **options)

    def levels(radius: float, side: int, *places: tuple[int, int]) -> dict[int, int]:
        plane, truth = discs((side, side), places, radius)
        fields.clear()
        found = find_objects(plane, embedded, Counting(), Undisturbed())
        assert match_labels(truth, label(plane.shape, found or ())).f1 == 1
        found_at = [field.level for field in fields]
        return {level: found_at.count(level) for level in sorted(set(found_at))}

    # A field of level 0 is 448 px long, one of level -1 half as long.
    assert levels(14, 300, (60, 60), (220, 180)) == {0: 1}
    corner = levels(5, 440, (60, 60), (90, 110))
    assert corner[0] == 1
    assert corner[-1] <= 2, "what is near tiny objects, not all nine fields"
    assert levels(90, 500, (250, 240)) == {0: 4, 1: 1}


def test_tiny_objects_are_found_alike_however_a_plane_is_divided(embedded: Predictor) -> None:
    """Whether a part is looked at closer may not depend on where a tile ends."""
    places = [(y, x) for y in range(30, 420, 60) for x in range(200, 420, 60)]
    plane, truth = discs((430, 440), places, 5)
    cache = EmbeddingCache()
    control = Undisturbed()
    whole = find_objects(plane, embedded, cache, control) or ()
    assert match_labels(truth, label(plane.shape, whole)).f1 > 0.9
    assert control.fractions == sorted(control.fractions), "though more fields turn up"
    parts = [
        find_objects(plane, embedded, cache, Undisturbed(), region=tile) or ()
        for tile in tiles(plane.shape, 150)
    ]
    together = label(plane.shape, merge_found(parts))
    assert np.mean(together == label(plane.shape, whole)) > 0.999


def test_models_without_proposals_are_asked_on_blobs(cache: EmbeddingCache) -> None:
    predictor = random_predictor()
    plane, _ = discs((100, 100), [(50, 50)], radius=12)
    anything = AutomaticSettings(min_score=0, min_stability=0, max_share=1)
    assert find_objects(plane, predictor, cache, Undisturbed(), anything) is not None
    with pytest.raises(ConfigError, match="has no proposal head"):
        find_objects(plane, predictor, cache, Undisturbed(), replace(anything, seeds="proposals"))


def test_finding_stops_when_it_is_cancelled(embedded: Predictor) -> None:
    class Cancelled(Undisturbed):
        cancelled = True

    plane, _ = discs((100, 100), [(50, 50)], radius=12)
    assert find_objects(plane, embedded, EmbeddingCache(), Cancelled()) is None


def test_a_mask_cut_off_by_its_field_is_asked_one_level_up(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    plane, truth = discs((300, 300), [(150, 150)], radius=50)
    # A field of level -2 is 112 px wide, this disc 100 px.
    limits = AutomaticSettings(seeds="grid", grid=2, level=-2)
    middle = (slice(100, 200), slice(100, 200))
    found = find_objects(plane, embedded, cache, Undisturbed(), limits, middle)
    assert found
    assert found[0].level == -1
    assert match_labels(truth, label(plane.shape, found[:1])).mean_iou > 0.8
    flat = AutomaticSettings(seeds="grid", grid=2, level=-2, levels_up=0)
    within = find_objects(plane, embedded, cache, Undisturbed(), flat, middle)
    assert within is not None
    assert all(one.level == -2 and one.mask.area < 0.9 * (truth > 0).sum() for one in within)


def test_limits_are_kept(embedded: Predictor, cache: EmbeddingCache) -> None:
    plane, _ = discs((120, 120), [(30, 30), (80, 85)], radius=12)

    def areas(**limits: float) -> list[int]:
        settings = AutomaticSettings(seeds="both", grid=6, **limits)  # type: ignore[arg-type]
        found = find_objects(plane, embedded, cache, Undisturbed(), settings)
        assert found is not None
        return [one.mask.area for one in found]

    assert sum(300 < area < 600 for area in areas()) == 2
    assert all(area <= 200 for area in areas(max_area=200))
    assert all(area >= 600 for area in areas(min_area=600))
    assert areas(min_score=1.0) == []
    assert areas(min_stability=1.0) == []
    assert all(area <= 0.01 * 112**2 for area in areas(max_share=0.01, level=-2, levels_up=0))


def test_a_cancelled_search_ends_without_an_answer(
    embedded: Predictor, cache: EmbeddingCache
) -> None:
    class Cancelled(Undisturbed):
        cancelled = True

    plane, _ = discs((60, 60), [(30, 30)], radius=10)
    assert find_objects(plane, embedded, cache, Cancelled()) is None
    empty = ArrayPlane(np.full((40, 40, 3), 90, np.uint8))
    assert find_objects(empty, embedded, cache, Undisturbed()) == ()


def test_seeds_are_the_same_however_a_plane_is_divided(
    embedded: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = make_nuclei((1, 250, 330), count=30, seed=1)
    plane = ArrayPlane(plane_from_array(image[0]))
    limits = AutomaticSettings(seeds="both", blob_radii=(5, 12))
    whole = (slice(0, 250), slice(0, 330))
    wanted = find_seeds(plane, embedded.config, limits, whole)
    assert len(wanted) > 200
    for side in (64, 131):
        found = [
            seed
            for tile in tiles(plane.shape, side)
            for seed in find_seeds(plane, embedded.config, limits, tile)
        ]
        assert sorted(found, key=repr) == sorted(wanted, key=repr)
    monkeypatch.setattr("napari_sam3.inference.automatic.seeds.BLOCK", 90)
    assert find_seeds(plane, embedded.config, limits, whole) == wanted


def test_blobs_are_bright_or_dark_and_of_the_sizes_asked_for() -> None:
    rows, columns = np.mgrid[:120, :160]
    image = np.full((120, 160), 128, np.uint8)
    for row, column, radius, value in ((30, 30, 6, 230), (80, 60, 12, 20), (60, 120, 24, 230)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = value
    plane, everywhere = ArrayPlane(np.stack([image] * 3, -1)), (slice(0, 120), slice(0, 160))

    def near(row: int, column: int, **limits: object) -> list[Seed]:
        settings = AutomaticSettings(blob_contrast=0.2, **limits)  # type: ignore[arg-type]
        seeds = blob_seeds(plane, settings, everywhere)
        return [seed for seed in seeds if np.hypot(seed.y - row, seed.x - column) < 3]

    for row, column, radius in ((30, 30, 6), (80, 60, 12), (60, 120, 24)):
        sizes = [seed.size for seed in near(row, column, blob_radii=(5, 26))]
        assert any(size == pytest.approx(2 * radius, rel=0.25) for size in sizes)
    assert not near(60, 120, blob_radii=(5, 8))


def test_the_grid_has_its_points_a_field_and_lies_in_the_plane(embedded: Predictor) -> None:
    limits = AutomaticSettings(seeds="grid", grid=8)
    shape = (448, 112)  # two fields of 224 px by half a one
    everywhere = (slice(0, 448), slice(0, 112))
    seeds = grid_seeds(shape, embedded.config, limits, everywhere)
    assert len(seeds) == 16 * 4
    assert {seed.size for seed in seeds} == {None}
    rows, columns = {seed.y for seed in seeds}, {seed.x for seed in seeds}
    assert (min(rows), max(rows), min(columns), max(columns)) == (13.5, 433.5, 13.5, 97.5)
    tiny = grid_seeds((3, 90), embedded.config, limits, (slice(0, 3), slice(0, 90)))
    assert [(seed.y, len(tiny)) for seed in tiny[:1]] == [(1.0, 8)]
    finer = AutomaticSettings(seeds="grid", grid=8, level=-2)
    assert len(grid_seeds(shape, embedded.config, finer, everywhere)) == 4 * len(seeds)


def test_stability_is_measured_around_the_mask_alone() -> None:
    logits = np.full((1, 32, 32), -9.0, np.float32)
    logits[0, 4:12, 4:12] = 0.5
    logits[0, 6:10, 6:10] = 5.0
    logits[0, 20:30, 20:30] = 0.5  # another object: of no concern
    mask = PlaneMask.from_array(np.ones((16, 16), bool), 108, 208)
    field = FieldOfView(0, (100, 164), (200, 264))
    candidate = Candidate(mask, 0.9, logits)
    assert stability(candidate, field, 1.0) == 16 / 64
    assert stability(candidate, field, 0.25) == 1
    assert stability(candidate, field, 5.0) == 0


def test_settings_that_cannot_be_used_are_refused() -> None:
    wrong: dict[str, dict[str, object]] = {
        "Expected one of auto, proposals, blobs, grid, both": {"seeds": "dots"},
        "min_score is 1.2. Expected a number from 0 to 1": {"min_score": 1.2},
        "grid is 0. Expected at least 1": {"grid": 0},
        "blob_radii are 9 and 4 px": {"blob_radii": (9, 4)},
        "max_area is 5 px. Expected at least": {"max_area": 5},
        "Expected numbers greater than 0": {"stability_offset": 0},
        "unknown setting: 'sedes'. Expected seeds, min_proposal": {"sedes": "grid"},
        "cannot be used": {"grid": "many"},
    }
    for message, values in wrong.items():
        with pytest.raises(PromptError, match=message):
            AutomaticSettings.from_json(values)
    settings = AutomaticSettings(seeds="both", blob_radii=(3, 8), max_area=900, level=-2)
    assert AutomaticSettings.from_json(settings.to_json()) == settings
