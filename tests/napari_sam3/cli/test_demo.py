"""The demo as a newcomer without a display runs it."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import skimage.io
import tifffile
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import closing, disk

from napari_sam3.cli.demo import COINS, FILES, WINDOW


def run_demo(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    without = {name: text for name, text in os.environ.items() if name != "DISPLAY"}
    return subprocess.run(
        [sys.executable, "-m", "napari_sam3.cli.main", "demo", *map(str, arguments)],
        env={**without, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def true_coins() -> npt.NDArray[np.int32]:
    """Coins by threshold: good enough to tell a mask that hugs one from one that does not."""
    image = skimage.data.coins()
    light = image > ndimage.gaussian_filter(image.astype(float), 40)
    bright = closing(light & (image > 0.8 * threshold_otsu(image)), disk(3))
    return ndimage.label(ndimage.binary_fill_holes(bright))[0]  # type: ignore[no-any-return]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_demo_labels_coins_and_leaves_the_files_it_names(tmp_path: Path) -> None:
    run = run_demo("--headless", "--output", tmp_path)
    assert run.returncode == 0, run.stderr
    assert all(str(tmp_path / name) in run.stdout for name in FILES)

    labels = tifffile.imread(tmp_path / "labels.tif")
    with (tmp_path / "objects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(COINS)
    assert sum(int(row["boxes"]) for row in rows) == 1
    truth = true_coins()
    for row in rows:
        mask = labels == int(row["id"])
        assert int(row["area"]) == mask.sum() > 0
        coin = truth == np.bincount(truth[mask & (truth > 0)]).argmax()
        assert (mask & coin).sum() / (mask | coin).sum() > 0.8, row

    screenshot = skimage.io.imread(tmp_path / "screenshot.png")
    assert screenshot.shape[1::-1] == WINDOW
    # A window with an image in it has many colours; a blank canvas has not.
    assert len(np.unique(screenshot[200:700, 400:1000].reshape(-1, 4), axis=0)) > 500


@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_demo_fails_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "labels.tif").write_text("mine")
    run = run_demo("--headless", "--output", tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert "exists already" in run.stderr
    run = run_demo("--output", tmp_path / "new", "--model", tmp_path / "labels.tif")
    assert run.returncode == 2
    assert "labels.tif" in run.stderr
    run = run_demo("--output", tmp_path / "new", PATH=str(tmp_path))
    assert run.returncode == 2
    assert "Xvfb" in run.stderr
