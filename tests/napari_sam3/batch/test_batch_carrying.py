"""Objects followed through stacks: where they go, where they end, and where two ways meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.batch import follow
from benchmarks.volumes import KINDS, Kind, make_volume
from napari_sam3.batch import BatchPrompts, Carried, CarryRules, Instance, segment
from napari_sam3.batch.chains import meet
from napari_sam3.core.masks import PlaneMask, overlap
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.tracking.carry import carried_draft, deepest_point, why_ended
from sam3 import load_predictor
from sam3.errors import PromptError
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import LOOSE, stack


def disc(row: int, column: int, radius: float) -> PlaneMask:
    rows, columns = np.ogrid[:80, :90]
    return PlaneMask.from_array((rows - row) ** 2 + (columns - column) ** 2 < radius**2)


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_are_the_same_every_time_and_what_they_are_called(kind: Kind) -> None:
    from scipy import ndimage

    volume, again = (make_volume(kind, seed=3, shape=(16, 96, 96), count=4) for _ in range(2))
    np.testing.assert_array_equal(volume.image, again.image)
    np.testing.assert_array_equal(volume.labels, again.labels)
    assert volume.count >= 2
    for label in range(1, volume.count + 1):
        assert ndimage.label(volume.labels == label, np.ones((3, 3, 3)))[1] == 1
    parts = ndimage.label(volume.labels > 0, np.ones((3, 3, 3)))[1]
    assert parts == (volume.count // 2 if kind == "touching" else volume.count)
    inside, outside = (volume.image[(volume.labels > 0) == one].mean() for one in (True, False))
    assert inside > 2 * outside


def test_spheres_are_followed_from_one_prompted_plane_each() -> None:
    volume = make_volume("spheres", seed=0, shape=(16, 112, 112), count=3)
    found = follow(volume, load_predictor("tiny", "cpu"))
    assert len(found.ious) == 3
    assert found.ious.min() > 0.85
    assert found.switches == 0


def test_the_next_plane_is_asked_by_the_mask_before() -> None:
    mask = disc(40, 30, 12)
    draft = carried_draft(5, mask, CarryRules(parts=("box", "point", "mask"), slack=0.1), (80, 90))
    (turn,) = draft.turns
    assert (draft.number, draft.seed) == (5, mask)
    assert turn.prompts.points == ((30.0, 40.0),)
    assert turn.prompts.box == pytest.approx((16.2, 26.2, 43.8, 53.8))
    alone = carried_draft(5, mask, CarryRules(parts=("mask",)), (80, 90))
    assert alone.turns[0].prompts.is_empty
    assert carried_draft(5, mask, CarryRules(parts=("point",)), (80, 90)).seed is None
    edge = carried_draft(1, disc(0, 89, 12), CarryRules(parts=("box",)), (80, 90))
    _, y0, x1, _ = edge.prompts.box or (0, 0, 0, 0)
    assert (y0, x1) == (-0.5, 89.5), "never out of the plane"


def test_the_point_is_the_one_deepest_inside() -> None:
    ring = PlaneMask.from_array(
        disc(40, 40, 20).to_array((80, 90)) & ~disc(40, 40, 9).to_array((80, 90))
    )
    assert ring.covers(*deepest_point(ring))
    assert deepest_point(disc(40, 30, 12)) == (40, 30)


@pytest.mark.parametrize(
    ("now", "score", "reason"),
    [
        (disc(42, 31, 11), 0.9, ""),
        (disc(42, 31, 11), 0.6, "the score fell to 0.60"),
        (disc(40, 30, 25), 0.9, "the area changed from"),
        (disc(40, 30, 5), 0.9, "the area changed from"),
        (disc(40, 30, 1.5), 0.9, "only 9 px were found"),
        (disc(60, 30, 12), 0.9, "it overlaps too little"),
        (PlaneMask(0, 0, np.zeros((0, 0), bool)), 0.9, "only 0 px were found"),
    ],
)
def test_an_object_ends_where_it_is_no_longer_the_same(
    now: PlaneMask, score: float, reason: str
) -> None:
    assert why_ended(disc(40, 30, 12), now, score, CarryRules(min_area=10)).startswith(reason)
    if not reason:
        assert why_ended(disc(40, 30, 12), now, score, CarryRules()) == ""


def test_overlap_counts_shared_pixels() -> None:
    one, other = disc(40, 30, 12), disc(50, 38, 9)
    shape = (80, 90)
    assert overlap(one, other) == (one.to_array(shape) & other.to_array(shape)).sum() > 0
    assert overlap(one, disc(5, 5, 3)) == 0


def carried(number: int, steps: int, score: float = 0.9, ended: str = "") -> Instance:
    return Instance(number, disc(40, 30, 5 + steps), score, steps=steps, ended=ended)


def test_the_nearer_prompts_win_then_the_better_score() -> None:
    def chosen(*parts: list[Instance]) -> list[tuple[int, int, float]]:
        return [(one.id, one.steps, one.score) for one in meet(*parts)]

    own = Instance(1, disc(9, 9, 4), 0.2)
    assert chosen([own], [carried(1, 1)], [carried(1, 1)]) == [(1, 0, 0.2)]
    assert chosen([], [carried(1, 3)], [carried(1, 2, 0.1)]) == [(1, 2, 0.1)]
    assert chosen([], [carried(1, 2, 0.8)], [carried(1, 2, 0.9)]) == [(1, 2, 0.9)]
    assert chosen([], [carried(1, 1, ended="lost")], [carried(1, 7)]) == [(1, 7, 0.9)]
    assert chosen([], [carried(3, 1), carried(2, 1)], []) == [(2, 1, 0.9), (3, 1, 0.9)]
    nothing = Instance(1, PlaneMask(0, 0, np.zeros((0, 0), bool)), 0.5)
    assert chosen([nothing], [carried(1, 4)], []) == [(1, 4, 0.9)]


def test_prompts_on_another_plane_are_a_new_beginning(predictor: Predictor) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    once = BatchPrompts({(1,): {1: box}})
    twice = BatchPrompts({(1,): {1: box}, (5,): {1: PromptSet(box=(40, 20, 70, 52))}})

    def steps(prompts: BatchPrompts) -> dict[int, list[int]]:
        results = segment(stack(), Carried(prompts, rules=LOOSE), predictor)
        return {r.position[0]: [one.steps for one in r.objects] for r in results}

    assert steps(once) == {0: [1], 1: [0], 2: [1], 3: [2], 4: [3], 5: [4], 6: [5]}
    assert steps(twice) == {0: [1], 1: [0], 2: [1], 3: [2], 4: [1], 5: [0], 6: [1]}


def test_an_object_that_ends_is_on_no_further_plane(predictor: Predictor) -> None:
    prompts = BatchPrompts(
        {(3,): {1: PromptSet(box=(8, 8, 33, 32)), 2: PromptSet(box=(40, 20, 70, 52))}}
    )
    strict = CarryRules(min_score=1)
    results = {
        r.position[0]: r.objects
        for r in segment(stack(), Carried(prompts, rules=strict), predictor)
    }
    assert [len(results[z]) for z in range(7)] == [0, 0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parts": ["mask", "edge"]}, "choose one or more of box, point, mask"),
        ({"parts": []}, "choose one or more"),
        ({"min_score": 2}, "min_score is 2; give 0 to 1"),
        ({"max_change": 0.5}, "max_change is 0.5; give 1 to inf"),
        ({"min_scor": 0.5}, "unknown rule 'min_scor'; expected parts, slack"),
        ({"min_score": "high"}, "cannot be used"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        CarryRules.from_json(values)
    assert CarryRules.from_json({"parts": ["box"], "slack": 0}).parts == ("box",)


def test_the_name_that_scripts_know_is_that_of_an_instance() -> None:
    from napari_sam3.batch import BatchObject

    assert BatchObject is Instance
