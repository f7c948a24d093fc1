"""What is learnt from labels is kept in an adapter, and used wherever weights are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3 import Predictor, load_predictor
from sam3.adapters import Adapter, chain, is_adapter, read_adapter, save_adapter
from sam3.cli import describe
from sam3.errors import CheckpointError, TrainingError
from sam3.model_builder import random_predictor
from sam3.training.data import CropSampler
from sam3.training.learn import (
    LearnProgress,
    LearnSettings,
    _Evaluation,
    _hold_out,
    _write,
    learn,
)
from sam3.training.sources import Sample
from sam3.weights import load as checkpoint

QKV, FC1, TOKEN = (
    "trunk.blocks.1.attn.qkv.weight",
    "trunk.blocks.2.mlp.fc1.weight",
    "no_memory_embed",
)
IMAGE = np.random.default_rng(3).integers(0, 255, (120, 140), np.uint8)


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


def adapter_for(predictor: Predictor, *, base: str = "tiny") -> Adapter:
    generator = torch.Generator().manual_seed(0)
    state = predictor.model.state_dict()

    def thin(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        out, into = state[name].shape
        return (
            torch.randn(out, 4, generator=generator),
            torch.randn(4, into, generator=generator) / 20,
        )

    return Adapter(
        base,
        predictor.fingerprint,
        {QKV: thin(QKV), FC1: thin(FC1)},
        {TOKEN: state[TOKEN] + 0.25},
        {"objects": 7},
    )


def logits(predictor: Predictor) -> npt.NDArray[np.float32]:
    return predictor.predict(predictor.encode(IMAGE), [[60, 50]], [1]).logits


def test_an_adapter_changes_the_answer_where_the_product_asks(
    embedded: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    adapter = adapter_for(embedded)
    save_adapter(adapter, path)
    assert is_adapter(path)
    assert read_adapter(path).about == {"objects": 7}
    changed = load_predictor(path, device="cpu")
    assert changed.fingerprint != embedded.fingerprint
    assert changed.fingerprint == checkpoint.fingerprint(changed.model)
    before, after = embedded.model.state_dict(), changed.model.state_dict()
    up, down = adapter.low_rank[QKV]
    torch.testing.assert_close(after[QKV], before[QKV] + up @ down, rtol=0, atol=1e-2)
    torch.testing.assert_close(after[TOKEN], before[TOKEN] + 0.25, rtol=0, atol=1e-3)
    assert {n for n in before if not torch.equal(before[n], after[n])} == {QKV, FC1, TOKEN}
    assert np.abs(logits(changed) - logits(embedded)).max() > 0.1


def test_an_adapter_works_with_rounded_weights(
    eight_bit_products: None, embedded: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    save_adapter(adapter_for(embedded), path)
    plain, rounded = (load_predictor(one, "cpu", "int8") for one in ("tiny", path))
    assert np.abs(logits(rounded) - logits(plain)).max() > 0.1


def test_an_adapter_of_other_weights_is_refused(embedded: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_adapter(replace(adapter_for(embedded), fingerprint="0123456789abcdef"), path)
    with pytest.raises(CheckpointError, match=f"0123456789abcdef.*{embedded.fingerprint}"):
        load_predictor(path, device="cpu")


def test_an_adapter_of_an_adapter_adds_to_it(embedded: Predictor, tmp_path: Path) -> None:
    first = adapter_for(embedded)
    save_adapter(first, tmp_path / "first.safetensors")
    changed = load_predictor(tmp_path / "first.safetensors", device="cpu")
    second = replace(
        adapter_for(changed), low_rank={QKV: first.low_rank[QKV]}, about={"objects": 9}
    )
    save_adapter(chain(first, second), tmp_path / "both.safetensors")
    both = load_predictor(tmp_path / "both.safetensors", device="cpu").model.state_dict()
    before = embedded.model.state_dict()
    up, down = first.low_rank[QKV]
    torch.testing.assert_close(both[QKV], before[QKV] + 2 * (up @ down), rtol=0, atol=2e-2)
    up, down = first.low_rank[FC1]
    torch.testing.assert_close(both[FC1], before[FC1] + up @ down, rtol=0, atol=1e-2)
    torch.testing.assert_close(both[TOKEN], before[TOKEN] + 0.5, rtol=0, atol=1e-3)
    read = read_adapter(tmp_path / "both.safetensors")
    assert (read.about, read.rank) == ({"objects": 9}, 8)


def test_the_base_is_found_where_it_was_learnt_on(tmp_path: Path) -> None:
    predictor = random_predictor()
    base = tmp_path / "weights" / "base.safetensors"
    base.parent.mkdir()
    checkpoint.save(predictor.model, base)
    adapter = replace(adapter_for(predictor, base=base.name), place=str(base))
    save_adapter(adapter, tmp_path / "mine.safetensors")
    assert load_predictor(tmp_path / "mine.safetensors", device="cpu").weights == base
    described = describe(tmp_path / "mine.safetensors")
    assert described["base"] == "base.safetensors"
    assert described["base_fingerprint"] == predictor.fingerprint != described["fingerprint"]
    assert (described["rank"], described["objects"]) == (4, 7)
    other = random_predictor(seed=1)
    checkpoint.save(other.model, base)
    with pytest.raises(CheckpointError, match=f"{predictor.fingerprint}.*{other.fingerprint}"):
        describe(tmp_path / "mine.safetensors")


def test_the_base_lies_beside_the_adapter(tmp_path: Path) -> None:
    predictor = random_predictor()
    path = tmp_path / "mine.safetensors"
    save_adapter(adapter_for(predictor, base="base.safetensors"), path)
    with pytest.raises(CheckpointError, match="Expected them in the same folder"):
        load_predictor(path, device="cpu")
    checkpoint.save(predictor.model, tmp_path / "base.safetensors")
    assert load_predictor(path, device="cpu").fingerprint != predictor.fingerprint


def test_damaged_adapters_are_refused(embedded: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    adapter = adapter_for(embedded)
    save_adapter(replace(adapter, whole={TOKEN: torch.zeros(3)}), path)
    with pytest.raises(CheckpointError, match="unknown parameter"):
        load_predictor(path, device="cpu")
    save_adapter(adapter, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_adapter(path)
    with pytest.raises(CheckpointError):
        load_predictor(path, device="cpu")
    assert not is_adapter(tmp_path / "absent")


def half_discs(count: int, seed: int) -> Sample:
    """Bright discs of which the left half is labelled, which no model takes for an object."""
    rng = np.random.default_rng(seed)
    image, labels = rng.normal(50, 5, (180, 180)), np.zeros((180, 180), np.int32)
    rows, columns = np.mgrid[:180, :180]
    places = [(y, x) for y in range(30, 180, 40) for x in range(30, 180, 40)][:count]
    for number, (y, x) in enumerate(places, 1):
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 15**2
        image[disc] = 160 + rng.normal(0, 5, disc.sum())
        labels[disc & (columns < x)] = number
    pixels = np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Sample(pixels, labels, f"discs {seed}", "learnt", "learnt")


def test_objects_kept_aside_are_not_learnt_from() -> None:
    samples = [half_discs(9, 0), half_discs(6, 1)]
    learnt_from, asked, (objects, aside) = _hold_out(samples, seed=0)
    assert (objects, aside) == (12, 3) == (15 - len(asked), len(asked))
    assert sum(len(np.unique(one.labels)) - 1 for one in learnt_from) == objects
    by_name = {one.name: one for one in learnt_from}
    for sample, number in asked:
        assert not by_name[sample.name].labels[sample.labels == number].any()
        assert not by_name[sample.name].complete, "what is unlabelled may be an object"


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_objects_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"too few objects to learn from: {count}"):
        learn([half_discs(count, 0)], tmp_path / "mine.safetensors")
    whole = replace(half_discs(0, 0), labels=np.ones((180, 180), np.int32))
    with pytest.raises(TrainingError, match="learn from: 0"):
        learn([whole], tmp_path / "mine.safetensors")


def test_labels_of_another_image_are_refused(tmp_path: Path) -> None:
    sample = replace(half_discs(4, 0), labels=np.ones((100, 180), np.int32))
    with pytest.raises(TrainingError, match=r"\(100, 180\). Expected \(180, 180\)"):
        learn([sample], tmp_path / "mine.safetensors")


def test_clicks_stay_on_their_objects_in_every_crop() -> None:
    labels = np.zeros((300, 260), np.int32)
    labels[40:60, 50:90], labels[150:190, 100:130], labels[200:215, 30:45] = 1, 2, 3
    image = np.random.default_rng(0).integers(0, 255, (300, 260, 3)).astype(np.uint8)
    clicks = {
        1: np.array([[51, 41, 1], [95, 50, 0], [88, 58, 1]], np.float32),
        2: np.array([[128, 188, 1]], np.float32),
        3: np.array([[70, 70, 1]], np.float32),  # not on its object
    }
    sample = Sample(image, labels, "clicked", "learnt", "learnt", complete=False, clicks=clicks)
    sampler, without = (
        CropSampler([one], [], seed=4) for one in (sample, replace(sample, clicks={}))
    )
    recorded = whole = 0
    for step in range(60):
        batch = sampler.batch(step, images=2, prompts=3, crop=112)
        coords, marks = batch.point_coords.numpy(), batch.point_labels.numpy()
        for item, slot in np.ndindex(2, 3):
            mask = batch.masks[item, slot].numpy()
            used = coords[item, slot][marks[item, slot] >= 0]
            polarity = marks[item, slot][marks[item, slot] >= 0]
            for (x, y), on in zip(np.rint(used).astype(int), polarity, strict=True):
                assert mask[y, x] == on
            recorded += not batch.has_box[item, slot] and bool((used % 1 != 0).any())
            whole += len(used) == 3 and polarity.tolist() == [1, 0, 1]
    assert recorded > 60, "drawn clicks lie in the middle of pixels, recorded ones between them"
    assert whole > 5
    first, second = (one.batch(0, images=2, prompts=3, crop=112) for one in (sampler, without))
    assert torch.equal(first.images, second.images)


def test_held_out_objects_are_clicked_where_the_user_did(embedded: Predictor) -> None:
    sample = half_discs(4, 0)
    place = np.argwhere(sample.labels == 2)[3]
    made = np.array([[place[1], place[0], 1]], np.float32)
    labels = np.where(np.isin(sample.labels, (2, 3)), sample.labels, 0)
    _, held_out, _ = _hold_out([replace(sample, labels=labels, clicks={2: made, 3: made})], 0)
    ((one, _),) = held_out
    assert {n: c.tolist() for n, c in one.clicks.items()} == {
        int(one.labels[place[0], place[1]]): made.tolist()
    }
    image, mask, click = _Evaluation(embedded, [(one, int(one.labels[tuple(place)]))])._fields[0]
    column, row = click.astype(int)
    assert mask[row, column]
    np.testing.assert_array_equal(image[row, column], sample.image[tuple(place)])


def wide_discs(count: int) -> Sample:
    """Discs with labels that are wider than what any model takes for the object."""
    sample = half_discs(count, 0)
    rows, columns = np.mgrid[:180, :180]
    labels = np.zeros((180, 180), np.int32)
    places = [(y, x) for y in range(30, 180, 40) for x in range(30, 180, 40)][:count]
    for number, (y, x) in enumerate(places, 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 19**2] = number
    return replace(sample, labels=labels)


#: Enough for wider masks.
FEW_STEPS = {"steps": 6, "images": 2, "prompts": 2, "crop": 112, "measurements": 3}
QUICK = LearnSettings(minutes=9.0, learning_rate=1e-2, **FEW_STEPS)


@pytest.mark.timeout(300)
def test_clicks_get_better(embedded: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    outcome = learn([wide_discs(8)], path, device="cpu", settings=QUICK)
    assert outcome.path == path
    assert outcome.after > outcome.before + 0.03
    about = read_adapter(path).about
    assert about["click_iou_after"] == pytest.approx(outcome.after, abs=1e-3)
    assert (about["kept_aside"], about["objects"], about["images"]) == (1, 7, 1)
    assert path.stat().st_size < 8_000_000
    learnt = load_predictor(path, device="cpu")
    sample = wide_discs(8)
    areas = [
        one.predict(one.encode(sample.image), [[150, 150]], [1], multimask_output=False).masks.sum()
        for one in (embedded, learnt)
    ]
    assert areas[1] > areas[0], "elsewhere in the image, too, masks got wider"


def test_ended_at_once_nothing_is_left_behind(tmp_path: Path) -> None:
    told: list[LearnProgress] = []

    def stop(progress: LearnProgress) -> bool:
        told.append(progress)
        return False

    settings = replace(QUICK, learning_rate=0.0)
    outcome = learn(
        [half_discs(4, 0)],
        tmp_path / "a.safetensors",
        device="cpu",
        settings=settings,
        progress=stop,
    )
    assert len(told) == outcome.steps == 1
    assert outcome.path is None
    assert outcome.after == outcome.before
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_named(embedded: Predictor, tmp_path: Path) -> None:
    told: list[LearnProgress] = []

    def tell(progress: LearnProgress) -> bool:
        told.append(progress)
        return True

    with pytest.raises(TrainingError, match=r"absent/mine\.safetensors cannot be written"):
        learn(
            [half_discs(4, 0)],
            tmp_path / "absent" / "mine.safetensors",
            progress=tell,
        )
    assert not told, "nobody waits for what cannot be kept"
    occupied = tmp_path / "folder.safetensors"
    occupied.mkdir()
    with pytest.raises(TrainingError, match="cannot be written"):
        _write(adapter_for(embedded), occupied)
    assert list(tmp_path.iterdir()) == [occupied], "no part of it is left behind"
