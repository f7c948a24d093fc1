"""Hooks of mkdocs: pages made from other files of the repository, and links to such files.

Links in the documentation lead to files of the repository, so that they work wherever its files
are read. In the site, files beside ``docs`` are pages where they are listed here, and plain text
where they are not.
"""

from __future__ import annotations

import argparse
import ast
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
#: Files beside docs/ that are pages of the site, as they are.
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "CHANGELOG.md": "changelog.md",
    "src/sam3/weights/README.md": "model-card.md",
    "src/sam3/training/README.md": "training.md",
}
GALLERY, OPTIONS = "gallery.md", "reference/options.md"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    made = {page: links_for_site(_read(source), source, page) for source, page in PAGES.items()}
    made |= {GALLERY: gallery(), OPTIONS: options()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ into links to pages."""
    where = page.file.src_uri
    return markdown if page.file.generated_by else links_for_site(markdown, f"docs/{where}", where)


def links_for_site(text: str, source: str, page: str) -> str:
    """Return a page's text with its links as they are in the site.

    Parameters
    ----------
    text : str
        Markdown, with links relative to the file.
    source : str
        The file, relative to the repository.
    page : str
        The page that it becomes, relative to docs/.
    """

    def change(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        found = _page_of(place, anchor)
        if found is None:
            exists = (ROOT / place).exists()
            return words if exists and not image else match[0]
        relative = posixpath.relpath(found.partition("#")[0], posixpath.dirname(page) or ".")
        return f"{image}[{words}]({relative}{found[len(found.partition('#')[0]) :]})"

    return LINK.sub(change, text)


def _page_of(place: str, anchor: str) -> str | None:
    """Return the page that a file of the repository is in the site, with its anchor."""
    end = f"#{anchor}" if anchor else ""
    if place.startswith("docs/") and not place.startswith("docs/../"):
        return place.removeprefix("docs/") + end
    if place == "README.md":
        return "index.md"
    if place.startswith("examples"):
        return GALLERY + (f"#{Path(place).stem.replace('_', '-')}" if Path(place).suffix else "")
    return PAGES[place] + end if place in PAGES else None


def gallery() -> str:
    """Return the page of examples: what each does, how it is run, and its code."""
    parts = [
        "# Examples\n",
        "Each runs offline with the embedded model, from a clone of the repository; all of them "
        "run in the tests. `examples/notebook.ipynb` is a notebook that goes from a click to "
        "labels.\n",
    ]
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text(encoding="utf-8")
        tree = ast.parse(code)
        about = ast.get_docstring(tree) or ""
        title, _, rest = about.partition("\n\n")
        body = code.split("\n", tree.body[0].end_lineno or 0)[-1].strip("\n")
        anchor = path.stem.replace("_", "-")
        parts += [f"## {title.rstrip('.')} {{ #{anchor} }}\n", f"`examples/{path.name}`\n"]
        parts += [rest.replace("``", "`") + "\n", f"```python\n{body}\n```\n"]
    return "\n".join(parts)


def options() -> str:
    """Return the page of all options, from the parser of the command line."""
    parts = [
        "# Options of the commands\n",
        "Made from the commands themselves: what `--help` prints. What they are for, with "
        "examples, is described in [the command line](../command-line.md).\n",
    ]
    for prog, text in _helps():
        parts += [f"## {prog}\n", f"```text\n{text.rstrip()}\n```\n"]
    return "\n".join(parts)


def _helps() -> Iterator[tuple[str, str]]:
    from napari_sam3.cli.main import _parser

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"  # argparse asks the terminal otherwise
    try:
        parser = _parser()
        yield parser.prog, parser.format_help()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield command.prog, command.format_help()
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _read(source: str) -> str:
    return (ROOT / source).read_text(encoding="utf-8")
