"""The command `link`, and the option of `batch`, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_sam3.batch.output import folder_beside
from napari_sam3.cli.main import main
from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.ome_zarr import create_labels
from tests.napari_sam3.labels.test_linking import stack

AXES = ImageAxes.of("zyx", units=("um", "um", "um"), scale=(2, 0.5, 0.5))


def pixels(path: Path) -> npt.NDArray[Any]:
    """Return a label image."""
    image = open_image(path)
    return np.asarray(image.data[0] if image.multiscale else image.data)


def test_labels_of_planes_are_linked_and_keep_their_axes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planes = create_labels(tmp_path / "planes.zarr", (3, 40, 40), np.uint16, AXES)
    planes.array[:] = stack({1: (2, 2)}, {2: (2, 2), 4: (20, 20)}, {3: (2, 2)})
    output = tmp_path / "objects.zarr"
    command = ["link", str(tmp_path / "planes.zarr"), "-o", str(output), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(output), "objects": 1}
    assert open_image(output).axes == AXES
    assert np.unique(pixels(output)).tolist() == [0, 1]
    assert main(command) == 2  # the output is there
    assert main([*command, "--overwrite", "--min-planes", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 2


def test_one_plane_cannot_be_linked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "one.tif", np.ones((8, 8), np.uint8))
    assert main(["link", str(tmp_path / "one.tif"), "-o", str(tmp_path / "out.tif")]) == 2
    assert "cannot be linked along axis -1" in capsys.readouterr().err
    assert not (tmp_path / "out.tif").exists()


def test_a_batch_links_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, columns = np.mgrid[:48, :48]
    blob = 200 * np.exp(-((rows - 24) ** 2 + (columns - 24) ** 2) / 60)
    stacked = np.stack([blob + 20] * 3).astype(np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", stacked, photometric="minisblack")
    output, linked = tmp_path / "planes.zarr", tmp_path / "objects.tif"
    command = ["batch", str(tmp_path / "stack.tif"), "-o", str(output), "--device", "cpu"]
    assert main([*command, "--mode", "automatic", "--link", str(linked)]) == 0
    found = pixels(output)
    assert len(np.unique(found)) == 4  # one on each plane
    assert np.unique(tifffile.imread(linked)).tolist() == [0, 1]
    assert main([*command, "--mode", "automatic", "--link", str(linked)]) == 2  # it is there
    assert "exist" in capsys.readouterr().err


def test_a_batch_that_cannot_link_is_refused_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, stacked, output = tmp_path / "one.tif", tmp_path / "stack.tif", tmp_path / "out.zarr"
    tifffile.imwrite(one, np.ones((8, 8), np.uint8))
    tifffile.imwrite(stacked, np.ones((3, 8, 8), np.uint8), photometric="minisblack")
    linked, around = tmp_path / "linked.zarr", tmp_path / "gone" / ".." / "out.zarr"
    for image, told, options in (
        (one, "shape (8, 8) cannot be linked", ["--link", str(linked)]),
        (stacked, "--link and --output are one place", ["--link", str(output)]),
        (stacked, "--link and --output are one place", ["--link", str(around)]),
        (stacked, "--table and --output are one place", ["--table", str(output)]),
        (stacked, "--link and IMAGE are one place", ["--link", str(stacked), "--overwrite"]),
    ):
        before = image.read_bytes()
        command = ["batch", str(image), "-o", str(output), "--mode", "automatic", *options]
        assert main([*command, "--device", "cpu"]) == 2
        assert told in capsys.readouterr().err
        assert not output.exists()
        assert not folder_beside(output).exists()
        assert image.read_bytes() == before


def test_labels_are_not_linked_over_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(labels, stack({1: (2, 2)}, {2: (2, 2)}), photometric="minisblack")
    before = labels.read_bytes()
    assert main(["link", str(labels), "-o", str(labels), "--overwrite"]) == 2
    assert "one place" in capsys.readouterr().err
    assert labels.read_bytes() == before


def test_the_axis_is_given_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = ImageAxes.of("tzyx")
    planes = create_labels(tmp_path / "planes.zarr", (2, 1, 40, 40), np.uint16, axes)
    planes.array[:] = stack({1: (2, 2)}, {2: (2, 2)})[:, None]
    command = ["link", str(tmp_path / "planes.zarr"), "-o", str(tmp_path / "out.zarr"), "--axis"]
    assert main([*command, "c"]) == 2
    assert "no axis 'c'" in capsys.readouterr().err
    assert main([*command, "t"]) == 0
    # Along z, where nothing can be linked, both would stay.
    assert np.unique(pixels(tmp_path / "out.zarr")).tolist() == [0, 1]


def test_channels_are_not_linked(tmp_path: Path) -> None:
    planes = create_labels(
        tmp_path / "planes.zarr", (2, 2, 40, 40), np.uint16, ImageAxes.of("tcyx")
    )
    planes.array[:, 0] = stack({1: (2, 2)}, {2: (2, 2)})
    planes.array[:, 1] = stack({3: (2, 2)}, {4: (2, 2)})
    assert main(["link", str(tmp_path / "planes.zarr"), "-o", str(tmp_path / "out.zarr")]) == 0
    linked = pixels(tmp_path / "out.zarr")
    assert [np.unique(linked[:, channel]).tolist() for channel in (0, 1)] == [[0, 1], [0, 3]]
