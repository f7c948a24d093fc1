"""What the README says works."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_python_blocks_give_masks_that_hug_the_coins() -> None:
    names: dict[str, Any] = {}
    for block in python_blocks():
        exec(compile(block, "README.md", "exec"), names)
    mask, labels = names["mask"], names["labels"]
    assert mask[127, 154]
    assert 0.5 < mask.sum() / np.count_nonzero(labels == 1) < 2
    assert labels[125, 336] == 2
    assert set(np.unique(labels)) == {0, 1, 2}
    assert names["written"][127, 154] == 1


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_commands_are_understood() -> None:
    from napari_sam3.cli import _parser

    commands = re.findall(r"^napari-sam3 (.+)$", TEXT, flags=re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        _parser().parse_args(command.split())
