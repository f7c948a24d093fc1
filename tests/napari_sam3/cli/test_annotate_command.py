"""The command that labels a series of images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam3 import ImageSeries
from napari_sam3.cli.main import main

ROOT = Path(__file__).parents[3]
#: Stands for the person in front of the window that the command opens.
LOOK = """
import sys
import napari
from napari_sam3.cli import main as command
from napari_sam3.cli.robot import Robot

def look():
    viewer = napari.current_viewer()
    widget = next(iter(viewer.window.dock_widgets.values()))
    hand = Robot(viewer)
    hand.wait_until(lambda: widget.series.shown is not None and widget.binding is not None, "it")
    print("open", widget.series.shown.opened.item.key, widget.binding.labels.data.shape, flush=True)
    widget.shut_down()
    widget.wait()
    viewer.close()

napari.run = look
sys.exit(command.main(["annotate", *sys.argv[1:]]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for number in range(3):
        tifffile.imwrite(made / f"a{number}.tif", np.zeros((20, 20 + number), np.uint8))
    with ImageSeries(made) as series:
        series.save(series.items[0], np.ones((20, 20), np.uint8), state="done")
        series.set_state(series.items[1], "skipped", note="blurred")
        series.set_current(series.items[2])
    return made


def test_what_is_done_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", str(folder), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["done", "1", "a0.tif"]
    assert lines[1].split() == ["skipped", "0", "a1.tif", "blurred"]
    assert lines[-1] == "1 of 3 done, 1 skipped"
    assert main(["annotate", str(folder), "--list", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {"done": 1, "skipped": 1, "todo": 1}
    assert answer["images"][0]["labels"].endswith("a0.labels.ome.tif")


def test_a_folder_without_images_and_one_in_use_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["annotate", str(tmp_path / "empty")]) == 2
    assert "no images in the folder" in capsys.readouterr().err
    with ImageSeries(folder):
        assert main(["annotate", str(folder)]) == 2
    assert "open elsewhere: by" in capsys.readouterr().err


def test_the_window_opens_where_it_was_left(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split("\n")[0] == "open a2.tif (20, 22)"
