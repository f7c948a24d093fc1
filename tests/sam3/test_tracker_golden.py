"""The tracker returns what the original implementation returned for the same weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sam3.config import MemoryConfig
from sam3.tracking.memory_choice import MemorySelection, choose_memories
from tests.sam3.golden_model import FULL, GOLDEN, SMALL
from tests.sam3.golden_tracker import CASES, Golden, point_at_full_size

SCENARIOS = json.loads((GOLDEN / "official_tracker_selection.json").read_text())


@pytest.fixture(scope="module")
def small() -> Golden:
    return Golden(SMALL, "official_tracker_small.npz", 5)


@pytest.mark.slow  # attention over the 5184 tokens of each memory
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "case", [c if c == "point" else pytest.param(c, marks=pytest.mark.golden) for c in CASES]
)
def test_case_agrees(small: Golden, case: str) -> None:
    CASES[case](small)


def test_every_recorded_case_is_checked(small: Golden) -> None:
    recorded = {key.split(".")[0] for key in small.recorded} - {"frames_check", "f0"}
    assert recorded == set(CASES)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_full_size_model_agrees() -> None:
    point_at_full_size(Golden(FULL, "official_tracker_full.npz", 3))


@pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=lambda s: f"{s['name']}-{s['memory_selection']}"
)
def test_the_same_memories_are_chosen(scenario: dict[str, Any]) -> None:
    low = scenario["low_score"]
    selection = MemorySelection(lambda frame: 0.0 if frame in low else 1.0)
    chosen = choose_memories(
        scenario["frame"],
        scenario["cond"],
        scenario["non_cond"],
        MemoryConfig(),
        frames=scenario["num_frames"],
        reverse=scenario["reverse"],
        selection=selection if scenario["memory_selection"] else None,
    )
    assert [list(one) for one in chosen.memories] == scenario["spatial"]
    assert [list(one) for one in chosen.pointers] == scenario["pointers"]
    assert chosen.longest == scenario["pointer_pos_divisor"]
