"""The page that the benchmarks write: its sections, each a table of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Fact, Row, Skipped

__all__ = ["KEPT", "Line", "Section", "write_report"]

Line = Row | Fact | Skipped

#: What follows this line on a page is written by hand, and stays when the page is measured anew.
KEPT = "<!-- by hand: `make bench` keeps what follows -->"

HEAD = """\
# Benchmarks

Written by `{command}` on {date}. Each figure is a median, with the fastest and slowest run and
their number. Where two implementations are compared, they ran in the same process and took turns;
the ratio says how many times as long the other took.

| | |
|---|---|
{machine}
"""
TABLE = """
## {title}

| What | Time | Beside it | Ratio |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    title : str
        Its heading.
    rows : iterable of lines
        What is measured, each line once its turn comes.
    """

    title: str
    rows: Iterable[Line]


def write_report(
    path: Path,
    sections: Iterable[Section],
    machine: Mapping[str, str],
    date: str,
    *,
    command: str = "make bench",
    say: Callable[[str], object] = lambda text: print(text, flush=True),
) -> None:
    """Measure section by section, saying each line as it comes, and write the page.

    What follows the line `KEPT` on the page is kept.

    Parameters
    ----------
    path : Path
        The page. It is written anew after each section, so that what was measured is kept if a
        later one fails.
    sections : iterable of Section
        In the order in which they are measured, and stand on the page.
    machine : mapping
        What the figures come from.
    date : str
        When they were taken.
    command : str
        That the page is to name.
    say : callable
        Shows a line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about = "\n".join(f"| {key} | {value} |" for key, value in machine.items())
    _, mark, by_hand = path.read_text("utf-8").partition(KEPT) if path.exists() else ("", "", "")
    kept = f"\n{mark}{by_hand}" if mark else ""
    text = HEAD.format(command=command, date=date, machine=about)
    for section in sections:
        say(f"## {section.title}")
        text += TABLE.format(title=section.title)
        for row in section.rows:
            say(row.line)
            text += row.line + "\n"
        path.write_text(text + kept, encoding="utf-8")
