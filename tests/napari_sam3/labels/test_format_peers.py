"""Files read and written by ultralytics, Cellpose, StarDist and traccuracy themselves."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from PIL import Image

from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.labels.formats.tracks.ctc import write_ctc
from napari_sam3.labels.formats.tracks.geff import write_geff
from tests.napari_sam3.labels.format_peers import TRACCURACY
from tests.napari_sam3.labels.track_samples import PARENTS, dividing

PROGRAM = Path(__file__).with_name("format_peers.py")
SHAPE = (40, 50)


def run(library: str, *arguments: object) -> None:
    if library == "traccuracy" and not TRACCURACY.exists():
        pytest.skip("traccuracy is not installed: make venv")
    if library != "traccuracy" and importlib.util.find_spec(library) is None:
        extra = "test-agpl" if library == "ultralytics" else "test"
        pytest.skip(f"{library} is not installed: pip install 'napari-sam3[{extra}]'")
    home = str(Path(str(arguments[-1])).parent)  # for settings that they write
    environment = {**os.environ, "YOLO_CONFIG_DIR": home, "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def labels() -> npt.NDArray[np.uint16]:
    """Return a square, a disk, and a piece of noise in one part without holes."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:6, 2:6] = 1
    labels[(rows - 20) ** 2 + (columns - 30) ** 2 < 9**2] = 2
    labels[30:39, 3:20] = 3
    labels[30, 3:9] = labels[38, 12:20] = labels[34, 19] = 0
    return labels


@pytest.mark.slow
def test_yolo_by_ultralytics(labels: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    """It trains on the pixels that were labelled, with their classes."""
    table = ObjectTable({(1, ""): {"class": "a b"}, (2, ""): {"class": "ü"}})
    folder = export_labels(labels, tmp_path / "d.yolo", table=table, image_name="cells.png")
    (folder / "images").mkdir()
    image = folder / "images" / "cells.png"
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(image)
    run("ultralytics", "yolo", folder, image)
    with np.load(folder / "read.npz") as read:
        masks, names = read["masks"], read["names"].tolist()
    assert names == ["a b", "ü", "object"]
    for label, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, labels == label)


@pytest.mark.slow
def test_masks_by_cellpose(labels: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    kept = np.where(labels == 3, 70_001, labels.astype(np.uint32))
    for name in ("l_seg.npy", "l_masks.tif"):
        path = export_labels(kept, tmp_path / name)
        run("cellpose", "cellpose", path, tmp_path / "read.npy")
        expected = labels if name == "l_seg.npy" else kept
        np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected)


@pytest.mark.slow
def test_files_of_cellpose(labels: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", labels)
    run("cellpose", "cellpose-seg", tmp_path / "labels.npy", tmp_path / "cells.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "cells_seg.npy").data, labels)
    run("cellpose", "cellpose-rois", tmp_path / "labels.npy", tmp_path / "cells.tif")
    loaded = read_labels(tmp_path / "cells_rois.zip", shape=SHAPE)
    np.testing.assert_array_equal(loaded.data, labels)


@pytest.mark.slow
def test_rois_of_stardist(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:6, 2:6], labels[20:31, 5:17] = 1, 2
    np.save(tmp_path / "labels.npy", labels)
    run("stardist", "stardist", tmp_path / "labels.npy", tmp_path / "stars.zip")
    loaded = read_labels(tmp_path / "stars.zip", shape=SHAPE)
    np.testing.assert_array_equal(loaded.data, labels)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_tracks_by_traccuracy(lost: bool, tmp_path: Path) -> None:
    """A copy of the truth has no fault; without one daughter, there is a division too few."""
    labels = dividing()
    write_ctc(tmp_path / "01_GT", labels, parents=PARENTS, kind="truth")
    parents = {2: (1,)} if lost else PARENTS
    if lost:
        labels[labels == 3] = 0
    write_ctc(tmp_path / "01_RES", labels, parents=parents)
    write_geff(tmp_path / "t.geff", labels, parents=parents)
    zarr.create_array(tmp_path / "labels.zarr", data=labels)
    run("traccuracy", "traccuracy", tmp_path, tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["ctc"] == scores["geff"]
    track, divisions = scores["ctc"]
    assert (track == 1, divisions == 1) == (not lost, not lost)
