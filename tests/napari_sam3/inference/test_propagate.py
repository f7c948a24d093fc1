"""Objects propagated through planes: where they end, corrections, directions, and bad input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from napari_sam3.core.masks import PlaneMask, iou_of
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.memories import has_memory, memory_of
from napari_sam3.inference.tracking.propagate import (
    Direction,
    ObjectPrompt,
    PropagatedMask,
    affected,
    propagate,
)
from sam3 import load_predictor
from sam3.config import MemoryConfig
from sam3.errors import ImageError, PromptError
from sam3.model.memory import Memory
from sam3.predictor import Predictor
from sam3.weights.load import embedded_weights
from sam3.weights.memory import load_memory

SHAPE = (96, 96)
FIRST, LAST = 4, 9
LEFT, RIGHT = (48, 28), (48, 70)


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    """Return the embedded model as it ships."""
    return load_predictor("tiny", "cpu")


@pytest.fixture(scope="module")
def memory(tiny: Predictor) -> Memory:
    """Return a memory of random weights, which finds anything anywhere, but always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = MemoryConfig(channels=16, layers=1, mlp_hidden=32, fuser_layers=1, frames=3)
        return Memory(replace(tiny.config, memory=config)).requires_grad_(False).eval()


def disc(middle: tuple[int, int], radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2)


def ball(plane: int) -> float:
    """Return the radius on a plane of a ball on planes FIRST to LAST."""
    return 14.0 if FIRST <= plane <= LAST else 0.0


def picture(plane: int, missing: Sequence[int] = ()) -> PlaneImage:
    grey = np.random.default_rng(plane).normal(40, 4, SHAPE)
    for middle in (LEFT, RIGHT):
        if plane not in missing:
            grey[disc(middle, ball(plane))] += 120
    return ArrayPlane(plane_from_array(grey.clip(0, 255).astype(np.uint8), contrast=(0, 255)))


ENDLESS = EndRules(gap=99)
PLANES = [picture(plane) for plane in range(14)]


def box(middle: tuple[int, int], plane: int = 6, number: int = 1) -> ObjectPrompt:
    row, column = middle
    sides = (column - 14.5, row - 14.5, column + 14.5, row + 14.5)
    return ObjectPrompt(plane, number, PromptSet.from_arrays(box=sides))


def shown(plane: int, number: int = 1, middle: tuple[int, int] = LEFT) -> ObjectPrompt:
    return ObjectPrompt(plane, number, mask=PlaneMask.from_array(disc(middle, 14)))


def planes_with(found: Sequence[PropagatedMask], number: int = 1) -> list[int]:
    return sorted(one.plane for one in found if one.object_id == number and not one.mask.is_empty)


def iou(one: PropagatedMask, truth: np.ndarray) -> float:
    mask = one.mask.to_array(SHAPE)
    return float((mask & truth).sum() / (mask | truth).sum())


def test_an_object_is_found_on_all_of_its_planes_and_ends_where_it_ends(tiny: Predictor) -> None:
    found = list(propagate(PLANES, [box(LEFT)], tiny))
    assert planes_with(found) == list(range(FIRST, LAST + 1))
    assert min(iou(one, disc(LEFT, 14)) for one in found if one.mask.area) > 0.8
    ended = [one for one in found if one.ended]
    assert sorted(one.plane for one in ended) == [FIRST - 1, LAST + 1]
    assert all(one.mask.is_empty for one in ended)
    assert [one.plane for one in found if one.prompted] == [6]


@pytest.mark.parametrize(
    ("direction", "planes"), [("forward", range(6, LAST + 1)), ("backward", range(FIRST, 7))]
)
def test_one_direction_goes_one_way(direction: Direction, planes: range, tiny: Predictor) -> None:
    found = list(propagate(PLANES, [box(LEFT)], tiny, direction=direction))
    assert planes_with(found) == list(planes)


