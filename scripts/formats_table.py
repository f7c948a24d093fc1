"""Write the table of formats in docs/outputs.md from the formats themselves.

    python scripts/formats_table.py [--output docs/outputs.md]

What each keeps stands in `napari_sam3.labels.formats.choice`, and the tests hold each format to it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from napari_sam3.labels.formats.choice import FORMATS
from napari_sam3.labels.formats.keeps import COLUMNS, MARKS
from napari_sam3.labels.formats.reading import INPUTS

PAGE = Path(__file__).parent.parent / "docs" / "outputs.md"
BEGIN, END = "<!-- Written by scripts/formats_table.py -->\n", "<!-- end of the table -->"


def formats_table() -> str:
    """Return the table in Markdown."""
    names = ["Format", "Names", *COLUMNS.values(), "Read"]
    lines = [names, ["---"] * len(names)]
    for one in FORMATS.values():
        suffixes = ", ".join(f"`{suffix}`" for suffix in one.suffixes)
        marks = [MARKS[value] for value in asdict(one.keeps).values()]
        read = "yes" if one.name in INPUTS or one.keeps.pixels == "yes" else "as a table"
        lines.append([f"{one.title} (`{one.name}`)", suffixes, *marks, read])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_table(page: str) -> str:
    """Return a page with its table brought up to date."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{formats_table()}\n{END}{after}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write the table of formats.")
    parser.add_argument("--output", type=Path, default=PAGE)
    path = parser.parse_args().output
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
