"""The batch mode similar: labels of some objects, and all of their kind on every plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import zarr

from napari_sam3.batch import BatchControl, Similar, concept_of_labels, segment
from napari_sam3.cli.main import main
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.lazy import LazyImage
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import paint_order
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.models import detector_loader
from napari_sam3.inference.similar.examples import Concept
from napari_sam3.inference.similar.search import find_similar
from sam3 import Predictor, load_predictor
from sam3.errors import PromptError, UnsupportedError
from tests.sam3.tiny_detector import save_tiny_detector

LARGE = [(25, 25), (25, 90), (90, 25), (90, 90)]
SMALL = [(57, 30), (57, 85), (25, 57)]


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


def stack() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Return two planes of bright and of grey discs, and labels of two bright ones."""
    rows, columns = np.mgrid[:115, :115]
    light = np.random.default_rng(0).normal(30, 3, (2, 115, 115))
    labels = np.zeros(light.shape, np.uint16)
    for places, radius, value in ((LARGE, 13, 200), (SMALL, 7, 90)):
        for number, (row, column) in enumerate(places, start=1):
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            light[:, inside] = value
            if value == 200 and number < 3:
                labels[0, inside] = number
    return np.clip(light, 0, 255).astype(np.uint8), labels


def found_at(plane: npt.NDArray[np.integer], places: list[tuple[int, int]]) -> int:
    return sum(plane[place] > 0 for place in places)


def test_one_labelled_plane_finds_its_kind_on_all(embedded: Predictor) -> None:
    image, labels = stack()
    concept = concept_of_labels(LazyImage.of(image), labels, embedded, BatchControl())
    assert concept is not None
    assert len(concept.wanted) == 2
    whole = list(segment(image, Similar(concept=concept, threshold=0.7), embedded))
    tiled = list(segment(image, Similar(concept=concept, threshold=0.7, tile=60), embedded))
    for results in (whole, tiled):
        for result in results:
            drawn = np.zeros(image.shape[1:], np.int32)
            for one in result.objects:
                drawn[one.mask.region][one.mask.crop] = one.id
            assert found_at(drawn, LARGE) == 4
            assert found_at(drawn, SMALL) == 0


def test_the_command_finds_similar_and_goes_on_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, labels = stack()
    tifffile.imwrite(tmp_path / "stack.tif", image)
    tifffile.imwrite(tmp_path / "some.tif", labels)
    command = ["batch", str(tmp_path / "stack.tif"), "-o", str(tmp_path / "labels.zarr")]
    command += ["--mode", "similar"]
    options = ["--examples", str(tmp_path / "some.tif"), "--min-score", "0.7"]
    assert main([*command, *options]) == 0
    written: Any = zarr.open_group(str(tmp_path / "labels.zarr"), mode="r")["0"]
    assert [found_at(np.asarray(plane), LARGE) for plane in written] == [4, 4]
    assert main([*command, *options]) == 0
    assert "2 of 2 units already done" in capsys.readouterr().out
    assert main(command) != 0
    assert "--examples" in capsys.readouterr().err


def test_names_and_examples_go_to_the_detector_of_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "detector.safetensors"
    save_tiny_detector(weights)
    predictor = load_predictor(weights, "cpu")
    detector = detector_loader()(predictor)
    assert detector is not None
    image, labels = stack()
    tifffile.imwrite(tmp_path / "stack.tif", image)
    tifffile.imwrite(tmp_path / "some.tif", labels)
    opened, control = LazyImage.of(image), BatchControl()
    learnt = concept_of_labels(opened, labels, predictor, control, detector=detector)
    assert learnt is not None
    assert learnt.tokens, "the detector encodes the examples, too"
    named = Concept(text="bright disc")
    both = Concept.joined([learnt, named])
    expected = {}
    for name, concept in (("named", named), ("learnt", learnt), ("both", both)):
        plane = opened.rendered(PlaneIndex((1, 2), (1,)))
        found = find_similar(
            plane, predictor, EmbeddingCache(), control, concept, detector=detector
        )
        assert found
        expected[name] = [one for one in found if one.score >= 0.2]
    command = ["batch", str(tmp_path / "stack.tif"), "--mode", "similar", "--min-score", "0.2"]
    command += ["--model", str(weights), "--device", "cpu"]
    some, text = ["--examples", str(tmp_path / "some.tif")], ["--text", " bright disc "]
    for name, asked in (("named", text), ("learnt", some), ("both", [*some, *text])):
        out = tmp_path / f"{name}.zarr"
        assert main([*command, "-o", str(out), *asked]) == 0
        written: Any = zarr.open_group(str(out), mode="r")["0"]
        drawn = np.zeros(image.shape[1:], np.int32)
        painted = paint_order(tuple(expected[name]), AutomaticSettings())
        for number, one in enumerate(painted, start=1):
            here = drawn[one.mask.region]
            here[one.mask.crop & (here == 0)] = number
        np.testing.assert_array_equal(np.asarray(written[1]) > 0, drawn > 0)
    capsys.readouterr()
    for asked, message in (
        (["--text", " ", "--model", str(weights)], "the name is blank"),
        (["--text", "disc", "--model", "tiny"], "no text encoder"),
    ):
        assert main([*command, "-o", str(tmp_path / "no.zarr"), *asked]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.zarr").exists()
    with pytest.raises(UnsupportedError, match="no text encoder"):
        list(segment(image, Similar(concept=named), "tiny"))


def test_examples_that_do_not_fit_are_refused(embedded: Predictor) -> None:
    image, labels = stack()
    opened, control = LazyImage.of(image), BatchControl()
    for wrong, message in (
        (labels[0], "have shape"),
        (labels.astype(np.float32), "type float32"),
        (np.zeros_like(labels), "hold no object"),
    ):
        with pytest.raises(PromptError, match=message):
            concept_of_labels(opened, wrong, embedded, control)
    with pytest.raises(PromptError, match="no positive example"):
        Similar()
    concept = concept_of_labels(opened, labels, embedded, control)
    assert concept is not None
    with pytest.raises(PromptError, match=r"minimum score: 2\.0"):
        Similar(concept=concept, threshold=2.0)