@pytest.mark.parametrize("remembering", [False, True])
def test_two_objects_at_once_equal_one_at_a_time(
    remembering: bool, tiny: Predictor, memory: Memory
) -> None:
    recalled = memory if remembering else None
    # On one plane: where another object is shown, one may end.
    prompts = [shown(6), shown(6, 2, RIGHT)]
    together = list(propagate(PLANES, prompts, tiny, memory=recalled, rules=ENDLESS))
    alone = [
        one
        for prompt in prompts
        for one in propagate(PLANES, [prompt], tiny, memory=recalled, rules=ENDLESS)
    ]
    assert len(together) == len(alone) > 4

    def by_place(found: Sequence[PropagatedMask]) -> dict[tuple[int, int], PropagatedMask]:
        return {(one.object_id, one.plane): one for one in found}

    for place, one in by_place(together).items():
        other = by_place(alone)[place]
        np.testing.assert_array_equal(one.mask.to_array(SHAPE), other.mask.to_array(SHAPE))
        assert (one.score, one.ended) == (other.score, other.ended)


def test_an_object_ends_where_another_one_is_shown(tiny: Predictor) -> None:
    """As a cell that divided, or that has another number from here on."""
    found = list(propagate(PLANES, [shown(5), shown(8, 2)], tiny, direction="forward"))
    assert planes_with(found) == [5, 6, 7]
    assert planes_with(found, 2) == [8, LAST]
    reasons = [(one.plane, one.ended) for one in found if one.object_id == 1 and one.ended]
    assert reasons == [(8, "it is where object 2 was shown")]


def test_an_object_inside_a_larger_one_ends_neither(tiny: Predictor) -> None:
    inner = ObjectPrompt(7, 2, mask=PlaneMask.from_array(disc(LEFT, 8)))
    found = list(propagate(PLANES, [shown(5), inner], tiny, direction="both"))
    assert planes_with(found) == list(range(FIRST, LAST + 1))


@pytest.mark.parametrize("remembering", [False, True])
def test_each_plane_comes_once_and_a_shown_mask_stays_as_it_is(
    remembering: bool, tiny: Predictor, memory: Memory
) -> None:
    prompts = [shown(2), shown(7), shown(11)]
    recalled = memory if remembering else None
    found = list(propagate(PLANES, prompts, tiny, memory=recalled, rules=ENDLESS))
    assert Counter(one.plane for one in found) == Counter(range(len(PLANES)))
    for one in found:
        if one.prompted:
            np.testing.assert_array_equal(one.mask.to_array(SHAPE), disc(LEFT, 14))


@pytest.mark.parametrize("remembering", [False, True])
def test_a_correction_changes_what_depends_on_it_alone(
    remembering: bool, tiny: Predictor, memory: Memory
) -> None:
    recalled = memory if remembering else None
    prompts = [shown(2), shown(7), shown(11)]
    corrected = ObjectPrompt(7, 1, mask=PlaneMask.from_array(disc(LEFT, 9)))
    changed = affected([2, 7, 11], 7, len(PLANES))
    assert changed == range(3, 11)
    before = {one.plane: one for one in propagate(PLANES, prompts, tiny, memory=recalled,
                                                  rules=ENDLESS)}  # fmt: skip
    now = [prompts[0], corrected, prompts[2]]
    after = {one.plane: one for one in propagate(PLANES, now, tiny, memory=recalled, rules=ENDLESS)}
    for plane in set(range(len(PLANES))) - set(changed):
        np.testing.assert_array_equal(
            before[plane].mask.to_array(SHAPE), after[plane].mask.to_array(SHAPE)
        )
    partly = list(propagate(PLANES, now, tiny, memory=recalled, rules=ENDLESS, only=changed))
    assert sorted(one.plane for one in partly) == list(changed)
    for one in partly:
        np.testing.assert_array_equal(
            one.mask.to_array(SHAPE), after[one.plane].mask.to_array(SHAPE)
        )


def test_a_blink_is_bridged_when_asked(tiny: Predictor) -> None:
    blinking = [picture(plane, missing=[8]) for plane in range(14)]
    plain = list(propagate(blinking, [box(LEFT)], tiny))
    assert planes_with(plain) == [4, 5, 6, 7]
    bridged = list(propagate(blinking, [box(LEFT)], tiny, rules=EndRules.calibrated(gap=1)))
    assert planes_with(bridged) == [4, 5, 6, 7, 9]


