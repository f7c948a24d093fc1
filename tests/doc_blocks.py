"""The code blocks of the documentation: found, and run from top to bottom of a page.

A block is run, saved, or says why not, in a comment on the line before it:

- ``python`` blocks are executed, in one namespace a page;
- blocks without a language are commands: lines of this project's programs are run, one after the
  other, each in this process, and have to end with 0;
- ``<!-- file: NAME -->`` saves a block under that name;
- ``<!-- not run: REASON -->`` leaves it out.

Anything else is an error, so that no block is passed over in silence.
"""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sam3.cli.common import DONE
from napari_sam3.cli.main import main as napari_sam3_command
from sam3.cli import main as sam3_command

ROOT = Path(__file__).parent.parent
PROGRAMS = {"napari-sam3": napari_sam3_command, "sam3": sam3_command}
FENCE = re.compile(
    r"^(?:<!-- (?P<word>file|not run): (?P<what>.+?) -->\n+)?^```(?P<kind>\w*)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Parameters
    ----------
    page : str
        Path of the page, relative to the repository.
    line : int
        Of its fence, from 1.
    kind : str
        Language; empty for commands.
    text : str
        What it holds.
    reason : str
        Why it is not run, or empty.
    file : str
        Name to save it under, or empty.
    """

    page: str
    line: int
    kind: str
    text: str
    reason: str = ""
    file: str = ""


def pages() -> list[str]:
    """Return all pages that people read, relative to the repository."""
    top = [path.name for path in ROOT.glob("*.md")]
    docs = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    cards = [path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.md")]
    return sorted(top + docs + cards)


def blocks_of(page: str) -> Iterator[Block]:
    """Give the blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        marks = {"not run": "reason", "file": "file"}
        extra = {marks[match["word"]]: match["what"]} if match["word"] else {}
        yield Block(page, line, match["kind"], match["text"], **extra)


def fences(page: str) -> int:
    """Count the fences of a page, by another way than `blocks_of`."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return sum(line.lstrip().startswith("```") for line in lines)


def run_page(page: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a page in the current folder; returns the names that its Python blocks made."""
    names = {} if names is None else names
    blocks = list(blocks_of(page))
    for block in blocks:  # pages show a command first, and its files then
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
    for block in blocks:
        run_block(block, names)
    return names


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run one block, as the text above says."""
    where = f"{block.page}:{block.line}"
    if block.reason or block.file:
        return
    if block.kind == "python":
        # As many lines above it as in the page, so that tracebacks point there.
        code = "\n" * block.line + block.text
        exec(compile(code, block.page, "exec"), names)
    elif not block.kind:
        for line in block.text.splitlines():
            _run_command(line, where)
    else:
        raise AssertionError(f"{where} is neither run nor says why not: ```{block.kind}")


def _run_command(line: str, where: str) -> None:
    program, *arguments = shlex.split(line, comments=True) or [""]
    if program in PROGRAMS:
        try:
            code = PROGRAMS[program](arguments)
        except SystemExit as end:  # argparse refuses
            code = int(end.code or 0)
        assert code == DONE, f"{where}: {line!r} ended with {code}"
    elif program == "python" and arguments[0].startswith("examples/"):
        runpy.run_path(str(ROOT / arguments[0]))["main"](arguments[1:])
    elif program:
        raise AssertionError(f"{where}: {line!r} is no command of this project; say why not run")
