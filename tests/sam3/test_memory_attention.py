"""Attention to memory in inference on a CPU agrees with the way in which it is trained."""

import pytest
import torch

from sam3.config import get_preset
from sam3.model.memory import Memory

GRID = 27  # more tokens than are averaged together, of the frame and of its memory


@pytest.mark.parametrize("objects", [1, 2])
def test_averaging_in_parts_changes_nothing(objects: int) -> None:
    torch.manual_seed(0)
    config = get_preset("sam3")
    memory = Memory(config).eval()
    size, channels = memory.config.channels, config.channels
    features = torch.randn(1, channels, GRID, GRID)
    memories = [(index, 3 * torch.randn(objects, size, GRID, GRID)) for index in range(2)]
    pointers = [(0.5, torch.randn(objects, channels))]
    trained = memory.condition(features, memory.recall(memories, pointers))
    with torch.inference_mode():
        inferred = memory.condition(features, memory.recall(memories, pointers))
    assert trained.requires_grad
    assert inferred.shape == (objects, channels, GRID, GRID)
    torch.testing.assert_close(inferred, trained.detach(), rtol=0, atol=2e-5)
