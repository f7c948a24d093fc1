"""`napari-sam3 replay`: the labels of the viewer again, or a refusal, from the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from napari.components import ViewerModel

import sam3
from napari_sam3 import bind
from napari_sam3.cli.main import main

Labels = npt.NDArray[Any]


@pytest.fixture(scope="module")
def predictor() -> sam3.Predictor:
    return sam3.load_predictor("tiny")


def label(
    image: npt.NDArray[np.uint8], start: Labels | None, predictor: sam3.Predictor, file: Path
) -> Labels:
    """Label in a viewer, save the session, and return the labels."""
    viewer = ViewerModel()
    layer = viewer.add_image(image)
    labels = None if start is None else viewer.add_labels(start.copy())
    viewer.dims.set_point(0, 1)
    with bind(viewer, layer, labels, predictor=predictor) as binding:
        binding.session.policy = "overwrite"
        binding.points.add([1, 20, 20])
        binding.accept()
        if start is not None:
            binding.session.delete(7)
        binding.save_session(file, overwrite=True)
        made: Labels = np.asarray(binding.labels.data)
        return made


def test_a_session_is_replayed_as_a_whole_or_not_at_all(
    blobs: npt.NDArray[np.uint8],
    predictor: sam3.Predictor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, session, output = tmp_path / "i.tif", tmp_path / "s.json", tmp_path / "labels.tif"
    stack = np.stack([blobs] * 2)
    tifffile.imwrite(image, stack, metadata={"axes": "ZYX"})
    expected = label(stack, None, predictor, session)
    assert expected.any()
    assert main(["replay", str(image), str(session), "-o", str(output)]) == 0
    np.testing.assert_array_equal(tifffile.imread(output), expected)

    start = np.zeros(stack.shape, np.uint16)
    start[1, 16:24, 16:24], start[1, 90:, :9] = 8, 7
    expected = label(stack, start, predictor, session)
    before, again = tmp_path / "before.tif", tmp_path / "again.tif"
    tifffile.imwrite(before, start, metadata={"axes": "ZYX"})
    capsys.readouterr()
    for wrong in ([], ["--labels", str(output)]):
        assert main(["replay", str(image), str(session), "-o", str(again), *wrong]) == 2
        assert "Expected the labels at the start of the session. Give" in capsys.readouterr().err
        assert not again.exists()
    right = ["--labels", str(before)]
    assert main(["replay", str(image), str(session), "-o", str(again), *right]) == 0
    np.testing.assert_array_equal(tifffile.imread(again), expected)

    # On another image there is no plane 1, and nothing is written.
    tifffile.imwrite(image, blobs)
    other = ["replay", str(image), str(session), "-o", str(tmp_path / "none.tif")]
    tifffile.imwrite(before, start[1])
    assert main([*other, *right]) == 2
    assert not (tmp_path / "none.tif").exists()
