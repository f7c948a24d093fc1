"""`napari-sam3 learn`: pairs of files to an adapter, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam3.cli.learn import _samples
from napari_sam3.cli.main import main
from napari_sam3.layers.sample_data import make_nuclei


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("learn")
    image, labels = make_nuclei((2, 150, 140), count=8, seed=2, radii=(9, 13))
    labels = labels.astype(np.int64)
    labels[1] = 0
    labels[labels == 3] = -5
    paths = folder / "cells.tif", folder / "labels.tif"
    tifffile.imwrite(paths[0], image, metadata={"axes": "ZYX"})
    tifffile.imwrite(paths[1], labels.astype(np.int32), metadata={"axes": "ZYX"})
    return paths


def test_planes_with_labels_are_learnt_from(files: tuple[Path, Path]) -> None:
    labels = tifffile.imread(files[1])
    (sample,) = _samples(*files, None)
    assert sample.image.shape == (150, 140, 3)
    assert sample.image.dtype == np.uint8
    assert len(np.unique(sample.labels)) == len(np.unique(labels[0]))
    np.testing.assert_array_equal(sample.labels > 0, labels[0] != 0)


@pytest.mark.timeout(300)
def test_what_was_learnt_is_said(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.safetensors"
    code = main(["learn", *map(str, files), "-o", str(path), "--minutes", "0.05", "--json"])
    answer = json.loads(capsys.readouterr().out)
    gained = answer["after"] > answer["before"]
    assert code == (0 if gained else 1)
    assert path.exists() == gained
    assert answer["output"] == (str(path) if gained else None)
    objects = len(np.unique(tifffile.imread(files[1]))) - 1
    assert answer["objects"] + answer["kept_aside"] == objects
    assert answer["kept_aside"] == 1


def test_input_that_cannot_be_used_is_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, labels = map(str, files)
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.ones((30, 40), np.uint8))
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"mine")
    target = str(tmp_path / "mine.safetensors")
    cases = {
        "Expected pairs": [image, "-o", target],
        "labels other.tif": [image, str(other), "-o", target],
        "ends in .safetensors": [image, labels, "-o", str(tmp_path / "mine.bin")],
        "Add --overwrite": [image, labels, "-o", str(there)],
        "--minutes is 0": [image, labels, "-o", target, "--minutes", "0"],
        "absent": [str(tmp_path / "absent.tif"), labels, "-o", target],
        "cannot be written": [image, labels, "-o", str(tmp_path / "no" / "mine.safetensors")],
    }
    for message, arguments in cases.items():
        assert main(["learn", *arguments]) == 2
        said = capsys.readouterr().err.replace(f"{tmp_path}/other", "other")
        assert message in said
    assert there.read_bytes() == b"mine"
