"""Training: losses mean what they say, the loop learns, resumes and is deterministic."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam3.config import get_preset
from sam3.errors import TrainingError
from sam3.model.mask_decoder import RawMasks
from sam3.model.prompt_encoder import PADDING
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from sam3.training import blend
from sam3.training.__main__ import main
from sam3.training.data import Batch, CropSampler, scene_pool
from sam3.training.losses import dense_loss, mask_iou, prompt_loss, soft_targets
from sam3.training.model import Prompts, TrainingModel, corrected, join_prompts
from sam3.training.near_masks import near_masks
from sam3.training.scenes import make_scene
from sam3.training.train import Phase, Settings, train
from sam3.weights import load as checkpoint

QUICK = Settings(steps=6, warmup=2, scenes=4, phases=(Phase(0.5, 2, 2, 112), Phase(1.0, 1, 2, 224)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> CropSampler:
    return CropSampler([], scene_pool(4, 0, tmp_path_factory.mktemp("scenes"), processes=1))


@pytest.fixture(scope="module")
def batch(scenes: CropSampler) -> Batch:
    return scenes.batch(3, images=2, prompts=3, crop=112)


def raw_masks(logits: torch.Tensor, iou: torch.Tensor) -> RawMasks:
    return RawMasks(logits, iou, torch.zeros(len(iou), 1))


def test_right_masks_and_scores_cost_almost_nothing() -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:10, 5:12] = 1
    right = (20 * target - 10)[:, None].expand(1, 4, 16, 16)
    loss, figures = prompt_loss(raw_masks(right, torch.ones(1, 4)), target)
    assert loss < 0.01
    assert figures["best_scored"] == 1
    wrong, _ = prompt_loss(raw_masks(-right, torch.ones(1, 4)), target)
    overrated, _ = prompt_loss(raw_masks(right, torch.zeros(1, 4)), target)
    assert wrong > 20
    assert overrated > 1.5


def test_the_best_of_three_carries_the_loss() -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:10, 5:12] = 1
    right, wrong = 20 * target - 10, torch.full_like(target, -10.0)
    one_right = torch.stack([right, wrong, right, wrong], dim=1)
    none_right = torch.stack([right, wrong, wrong, wrong], dim=1)
    scores = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    loss, figures = prompt_loss(raw_masks(one_right, scores), target)
    worse, _ = prompt_loss(raw_masks(none_right, scores), target)
    assert figures["best_of_three"] == figures["best_scored"] == 1
    assert loss < worse / 3


def test_soft_targets_are_shares_of_area() -> None:
    mask = torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    mask[..., :14, :7] = True
    shares = soft_targets(mask, 8)
    assert shares.shape == (1, 1, 8, 8)
    assert shares[0, 0, 0, 0] == 1
    assert float(shares.mean()) == pytest.approx(14 * 7 / 28**2, abs=0.02)


def test_iou_of_masks() -> None:
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[:, :2] = 1
    b[:, 1:3] = 1
    assert float(mask_iou(a - 0.5, b)) == pytest.approx(4 / 12)


def test_dense_targets_are_learnable_and_noticed() -> None:
    labels = torch.zeros(1, 112, 112, dtype=torch.int32)
    labels[0, 20:60, 30:90] = 1
    zero = torch.zeros(1, 4, 16, 16)
    informed = zero.clone()
    informed[:, 0] = -8
    informed[:, 0, 3:9, 4:13] = 8
    assert dense_loss(informed, labels) < dense_loss(zero, labels) - 0.2


def test_what_may_be_unlabelled_is_not_taught_as_background() -> None:
    labels = torch.zeros(1, 112, 112, dtype=torch.int32)
    labels[0, 7:28, 7:28] = 1
    right = torch.zeros(1, 4, 16, 16)
    right[:, :2] = -8
    right[:, 0, 1:4, 1:4] = 8
    another = right.clone()
    another[:, 0, 10:14, 10:14] = 8  # an object without a label, found all the same
    partial = torch.tensor([False])
    assert dense_loss(another, labels, partial) == dense_loss(right, labels, partial)
    assert dense_loss(another, labels, ~partial) > dense_loss(right, labels, ~partial) + 0.1
    near = right.clone()
    near[:, 0, 4:6, 1:4] = 8  # too much of the one that has a label
    assert dense_loss(near, labels, partial) > dense_loss(right, labels, partial) + 0.1


def test_no_mask_means_nothing_where_objects_may_be_unlabelled(scenes: CropSampler) -> None:
    target = soft_targets(scenes.batch(5, images=16, prompts=4, crop=112).masks.flatten(0, 1), 32)
    anywhere = torch.ones_like(target)
    _, ended = near_masks(target, anywhere, torch.Generator().manual_seed(1))
    assert not ended.any()


def test_corrections_are_those_of_the_predictor(batch: Batch) -> None:
    """The same clicks with the mask before as prompt give the logits that a user would get."""
    config = replace(get_preset("tiny"), resolution=112)
    network = TrainingModel(build_click_model(config, seed=1)).eval()
    target = soft_targets(batch.masks.flatten(0, 1), 32)[:1]
    asked: list[Prompts] = []
    with torch.no_grad():
        encoded = network.model.encode(batch.images[:1].float() / 127.5 - 1)
        side = network.model.mask_decoder.image_side(
            network.model.without_memory(encoded.embedding),
            network.model.prompt_encoder.dense_positions(),
            (encoded.fine, encoded.middle),
        )

    def decode(prompts: Prompts, mask: torch.Tensor | None) -> RawMasks:
        asked.append(prompts)
        with torch.no_grad():
            return network._decode(side, *prompts, mask, (0, 0))

    y, x = (target[0] > 0.5).nonzero()[0].tolist()
    coords = torch.tensor([[[3.5 * x, 3.5 * y]] + [[0.0, 0.0]] * 7])
    first = coords, torch.tensor([[1] + [PADDING] * 7])
    raw = decode(first, None)
    generator = torch.Generator().manual_seed(0)
    raw = corrected(raw, first, target, decode, 4, generator, 3.5)
    predictor = Predictor(network.model, device="cpu")
    features = predictor.encode(batch.images[0].permute(1, 2, 0).numpy())
    logits = None
    for coords, labels in asked:
        given = labels[0] >= 0
        answer = predictor.predict(
            features, coords[0][given].numpy(), labels[0][given].numpy(), mask_input=logits
        )
        logits = answer.logits[[answer.scores.argmax()]]
    assert [int((labels >= 0).sum()) for _, labels in asked] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(answer.logits, raw.logits[0, 1:].clamp(-32, 32).numpy(), atol=2e-3)


def test_crops_are_decoded_as_parts_of_the_whole_frame(batch: Batch) -> None:
    """Without a shift, training sees what the predictor sees: same prompts, same logits."""
    config = replace(get_preset("tiny"), resolution=112)
    network = TrainingModel(build_click_model(config, seed=1)).eval()
    coords, labels = join_prompts(batch)
    with torch.no_grad():
        encoded = network.model.encode(batch.images.float() / 127.5 - 1)
        side = network.model.mask_decoder.image_side(
            network.model.without_memory(encoded.embedding[:1]),
            network.model.prompt_encoder.dense_positions(),
            (encoded.fine[:1], encoded.middle[:1]),
        )
        raw = network._decode(side, coords[:1], labels[:1], None, (0, 0))
    image_0 = batch.images[0].permute(1, 2, 0).numpy()
    predictor = Predictor(network.model, device="cpu")
    features = predictor.encode(image_0)
    used = labels[0] >= 0
    points = used & (labels[0] <= 1)
    box = coords[0, :2].flatten().numpy() if bool(batch.has_box[0, 0]) else None
    prediction = predictor.predict(
        features,
        coords[0][points].numpy() if points.any() else None,
        labels[0][points].numpy() if points.any() else None,
        box,
    )
    np.testing.assert_allclose(
        prediction.logits, raw.logits[0, 1:].clamp(-32, 32).numpy(), atol=2e-3
    )


def test_masks_that_are_shown_are_near_their_objects(scenes: CropSampler) -> None:
    batch = scenes.batch(5, images=16, prompts=4, crop=112)
    target = soft_targets(batch.masks.flatten(0, 1), 32)
    foreground = soft_targets(batch.labels > 0, 32).repeat_interleave(4, dim=0)
    shown, ended = near_masks(target, foreground, torch.Generator().manual_seed(1))
    assert shown.shape == target.shape
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    assert 0 < int(ended.sum()) < len(ended) / 4
    iou = mask_iou(shown - 0.5, target)
    assert 0.6 < float(iou[~ended].mean()) < 0.95, "neither the objects nor something else"
    assert float((iou[~ended] > 0).float().mean()) > 0.95
    on_objects = (shown * foreground).sum((1, 2)) / shown.sum((1, 2))
    assert float(on_objects[ended].max()) < 0.1
    again, _ = near_masks(target, foreground, torch.Generator().manual_seed(1))
    assert torch.equal(shown, again)


def test_a_mask_alone_is_shown_as_the_predictor_shows_it(batch: Batch) -> None:
    """Without clicks and boxes no sparse prompt counts."""
    network = TrainingModel(build_click_model(get_preset("tiny"), seed=1)).eval()
    model = network.model
    mask = 4 * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    coords, labels = join_prompts(batch)
    with torch.no_grad():
        encoded = model.encode(batch.images[:1].float() / 127.5 - 1)
        image, maps = model.without_memory(encoded.embedding), (encoded.fine, encoded.middle)
        positions = model.prompt_encoder.dense_positions(0, 0, 8)
        side = model.mask_decoder.image_side(image, positions, maps)
        padding = torch.full_like(labels[:1], PADDING)
        ours = network._decode(side, coords[:1], padding, mask, (0, 0))
        nothing = torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.int64)
        theirs = model.mask_decoder(side, *model.prompt_encoder(*nothing, mask, 8))
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=1e-4)


def test_objects_that_ended_do_not_count_in_the_figures() -> None:
    target = torch.zeros(2, 16, 16)
    target[0, 4:10, 5:12] = 1
    right = (20 * target - 10)[:, None].expand(2, 4, 16, 16)
    raw = raw_masks(right, torch.tensor([[1.0] * 4, [0.0] * 4]))
    loss, figures = prompt_loss(raw, target, torch.tensor([True, False]))
    assert figures["best_scored"] == figures["single"] == figures["best_of_three"] == 1
    _, halved = prompt_loss(raw, target)
    assert halved["best_scored"] == 0.5
    overrated, _ = prompt_loss(raw_masks(right, torch.ones(2, 4)), target)
    assert overrated > loss + 0.5, "a score for what is not there costs"


def test_a_few_steps_on_one_batch_reduce_the_loss(batch: Batch) -> None:
    network = TrainingModel(build_click_model(get_preset("tiny"), seed=0))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    losses = []
    for step in range(12):
        loss, _ = network(batch, torch.Generator().manual_seed(0), corrections=int(step == 0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[1]


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = train(QUICK, tmp_path / "whole", workers=0, validate_every=3, validation_batches=1)
    resumed = tmp_path / "resumed"
    train(QUICK, resumed, workers=0, validation_batches=0, stop_after=4)
    weights = train(QUICK, resumed, workers=0, validation_batches=0)
    ours, theirs = checkpoint.load(weights), checkpoint.load(whole)
    assert checkpoint.fingerprint(ours) == checkpoint.fingerprint(theirs)
    assert (tmp_path / "whole" / "curve.png").stat().st_size > 1000
    with (tmp_path / "whole" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert 0 <= float(rows[-1]["held_out_best_scored"]) <= 1


def test_steps_without_finite_gradients_are_left_out_and_end_the_run(tmp_path: Path) -> None:
    sound = train(QUICK, tmp_path, workers=0, validation_batches=0, stop_after=2).read_bytes()
    wild = replace(QUICK, steps=60, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"last 20 steps, up to step \d+, are not finite"):
        train(wild, tmp_path, workers=0, validation_batches=0, save_every=1000)
    weights = checkpoint.load(tmp_path / "weights.safetensors")
    assert all(p.isfinite().all() for p in weights.parameters())
    assert (tmp_path / "weights.safetensors").read_bytes() == sound


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    settings = replace(QUICK, steps=1)
    a = train(settings, tmp_path / "a", workers=0, validation_batches=0)
    b = train(replace(settings, seed=1), tmp_path / "b", workers=0, validation_batches=0)
    assert checkpoint.fingerprint(checkpoint.load(a)) != checkpoint.fingerprint(checkpoint.load(b))


def test_command_continues_from_shipped_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start.safetensors"
    checkpoint.save(build_click_model(get_preset("tiny"), seed=5), start)
    arguments = [
        "--steps",
        "1",
        "--scenes",
        "4",
        "--phase",
        "1,1,1,112",
        "--workers",
        "0",
        "--no-validation",
    ]
    out = tmp_path / "out"
    assert main(["--out", str(out), "--init", str(start), *arguments]) == 0
    trained = checkpoint.load(capsys.readouterr().out.strip())
    before = checkpoint.load(start)
    change = max(
        float((a - b).abs().max())
        for a, b in zip(trained.parameters(), before.parameters(), strict=True)
    )
    assert 0 < change < 0.01
    assert main(["--out", str(out), "--init", str(tmp_path / "absent"), *arguments]) == 2
    assert "weights file does not exist" in capsys.readouterr().err


def test_rates_and_phases_follow_the_schedule() -> None:
    settings = Settings(steps=1000, warmup=100, cooldown=0.5, learning_rate=1.0)
    assert settings.rate(0) == pytest.approx(0.01)
    assert settings.rate(300) == 1
    assert settings.rate(750) == pytest.approx(0.5)
    assert settings.rate(999) == pytest.approx(0.002)
    assert settings.schedule(0)[2] == 112
    assert settings.schedule(999)[2] == 448


def test_blended_weights_lie_between_and_the_best_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped, random = checkpoint.load(checkpoint.embedded_weights()), tmp_path / "random"
    other = build_click_model(get_preset("tiny"), seed=5)
    checkpoint.save(other, random)
    half = blend.blend(shipped, other, 0.5)
    for middle, a, b in zip(
        half.parameters(), shipped.parameters(), other.parameters(), strict=True
    ):
        torch.testing.assert_close(middle, (a + b) / 2)
    parts = blend.blend(shipped, other, 0.5, 0.0).state_dict()
    for name, value in shipped.state_dict().items():
        same = not name.startswith(("trunk", "neck"))
        expected = value if same else half.state_dict()[name]
        torch.testing.assert_close(parts[name], expected)
    image, labels = make_scene(np.random.default_rng(3), 160, "nuclei")
    np.savez(tmp_path / "one.npz", a_image=image, a_labels=labels)
    written = tmp_path / "best.safetensors"
    paths = [str(random), str(checkpoint.embedded_weights()), "--data", str(tmp_path / "one.npz")]
    assert blend.main([*paths, "--shares", "1", "--batches", "1", "--out", str(written)]) == 0
    out = capsys.readouterr().out
    assert "best: 1" in out, "random weights know nothing"
    best = checkpoint.load(written)
    for ours, theirs in zip(best.parameters(), shipped.parameters(), strict=True):
        assert torch.equal(ours, theirs), "equal to the last bit, but for the sign of zeros"
    assert blend.main([str(tmp_path / "absent"), *paths[1:]]) == 2
    assert "weights file does not exist" in capsys.readouterr().err
