"""What the README says works."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3.advanced import CHOICES
from napari_sam3.bookkeeping import COLUMNS
from napari_sam3.gestures import KEYS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "labelling.md").read_text(encoding="utf-8")
LINKS = [(ROOT, target) for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)]
LINKS += [(ROOT / "docs", target) for target in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE)]


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("one_torch_thread")
def test_python_blocks_give_masks_that_hug_the_coins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in python_blocks():
        exec(compile(block, "README.md", "exec"), names)
    mask, labels = names["mask"], names["labels"]
    assert mask[127, 154]
    assert 0.5 < mask.sum() / np.count_nonzero(labels == 1) < 2
    assert labels[125, 336] == 2
    assert set(np.unique(labels)) == {0, 1, 2}
    assert names["written"][127, 154] == 1
    assert np.array_equal(names["again"], names["written"]), "replayed from the session file"


@pytest.mark.parametrize(("folder", "target"), sorted(set(LINKS)))
def test_links_lead_somewhere(folder: Path, target: str) -> None:
    assert (folder / target).exists()


@pytest.mark.parametrize("text", [TEXT, GUIDE], ids=["README", "guide"])
def test_every_key_is_named_and_no_other(text: str) -> None:
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", text, flags=re.MULTILINE)
    named = [key for row in rows for key in re.findall(r"`(.+?)`", row)]
    assert sorted(named) == sorted(key.replace("Control", "Ctrl") for key in KEYS.values())


def test_the_guide_names_the_columns_and_policies_there_are() -> None:
    columns = re.search(r"features table \((.+?)\)", GUIDE, flags=re.DOTALL)
    assert columns is not None
    assert tuple(re.findall(r"`(\w+)`", columns[1])) == COLUMNS
    policies = [text for text, _ in CHOICES["policy"][2]]
    assert (
        re.findall(r"^\| (\w[^|]+) \|", GUIDE.split("## Where objects meet")[1], re.MULTILINE)[
            1 : 1 + len(policies)
        ]
        == policies
    )


def test_commands_are_understood() -> None:
    from napari_sam3.cli import _parser

    commands = re.findall(r"^napari-sam3 (.+)$", TEXT, flags=re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        _parser().parse_args(command.split())
