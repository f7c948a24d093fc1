"""Tracking through series: any frames, any prompts, any direction, and every kind of bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from sam3.config import MemoryConfig, TrunkConfig, get_preset
from sam3.errors import CheckpointError, ConfigError, ImageError, PromptError
from sam3.model.memory import Memory
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from sam3.tracking.tracker import Direction, FramePrompt, TrackedFrame, Tracker, load_tracker
from sam3.weights import load as checkpoint

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CONFIG = replace(
    get_preset("tiny"),
    name="tracked",
    resolution=252,
    channels=32,
    trunk=TrunkConfig(
        width=24,
        depth=1,
        heads=2,
        mlp_hidden=32,
        global_blocks=(0,),
        window=6,
        pretrain_grid=6,
    ),
    memory=MemoryConfig(channels=16, layers=1, mlp_hidden=32),
)
SIZE = (60, 80)
SERIES = np.stack([np.roll(data.coffee()[:240:4, :320:4], i, axis=1) for i in range(24)])
LEFT, RIGHT = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
LEFT[20:40, 10:30] = True
RIGHT[20:40, 50:70] = True


def random_memory(seed: int = 1) -> Memory:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        memory = Memory(CONFIG)
        for parameter in memory.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return memory.requires_grad_(False)


def random_tracker(**settings: Any) -> Tracker:
    model = build_click_model(CONFIG, seed=1).requires_grad_(False)
    # With random weights nearly no object would be there.
    model.get_parameter("mask_decoder.object_score_head.layers.2.bias").fill_(3)
    return Tracker(Predictor(model.eval(), device="cpu"), random_memory(), **settings)


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return random_tracker()


def mask_at(frame: int, object_id: int = 1, mask: np.ndarray = LEFT) -> FramePrompt:
    return FramePrompt(frame=frame, object_id=object_id, mask=mask)


def click_at(frame: int, object_id: int = 1) -> FramePrompt:
    return FramePrompt(frame=frame, object_id=object_id, points=[[20, 30]], labels=[1])


def equal(ours: TrackedFrame, theirs: TrackedFrame, row: int = 0) -> bool:
    """Whether the only object of a frame is the one in a row of another."""
    same = np.allclose(ours.logits[0], theirs.logits[row], rtol=1e-4, atol=1e-4)
    return same and np.allclose(ours.object_logits[0], theirs.object_logits[row], atol=1e-4)


@settings(max_examples=12)
@given(length=st.integers(1, 9), draw=st.data())
def test_any_length_prompt_and_direction(length: int, draw: st.DataObject) -> None:
    tracker = draw.draw(st.sampled_from([TRACKERS[0], TRACKERS[1]]))
    first = draw.draw(st.integers(0, length - 1))
    direction: Direction = draw.draw(st.sampled_from(["forward", "backward", "both"]))
    expected = {
        "forward": [*range(first, length)],
        "backward": [*range(first, -1, -1)],
        "both": [*range(first, length), *range(first - 1, -1, -1)],
    }
    found = list(tracker.track(SERIES[:length], [click_at(first)], direction=direction))
    assert [one.frame for one in found] == expected[direction]
    for one in found:
        assert one.object_ids == (1,)
        assert one.masks.shape == (1, *SIZE)
        assert np.isfinite(one.logits).all()
        assert one.crops[0].pixels.sum() == one.masks.sum()


TRACKERS = [random_tracker(), random_tracker(selection=True)]


def test_two_objects_at_once_are_two_one_at_a_time(tracker: Tracker) -> None:
    first, second = [mask_at(0), click_at(3)], [mask_at(1, 2, RIGHT)]
    both = list(tracker.track(SERIES[:6], [*first, *second]))
    for prompts, object_id in ((first, 1), (second, 2)):
        alone = list(tracker.track(SERIES[:6], prompts))
        assert alone
        for one in alone:
            [other] = [frame for frame in both if frame.frame == one.frame]
            assert equal(one, other, other.object_ids.index(object_id)), one.frame


def test_objects_from_their_first_prompt_to_both_ends(tracker: Tracker) -> None:
    prompts = [mask_at(1), mask_at(3, 2, RIGHT)]
    found = list(tracker.track(SERIES[:5], prompts, direction="both"))
    assert [(one.frame, one.object_ids) for one in found] == [
        *[(1, (1,)), (2, (1,)), (3, (1, 2)), (4, (1, 2))],
        *[(2, (2,)), (1, (2,)), (0, (1, 2))],
    ]


def test_backwards_is_forwards_in_the_turned_series(tracker: Tracker) -> None:
    forward = list(tracker.track(SERIES[:8], [mask_at(0)]))
    backward = list(tracker.track(SERIES[:8][::-1], [mask_at(7)], direction="backward"))
    assert len(forward) == len(backward) == 8
    assert all(equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_frames_one_after_the_other_give_the_same(tracker: Tracker) -> None:
    whole = list(tracker.track(SERIES[:20], [mask_at(0)]))
    streamed = list(tracker.track(iter(SERIES[:20]), [mask_at(0)]))
    assert all(equal(a, b) for a, b in zip(whole, streamed, strict=True))
    # The length of the series counts in the positions of pointers.
    short = list(tracker.track(SERIES[:4], [mask_at(0)]))
    encoded = list(tracker.track(tracker.predictor.encode_batch(list(SERIES[:4])), [mask_at(0)]))
    assert all(equal(a, b) for a, b in zip(short, encoded, strict=True))


@pytest.mark.parametrize("selection", [False, True])
def test_what_is_forgotten_is_not_missed(selection: bool) -> None:
    """A session that forgets gives the same as one that keeps everything, and stays small."""
    tracker = TRACKERS[selection]
    sessions = [tracker.session(len(SERIES)), tracker.session(len(SERIES))]
    features = tracker.predictor.encode_batch(list(SERIES))
    mask = torch.from_numpy(LEFT).float()
    for session in sessions:
        session.draw(0, 1, features[0], mask)
        session.commit(features.__getitem__)
    for frame in range(1, len(SERIES)):
        kept, forgotten = (s.step(frame, features.__getitem__)[1] for s in sessions)
        sessions[1].forget(frame)
        assert torch.equal(kept.logits, forgotten.logits)
    small = sessions[1].objects[1].tracked
    assert len(small) <= 2 * MemoryConfig().pointers < len(SERIES) + 16
    assert sum(one.memory is not None for one in small.values()) <= 2 * MemoryConfig().frames


def test_an_abandoned_iterator_leaves_the_tracker_usable(tracker: Tracker) -> None:
    whole = list(tracker.track(SERIES[:4], [mask_at(0)]))
    iterator = tracker.track(SERIES[:4], [mask_at(0)])
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]

    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(tracker.track(SERIES[:4], [mask_at(0)], progress=cancel))
    again = list(tracker.track(SERIES[:4], [mask_at(0)]))
    assert all(equal(a, b) for a, b in zip(whole, again, strict=True))


def test_a_step_that_fails_changes_nothing(tracker: Tracker) -> None:
    session = tracker.session(4)
    features = tracker.predictor.encode_batch(list(SERIES[:2]))
    session.draw(0, 1, features[0], torch.from_numpy(LEFT).float())
    session.commit(features.__getitem__)

    def broken(frame: int) -> Any:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        session.step(1, broken)
    assert not session.objects[1].tracked
    session.step(1, features.__getitem__)
    assert set(session.objects[1].tracked) == {1}


class Broken:
    """A series of which some frames cannot be read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, frame: int) -> Any:
        if frame == 2:
            raise OSError("disk error")
        if frame == 3:
            return SERIES[3][:10]
        if frame == 4:
            return SERIES[4].astype(np.uint16)
        return SERIES[frame]


