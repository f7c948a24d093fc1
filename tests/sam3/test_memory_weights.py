"""Memory weights: every naming, read only when asked for, and as strictly as those of clicks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sam3.config import MemoryConfig, get_preset
from sam3.errors import CheckpointError
from sam3.model.memory import Memory
from sam3.weights import load as checkpoint
from sam3.weights.memory import load_memory
from sam3.weights.memory_keys import (
    multiplex_memory_table,
    official_memory_table,
    transformers_memory_table,
)
from tests.sam3.golden_model import SMALL
from tests.sam3.golden_tracker import tracker_state


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    return tracker_state(SMALL)


def write(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def multiplexed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name tensors as SAM 3.1 does."""
    renames = {
        "detector.backbone.vision_backbone.sam2_convs.": (
            "detector.backbone.vision_backbone.interactive_convs."
        ),
        "tracker.sam_": "tracker.model.interactive_sam_",
        "tracker.no_mem_embed": "tracker.model.interactivity_no_mem_embed",
        "tracker.": "tracker.model.",
    }
    renamed = {}
    for key, tensor in state.items():
        old = next((old for old in renames if key.startswith(old)), "")
        renamed[renames.get(old, "") + key.removeprefix(old)] = tensor
    return renamed


@pytest.mark.parametrize(
    "table", [official_memory_table, transformers_memory_table, multiplex_memory_table]
)
def test_tables_name_every_parameter_once(table: object) -> None:
    with torch.device("meta"):
        names = set(Memory(get_preset("sam3")).state_dict())
    entries = table(MemoryConfig())  # type: ignore[operator]
    assert set(entries) == names
    keys = [key for source in entries.values() for key in source.keys]
    assert len(keys) == len(set(keys))


def test_official_and_3_1_files_fill_the_same(
    official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    memory = load_memory(write(official, tmp_path / "sam3.pt"), config=SMALL)
    key = "tracker.transformer.encoder.layers.2.cross_attn_image.k_proj.weight"
    assert torch.equal(
        memory.get_parameter("attention.layers.2.cross_attn.k_proj.weight"), official[key]
    )
    assert not memory.training
    newer = write(multiplexed(official), tmp_path / "sam3.1.pt")
    other = load_memory(newer, config=SMALL).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in memory.state_dict().items())
    checkpoint.load(newer, config=SMALL)


def test_a_memory_is_read_under_another_tools_inference_mode(
    official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = write(official, tmp_path / "sam3.pt")
    with torch.inference_mode():
        under = load_memory(path, config=SMALL).state_dict()
    plain = load_memory(path, config=SMALL).state_dict()
    assert all(torch.equal(value, under[name]) for name, value in plain.items())
    assert not any(value.is_inference() for value in under.values())


def test_memory_weights_are_not_needed_for_clicks(
    official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    lost = [key for key in official if key.startswith("tracker.maskmem_backbone.")]
    path = write({k: v for k, v in official.items() if k not in lost}, tmp_path / "sam3.pt")
    checkpoint.load(path, config=SMALL)
    with pytest.raises(CheckpointError, match=f"{len(lost)} tensors missing") as caught:
        load_memory(path, config=SMALL)
    assert "The file seems to lack the tracker's memory" in str(caught.value)


def test_unknown_and_misshapen_memory_weights_are_named(
    official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    extra = {"tracker.maskmem_new.weight": torch.zeros(2)}
    path = write({**official, **extra}, tmp_path / "sam3.pt")
    checkpoint.load(path, config=SMALL)
    with pytest.raises(CheckpointError, match=r"1 tensors unknown \(tracker.maskmem_new.weight\)"):
        load_memory(path, config=SMALL)
    # The mask encoder of 16 objects at once has more input channels.
    key = "tracker.maskmem_backbone.mask_downsampler.encoder.0.weight"
    path = write({**official, key: torch.zeros(4, 16, 3, 3)}, tmp_path / "sam3.pt")
    with pytest.raises(CheckpointError, match="is 4x16x3x3, expected 4x1x3x3"):
        load_memory(path, config=SMALL)
