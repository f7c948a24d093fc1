"""Boxes are proposed where objects are, and the head that does so is learnt and stored."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage.draw import ellipse

from napari_sam3.layers.sample_data import make_nuclei
from sam3 import Predictor, load_predictor
from sam3.config import ProposalConfig
from sam3.errors import CheckpointError, ConfigError
from sam3.model.proposal_head import ProposalHead, Proposals
from sam3.model_builder import random_predictor
from sam3.proposals import propose
from sam3.training.proposals import (
    ProposalSettings,
    proposal_loss,
    targets_of,
    train_proposals,
)
from sam3.weights import load as checkpoint
from sam3.weights.proposals import load_proposal_head


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


def small_head(*, seed: int = 0) -> ProposalHead:
    torch.manual_seed(seed)
    config = random_predictor().config
    return ProposalHead(replace(config, proposals=ProposalConfig(coarse=8, middle=8, fine=4)))


def iou_of(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """IoU of boxes (N, 4) and (M, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def test_every_nucleus_gets_one_box(embedded: Predictor) -> None:
    image, labels = make_nuclei((1, 224, 200), count=14, seed=5, radii=(9, 15))
    found = propose(embedded, embedded.encode(image[0]))
    ids = np.unique(labels)[1:]
    true = []
    for number in ids:
        rows, columns = np.nonzero(labels[0] == number)
        true.append([columns.min(), rows.min(), columns.max(), rows.max()])
    best = iou_of(np.array(true, float), found.boxes)
    assert (best.max(1) > 0.6).mean() > 0.9, "nearly every nucleus has a box that fits"
    assert ((best > 0.6).sum(1) <= 1).all(), "and only one"
    x, y = found.points.round().astype(int).T
    assert (labels[0, y, x] > 0).mean() > 0.9, "points lie on objects"
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes[:, :2].min() >= 0
    assert (found.boxes[:, 2:] <= [199, 223]).all()
    fewer = propose(embedded, embedded.encode(image[0]), least_score=0.6)
    assert len(fewer.scores) == (found.scores >= 0.6).sum()


@pytest.mark.parametrize(("light", "noise"), [(10, 0), (40, 6), (90, 15)])
def test_ground_alone_has_no_proposals(embedded: Predictor, light: int, noise: int) -> None:
    grey = np.random.default_rng(0).normal(light, noise, (200, 224)).clip(0, 255)
    found = propose(embedded, embedded.encode(grey.astype(np.uint8)))
    assert found.boxes.shape == (0, 4)
    assert found.points.shape == (0, 2)
    assert len(found.scores) == 0


def test_weights_without_a_head_say_so() -> None:
    predictor = random_predictor()
    with pytest.raises(ConfigError, match="'tiny' has no proposal head"):
        propose(predictor, predictor.encode(np.zeros((50, 50), np.uint8)))
    with pytest.raises(ConfigError, match="proposals=None"):
        ProposalHead(predictor.config)


def test_targets_are_depth_and_box() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[ellipse(30, 40, 10, 6)] = 1
    labels[50:64, 0:12] = 2  # goes on beyond two borders
    targets = targets_of(labels, 64, complete=False)
    assert targets.scores.max() == 1
    assert targets.scores[30, 40] > 0.9
    assert targets.scores[0, 0] == 0
    assert targets.scores[63, 0] == 1, "deepest where it leaves the crop"
    rows, columns = np.nonzero(labels == 1)
    left, top, right, bottom = targets.sides[:, 30, 40]
    assert 40.5 - left == columns.min()
    assert 30.5 - top == rows.min()
    assert 40.5 + right == columns.max() + 1
    assert 30.5 + bottom == rows.max() + 1
    assert targets.known[30, 40] == 1
    assert targets.known[5, 5] == 0, "far from any object of a partly labelled image"
    assert targets_of(labels, 64, complete=True).known.all()


def test_the_loss_is_least_for_the_truth() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[ellipse(30, 40, 10, 6)] = 1
    targets = type(one := targets_of(labels, 32, complete=True))(*(part[None] for part in one))
    truth = Proposals(targets.scores.logit(1e-6), targets.sides)
    least, iou = proposal_loss(truth, targets)
    assert iou == pytest.approx(1, abs=1e-6)
    assert float(least) == pytest.approx(0, abs=1e-4)
    for other in (
        Proposals(truth.scores + 1, truth.sides),
        Proposals(truth.scores, truth.sides * 1.2),
    ):
        assert float(proposal_loss(other, targets)[0]) > float(least) + 0.01


def test_a_head_is_stored_beside_the_model(tmp_path: Path) -> None:
    predictor, head = random_predictor(), small_head()
    path = tmp_path / "weights.safetensors"
    checkpoint.save(predictor.model, path, proposals=head)
    read = load_predictor(path, device="cpu")
    assert read.fingerprint == predictor.fingerprint, "clicks depend on the model alone"
    assert read.proposal_head is not None
    for name, value in head.state_dict().items():
        assert torch.equal(read.proposal_head.state_dict()[name], value), name
    tensors = load_file(path)
    tensors.pop("proposals.out.bias")
    config = {"sam3_config": replace(predictor.config, proposals=head.config).to_json()}
    save_file(tensors, path, metadata=config)
    with pytest.raises(CheckpointError, match=r"1 tensors missing \(proposals\.out\.bias\)"):
        load_proposal_head(path)
    checkpoint.save(predictor.model, path)
    assert load_proposal_head(path) is None


@pytest.mark.timeout(300)
def test_training_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    settings = ProposalSettings(crops=40, steps=7, batch=5, scenes=2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    path = train_proposals(settings, whole)
    shutil.copytree(whole / "features", cut / "features")
    train_proposals(settings, cut, stop_after=3, save_every=2)
    again = train_proposals(settings, cut)
    for name, value in load_file(path).items():
        assert torch.equal(load_file(again)[name], value), name
    assert load_predictor(path, device="cpu").fingerprint == load_predictor("tiny").fingerprint
    still = tmp_path / "still"
    shutil.copytree(whole / "features", still / "features")
    same = train_proposals(replace(settings, steps=1, learning_rate=0), still, weights=path)
    before, after = load_proposal_head(path), load_proposal_head(same)
    assert before is not None
    assert after is not None
    kept = after.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(kept[name], value), f"the head given is changed: {name}"
