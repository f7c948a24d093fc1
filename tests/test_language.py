"""The language of the code: no words in docstrings, comments and messages that STYLE.md retired."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"

#: Words of the early code, each with the word of the field.
RETIRED = {
    r"told": "given, informed",
    r"ask(?:s|ed|ing)? (?:a|the|its|of the) models?": "run the model, predict",
    r"gone? on with|go(?:es|ing) on with": "continue, resume",
    r"begun anew": "restarted",
    r"in hand": "current, draft",
    r"at hand": "in memory, loaded",
    r"take(?:s|n)? up": "resume",
    r"look(?:s|ed|ing)? at": "read, view, attend to",
    r"look(?:s|ed|ing)? after": "manage",
    r"beside": "next to, outside",
    r"who(?:m)?ever|whatever|whichever": "name the subject",
    r"is no (?:label|mask|image|plane|number|name|file)": "is not a",
    r"(?:half|whole|once) (?:a|the) (?:record|plane|label|step)": "one per",
    r"kept aside|keep aside|set aside": "hold out",
    r"passed over|pass(?:es)? over": "skip",
    r"cut short": "truncated, interrupted",
    r"let(?:s)? go of": "release, close",
    r"somebody|nobody|anybody": "the user, the caller",
    r"seldom|hitherto|thereby|therein|thereof|whereby|wherein": "plain words",
    r"come(?:s)? to (?:its|an) end": "end",
    r"borne? out": "confirm",
    r"hand(?:s|ed)? back": "return",
    r"made up of": "consist of",
    r"give(?:s|n)? way": "yield",
    r"anew": "again",
    r"tak(?:e|es|en|ing) back": "undo, revert",
    r"(?:bring|put|brought)(?:s)? back": "restore",
    r"hand(?:s|ed)? (?:over|on)": "pass",
    r"a person": "the user",
    r"(?:go|goes|going) on": "continue",
}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines and texts of the docstrings, comments and messages of a module."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("package", ["sam3", "napari_sam3"])
def test_code_uses_the_words_of_the_field(package: str) -> None:
    pattern = re.compile("|".join(rf"\b(?:{words})\b" for words in RETIRED), re.IGNORECASE)
    modules = sorted((SRC / package).rglob("*.py"))
    assert modules
    retired = [
        f"{path.relative_to(SRC)}:{line}: {match[0]!r} in {text[:90]!r}"
        for path in modules
        for line, text in texts(path)
        for match in pattern.finditer(text)
    ]
    assert not retired, "\n".join(retired)


#: Words that names of functions, arguments and variables avoid as well.
RETIRED_NAMES = re.compile(
    r"(?:^|_)(?:told|anew|seldom|whoever|look_at|look_after|gone_on|taken_up)(?:_|$)|^_?beside$"
)


def names(path: Path) -> Iterator[str]:
    """Yield the names that a module gives to functions, classes, arguments and variables."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_are_words_of_the_field() -> None:
    found = [
        f"{path.relative_to(SRC)}: {name}"
        for path in sorted(SRC.rglob("*.py"))
        for name in names(path)
        if RETIRED_NAMES.search(name)
    ]
    assert not found, "\n".join(found)


def test_first_lines_of_docstrings_name_their_subject() -> None:
    """No clauses with what or who, which a reader has to resolve."""
    found = []
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                line = (ast.get_docstring(node) or "").partition("\n")[0]
                if re.search(r"\b(?:what|who|whom)\b", line, re.IGNORECASE):
                    found.append(f"{path.relative_to(SRC)}: {line}")
    assert not found, "\n".join(found)


def test_retired_words_are_found() -> None:
    """The search itself works, in docstrings, messages and comments."""
    for words, example in {"told": "as told", "in hand": "the mask in hand"}.items():
        assert words in RETIRED
        assert re.search(rf"\b(?:{words})\b", example)


def test_the_glossary_is_short_and_its_words_are_used() -> None:
    lines = (SRC.parent / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1] for line in lines if line.startswith("| ")][1:]
    words = [word.strip() for row in rows for word in row.replace("(of view)", "").split(",")]
    assert len(lines) <= 30
    assert len(words) > 25
    code = "".join(path.read_text(encoding="utf-8") for path in SRC.rglob("*.py")).lower()
    assert [word for word in words if word.replace(" ", "") not in code] == []
