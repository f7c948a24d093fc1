"""Each error says what is wrong, what was expected and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from scripts.errors_page import error_classes

SRC = Path(__file__).parent.parent / "src"
#: Errors whose last sentences come from the error that they quote, or from a function.
QUOTING = {
    "object # on #: #",
    "a field cannot be stored: #",
    "# cannot be read as a #: #",
    "# is not a saved session of this version: #",
    "# is not a # of this version: #",
    "the record # is damaged: # Or move it away to start a new one; the labels are kept.",
    "#: #",
    "#: # #",
    "#: #. #",
    "# #",
    "#\n#",
    "the labels differ from those at the start of the session. Expected #",
}
FORM = re.compile(r".+?[.\s)] ?Expected .+?[.:;]['\")]*\s+\S.*", re.DOTALL)


def raised_texts() -> Iterator[tuple[str, str]]:
    """Yield place and text of each error of ours that is made, with # for each value."""
    names = {one.__name__ for one in error_classes()} | {"Sam3Error"}
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names:
                for text in filter(None, map(_text, node.args)):
                    yield f"{path.relative_to(SRC)}:{node.lineno}", text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "#"
    return ""


def test_errors_say_what_was_expected_and_what_to_do() -> None:
    texts = list(raised_texts())
    assert len(texts) > 300
    wrong = [
        f"{place}: {text}"
        for place, text in texts
        if text not in QUOTING and not FORM.fullmatch(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_other_forms_are_found() -> None:
    assert FORM.fullmatch("no such plane: #. Expected 0 to #. Choose one.")
    assert not FORM.fullmatch("no such plane: #. Expected 0 to #.")
    assert not FORM.fullmatch("no such plane: #. Choose one.")
