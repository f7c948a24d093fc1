"""Training a memory: clips follow objects, a run resumes, and clicks stay as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam3.predictor import load_predictor
from sam3.tracking.tracker import FramePrompt, load_tracker
from sam3.training.clips import ClipMaker
from sam3.training.memory import MemorySettings, train_memory
from sam3.weights import load as checkpoint

pytestmark = pytest.mark.usefixtures("one_torch_thread")
QUICK = MemorySettings(steps=4, clips=1, objects=2, frames=3, crop=112, first_pool=2, pool=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a stack in which one of two objects ends, and an image."""
    place = tmp_path_factory.mktemp("stacks")
    rows, columns = np.ogrid[:64, :64]
    labels = np.zeros((16, 64, 64), np.uint16)
    labels[:, (rows - 20) ** 2 + (columns - 22) ** 2 < 100] = 1
    labels[:5, (rows - 44) ** 2 + (columns - 42) ** 2 < 100] = 2
    noise = np.random.default_rng(0).normal(0, 4, labels.shape)
    image = (40 + 120 * (labels > 0) + noise).astype(np.uint8)
    np.savez(place / "made3d.npz", a_image=image, a_labels=labels, a_kind="z", a_scale=np.ones(3))
    pairs = {f"{i}_image": image[0] for i in range(5)} | {
        f"{i}_labels": labels[0] for i in range(5)
    }
    np.savez(place / "made.npz", **pairs)
    return place


def test_clips_follow_objects_and_are_the_same_every_time(folder: Path) -> None:
    maker, again = (ClipMaker(folder, frames=4, crop=112) for _ in range(2))
    gone = 0
    for number in range(24):
        clip, other = maker.make(number, 2), again.make(number, 2)
        np.testing.assert_array_equal(clip.images, other.images)
        np.testing.assert_array_equal(clip.labels, other.labels)
        assert clip.images.shape == (4, 3, 112, 112)
        for label in clip.objects:
            there = (clip.labels == label).any((1, 2))
            assert there[0]
            gone += not there.all()
    assert gone > 0, "objects must end, or the score of their presence is not learnt"


def test_a_run_resumes_learns_a_memory_and_leaves_clicks_as_they_were(
    folder: Path, tmp_path: Path
) -> None:
    tiny = checkpoint.embedded_weights()
    whole = train_memory(QUICK, tmp_path / "whole", data=folder, init=tiny)
    train_memory(QUICK, tmp_path / "parts", data=folder, init=tiny, stop_after=2)
    resumed = train_memory(QUICK, tmp_path / "parts", data=folder, init=tiny)
    tensors, again = load_file(whole), load_file(resumed)
    assert any(name.startswith("memory.") for name in tensors)
    assert all(torch.equal(tensors[name], again[name]) for name in tensors | again)
    before, after = checkpoint.load(tiny).state_dict(), checkpoint.load(whole).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("mask_decoder.object_score_head.") for name in changed)
    image = np.load(folder / "made.npz")["0_image"]
    masks = []
    for predictor in (load_predictor(tiny, "cpu"), load_predictor(whole, "cpu")):
        found = predictor.predict(
            predictor.encode(image), point_coords=[[22, 20]], point_labels=[1]
        )
        masks.append(found.logits)
    np.testing.assert_array_equal(masks[0], masks[1])
    tracker = load_tracker(whole, "cpu")
    prompt = FramePrompt(frame=0, object_id=1, box=[11.5, 9.5, 32.5, 30.5])
    frames = np.load(folder / "made3d.npz")["a_image"][:3]
    assert [one.frame for one in tracker.track(frames, [prompt])] == [0, 1, 2]
