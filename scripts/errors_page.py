"""Write docs/errors.md: every error that a user can cause, from the classes, with real messages.

    python -m scripts.errors_page [--output docs/errors.md]

What a class is for stands in its docstring. The messages are made by causing the errors.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from sam3.errors import Sam3Error
from scripts.error_causes import CAUSES, Cause

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
INTRODUCTION = """\
# Errors

<!-- Written by scripts/errors_page.py; change the docstrings of the classes, and run it again. -->

Whatever you can cause raises one of these, and every message says what was found, what was
expected, and what to do. In napari it is shown in the widget or as a notification; the command line
prints it on one line of the error stream and ends with 2. In scripts, all of them are
`sam3.errors.Sam3Error`. Anything else that is raised is a fault of the program: please report it
with its traceback and the output of `napari-sam3 doctor`.

More on what goes wrong outside the program is on the page of [troubleshooting](troubleshooting.md).
"""


def error_classes() -> Iterator[type[Sam3Error]]:
    """Give the public error classes of both packages, those of the model first."""
    for path in sorted((ROOT / "src").rglob("*.py"), key=lambda one: "napari_sam3" in one.parts):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
                found = getattr(import_module(module), node.name)
                public = issubclass(found, Sam3Error) and not node.name.startswith("_")
                if public and found is not Sam3Error:
                    yield found


def page() -> str:
    """Return the page. It works in a folder of its own, so that messages name short paths."""
    parts, causes = [INTRODUCTION], {}
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for found in error_classes():
                rows = [(one.what, _message(found, one)) for one in CAUSES.get(found.__name__, ())]
                causes[found] = rows
        finally:
            os.chdir(before)
    for found, rows in causes.items():
        builtin = [
            f"`except {one.__name__}`"
            for one in found.__mro__
            if one.__module__ == "builtins" and one not in (Exception, BaseException, object)
        ]
        kind = f"`{found.__module__}.{found.__qualname__}`"
        parent = found.__mro__[1]
        if parent is not Sam3Error and issubclass(parent, Sam3Error):
            kind += f", a kind of `{parent.__name__}`"
        if builtin:
            kind += f"; {' or '.join(builtin)} catches it, too"
        about = " ".join((inspect.getdoc(found) or "").replace("``", "`").split())
        parts.append(f"## {found.__name__}\n\n{about}\n\n{kind}.\n")
        if rows:
            table = "\n".join(f"| {what} | {message} |" for what, message in rows)
            parts.append(f"| You | It says |\n|---|---|\n{table}\n")
    return "\n".join(parts)


def _message(expected: type[Sam3Error], cause: Cause) -> str:
    """Cause an error, and return its message as a cell of a table."""
    try:
        cause.do()
    except expected as error:
        text = " ".join(str(error).split())
        return text.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")
    raise AssertionError(f"to {cause.what} raised no {expected.__name__}")


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write docs/errors.md.")
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.parse_args().output.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
