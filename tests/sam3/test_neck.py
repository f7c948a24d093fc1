from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sam3.model.neck import Level


def layer_by_layer(level: Level, x: Tensor, then: nn.Conv2d | None) -> Tensor:
    for step in (level.upscale, level.conv_1x1, level.conv_3x3, then):
        x = x if step is None else step(x)
    return x


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(
    ("upscalings", "size"), [(1, (5, 7)), (2, (3, 4)), (2, (1, 1)), (1, (1, 6))]
)
def test_merged_layers_give_what_the_layers_give_up_to_the_border(
    upscalings: int, size: tuple[int, int], merged: bool
) -> None:
    torch.manual_seed(0)
    level = Level(32, 24, upscalings).double()
    then = nn.Conv2d(24, 6, 1).double() if merged else None
    x = torch.randn(2, 32, *size, dtype=torch.float64)
    ours, expected = level(x, then), layer_by_layer(level, x, then)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)
    weights = list(level.parameters())
    for gradients in zip(
        torch.autograd.grad(ours.square().sum(), weights),
        torch.autograd.grad(expected.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_autocast_does_not_round_the_weights_before_they_are_merged() -> None:
    torch.manual_seed(0)
    level, then = Level(32, 24, 1), nn.Conv2d(24, 6, 1)
    x = torch.randn(1, 32, 5, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = level(x, then)
    assert half.dtype == torch.bfloat16
    exact = level(x, then)
    # The only roundings are those of the input, the merged kernel and the result.
    assert (half - exact).abs().max() < 0.01 * exact.abs().max()
