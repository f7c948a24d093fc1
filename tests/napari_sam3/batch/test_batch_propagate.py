"""Objects followed through stacks: where they go, where they end, and where two ways meet."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.batch import follow
from benchmarks.volumes import KINDS, Kind, make_volume
from napari_sam3.batch import (
    BatchError,
    BatchPrompts,
    EndLimits,
    EndRules,
    Instance,
    Propagate,
    segment,
)
from napari_sam3.batch.chains import meet
from napari_sam3.batch.output import folder_beside
from napari_sam3.core.masks import PlaneMask, overlap
from napari_sam3.core.planes import find_limits, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.limits import why_ended
from napari_sam3.inference.tracking.memories import memory_of
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from sam3 import load_predictor
from sam3.config import MemoryConfig, get_preset
from sam3.errors import PromptError
from sam3.model.memory import Memory
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from sam3.weights.load import save
from tests.napari_sam3.batch_samples import LOOSE, PLANES, pixels, question, stack


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", "cpu")


@pytest.fixture(scope="module")
def with_memory(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Return a small model of random weights, loaded from a file that holds a memory too."""
    memory = MemoryConfig(channels=16, layers=1, mlp_hidden=32, fuser_layers=1, frames=3)
    config = replace(get_preset("tiny"), resolution=112, memory=memory)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "memory.safetensors"
    save(build_click_model(config, seed=0), path, memory=Memory(config))
    return load_predictor(path, "cpu")


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
    assert found.ious.min() > 0.8
    assert found.switches == 0