class Broken:
    """Planes of which one cannot be read; notes which are."""

    def __init__(self, *broken: int) -> None:
        self.broken, self.read = broken, list[int]()

    def __len__(self) -> int:
        return len(PLANES)

    def __getitem__(self, index: int) -> PlaneImage:
        self.read.append(index)
        if index in self.broken:
            raise OSError("the file is damaged")
        return PLANES[index]

    def __iter__(self) -> Iterator[PlaneImage]:
        raise AssertionError("planes are read when their turn comes, one by one")


def test_an_unreadable_plane_is_passed_over_and_named_at_the_end(tiny: Predictor) -> None:
    found: list[PropagatedMask] = []
    with pytest.raises(ImageError, match=r"1 plane was skipped: plane 8 cannot be read"):
        found.extend(propagate(Broken(8), [box(LEFT)], tiny))  # type: ignore[arg-type]
    assert planes_with(found) == [4, 5, 6, 7, 9]
    with pytest.raises(ImageError, match="plane 6 cannot be read: the file is damaged"):
        list(propagate(Broken(6), [box(LEFT)], tiny))  # type: ignore[arg-type]


def test_planes_are_read_when_their_turn_comes(tiny: Predictor) -> None:
    lazy = Broken()
    found = list(islice(propagate(lazy, [box(LEFT)], tiny), 2))  # type: ignore[arg-type]
    assert [one.plane for one in found] == [6, 7]
    assert set(lazy.read) == {6, 7}


class Stop:
    """A control that cancels after so many reports."""

    abandoned = False

    def __init__(self, after: int) -> None:
        self.left = after

    @property
    def cancelled(self) -> bool:
        return self.left <= 0

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.left -= stage == "predicting"


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("remembering", [False, True])
def test_a_cancelled_run_ends_quietly_with_what_was_found(
    after: int, remembering: bool, tiny: Predictor, memory: Memory
) -> None:
    recalled = memory if remembering else None
    found = list(
        propagate(PLANES, [box(LEFT)], tiny, memory=recalled, rules=ENDLESS, control=Stop(after))
    )
    assert [one.plane for one in found] == list(range(6, 6 + max(0, after - 1)))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompt"),
        ([box(LEFT, plane=14)], r"outside the stack. Expected plane 0 to 13"),
        ([box(LEFT, plane=-1)], "outside the stack"),
        ([ObjectPrompt(3, 1)], "is empty"),
        ([ObjectPrompt(3, 1, PromptSet())], "is empty"),
        ([ObjectPrompt(3, 1, mask=PlaneMask(0, 0, np.zeros((0, 0), bool)))], "is empty"),
        ([box(LEFT), box(RIGHT)], "is given twice"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused_at_once(
    prompts: list[ObjectPrompt], message: str, tiny: Predictor
) -> None:
    with pytest.raises(PromptError, match=message):
        propagate(PLANES, prompts, tiny)


def test_an_unknown_direction_is_refused(tiny: Predictor) -> None:
    with pytest.raises(PromptError, match="unknown direction: 'up'"):
        propagate(PLANES, [box(LEFT)], tiny, direction="up")  # type: ignore[arg-type]


def test_the_embedded_model_prefers_masks_to_its_memory_which_scripts_can_pass(
    tiny: Predictor,
) -> None:
    assert tiny.config.memory is not None
    assert not has_memory(tiny)
    assert memory_of(tiny) is None
    recalled = list(propagate(PLANES, [box(LEFT)], tiny, memory=load_memory(embedded_weights())))
    for one in recalled:
        if FIRST <= one.plane <= LAST:
            assert iou_of(one.mask, PlaneMask.from_array(disc(LEFT, ball(one.plane)))) > 0.8
    assert {one.plane for one in recalled if one.mask.area} == set(range(FIRST, LAST + 1))
