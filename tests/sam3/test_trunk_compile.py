"""Blocks of the encoder as torch.compile sees them; without a compiler, as that takes minutes."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from sam3.config import get_preset
from sam3.model_builder import build_click_model
from sam3.notebook.image_model import build_sam3_image_model


@pytest.fixture(autouse=True)
def no_graphs_of_others() -> None:
    torch._dynamo.reset()


def test_each_kind_of_block_is_one_graph() -> None:
    trunk = build_click_model(get_preset("tiny")).eval().trunk
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):  # as on a GPU
        expected = trunk(images)
        counter = CompileCounter()
        for block in trunk.blocks:
            block.compile(backend=counter, fullgraph=True)
        found = trunk(images)
    assert counter.frame_count == 2, "in windows and everywhere, not six blocks"
    torch.testing.assert_close(found, expected)


def test_the_notebooks_switch_compiles_every_block() -> None:
    model = build_sam3_image_model(
        enable_inst_interactivity=True, preset="tiny", device="cpu", compile=True
    )
    blocks = model.click_model.trunk.blocks
    assert all(block._compiled_call_impl is not None for block in blocks)
    plain = build_sam3_image_model(enable_inst_interactivity=True, preset="tiny", device="cpu")
    assert model.click_model.state_dict().keys() == plain.click_model.state_dict().keys()
