"""What the panel shows stands in the modules of texts, where a translator finds all of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from napari_sam3.qt.text import status as status_text

PACKAGE = Path(__file__).parents[3] / "src" / "napari_sam3"
# These import no windows, but choose what windows show.
CHOOSING = {"progress.py", "states.py"}
QT = """setText setToolTip setAccessibleName setAccessibleDescription setWindowTitle setTitle
    setPlaceholderText setStatusTip setWhatsThis setPrefix setSuffix setSpecialValueText addItem
    addItems insertItem addRow addTab addAction addButton QLabel QPushButton QCheckBox QToolButton
    QRadioButton QGroupBox QAction about critical information question warning getColor
    getExistingDirectory getItem getOpenFileName getSaveFileName getText"""
OURS = """__init__ add_row ask Fold LayerChoice make_combo put_items show_error show_info
    show_progress show_reason show_result show_status show_store show_warning _spin Wording"""
SHOWING = {*QT.split(), *OURS.split()}
# What looks like a title or like words in a row, whoever may show it.
WORDING = re.compile(r"[A-Z][a-z]+( …)?|.*[A-Za-z]{2,} [A-Za-z]{2,}.*", re.DOTALL)


class Texts(ast.NodeVisitor):
    """Collects texts; docstrings, messages of exceptions and lines of the log are none."""

    def __init__(self, name: str, source: str) -> None:
        self.found: list[str] = []
        self._name, self._shown = name, False
        self.visit(ast.parse(source))

    def _look(self, nodes: Iterable[ast.AST], shown: bool) -> None:
        before, self._shown = self._shown, shown
        for node in nodes:
            self.visit(node)
        self._shown = before

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if called.startswith("logger.") or name == "replace":
            return
        joined = self._shown and name in ("format", "join")
        self._look([node.func], joined)
        self._look([*node.args, *node.keywords], joined or name in SHOWING)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            plain = node.value.replace("&", "").strip()
            if WORDING.fullmatch(plain) or (self._shown and re.search(r"[^\W\d_]", plain)):
                self.found.append(f"{self._name}, line {node.lineno}: {node.value!r}")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            self.visit(part.value if isinstance(part, ast.FormattedValue) else part)

    def visit_Compare(self, node: ast.Compare | ast.Subscript) -> None:
        self._look(ast.iter_child_nodes(node), False)

    visit_Subscript = visit_Compare

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        pass

    def visit_Assign(self, node: ast.Assign) -> None:
        if ast.unparse(node.targets[0]) != "__all__":
            self.generic_visit(node)


def shows_text(source: str) -> bool:
    imported = re.findall(r"^\s*(?:from|import) (\S+)", source, re.MULTILINE)
    return any(re.match(r"qtpy|\.panel$|napari\.utils\.notifications", one) for one in imported)


def test_no_window_has_texts_of_its_own() -> None:
    texts = {path.name for path in (PACKAGE / "qt" / "text").glob("*.py")} - CHOOSING
    paths = [p for p in PACKAGE.rglob("*.py") if p.parent.name != "text" or p.name not in texts]
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    shown = {p: s for p, s in sources.items() if shows_text(s) or p.name in CHOOSING}
    assert {"advanced", "batch_panel", "options", "panel", "widget"} < {p.stem for p in shown}
    assert [one for p, s in shown.items() for one in Texts(p.name, s).found] == []


@pytest.mark.parametrize(
    "source",
    [
        *('TITLE = "All of it"', 'class A:\n    title = "&Labels"', 'text = f"{n} planes failed"'),
        *('b.setToolTip("do")', 'QLabel(f"{n} px")', 'b.setText("yes" if a == "b" else NO)'),
        *('make_combo(TIP, [("none", None)])', 'b.setText(", ".join(["yes", no]))'),
    ],
)
def test_a_text_in_a_window_is_found(source: str) -> None:
    assert len(Texts("window.py", source).found) == 1


@pytest.mark.parametrize(
    "source",
    [
        *('"""Says what it is."""', '__all__ = ["Panel"]', 'S = "color: red; font-weight: bold;"'),
        *('b.setText(f"▸ {TEXTS[0]}: {n:.2f}")', 'b.setText(A if a == "one" else say("two"))'),
        *('b.setObjectName("status")', 'logger.error("it broke")', 'raise Error(f"no {x} here")'),
    ],
)
def test_what_nobody_reads_is_not_taken_for_a_text(source: str) -> None:
    assert Texts("window.py", source).found == []


def test_one_thing_is_not_told_as_several() -> None:
    assert status_text.batch_result(1, 2) == "1 object on 2 planes."
    assert status_text.batch_result(2, 1, stopped=True).endswith("1 plane. Undo removes them.")
    assert status_text.batch_result(0, 0, stopped=True) == "Stopped after 0 objects on 0 planes."
    assert status_text.failed_planes([(3, 0)], "gone") == "1 plane failed: 3, 0 (gone)"
    assert status_text.encoded_images(1, 2_000_000, 10**9) == "1 encoded image, 2 of 1000 MB"
