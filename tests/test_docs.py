"""What the pages name is what there is; whether their code runs is in test_doc_pages.py."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from napari_sam3.batch import EndLimits, EndRules
from napari_sam3.batch.modes import Automatic, Placed, Propagate, Repeated, Similar
from napari_sam3.cli.common import BAD_INPUT, DONE, INTERRUPTED, SOME_FAILED
from napari_sam3.cli.main import _parser
from napari_sam3.labels.formats.choice import FORMATS
from napari_sam3.layers.features import COLUMNS
from napari_sam3.layers.gestures import ALSO, KEYS
from napari_sam3.qt.text.panel import CHOICES
from scripts.formats_table import with_table
from tests.doc_blocks import pages

ROOT = Path(__file__).parent.parent
OUTPUTS, COMMANDS, GUIDE, BATCH = (
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("outputs.md", "command-line.md", "labelling.md", "batch.md")
)


def test_the_table_of_formats_is_up_to_date() -> None:
    assert with_table(OUTPUTS) == OUTPUTS, "run scripts/formats_table.py"
    for one in FORMATS.values():
        assert OUTPUTS.count(f"`{one.suffixes[0]}`") >= 1


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


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r"\]\((?!http|mailto)([^)]+)\)", file.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        linked = file.parent / path if path else file
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert heading in known, target


def test_every_key_is_named_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", GUIDE, flags=re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(.+?)`", row)}
    also = {key.replace("Escape", "Esc") for key in ALSO.values()}
    keys = {key.replace("Control", "Ctrl") for key in KEYS.values()}
    assert named == keys | also | {"Alt-1", "Alt-9"}


def test_the_guide_names_the_columns_and_policies_there_are() -> None:
    columns = re.search(r"features table \((.+?)\)", GUIDE, flags=re.DOTALL)
    assert columns is not None
    assert tuple(re.findall(r"`(\w+)`", columns[1])) == COLUMNS
    policies = [text for text, _ in CHOICES["policy"][2]]
    rows = re.findall(r"^\| (\w[^|]+) \|", GUIDE.split("## Where objects meet")[1], re.MULTILINE)
    assert rows[: len(policies)] == policies


def test_the_rules_are_named_with_their_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+)(?: px)? \|", BATCH, flags=re.MULTILINE)
    own = ("least", "least_contrast", "gap")
    rules = {one.name: one.default for one in fields(EndRules) if one.name in own}
    rules |= {one.name: one.default for one in fields(EndLimits)}
    assert {name: float(value) for name, value in rows} == rules


def test_all_modes_are_described() -> None:
    named = re.findall(r"^\| (\w+) \| .+ \| .+ \|$", BATCH.split("## Tables")[0], re.MULTILINE)
    modes = [mode.__name__.lower() for mode in (Placed, Repeated, Propagate, Automatic, Similar)]
    assert named[1:] == modes
