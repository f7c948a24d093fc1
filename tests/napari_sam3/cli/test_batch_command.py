"""`napari-sam3 batch`: from a table of prompts to labels, and on from where it stopped."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam3.batch import BatchPrompts, segment, write_prompts
from napari_sam3.batch.output import folder_beside
from napari_sam3.cli.batch import _Counter
from napari_sam3.cli.main import main
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.text import duration
from napari_sam3.labels.ome_zarr import open_labels
from tests.napari_sam3.batch_samples import PLANES, pixels, question, stack, write_ome_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "stack.tif", stack())
    placed: Any = question("placed")
    write_prompts(tmp_path / "placed.csv", placed.prompts)
    repeated: Any = question("repeated")
    write_prompts(tmp_path / "repeated.json", BatchPrompts({(): repeated.objects}))
    return tmp_path


def batch(folder: Path, *more: str) -> int:
    arguments = ["batch", str(folder / "stack.tif"), "-o", str(folder / "labels.zarr")]
    return main([*arguments, "--device", "cpu", *more])


def test_placed_prompts_become_labels_as_in_a_script(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(folder, "--prompts", str(folder / "placed.csv")) == 0
    out, err = capsys.readouterr()
    assert out == f"labels: {folder / 'labels.zarr'} (2 planes)\n"
    assert "2 of 2 units" in err
    list(segment(folder / "stack.tif", question("placed"), device="cpu", output=folder / "b.zarr"))
    np.testing.assert_array_equal(pixels(folder / "labels.zarr"), pixels(folder / "b.zarr"))
    assert batch(folder, "--prompts", str(folder / "placed.csv")) == 0
    assert "(2 planes, 2 of 2 units already done)" in capsys.readouterr().out


def test_the_table_says_what_is_to_be_seen_of_each_object(folder: Path) -> None:
    from skimage.measure import regionprops

    table = folder / "objects.csv"
    assert batch(folder, "--prompts", str(folder / "placed.csv"), "--table", str(table)) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["plane"], row["id"]) for row in rows] == [("2", "1"), ("2", "4"), ("5", "1")]
    assert [(row["points"], row["boxes"]) for row in rows] == [("0", "1"), ("2", "0"), ("1", "1")]
    labels = pixels(folder / "labels.zarr")
    for row in rows:
        plane = labels[int(row["plane"])]
        (seen,) = regionprops((plane == int(row["id"])).astype(np.uint8))
        box = tuple(int(row[name]) for name in ("y0", "x0", "y1", "x1"))
        assert (int(row["area"]), box) == (seen.area, seen.bbox)
        centre = float(row["centroid_y"]), float(row["centroid_x"])
        assert centre == pytest.approx(seen.centroid, abs=0.01)


def test_json_is_one_object_on_the_last_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(folder / "repeated.json")
    assert batch(folder, "--mode", "repeated", "--prompts", table, "--planes", "1-3", "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "labels": str(folder / "labels.zarr"),
        "planes": 3,
        "units": {"done": 3, "total": 3, "skipped": 0},
        "failed": [],
        "interrupted": False,
    }
    labels = pixels(folder / "labels.zarr")
    assert [bool(labels[z].any()) for z in range(PLANES)] == [0 < z < 4 for z in range(PLANES)]


def test_the_axis_of_propagation_is_given_by_its_name(folder: Path) -> None:
    axes = {"axes": "TZYX"}
    tifffile.imwrite(folder / "stack.ome.tif", stack()[:, None].repeat(2, 1), metadata=axes)
    table = folder / "one.csv"
    table.write_text("t,z,object,x0,y0,x1,y1\n2,0,1,8,8,33,32\n")
    command = ["batch", str(folder / "stack.ome.tif"), "--prompts", str(table), "--axis"]
    command[1:1] = ["--mode", "propagate", "-o", str(folder / "t.zarr"), "--device", "cpu"]
    assert main([*command, "t", "--settings", '{"least": 0, "min_score": 0}']) == 0
    found = np.asarray(open_labels(folder / "t.zarr", read_only=True).array[:])
    assert found[:, 0].any((1, 2)).sum() > 1
    assert not found[:, 1].any()


def test_propagate_and_automatic_take_settings(folder: Path) -> None:
    table = str(folder / "placed.csv")
    rules = '{"min_score": 1}'
    assert batch(folder, "--mode", "propagate", "--prompts", table, "--settings", rules) == 0
    labels = pixels(folder / "labels.zarr")
    assert [bool(labels[z].any()) for z in range(PLANES)] == [z in (2, 5) for z in range(PLANES)]
    found = {}
    for least in ("30", "500"):
        more = ["--settings", f'{{"min_area": {least}}}', "--overwrite", "--planes", "3"]
        assert batch(folder, "--mode", "automatic", "--tile", "64", *more) == 0
        found[least] = len(np.unique(pixels(folder / "labels.zarr"))) - 1
    assert found["30"] >= 2
    assert found["500"] == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "Expected --prompts"),
        (["--mode", "automatic", "--prompts", "placed.csv"], "takes no --prompts: placed.csv"),
        (["--prompts", "nowhere.csv"], "cannot be read"),
        (["--prompts", "placed.csv", "--planes", "1,2"], "--planes gives 2 range(s)"),
        (["--prompts", "placed.csv", "--planes", "90-99"], "lies outside the image"),
        (["--prompts", "placed.csv", "--planes", "0-1"], "no prompt on the chosen planes (2)"),
        (["--prompts", "placed.csv", "--settings", "{}", "--direction", "both"], None),
        (["--prompts", "placed.csv", "--axis", "3"], "placed takes no --axis: 3"),
        (["--prompts", "placed.csv", "--tile", "64"], "with --mode automatic or similar only"),
        (["--mode", "automatic", "--tile", "10"], "size: 10 px. Expected at least 32"),
        (["--mode", "automatic", "--min-score", "2"], "automatic takes no --min-score: 2.0"),
        (["--mode", "automatic", "--gap", "0"], "automatic takes no --gap: 0"),
        (["--mode", "automatic", "--text", "cell"], "automatic takes no --text: cell"),
        (["--mode", "similar", "--examples-image", "stack.tif"], "--examples"),
        (["--prompts", "placed.csv", "--mode", "propagate", "--axis", "3"], "along axis 3"),
        (["--prompts", "placed.csv", "--mode", "propagate", "--axis", "t"], "no axis 't'"),
        (["--prompts", "placed.csv", "--settings", '{"a": 1}'], "placed takes no --settings"),
        (["--mode", "automatic", "--settings", '{"a": 1}'], "unknown setting: 'a'"),
        (["--prompts", "placed.csv", "--mode", "repeated"], "prompts on 2 planes"),
        (["--prompts", "placed.csv", "--model", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    more: list[str],
    message: str | None,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert batch(folder, *more) == (2 if message else 0)
    if message:
        assert message in capsys.readouterr().err
        assert not (folder / "labels.zarr").exists()


def test_a_name_of_another_format_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["batch", str(folder / "stack.tif"), "--prompts", str(folder / "placed.csv")]
    for name in ("labels.tif", "rois.zip", "cells.geojson"):
        assert main([*command, "-o", str(folder / name)]) == 2
        assert f"OME-Zarr such as '{name.partition('.')[0]}.zarr'" in capsys.readouterr().err
    assert sorted(one.name for one in folder.iterdir()) == [
        "placed.csv",
        "repeated.json",
        "stack.tif",
    ]


def test_another_mode_is_named_without_its_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(folder, "--prompts", str(folder / "placed.csv")) == 0
    assert batch(folder, "--mode", "automatic") == 2
    assert 'was started with mode "placed", not "automatic". Exp' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--planes", "3-1"), ("--planes", "a"), ("--settings", "[1]"), ("--contrast", "5,5")],
)
def test_options_that_cannot_be_read_are_quoted(
    option: str, value: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        batch(folder, "--prompts", "a.csv", option, value)
    assert ended.value.code == 2
    assert f"{value!r} cannot be read. Expected" in capsys.readouterr().err


def test_a_plane_that_cannot_be_read_is_reported_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "image.zarr", tmp_path / "labels.zarr"
    image = zarr.create_array(source, shape=(8, 60, 80), dtype="uint16", chunks=(1, 60, 80))
    image[:] = stack(8)
    chunk = source / "c" / "5" / "0" / "0"
    good = chunk.read_bytes()
    chunk.write_bytes(good[:20])
    write_prompts(tmp_path / "one.csv", BatchPrompts({(): {1: PromptSet(box=(8, 8, 33, 32))}}))
    arguments = ["batch", str(source), "-o", str(output), "--mode", "repeated", "--planes", "4-6"]
    arguments += ["--prompts", str(tmp_path / "one.csv"), "--device", "cpu"]
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("napari-sam3 batch: plane axis 0 = 5: ")
    told = json.loads(out)
    assert [failure["plane"] for failure in told["failed"]] == [[5]]
    assert told["planes"] == 2
    chunk.write_bytes(good)
    assert main(arguments) == 0
    assert "(3 planes, 2 of 3 units already done)" in capsys.readouterr().out
    assert [bool(one.any()) for one in pixels(output)[4:7]] == [True] * 3


@pytest.mark.parametrize("mode", ["placed", "repeated", "propagate", "automatic"])
def test_a_plane_of_another_size_is_reported_at_the_end_and_done_after_a_repair(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planes, output = list(stack(8)), tmp_path / "labels.zarr"
    source = write_ome_files(tmp_path, [*planes[:5], planes[5][:40, :40], *planes[6:]])
    box = {1: PromptSet(box=(8, 8, 50, 55))}
    where: dict[tuple[int, ...], Any] = {(z,): box for z in (4, 5, 6)}
    where = {(): box} if mode == "repeated" else where
    write_prompts(tmp_path / "boxes.csv", BatchPrompts(where))
    arguments = ["batch", str(source), "-o", str(output), "--mode", mode, "--planes", "4-6"]
    arguments += ["--device", "cpu", "--json"]
    arguments += ["--prompts", str(tmp_path / "boxes.csv")] if mode != "automatic" else []
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("napari-sam3 batch: plane axis 0 = 5")
    told = json.loads(out)
    assert [failure["plane"] for failure in told["failed"]] == [[5]]
    assert [bool(one.any()) for one in pixels(output)[4:7]] == [True, False, True]
    write_ome_files(tmp_path, planes)
    assert main(arguments) == 0
    assert [bool(one.any()) for one in pixels(output)[4:7]] == [True] * 3


def test_the_prompts_of_one_plane_may_name_it(folder: Path) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    write_prompts(folder / "one.csv", BatchPrompts({(3,): {1: box}}), ("z",))
    table = (folder / "one.csv").read_text()
    (folder / "two.csv").write_text(table.replace("z,", "plane,"))
    for name in ("two.csv",):
        arguments = ["--mode", "repeated", "--prompts", str(folder / name), "--planes", "0-1"]
        assert batch(folder, *arguments, "--overwrite") == 0
        labels = pixels(folder / "labels.zarr")
        assert [bool(labels[z].any()) for z in range(3)] == [True, True, False]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_an_interrupt_leaves_what_can_be_gone_on_with(folder: Path) -> None:
    # Where tests run in the background of a shell, their children ignore the signal.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from napari_sam3.cli.main import main; sys.exit(main(sys.argv[1:]))"
    output = folder / "labels.zarr"
    arguments = ["batch", str(folder / "stack.tif"), "-o", str(output), "--device", "cpu"]
    arguments += ["--mode", "repeated", "--prompts", str(folder / "repeated.json")]
    running = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True,
        env={**os.environ},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((folder_beside(output) / "painted").glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command resumes it" in err
    assert main(arguments) == 0
    whole = list(segment(folder / "stack.tif", question("repeated"), device="cpu"))
    for result in whole:
        np.testing.assert_array_equal(pixels(output)[result.position], result.labels)


def test_the_time_left_is_told_on_one_line_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_sam3.batch import Progress

    moments = iter([0.0, 0.0, 2.0, 4.0])
    monkeypatch.setattr("napari_sam3.cli.batch.time.monotonic", lambda: next(moments))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    counter = _Counter()
    for progress in (Progress(0, 9), Progress(3, 9, 3), Progress(4, 9, 3), Progress(5, 9, 3, 1)):
        counter.show(progress)
    counter.end()
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")[1:]]
    assert lines == [
        "0 of 9 units",
        "3 of 9 units",
        "4 of 9 units, 2.0 s each, 10 s left",
        "5 of 9 units, 2.0 s each, 8 s left, 1 failed",
    ]
    assert [duration(s) for s in (3, 600, 9000)] == ["3 s", "10 min", "2.5 h"]
