"""What the trunk does on a CPU without autograd is what it does anywhere else."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.full_size import shallow
from sam3.config import ModelConfig, get_preset
from sam3.model import head_attention, trunk, trunk_in_place, trunk_linears
from sam3.model.block import Block
from sam3.model.trunk import Trunk
from sam3.model_builder import build_click_model, random_predictor
from sam3.runtime.cores import torch_threads

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = get_preset("tiny")
# Windows of another size than the grid's, as everybody's at resolution 504.
CUT = TINY.with_resolution(490)
SHALLOW = dataclasses.replace(shallow(), resolution=392)


def _trunk(config: ModelConfig) -> Trunk:
    return build_click_model(config).eval().trunk


def _images(config: ModelConfig, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand((count, 3, config.resolution, config.resolution), generator=generator) * 2 - 1


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("config", [TINY, CUT, SHALLOW], ids=["tiny", "cut windows", "full width"])
@pytest.mark.parametrize("onednn", [True, False])
def test_it_is_the_plain_path(
    config: ModelConfig, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (trunk_linears, head_attention):
        monkeypatch.setattr(module, "has_onednn", lambda: onednn)
    encoder = _trunk(config)
    images = _images(config, 2)
    plain = encoder(images)
    assert plain.requires_grad
    before = images.clone()
    with torch.inference_mode():
        fast = encoder(images)
    assert _difference(fast, plain.detach()) < 1e-5
    assert torch.equal(images, before)


def test_both_ways_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def noted(*arguments: object) -> None:
        taken.append(len(arguments))
        return apply(*arguments)  # type: ignore[arg-type]

    apply = trunk_in_place.apply_in_place
    monkeypatch.setattr(trunk, "apply_in_place", noted)
    encoder, images = _trunk(TINY), _images(TINY)
    encoder(images)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        encoder(images)
    with torch.no_grad():
        copy.deepcopy(encoder).double()(images.double())
    assert not taken
    with torch.no_grad():
        encoder(images)
    assert len(taken) == TINY.trunk.depth


def test_weights_may_change_at_any_time() -> None:
    encoder, images = _trunk(TINY), _images(TINY)
    names = list(encoder.state_dict())
    with torch.no_grad():
        first = encoder(images)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    encoder(images).square().mean().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in encoder.parameters())
    optimizer.step()
    with torch.no_grad():
        second = encoder(images)
    assert _difference(second, first) > 1e-3
    assert _difference(second, encoder(images).detach()) < 1e-5
    assert list(encoder.state_dict()) == names
    for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        with torch.no_grad():
            assert torch.equal(copied(images), second)


def test_small_blocks_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = []
    pack = trunk_linears._pack

    def noted(block: Block) -> trunk_linears.BlockLinears:
        packed.append(block)
        return pack(block)

    monkeypatch.setattr(trunk_linears, "_pack", noted)
    encoder, images = _trunk(TINY), _images(TINY)
    with torch.no_grad():
        for _ in range(2):
            encoder(images)
        assert len(packed) == TINY.trunk.depth
        encoder.blocks[2].get_parameter("attn.qkv.bias").add_(1)
        encoder(images)
    assert packed[TINY.trunk.depth :] == [encoder.blocks[2]]


@pytest.mark.parametrize("count", [512, 700])
def test_attention_by_head_is_that_of_torch(count: int) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, count, 20, generator=draw) for _ in range(3))
    plain = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    with torch_threads(2):
        found = head_attention.attend_by_head(q, k, v)
    assert _difference(found, plain.transpose(0, 1).flatten(1)) < 1e-5


def test_a_layer_that_was_exchanged_is_asked() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    encoder, images = _trunk(TINY), _images(TINY)
    for block in encoder.blocks:
        assert isinstance(block, Block)
        width, hidden = block.mlp.fc1.in_features, block.mlp.fc1.out_features
        block.mlp.fc1, block.attn.proj = Doubled(width, hidden), Doubled(width, width)
    plain = encoder(images).detach()
    with torch.no_grad():
        assert _difference(encoder(images), plain) < 1e-5


def test_an_image_is_encoded_alike_alone_and_with_others() -> None:
    predictor = random_predictor()
    images = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8) for i in range(2)]
    together = predictor.encode_batch(images)
    for image, features in zip(images, together, strict=True):
        assert torch.equal(predictor.encode(image).encoded.fine, features.encoded.fine)