@pytest.mark.parametrize("streamed", [False, True])
def test_bad_frames_are_left_out_and_named_at_the_end(tracker: Tracker, streamed: bool) -> None:
    if streamed:
        frames: Any = (SERIES[i] if i != 2 else SERIES[i][:10] for i in range(6))
        named, left = ["1 frames were skipped: frame 2 has the size 10 x 80"], [0, 1, 3, 4, 5]
    else:
        frames, left = Broken(), [0, 1, 5]
        named = [
            "3 frames were skipped: frame 2 cannot be read: disk error",
            "frame 3 has the size 10 x 80",
            "frame 4 has the data type uint16",
        ]
    found: list[int] = []
    numbers = (one.frame for one in tracker.track(frames, [mask_at(0)]))
    with pytest.raises(ImageError) as caught:
        found.extend(numbers)  # keeps what came before the error
    assert found == left
    assert all(part in str(caught.value) for part in named)


def test_a_bad_frame_with_a_prompt_is_refused(tracker: Tracker) -> None:
    with pytest.raises(ImageError, match="frame 2 cannot be read: disk error"):
        list(tracker.track(Broken(), [mask_at(2)]))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([FramePrompt(frame=0, object_id=1)], r"is empty. Expected clicks"),
        ([mask_at(3)], r"the frame does not exist: 3. Expected 0 to 2"),
        ([mask_at(-1)], "the frame does not exist: -1"),
        ([mask_at(0), click_at(0)], "two prompts on frame 0"),
        ([mask_at(0, 1, LEFT[1:])], r"shape \(59, 80\). Expected \(60, 80\)"),
        ([FramePrompt(frame=0, object_id=1, mask=LEFT, box=[1, 1, 9, 9])], "both a mask"),
        ([FramePrompt(frame=0, object_id=1, box=np.ones((2, 4)) * [1, 1, 9, 9])], "2 objects"),
        ([FramePrompt(frame=0, object_id=1, points=[[900, 3]], labels=[1])], "outside the image"),
    ],
)
def test_wrong_prompts(tracker: Tracker, prompts: list[FramePrompt], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        list(tracker.track(SERIES[:3], prompts))


def test_wrong_directions(tracker: Tracker) -> None:
    with pytest.raises(PromptError, match="unknown direction: 'up'"):
        tracker.track(SERIES, [mask_at(0)], direction="up")  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="Expected frames that can be indexed"):
        tracker.track(iter(SERIES), [mask_at(0)], direction="both")
    with pytest.raises(PromptError, match=r"the frame does not exist: 9. Expected 0 to 2"):
        list(tracker.track(iter(SERIES[:3]), [mask_at(0), mask_at(9)]))
    assert list(tracker.track(SERIES, [])) == []


