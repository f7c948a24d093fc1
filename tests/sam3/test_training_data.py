"""What the training is fed: scenes, real images, crops and prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.utils.data import DataLoader

from sam3.training.augment import View, cut_view
from sam3.training.data import Batch, CropDataset, CropSampler, load_real, scene_pool
from sam3.training.prompts import (
    PROMPT_KINDS,
    append_clicks,
    background_points,
    box_with_slack,
    central_point,
    next_click,
    next_clicks,
    random_point,
    sample_prompt,
    tight_box,
)
from sam3.training.scenes import KINDS, make_scene
from sam3.training.sources import Sample
from sam3.training.splits import plane_side, split_images, volume_side

WHOLE = np.ones((3, 3), bool)  # 8-connected


@pytest.fixture(scope="module")
def pool() -> list[Sample]:
    made = [make_scene(np.random.default_rng((9, index)), 160) for index in range(12)]
    return [Sample(image, labels, str(i), "scene") for i, (image, labels) in enumerate(made)]


@pytest.fixture(scope="module")
def batch(pool: list[Sample]) -> Batch:
    return CropSampler([], pool, seed=1).batch(3, images=24, prompts=5, crop=112)


def disc(size: int, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:size, :size]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


# Scenes


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_scene_has_connected_objects_that_can_be_seen(kind: str) -> None:
    contrasts = []
    for seed in range(4):
        image, labels = make_scene(np.random.default_rng(seed), 200, kind)
        assert image.shape == (200, 200, 3)
        assert image.dtype == np.uint8
        assert labels.dtype == np.uint16
        count = int(labels.max())
        assert count >= 1
        for instance in range(1, count + 1):
            assert ndimage.label(labels == instance, WHOLE)[1] == 1
        contrasts.append(image.std())
    assert max(contrasts) > 5


def test_the_same_seed_makes_the_same_scene() -> None:
    first, second = (make_scene(np.random.default_rng(5), 128) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_an_unknown_kind_of_scene_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'stars'\. Expected one of .*nuclei"):
        make_scene(np.random.default_rng(0), 64, "stars")


def test_the_pool_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    made = scene_pool(3, 2, tmp_path, size=64)
    (cache,) = tmp_path.iterdir()
    written = cache.stat().st_mtime_ns
    again = scene_pool(3, 2, tmp_path, size=64)
    assert cache.stat().st_mtime_ns == written
    for first, second in zip(made, again, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.labels, second.labels)


# Real images


def test_every_fourth_image_is_kept_for_validation_with_its_labels_untouched(
    tmp_path: Path,
) -> None:
    labels = np.zeros((40, 50), np.uint16)
    labels[2:12, 2:12] = 3
    whole = labels > 0
    labels[30:33, 40:43] = 3  # a fragment
    arrays: dict[str, Any] = {}
    for index in range(17):
        shape = (40, 50, 3) if index % 2 else (40, 50)
        arrays[f"{index:03}_image"] = np.full(shape, index * 15, np.uint8)
        arrays[f"{index:03}_labels"] = labels
    np.savez(tmp_path / "real.npz", **arrays)
    train, validation = load_real(tmp_path / "real.npz")
    assert [sample.name for sample in validation] == ["000", "004", "008", "012", "016"]
    assert len(train) == 12
    np.testing.assert_array_equal(validation[0].labels, labels)
    np.testing.assert_array_equal(train[0].labels > 0, whole)
    assert all(sample.image.shape == (40, 50, 3) for sample in train + validation)
    assert {sample.group for sample in train} == {"40x50-dark", "40x50-bright"}


def test_a_folder_is_read_set_by_set_and_volumes_plane_by_plane(tmp_path: Path) -> None:
    labels = np.zeros((24, 40, 50), np.uint16)
    labels[:, 2:12, 2:12] = labels[:, 30:38, 40:48] = 3  # one object in two parts
    volume = np.where(labels > 0, 3000, 100).astype(np.uint16)
    volume += np.arange(24, dtype=np.uint16)[:, None, None]  # planes can be told apart
    folder = tmp_path / "stacks"
    folder.mkdir()
    np.savez(folder / "fly.npz", a_image=volume, a_labels=labels, a_kind="z")
    image = np.full((40, 50), 9, np.uint8)
    np.savez(tmp_path / "bacteria_ecoli.npz", bf_1_image=image, bf_1_labels=labels[0])
    train, validation = load_real(tmp_path)
    assert [s.name for s in train] == ["a_001", "a_004", "a_007", "a_010", "a_013"]
    assert [s.name for s in validation] == ["bf_1", "a_019", "a_022"], "with a gap of planes"
    assert [s.complete for s in validation] == [False, True, True]
    assert {s.domain for s in validation} == {"bacteria_ecoli", "fly"}
    assert np.unique(validation[1].labels).tolist() == [0, 1, 2], "parts are objects of their own"
    assert set(np.unique(validation[1].image)) <= {0, 1, 2, 253, 254, 255}, "stretched as a whole"


def test_images_of_nearly_the_same_thing_stay_on_one_side() -> None:
    tiles = [f"{picture}_t{tile}" for picture in "abcde" for tile in ("00", "01")]
    sides = split_images("sem_powder", tiles)
    held_out = [name for name, side in sides.items() if side == "validation"]
    assert held_out == ["a_t00", "a_t01", "e_t00", "e_t01"]
    fields = split_images("bacteria_ecoli", [f"{k}_{i}" for k in ("bf", "fl") for i in range(8)])
    held_out = [name for name, side in fields.items() if side == "validation"]
    assert sorted(held_out) == ["bf_0", "bf_4", "fl_0", "fl_4"]
    planes = split_images("ovules", [f"o_z{z:02}" for z in range(8)])
    assert [planes[f"o_z{z:02}"] for z in range(8)] == ["train"] * 5 + [None] + ["validation"] * 2
    assert plane_side("phase_t98g_t", 20, 24) is None
    assert volume_side("nuclei_embryo3d", "train_emb06_t451") == "validation"
    assert volume_side("nuclei_embryo3d", "train_emb09_t501") == "train"
    assert volume_side("c2c12_phase_t", "x") is None


def test_sets_are_drawn_by_the_root_of_their_size_whatever_their_labels(
    pool: list[Sample],
) -> None:
    large = [replace(pool[0], domain="large", group=str(i % 4)) for i in range(16)]
    small = [replace(pool[1], domain="small", complete=False) for _ in range(4)]
    batch = CropSampler(large + small, []).batch(0, images=200, prompts=1, crop=112)
    assert 0.23 < float((~batch.complete).float().mean()) < 0.43, "expected about a third"


def test_without_a_file_there_are_no_real_images() -> None:
    assert load_real() == ([], [])


# Crops


def test_a_view_shows_what_it_covers_in_the_right_place() -> None:
    mask = disc(100, 60, 40, 10)
    image = np.repeat((mask * 200).astype(np.uint8)[..., None], 3, 2)
    planes, labels = cut_view(image, mask.astype(np.int32), View(60, 40, 56, 56), 112, True)
    # twice enlarged; the view's centre lies between the pixels 55 and 56
    expected = disc(112, 55.5, 55.5, 20.5)
    assert (expected ^ (labels > 0)).sum() < 0.06 * expected.sum()
    assert ((planes[0] > 100 / 255) ^ (labels > 0)).sum() < 0.02 * expected.sum()


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("extent", [40.0, 90.0, 250.0])
def test_image_and_labels_stay_together_whatever_the_view(angle: float, extent: float) -> None:
    mask = disc(200, 80, 120, 12) | disc(200, 10, 150, 20)
    image = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2)
    view = View(70.3, 121.8, extent, extent * 1.2, angle)
    planes, labels = cut_view(image, mask.astype(np.int32), view, 112, False)
    assert planes.shape == (3, 112, 112)
    assert (labels > 0).any()
    assert ((planes[1] > 0.5) != (labels > 0)).mean() < 0.01


def test_a_batch_has_the_agreed_shapes_and_types(batch: Batch) -> None:
    assert (batch.images.shape, batch.images.dtype) == ((24, 3, 112, 112), torch.uint8)
    assert (batch.masks.shape, batch.masks.dtype) == ((24, 5, 112, 112), torch.bool)
    assert (batch.point_coords.shape, batch.point_coords.dtype) == ((24, 5, 7, 2), torch.float32)
    assert (batch.point_labels.shape, batch.point_labels.dtype) == ((24, 5, 7), torch.int64)
    assert (batch.boxes.shape, batch.boxes.dtype) == ((24, 5, 4), torch.float32)
    assert (batch.has_box.shape, batch.has_box.dtype) == ((24, 5), torch.bool)
    assert (batch.labels.shape, batch.labels.dtype) == ((24, 112, 112), torch.int32)


def test_prompts_of_a_batch_point_at_their_masks(batch: Batch) -> None:
    assert int(batch.masks.sum((-1, -2)).min()) >= 30
    given = batch.point_labels >= 0
    assert (given.any(-1) | batch.has_box).all()
    for item, prompt, slot in given.nonzero().tolist():
        x, y = batch.point_coords[item, prompt, slot].long().tolist()
        inside = bool(batch.masks[item, prompt, y, x])
        assert inside == bool(batch.point_labels[item, prompt, slot])
    for item, prompt in batch.has_box.nonzero().tolist():
        tight = tight_box(batch.masks[item, prompt].numpy())
        box = batch.boxes[item, prompt].numpy()
        assert np.abs(box - tight).max() <= 0.1 * (np.ptp(tight.reshape(2, 2), 0).max() + 1)
    assert not batch.boxes[~batch.has_box].any()


def test_masks_of_a_batch_are_objects_of_its_instance_map(batch: Batch) -> None:
    for item in range(24):
        for mask in batch.masks[item]:
            (instance,) = np.unique(batch.labels[item][mask].numpy())
            assert instance > 0
            assert torch.equal(batch.labels[item] == instance, mask)


def test_a_repeated_object_gets_another_kind_of_prompt() -> None:
    labels = disc(120, 60, 60, 30).astype(np.int32)
    sample = Sample(np.repeat((labels * 90).astype(np.uint8)[..., None], 3, 2), labels, "a", "g")
    batch = CropSampler([sample], []).batch(0, images=6, prompts=3, crop=112)
    for item in range(6):
        given = [
            (batch.point_coords[item, p].tolist(), batch.boxes[item, p].tolist()) for p in range(3)
        ]
        assert given[0] != given[1] != given[2] != given[0]


def test_batches_depend_on_seed_and_step_only(pool: list[Sample]) -> None:
    first = CropSampler([], pool, seed=4)
    first.batch(0, images=2, prompts=2, crop=112)
    resumed = CropSampler([], pool, seed=4).batch(7, images=3, prompts=2, crop=126)
    straight = first.batch(7, images=3, prompts=2, crop=126)
    assert torch.equal(resumed.images, straight.images)
    assert torch.equal(resumed.point_coords, straight.point_coords)
    other = CropSampler([], pool, seed=5).batch(7, images=3, prompts=2, crop=126)
    assert not torch.equal(resumed.images, other.images)


def test_a_worker_process_resumes_the_schedule(pool: list[Sample]) -> None:
    sampler = CropSampler(pool[:6], pool[6:], seed=2)
    dataset = CropDataset(sampler, _schedule, steps=5, first=3)
    fetched = list(DataLoader(dataset, batch_size=None, num_workers=1))
    assert [tuple(b.images.shape) for b in fetched] == [(2, 3, 126, 126), (1, 3, 140, 140)]
    assert torch.equal(fetched[1].images, sampler.batch(4, images=1, prompts=2, crop=140).images)


def _schedule(step: int) -> tuple[int, int, int]:
    return (2, 3, 126) if step < 4 else (1, 2, 140)


@pytest.mark.parametrize("crop", [98, 120, 462])
def test_an_odd_crop_is_refused(pool: list[Sample], crop: int) -> None:
    with pytest.raises(ValueError, match=f"invalid crop: {crop}. Expected a multiple of 14"):
        CropSampler([], pool).batch(0, images=1, prompts=1, crop=crop)


def test_images_without_objects_are_refused() -> None:
    empty = Sample(np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), np.int32), "e", "g")
    with pytest.raises(ValueError, match="no labelled object in 1 real images and 0 scenes"):
        CropSampler([empty], [])


# Prompts


def test_the_central_point_is_deepest_and_the_box_inclusive() -> None:
    mask = disc(80, 50, 30, 12)
    np.testing.assert_array_equal(central_point(mask), [50, 30])
    np.testing.assert_array_equal(tight_box(mask), [38, 18, 62, 42])
    pixel = np.zeros((9, 9), bool)
    pixel[5, 3] = True
    np.testing.assert_array_equal(tight_box(pixel), [3, 5, 3, 5])
    np.testing.assert_array_equal(central_point(pixel), [3, 5])


def test_a_mask_cut_by_the_border_is_clicked_away_from_it() -> None:
    x, y = central_point(disc(80, 0, 40, 20))
    assert 5 <= x <= 12
    assert y == 40


def test_drawn_boxes_are_near_the_object_and_inside_the_image() -> None:
    rng = np.random.default_rng(0)
    mask = disc(60, 52, 30, 10)
    boxes = np.stack([box_with_slack(mask, rng, slack=0.2) for _ in range(50)])
    assert boxes[:, 2].max() <= 59
    assert np.abs(boxes - tight_box(mask)).max() <= 0.2 * 21
    assert (boxes[:, 0] < 42).mean() > 0.5  # rather too large than too small


def test_random_points_reach_centre_and_edge() -> None:
    rng = np.random.default_rng(0)
    mask = disc(80, 40, 40, 20)
    away = [float(np.hypot(*(random_point(mask, rng) - 40))) for _ in range(200)]
    assert max(away) <= 20
    assert min(away) < 5
    assert max(away) > 16


def test_background_points_are_beside_the_object_often_in_a_neighbour() -> None:
    rng = np.random.default_rng(0)
    mask, neighbour = disc(120, 40, 60, 15), disc(120, 70, 60, 14)
    points = background_points(mask, mask + 2 * neighbour.astype(np.int32), rng, 100).astype(int)
    assert not mask[points[:, 1], points[:, 0]].any()
    assert np.hypot(*(points - [40, 60]).T).max() < 40
    assert 30 < neighbour[points[:, 1], points[:, 0]].sum() < 90
    assert background_points(np.ones((5, 5), bool), np.ones((5, 5), int), rng, 3).shape == (0, 2)


def test_the_next_click_corrects_the_largest_error() -> None:
    rng = np.random.default_rng(0)
    truth = disc(80, 30, 40, 15)
    point, label = next_click(disc(80, 30, 40, 15) | disc(80, 60, 40, 12), truth, rng)
    assert label == 0
    assert np.hypot(*(point - [60, 40])) < 9
    point, label = next_click(disc(80, 30, 33, 4), truth, rng)
    assert label == 1
    assert truth[int(point[1]), int(point[0])]
    assert next_click(truth, truth, rng)[1] == -1


def test_batched_next_clicks_agree_with_the_error_in_place_and_polarity() -> None:
    truth = torch.from_numpy(np.stack([disc(32, 12, 16, 7)] * 3)).reshape(3, 1, 32, 32)
    extra = torch.from_numpy(disc(32, 25, 16, 4))
    logits = torch.where(truth, 3.0, -3.0)
    logits[0, 0, extra] = 3.0  # too much
    logits[1] = -3.0  # missed altogether
    generator = torch.Generator().manual_seed(0)
    coords, labels = next_clicks(logits, truth, generator, scale=3.5)
    assert labels[:, 0].tolist() == [0, 1, -1]
    assert coords.shape == (3, 1, 2)
    cells = ((coords + 0.5) / 3.5 - 0.5)[:, 0]
    assert torch.dist(cells[0], torch.tensor([25.0, 16.0])) < 3
    assert torch.dist(cells[1], torch.tensor([12.0, 16.0])) < 4.5
    assert cells[:2].round().sub(cells[:2]).abs().max() < 1e-4


def test_clicks_go_to_the_first_unused_slot() -> None:
    coords = torch.zeros(3, 4, 2)
    labels = torch.tensor([[1, -1, -1, -1], [1, 0, 1, 1], [1, 0, -1, -1]])
    new, new_labels = torch.full((3, 2), 9.0), torch.tensor([0, 1, -1])
    coords, labels = append_clicks(coords, labels, new, new_labels)
    assert labels.tolist() == [[1, 0, -1, -1], [1, 0, 1, 1], [1, 0, -1, -1]]
    assert coords[0, 1].tolist() == [9, 9]
    assert coords.sum() == 18


@pytest.mark.parametrize("kind", sorted(PROMPT_KINDS))
def test_prompt_kinds_hold_what_they_say(kind: str) -> None:
    rng = np.random.default_rng(0)
    mask = disc(64, 30, 30, 9)
    for _ in range(20):
        prompt = sample_prompt(mask, mask.astype(np.int32), rng, kind)
        clicks = int((prompt.labels >= 0).sum())
        assert prompt.has_box == kind.startswith("box")
        assert (
            clicks
            in {
                "centre": (1,),
                "click": (1,),
                "clicks": (2, 3),
                "box": (0,),
                "box+clicks": (1, 2),
            }[kind]
        )
        assert (prompt.labels[clicks:] == -1).all()
        assert clicks == 0 or prompt.labels[0] == 1