@pytest.mark.parametrize(
    ("now", "score", "reason"),
    [
        (disc(42, 31, 11), 0.9, ""),
        (disc(42, 31, 11), 0.6, "the score fell to 0.60"),
        (disc(40, 30, 18), 0.9, "the area changed from"),
        (disc(47, 30, 11), 0.9, "it overlaps too little"),
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
    assert why_ended(disc(40, 30, 12), now, score, EndLimits(min_area=10)).startswith(reason)
    if not reason:
        assert why_ended(disc(40, 30, 12), now, score, EndLimits()) == ""


def test_overlap_counts_shared_pixels() -> None:
    one, other = disc(40, 30, 12), disc(50, 38, 9)
    shape = (80, 90)
    assert overlap(one, other) == (one.to_array(shape) & other.to_array(shape)).sum() > 0
    assert overlap(one, disc(5, 5, 3)) == 0


def found(number: int, steps: int, ended: str = "") -> Instance:
    return Instance(number, disc(40, 30, 5 + steps), 0.9, steps=steps, ended=ended)


def test_prompts_stand_before_what_was_propagated() -> None:
    def chosen(*parts: list[Instance]) -> list[tuple[int, int]]:
        return [(one.id, one.steps) for one in meet(*parts)]

    own, nothing = Instance(1, disc(9, 9, 4), 0.2), PlaneMask(0, 0, np.zeros((0, 0), bool))
    assert chosen([own], [found(1, 1)], [found(1, 1)]) == [(1, 0)]
    assert chosen([], [found(1, 3)], [found(1, 2)]) == [(1, 2)]
    assert chosen([], [found(1, 1, ended="lost")], []) == []
    assert chosen([], [found(3, 1), found(2, 1)], []) == [(2, 1), (3, 1)]
    assert chosen([Instance(1, nothing, 0.5)], [found(1, 4)], []) == [(1, 4)]
    assert chosen([], [Instance(1, nothing, 0.5, steps=1)], []) == [], "a plane that is bridged"


def test_prompts_on_another_plane_are_a_new_beginning(predictor: Predictor) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    once = BatchPrompts({(1,): {1: box}})
    twice = BatchPrompts({(1,): {1: box}, (5,): {1: PromptSet(box=(40, 20, 70, 52))}})

    def steps(prompts: BatchPrompts) -> dict[int, list[int]]:
        results = segment(stack(), Propagate(prompts, rules=LOOSE), predictor)
        return {r.position[0]: [one.steps for one in r.objects] for r in results}

    assert steps(once) == {0: [1], 1: [0], 2: [1], 3: [2], 4: [3], 5: [4], 6: [5]}
    assert steps(twice) == {0: [1], 1: [0], 2: [1], 3: [2], 4: [1], 5: [0], 6: [1]}


def test_an_object_that_ends_is_on_no_further_plane(predictor: Predictor) -> None:
    prompts = BatchPrompts(
        {(3,): {1: PromptSet(box=(8, 8, 33, 32)), 2: PromptSet(box=(40, 20, 70, 52))}}
    )
    strict = EndRules.from_json({"min_score": 1})
    results = {
        r.position[0]: r.objects
        for r in segment(stack(), Propagate(prompts, rules=strict), predictor)
    }
    assert [len(results[z]) for z in range(7)] == [0, 0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_score": 2}, "min_score is 2. Expected 0 to 1"),
        ({"max_change": 0.5}, "max_change is 0.5. Expected 1 to inf"),
        ({"gap": -1}, "gap is -1. Expected 0 to inf"),
        (
            {"min_scor": 0.5},
            "unknown rule 'min_scor'. Expected gap, in_time, least, least_contrast",
        ),
        ({"min_score": "high"}, "min_score is 'high'. Expected 0 to 1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        EndRules.from_json(values)


def test_rules_of_earlier_versions_are_those_of_objects_without_contrast() -> None:
    old = {"parts": ["mask"], "slack": 0.2, "min_score": 0.8, "max_change": 2.0}
    rules = EndRules.from_json(old)
    assert rules.flat == EndLimits(min_score=0.8, max_change=2.0)
    assert rules.weights == EndRules.calibrated().weights
    assert Propagate(BatchPrompts({}), rules=EndLimits(0.8, 2.0)).rules == rules  # type: ignore[arg-type]
    assert EndRules.from_json({}) == EndRules.calibrated()


def test_one_direction_goes_one_way(predictor: Predictor) -> None:
    prompts = BatchPrompts({(3,): {1: PromptSet(box=(8, 8, 33, 32))}})
    for direction, planes in (("forward", [3, 4, 5, 6]), ("backward", [0, 1, 2, 3])):
        mode = Propagate(prompts, -1, LOOSE, direction)  # type: ignore[arg-type]
        results = list(segment(stack(), mode, predictor))
        assert sorted(r.position[0] for r in results if r.objects) == planes
        assert len(results) == 7
    with pytest.raises(PromptError, match="unknown direction: 'up'"):
        Propagate(prompts, direction="up")  # type: ignore[arg-type]


def test_it_finds_what_the_function_finds(embedded: Predictor) -> None:
    image = stack()
    image[5] = np.random.default_rng(1).integers(300, 500, image[5].shape)  # a blink
    boxes = {1: PromptSet(box=(8, 8, 33, 32)), 2: PromptSet(box=(40, 22, 66, 50))}
    shown: dict[tuple[int, ...], dict[int, PromptSet]]
    shown = {(1,): {1: boxes[1]}, (3,): {2: boxes[2]}, (4,): {1: PromptSet(box=(12, 8, 37, 32))}}
    for gap in (0, 1):
        rules = EndRules.calibrated(gap)
        limits = find_limits(image)
        planes = [ArrayPlane(plane_from_array(plane, contrast=limits)) for plane in image]
        asked = [ObjectPrompt(z[0], n, p) for z, one in shown.items() for n, p in one.items()]
        expected = np.zeros(image.shape, np.uint32)
        for one in sorted(
            propagate(planes, asked, embedded, rules=rules), key=lambda o: o.object_id
        ):
            there = one.mask.to_array(image.shape[1:]) & (expected[one.plane] == 0)
            expected[one.plane][there] = one.object_id
        mode = Propagate(BatchPrompts(shown), rules=rules)
        ours = {r.position[0]: r.labels for r in segment(image, mode, embedded)}
        np.testing.assert_array_equal([ours[z] for z in range(7)], expected)
        assert bool(expected[6].any()) == bool(gap)
        assert not expected[5].any()


def killed(mode: Propagate, predictor: Predictor, output: Path, planes: int) -> None:
    """Leave a batch in its midst, as if its process had been killed."""
    results = segment(stack(), mode, predictor, output=output)
    for _ in range(planes):
        next(results)
    results.close()


@pytest.mark.parametrize("remembering", [False, True])
def test_a_batch_that_was_ended_goes_on_to_the_very_same_labels(
    remembering: bool, predictor: Predictor, with_memory: Predictor, tmp_path: Path
) -> None:
    model = with_memory if remembering else predictor
    first, second = PromptSet(box=(8, 8, 33, 32)), PromptSet(box=(40, 20, 70, 52))
    mode = Propagate(BatchPrompts({(2,): {1: first}, (4,): {1: first, 2: second}}), rules=LOOSE)
    whole = tmp_path / "whole.zarr"
    list(segment(stack(), mode, model, output=whole))
    assert (pixels(whole) == 1).any((1, 2)).sum() > 4
    for planes in (0, 1, 3):
        parts = tmp_path / f"{planes}.zarr"
        killed(mode, model, parts, planes)
        again = list(segment(stack(), mode, model, output=parts))
        np.testing.assert_array_equal(pixels(parts), pixels(whole))
        assert any(result.skipped for result in again) or planes < 3
    records = folder_beside(whole) / "forward"
    damaged = sorted(records.glob("*.json"))[0]
    damaged.write_bytes(b"{")
    list(segment(stack(), mode, model, output=whole))
    np.testing.assert_array_equal(pixels(parts), pixels(whole))


@pytest.mark.parametrize(
    "before",
    [
        {"narrowing": None},
        {"weights": [0.5] * 10},
        {"weights": [0.5] * 10, "flat": asdict(EndLimits(max_change=3, min_overlap=0.5))},
    ],
)
def test_a_batch_of_a_version_with_other_rules_is_refused_with_the_remedy(
    before: dict[str, Any], predictor: Predictor, tmp_path: Path
) -> None:
    output = tmp_path / "labels.zarr"
    prompts = BatchPrompts({(2,): {1: PromptSet(box=(8, 8, 33, 32))}})
    mode = Propagate(prompts)
    killed(mode, predictor, output, 3)
    manifest = folder_beside(output) / "manifest.json"
    content = json.loads(manifest.read_text())
    rules = content["question"]["mode"]["rules"] | before
    content["question"]["mode"]["rules"] = {k: v for k, v in rules.items() if v is not None}
    manifest.write_text(json.dumps(content))
    with pytest.raises(BatchError, match=r"another version of napari-sam3.* overwrite it"):
        list(segment(stack(), mode, predictor, output=output))
    chosen = replace(mode, rules=EndRules.calibrated(gap=1))
    with pytest.raises(BatchError, match="was started with another mode rules"):
        list(segment(stack(), chosen, predictor, output=output))
    list(segment(stack(), mode, predictor, output=output, overwrite=True))
    assert (pixels(output) == 1).any()


def test_a_memory_is_used_where_the_weights_have_one(with_memory: Predictor) -> None:
    mode = Propagate(BatchPrompts({(3,): {1: PromptSet(box=(8, 8, 33, 32))}}), rules=LOOSE)
    recalled = memory_of(with_memory)
    assert recalled is not None
    assert memory_of(with_memory) is recalled
    planes = [ArrayPlane(plane_from_array(p, contrast=find_limits(stack()))) for p in stack()]
    prompt = ObjectPrompt(3, 1, PromptSet(box=(8, 8, 33, 32)))
    expected = {
        one.plane: one.mask
        for one in propagate(planes, [prompt], with_memory, memory=recalled, rules=LOOSE)
    }
    for result in segment(stack(), mode, with_memory):
        ours = result.labels == 1
        np.testing.assert_array_equal(ours, expected[result.position[0]].to_array((60, 80)))


def test_the_name_that_scripts_know_is_that_of_an_instance() -> None:
    from napari_sam3.batch import BatchObject

    assert BatchObject is Instance


class Damaged:
    """An array of which some planes cannot be read, or have another size or data type."""

    def __init__(self, array: Any, planes: dict[int, str]) -> None:
        self.array, self.planes = array, planes
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index: Any) -> Any:
        found = self.array[index]
        what = self.planes.get(index[0]) if isinstance(index[0], int) else None
        if what == "unreadable":
            raise OSError("a bad disk")
        if what == "smaller":
            return found[:20, :20]
        if what == "empty":
            return np.full_like(found, np.nan)
        return found.astype(np.uint8) if what == "8 bits" else found


@pytest.mark.parametrize("remembering", [False, True])
def test_planes_that_cannot_be_used_are_gone_around_and_done_once_they_can(
    remembering: bool, predictor: Predictor, with_memory: Predictor, tmp_path: Path
) -> None:
    model = with_memory if remembering else predictor
    mode = Propagate(BatchPrompts({(2,): {1: PromptSet(box=(8, 8, 33, 32))}}), rules=LOOSE)
    list(segment(stack(), mode, model, output=tmp_path / "whole.zarr"))
    output, damaged = tmp_path / "labels.zarr", Damaged(stack(), {3: "unreadable", 5: "smaller"})
    results = list(segment(damaged, mode, model, output=output))
    errors = {result.position[0]: str(result.error) for result in results if result.error}
    assert sorted(errors) == [3, 5]
    assert "a bad disk" in errors[3]
    assert "plane axis 0 = 5" in errors[5]
    assert "has a different size: 20 x 20 px" in errors[5]
    assert {result.position[0] for result in results if result.objects} >= {2, 4, 6}
    # Mended, they are done, and with them what was found across them.
    list(segment(stack(), mode, model, output=output))
    np.testing.assert_array_equal(pixels(output), pixels(tmp_path / "whole.zarr"))


@pytest.mark.parametrize("plane", [0, 4, 6])
def test_a_plane_that_tells_images_apart_may_be_damaged(
    plane: int, predictor: Predictor, tmp_path: Path
) -> None:
    mode = Propagate(BatchPrompts({(2,): {1: PromptSet(box=(8, 8, 33, 32))}}), rules=LOOSE)
    damaged, output = Damaged(stack(), {plane: "unreadable"}), tmp_path / "labels.zarr"
    for skipped in (False, True):
        results = list(segment(damaged, mode, predictor, output=output))
        assert [r.position[0] for r in results if r.error is not None] == [plane]
        assert any(r.skipped for r in results) == skipped, "it is known again"


@pytest.mark.parametrize("what", ["unreadable", "empty"])
def test_a_batch_is_resumed_once_a_sampled_plane_is_repaired(
    what: str, predictor: Predictor, tmp_path: Path
) -> None:
    mode, output = question("repeated"), tmp_path / "labels.zarr"
    good = stack().astype(np.float32)
    damaged = Damaged(good, {0: what})

    def run(image: Any) -> list[tuple[int, bool, bool]]:
        results = list(segment(image, mode, predictor, output=output))
        return [(r.position[0], r.skipped, r.error is not None) for r in results]

    assert run(damaged) == [(z, False, z == 0) for z in range(PLANES)]
    done = pixels(output)[1:]
    assert run(good) == [(z, z > 0, False) for z in range(PLANES)], "the rest is kept"
    np.testing.assert_array_equal(pixels(output)[1:], done)
    assert pixels(output)[0].any()
    # Damaged once more, all is kept; another image is refused, now also by its first plane.
    assert all(skipped for _, skipped, _ in run(damaged))
    for plane in (0, PLANES - 1):
        other = good.copy()
        other[plane] += 1
        with pytest.raises(BatchError, match="started with image digest"):
            run(other)


def test_planes_of_another_data_type_are_planes_like_any_other(predictor: Predictor) -> None:
    mode = Propagate(BatchPrompts({(2,): {1: PromptSet(box=(8, 8, 33, 32))}}), rules=LOOSE)
    results = list(segment(Damaged(stack(), {4: "8 bits"}), mode, predictor))
    assert all(result.objects and result.error is None for result in results)


def test_a_prompted_plane_that_cannot_be_read_is_named(predictor: Predictor) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    mode = Propagate(BatchPrompts({(2,): {1: box}, (5,): {1: box}}), rules=LOOSE)
    results = list(segment(Damaged(stack(), {2: "unreadable"}), mode, predictor))
    assert [r.position[0] for r in results if r.error is not None] == [2]
    assert {r.position[0] for r in results if r.objects} >= {4, 5, 6}


def test_an_object_that_ended_comes_back_where_it_is_shown(predictor: Predictor) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    strict = EndRules.from_json({"min_score": 1})
    mode = Propagate(BatchPrompts({(1,): {1: box}, (5,): {1: box}}), rules=strict)
    results = segment(stack(), mode, predictor)
    assert sorted(r.position[0] for r in results if r.objects) == [1, 5]