def test_an_object_that_is_absent_can_be_prompted_again(tracker: Tracker) -> None:
    empty = np.zeros(SIZE, bool)
    found = list(tracker.track(SERIES[:5], [mask_at(0), mask_at(2, mask=empty), mask_at(4)]))
    assert [one.object_logits[0] > 0 for one in found][2] == np.False_
    assert not found[2].masks.any()
    assert (found[4].masks[0] == LEFT).mean() > 0.97
    assert found[2].crops[0].pixels.size == 0


def test_wider_integers_are_stretched_alike(tracker: Tracker) -> None:
    deep = SERIES[:4].astype(np.uint16) * 100
    flickering = list(deep)
    flickering[1] = np.full_like(deep[1], 7)  # a blank frame changes no other
    one, other = (list(tracker.track(f, [mask_at(0)])) for f in (deep, flickering))
    assert not equal(one[1], other[1])
    assert equal(one[0], other[0])


def test_own_files_hold_the_memory_too(tracker: Tracker, tmp_path: Any) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(tracker.predictor.model, path, memory=tracker.steps.memory)
    loaded = load_tracker(path, device="cpu")
    ours, theirs = (list(t.track(SERIES[:3], [mask_at(0)])) for t in (tracker, loaded))
    assert all(equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert loaded.predictor.fingerprint == tracker.predictor.fingerprint
    checkpoint.save(tracker.predictor.model, path)
    with pytest.raises(CheckpointError, match="holds no memory for tracking"):
        load_tracker(path, device="cpu")
    with pytest.raises(ConfigError, match="has no memory"):
        Memory(get_preset("tiny"))
