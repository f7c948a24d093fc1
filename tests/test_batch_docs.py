"""What the page on batches says works."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam3.batch import CarryRules
from napari_sam3.batch.modes import Automatic, Carried, Placed, Repeated
from napari_sam3.cli import _parser
from napari_sam3.ome_zarr import open_labels
from napari_sam3.sample_data import make_nuclei

PAGE = (Path(__file__).parent.parent / "docs" / "batch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("one_torch_thread")
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("stack.tif", make_nuclei((12, 128, 200), count=14, seed=2)[0])
    names: dict[str, Any] = {}
    for kind, block in BLOCKS:
        if kind == "csv":
            Path("clicks.csv").write_text(block, encoding="utf-8")
        elif kind == "python":
            exec(compile(block, "batch.md", "exec"), names)
    written = np.asarray(open_labels("labels.zarr").array[:])
    assert set(np.flatnonzero(written.any(axis=(1, 2)))) == {3, 9}
    assert set(np.unique(written)) == {0, 1, 2}
    assert set(np.unique(names["volume"][5])) <= {0, 1, 2}
    assert (names["volume"][[3, 9]] > 0).sum() >= (written > 0).sum()
    assert names["counts"] == [2, 2]


def test_the_commands_are_understood() -> None:
    lines = re.findall(r"^napari-sam3 (.+)$", PAGE, flags=re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        _parser().parse_args(shlex.split(line))


def test_the_rules_are_named_with_their_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+)(?: px)? \|", PAGE, flags=re.MULTILINE)
    rules = {one.name: one.default for one in fields(CarryRules)}
    assert {name: float(value) for name, value in rows} == {
        name: value for name, value in rules.items() if name not in ("parts", "slack")
    }
    (shown,) = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE, flags=re.MULTILINE)
    assert tuple(shown.split(", ")) == CarryRules().parts


def test_all_modes_are_described() -> None:
    named = re.findall(r"^\| (\w+) \| .+ \| .+ \|$", PAGE.split("## Tables")[0], re.MULTILINE)
    modes = [mode.__name__.lower() for mode in (Placed, Repeated, Carried, Automatic)]
    assert named[1:] == modes


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (Path(__file__).parent.parent / "docs" / target).exists(), target
