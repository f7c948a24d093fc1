"""The calls of the public notebook for the "SAM 2 task" run as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sam3.errors import ImageError, PromptError, UnsupportedError
from sam3.model_builder import build_sam3_video_model
from sam3.notebook.video_predictor import Sam3VideoPredictor
from sam3.tracking.frames import open_frames
from sam3.weights import load as checkpoint
from tests.sam3.test_tracker import LEFT, RIGHT, SERIES, SIZE, Broken, random_tracker

pytestmark = pytest.mark.usefixtures("one_torch_thread")
FRAMES = SERIES[:5]


@pytest.fixture(scope="module")
def predictor() -> Sam3VideoPredictor:
    return Sam3VideoPredictor(random_tracker())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"{number}.jpg", quality=95)
    Image.fromarray(FRAMES[0]).save(tmp_path / "10.jpg")
    return tmp_path


def test_the_notebook_runs_as_it_is(folder: Path, tmp_path: Path) -> None:
    tracker = random_tracker()
    path = tmp_path / "weights.safetensors"
    checkpoint.save(tracker.predictor.model, path, memory=tracker.steps.memory)
    sam3_model = build_sam3_video_model(checkpoint_path=path, device="cpu")
    predictor = sam3_model.tracker
    predictor.backbone = sam3_model.detector.backbone
    assert predictor.tracker.selection
    inference_state = predictor.init_state(video_path=str(folder))
    assert (inference_state.num_frames, inference_state.size) == (6, SIZE)
    predictor.clear_all_points_in_video(inference_state)
    points = torch.tensor([[210 / 800, 350 / 600]], dtype=torch.float32)
    _, out_obj_ids, low_res_masks, video_res_masks = predictor.add_new_points(
        inference_state=inference_state,
        frame_idx=0,
        obj_id=1,
        points=points,
        labels=torch.tensor([1], dtype=torch.int32),
        clear_old_points=False,
    )
    assert out_obj_ids == [1]
    assert low_res_masks.shape == (1, 1, 72, 72)
    assert video_res_masks.shape == (1, 1, *SIZE)
    predictor.add_new_points_or_box(
        inference_state=inference_state, frame_idx=0, obj_id=4, box=[0.2, 0.2, 0.6, 0.7]
    )
    segments = {}
    for frame_idx, obj_ids, low, video, obj_scores in predictor.propagate_in_video(
        inference_state,
        start_frame_idx=0,
        max_frame_num_to_track=300,
        reverse=False,
        propagate_preflight=True,
    ):
        segments[frame_idx] = {i: (video[n] > 0.0).numpy() for n, i in enumerate(obj_ids)}
        assert (low.shape, obj_scores.shape) == ((2, 1, 72, 72), (2, 1))
    assert list(segments) == [0, 1, 2, 3, 4, 5]
    assert all(list(masks) == [1, 4] for masks in segments.values())


@pytest.mark.parametrize("kind", ["array", "list", "grey"])
def test_arrays_and_lists_are_taken_too(predictor: Sam3VideoPredictor, kind: str) -> None:
    frames: Any = {"array": FRAMES, "list": list(FRAMES), "grey": FRAMES[..., 0]}[kind]
    state = predictor.init_state(video_path=frames)
    predictor.add_new_mask(state, 2, 1, LEFT)
    ways = {False: [2, 3, 4], True: [2, 1, 0]}
    for reverse, expected in ways.items():
        found = predictor.propagate_in_video(state, reverse=reverse)
        assert [frame for frame, *_ in found] == expected
    some = predictor.propagate_in_video(state, start_frame_idx=2, max_frame_num_to_track=1)
    assert [frame for frame, *_ in some] == [2, 3]


def test_clicks_are_kept_until_they_are_cleared(predictor: Sam3VideoPredictor) -> None:
    def clicks(*calls: tuple[float, float, bool]) -> Any:
        state = predictor.init_state(FRAMES)
        for x, y, clear in calls:
            predictor.add_new_points(state, 0, 1, [[x, y]], [1], clear_old_points=clear)
        return state.clicks[0, 1].points.tolist()

    assert clicks((0.5, 0.5, True), (0.25, 0.5, False)) == [[40, 30], [20, 30]]
    assert clicks((0.5, 0.5, True), (0.25, 0.5, True)) == [[20, 30]]
    state = predictor.init_state(FRAMES)
    pixels = predictor.add_new_points(state, 0, 1, [[20, 30]], [1], rel_coordinates=False)
    other = predictor.init_state(FRAMES)
    shares = predictor.add_new_points(other, 0, 1, [[0.25, 0.5]], [1])
    assert torch.equal(pixels[3], shares[3])


def test_masks_give_way_and_exclude_clicks(predictor: Sam3VideoPredictor) -> None:
    state = predictor.init_state(FRAMES)
    predictor.add_new_points(state, 0, 1, [[0.5, 0.5]], [1])
    predictor.add_new_mask(state, 0, 1, LEFT | RIGHT)
    assert not state.clicks
    _, ids, _, video = predictor.add_new_mask(state, 0, 2, RIGHT)
    assert ids == [1, 2]
    assert (video[:, 0] > 0).numpy().tolist() == [LEFT.tolist(), RIGHT.tolist()]
    predictor.add_new_points(state, 0, 1, [[0.5, 0.5]], [1])
    assert list(state.masks) == [(0, 2)]


def test_objects_come_and_go_after_tracking_has_begun(predictor: Sam3VideoPredictor) -> None:
    state = predictor.init_state(FRAMES)
    predictor.add_new_mask(state, 0, 1, LEFT)
    list(predictor.propagate_in_video(state))
    predictor.add_new_mask(state, 2, 9, RIGHT)
    after = {frame: ids for frame, ids, *_ in predictor.propagate_in_video(state)}
    assert after == {frame: [1, 9] for frame in range(5)}
    assert 2 in state.session.objects[1].prompted  # as its earlier result
    left, updated = predictor.remove_object(state, 1)
    assert (left, [frame for frame, _ in updated]) == ([9], [0])
    assert predictor.remove_object(state, 1) == ([9], [])
    with pytest.raises(PromptError, match="unknown object: 1"):
        predictor.remove_object(state, 1, strict=True)
    assert all(ids == [9] for _, ids, *_ in predictor.propagate_in_video(state))


def test_a_video_is_read_like_a_list_of_its_frames(
    predictor: Sam3VideoPredictor, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="no decoder of videos is installed")
    import imageio.v3 as iio

    rows, columns = np.mgrid[:96, :128]
    frames = [
        np.where((rows - 48) ** 2 + (columns - 20 - 8 * n) ** 2 < 144, 220, 40).astype(np.uint8)
        for n in range(12)
    ]
    colours = [np.repeat(frame[..., None], 3, axis=2) for frame in frames]
    path = tmp_path / "film.mp4"
    iio.imwrite(path, np.stack(colours), plugin="pyav", codec="libx264", fps=10)
    film = open_frames(path)
    assert len(film) == len(frames)
    for n in (11, 0, 5, 5, 6, 3, 10):  # in any order
        assert film[n].shape == colours[n].shape
        assert np.abs(film[n].astype(int) - colours[n]).mean() < 3, n

    def follow(source: Any) -> list[tuple[int, Any]]:
        state = predictor.init_state(video_path=source)
        predictor.add_new_mask(state, 2, 1, frames[2] > 128)
        found = [
            (frame, masks[0, 0] > 0)
            for reverse in (False, True)
            for frame, _, _, masks, _ in predictor.propagate_in_video(state, reverse=reverse)
        ]
        assert {frame for frame, _ in found} == set(range(12))
        return found

    read = [film[n] for n in range(12)]
    for (n, one), (m, other) in zip(follow(str(path)), follow(read), strict=True):
        assert n == m
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_bad_input(predictor: Sam3VideoPredictor, tmp_path: Path) -> None:
    state = predictor.init_state(FRAMES)
    calls: dict[str, Callable[[], object]] = {
        "nothing to track": lambda: predictor.propagate_in_video(state),
        "the frame does not exist: 5": lambda: predictor.add_new_mask(state, 5, 1, LEFT),
        "the frame does not exist: -1": lambda: predictor.add_new_points(
            state, -1, 1, [[0, 0]], [1]
        ),
        "no prompt was given": lambda: predictor.add_new_points(state, 0, 1),
        "the mask has the shape": lambda: predictor.add_new_mask(state, 0, 1, LEFT.T),
        "another backbone": lambda: setattr(predictor, "backbone", None),
    }
    for message, call in calls.items():
        with pytest.raises(PromptError, match=message):
            call()
    assert not state.session.objects
    (tmp_path / "film.mp4").touch()
    for error, source in (
        (ImageError, tmp_path / "absent"),
        (ImageError, []),
        (ImageError, 7),
        (ImageError, np.zeros((4, 4))),
        ((UnsupportedError, ImageError), tmp_path / "film.mp4"),
    ):
        with pytest.raises(error):
            open_frames(source)
    broken = predictor.init_state(Broken())
    predictor.add_new_mask(broken, 0, 1, LEFT)
    found: list[int] = []
    numbers = (frame for frame, *_ in predictor.propagate_in_video(broken))
    with pytest.raises(ImageError, match="3 frames were skipped"):
        found.extend(numbers)
    assert found == [0, 1, 5]
