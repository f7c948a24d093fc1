"""What the pages on outputs and on the command line say works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import tifffile

from napari_sam3.cli import _parser, main
from napari_sam3.command_parts import BAD_INPUT, DONE, INTERRUPTED, SOME_FAILED
from napari_sam3.formats.choice import FORMATS

DOCS = Path(__file__).parent.parent / "docs"
OUTPUTS, COMMANDS, LARGE = (
    (DOCS / name).read_text(encoding="utf-8")
    for name in ("outputs.md", "command-line.md", "large-images.md")
)


# pycocotools hands numpy an object of the kind that numpy 1 knew.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.usefixtures("one_torch_thread")
def test_the_page_on_outputs_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scale = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite("cells.ome.tif", skimage.data.coins(), metadata={"axes": "YX", **scale})
    names: dict[str, Any] = {}
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", OUTPUTS, re.MULTILINE | re.DOTALL):
        if kind == "python":
            exec(compile(block, "outputs.md", "exec"), names)
            continue
        for line in block.splitlines():
            assert main(shlex.split(line)[1:]) == DONE, line
    written = {path.name for path in tmp_path.iterdir()}
    for one in FORMATS.values():
        assert any(name.endswith(one.suffixes) for name in written), one.name
    assert (names["regions"]["area_physical"] == names["regions"]["area"] / 4).all()
    assert sum(int(mask.sum()) for mask in names["masks"]) == names["regions"]["area"].sum()
    assert names["pixels"].max() == len(names["rois"]) == len(names["features"]) == 2
    assert "micrometer" in capsys.readouterr().out


def test_the_page_on_outputs_names_all_formats() -> None:
    rows = re.findall(r"^\| .+? \| \[.+?\]\(#.+?\) \| (.+?) \|", OUTPUTS, re.MULTILINE)
    named = {suffix for row in rows for suffix in re.findall(r"`(.+?)`", row)}
    for one in FORMATS.values():
        assert named & set(one.suffixes), one.name


def test_the_commands_are_understood_and_all_described() -> None:
    lines = re.findall(r"^napari-sam3 (.+)$", COMMANDS, flags=re.MULTILINE)
    for line in lines:
        _parser().parse_args(shlex.split(line))
    described = set(re.findall(r"^## (\w+)$", COMMANDS, flags=re.MULTILINE))
    commands = {action.dest: action for action in _parser()._actions}
    (subparsers,) = [action for action in commands.values() if action.choices]
    assert described == set(subparsers.choices or ())
    assert {line.split()[0] for line in lines} == described
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", COMMANDS, flags=re.MULTILINE)]
    assert codes == [DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED]


@pytest.mark.usefixtures("one_torch_thread")
def test_the_page_on_large_images_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("stack.tif", np.stack([skimage.data.coins()[:160, :160]] * 5))
    for line in re.findall(r"^napari-sam3 (.+)$", LARGE, flags=re.MULTILINE):
        _parser().parse_args(shlex.split(line))
    names: dict[str, Any] = {}
    (block,) = re.findall(r"^```python\n(.*?)^```", LARGE, re.MULTILINE | re.DOTALL)
    exec(compile(block, "large-images.md", "exec"), names)
    assert names["labels"][3].any()
    assert not names["labels"][:3].any()
    assert names["cache"].store.info().fields > 0


@pytest.mark.parametrize(
    "text", [OUTPUTS, COMMANDS, LARGE], ids=["outputs", "command-line", "large-images"]
)
def test_links_lead_somewhere(text: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        page, _, heading = target.partition("#")
        assert not page or (DOCS / page).exists(), target
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        known = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
        assert not heading or heading in known, target
