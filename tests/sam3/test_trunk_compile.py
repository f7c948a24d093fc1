"""Blocks of the encoder as torch.compile sees them; without a compiler, as that takes minutes."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._inductor.runtime.cache_dir_utils import cache_dir

from sam3.config import get_preset
from sam3.model_builder import build_click_model
from sam3.notebook.image_model import build_sam3_image_model


@pytest.fixture(autouse=True)
def no_graphs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


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


def test_compiled_code_is_kept_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *names, **_: tmp_path / names[0])
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    trunk = build_click_model(get_preset("tiny")).trunk
    trunk.compile_blocks()
    assert Path(cache_dir()) == tmp_path / "napari-sam3" / "compiled", "where torch looks for it"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "chosen"))
    trunk.compile_blocks()
    assert Path(cache_dir()) == tmp_path / "chosen", "as the user has set it"
