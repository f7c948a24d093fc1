"""The examples do what they say, offline."""

from __future__ import annotations

import ast
import csv
import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.ome_zarr import open_labels
from napari_sam3.records.session_file import read_session

pytestmark = pytest.mark.usefixtures("one_torch_thread")
EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOK = EXAMPLES / "notebook.ipynb"


def run(name: str, *arguments: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name))["main"]([*arguments])


def test_a_stack_is_labelled_without_a_viewer_and_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = run("label_without_viewer.py", "--output", str(tmp_path), "--planes", "5", "11")
    labels = tifffile.imread(files["labels"])
    assert labels.shape == (24, 256, 256)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [5, 11]
    with open(files["table"], encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) > 15
    assert {int(row["id"]) for row in rows} == set(np.unique(labels)) - {0}
    refined = [row for row in rows if row["boxes"] == "1"]
    assert [row["points"] for row in refined] == ["1"], "the click it was made of is still there"
    operations = read_session(files["session"]).operations
    assert [len(one.objects) for one in operations][-1] == 1
    assert {one.plane for one in operations} == {PlaneIndex((1, 2), (z,)) for z in (5, 11)}
    said = capsys.readouterr().out
    assert f"refined {refined[0]['id']}: " in said
    assert "mean IoU" in said


def test_a_viewer_is_driven_and_its_session_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run("drive_a_viewer.py", "--output", str(tmp_path))
    said = capsys.readouterr().out
    assert "replayed 4 operations: the labels are equal" in said
    assert "labels [1, 2, 3, 5]" in said, "the id that was undone is not used again"
    assert file.parent == tmp_path
    assert len(read_session(file).operations) == 4


def test_the_notebook_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    pictures = []
    for cell in cells:
        if cell["cell_type"] == "code":
            shown = execute("".join(cell["source"]), names)
            pictures += [shown] if hasattr(shown, "size") else []
    assert names["mask"][127, 154]
    assert set(np.unique(names["labels"])) == set(range(7))
    assert names["corrected"].id == 1
    assert [picture.size for picture in pictures] == [(384, 303)] * 2
    assert capsys.readouterr().out.count("label ") == 7


def execute(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; returns the value of a last line that is an expression, as notebooks show it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_the_notebook_is_of_format_4_and_carries_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    needed = {"cell_type", "id", "metadata", "source"}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == needed | code
        assert all(isinstance(line, str) for line in cell["source"])
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_2d_image_is_labelled(tmp_path: Path) -> None:
    files = run("label_2d.py", "--output", str(tmp_path))
    labels = tifffile.imread(files["labels"])
    assert [int(labels[y, x]) for y, x in ((51, 155), (127, 154), (125, 336))] == [1, 2, 3]
    assert labels[161, 156] == 0, "the background click"
    with open(files["table"], encoding="utf-8") as table:
        assert [row["boxes"] for row in csv.DictReader(table)] == ["0", "0", "1"]


def test_nuclei_are_propagated_through_a_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert min(run("propagate_through_stack.py", "--output", str(tmp_path))) > 0.8
    first = capsys.readouterr().out
    assert run("propagate_through_stack.py", "--output", str(tmp_path)), "all is there already"
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(first.splitlines())


def test_nuclei_are_tracked_by_the_calls_of_the_video_notebook(tmp_path: Path) -> None:
    """On real planes, with the embedded model's own memory."""
    assert min(run("sam2_task.py", "--preset", "tiny", "--output", str(tmp_path))) > 0.7
    assert len(list(tmp_path.glob("plane-*.png"))) == 6


def test_a_slide_is_labelled_by_its_chunks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run("slide_from_zarr.py", "--output", str(tmp_path))
    labels = open_labels(path, read_only=True)
    assert labels.array.shape == (6000, 8000)
    clicked = [
        int(np.asarray(labels.array[y, x])) for x, y in ((1804, 1038), (1690, 1158), (6259, 4196))
    ]
    assert clicked == [1, 2, 3]
    areas = [int(found) for found in re.findall(r": (\d+) px", capsys.readouterr().out)]
    assert all(400 < area < 1000 for area in areas)
    assert [level.shape for level in labels.levels][-1] == (375, 500)


def test_everything_is_found_and_measured(tmp_path: Path) -> None:
    files = run("automatic_table.py", "--output", str(tmp_path))
    labels = tifffile.imread(files["labels"])
    with open(files["table"], encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert 25 <= len(rows) == labels.max() <= 31, "29 are there"
    areas = np.bincount(labels.ravel())[1:]
    assert [float(row["area_physical"]) for row in rows] == pytest.approx(areas * 0.325**2)
    assert {row["unit"] for row in rows} == {"micrometer"}


def test_labels_from_elsewhere_are_corrected(tmp_path: Path) -> None:
    before, after = run("refine_labels.py", "--output", str(tmp_path))
    assert after > before + 0.03
    corrected = tifffile.imread(tmp_path / "labels.tif")
    assert corrected[390, 486] != corrected[407, 490], "the pair is two labels"


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for name in ("test_notebook.py", "test_concepts.py"):
        source += (Path(__file__).parent / "sam3" / name).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.*"):
        assert path.name in source, f"no test runs {path.name}"
