"""Every code block of the documentation runs or says why not, and what pages say comes true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam3.labels.formats.choice import FORMATS
from napari_sam3.labels.ome_zarr import open_labels
from napari_sam3.layers.sample_data import nuclei, stack
from tests.doc_blocks import Block, blocks_of, fences, pages, run_block, run_page
from tests.doc_samples import SAMPLES

Names = dict[str, Any]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
WITH_BLOCKS = [page for page in pages() if any(blocks_of(page))]
#: Blocks that are not run, of all pages together. More need a better reason than that it is easy.
NOT_RUN = 35


@pytest.mark.parametrize("page", pages())
def test_every_fence_is_seen(page: str) -> None:
    assert 2 * len(list(blocks_of(page))) == fences(page)


def test_blocks_are_run_or_say_why_not() -> None:
    blocks = [block for page in pages() for block in blocks_of(page)]
    left_out = [block for block in blocks if block.reason]
    assert len(left_out) <= NOT_RUN
    assert all(len(block.reason) > 7 for block in left_out)
    assert len(blocks) - len(left_out) > 40
    assert set(SAMPLES) <= set(WITH_BLOCKS), "a page that is gone"


@pytest.mark.parametrize(
    ("kind", "text"),
    [("bash", "ls\n"), ("", "ls -l\n"), ("", "napari-sam3 info nothing.tif\n"), ("json", "{}\n")],
)
def test_a_block_that_cannot_be_run_is_an_error(kind: str, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:3"):
        run_block(Block("page.md", 3, kind, text), {})


# pycocotools hands numpy an object of the kind that numpy 1 knew.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_a_page_runs_from_top_to_bottom(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if page == "docs/speed.md":
        request.getfixturevalue("eight_bit_products")
    monkeypatch.chdir(tmp_path)
    names = SAMPLES[page]() if page in SAMPLES else {}
    run_page(page, names)
    if page in CHECKS:
        CHECKS[page](names, capsys.readouterr().out)


def readme(names: Names, said: str) -> None:
    """A label of about the coin's size, and two by the command."""
    assert names["labels"][127, 154] == 1
    assert 800 < np.count_nonzero(names["labels"]) < 1600
    written = tifffile.imread("labels.tif")
    assert [int(written[127, 154]), int(written[125, 336])] == [1, 2]


def outputs(names: Names, said: str) -> None:
    """A file in every format, with the same pixels."""
    written = {path.name for path in Path().iterdir()}
    for one in FORMATS.values():
        assert any(name.endswith(one.suffixes) for name in written), one.name
    assert (names["regions"]["area_physical"] == names["regions"]["area"] / 4).all()
    assert sum(int(mask.sum()) for mask in names["masks"]) == names["regions"]["area"].sum()
    assert names["pixels"].max() == len(names["rois"]) == len(names["features"]) == 2
    assert "micrometer" in said


def tracks(names: Names, said: str) -> None:
    """The division goes through all formats."""
    from napari_sam3 import read_tracks

    for path in ("01_GT", "01_RES", "tracks.geff", "cells.tracks.csv"):
        assert read_tracks(path).tracks.parents == {2: (1,), 3: (1,)}
    assert "{2: (1,), 3: (1,)}" in said


def large_images(names: Names, said: str) -> None:
    """Labels on the plane that was clicked on, and features on the disk."""
    assert names["labels"][3].any()
    assert not names["labels"][:3].any()
    assert names["cache"].store.info().fields > 0


def batch(names: Names, said: str) -> None:
    """Labels on the planes with prompts; propagated ones on others, too."""
    written = np.asarray(open_labels("labels.zarr").array[:])
    assert set(np.flatnonzero(written.any(axis=(1, 2)))) == {3, 9}
    assert set(np.unique(written)) == {0, 1, 2}
    assert set(np.unique(names["volume"][5])) <= {0, 1, 2}
    assert (names["volume"][[3, 9]] > 0).sum() >= (written > 0).sum()
    assert names["counts"] == [2, 2]
    propagated = np.asarray(open_labels("objects.zarr").array[:])
    assert np.array_equal(propagated, names["volume"]), "the command and the script ask the same"
    for number in (1, 2):
        assert np.any(open_labels(f"labels/coins {number}.labels.ome.zarr").array[:])


def automatic(names: Names, said: str) -> None:
    """Most of the nuclei on the plane."""
    truth = nuclei()[1][0][:128, 150:330]
    there = np.unique(truth)[1:]
    hit = [number for number in there if names["labels"][truth == number].any()]
    assert len(hit) > 0.7 * len(there)


def labelling(names: Names, said: str) -> None:
    """Replayed, the label is there as before; the ids are not used twice."""
    assert names["binding"].labels.data[127, 154] > 0


def cells(names: Names, said: str) -> None:
    """The command and the script find the same nuclei."""
    truth, by_command = nuclei()[1][0], tifffile.imread("labels.tif")
    for x, y in ((304, 38), (200, 58)):
        true = truth == truth[y, x]
        assert names["labels"][y, x] > 0
        assert (by_command == by_command[y, x])[true].mean() > 0.75
    assert np.array_equal(names["labels"] > 0, by_command > 0)


def z_stack(names: Names, said: str) -> None:
    """Two nuclei over planes, much as they are."""
    volume, truth = np.asarray(open_labels("labels.zarr").array[:]), stack()[1][0]
    for number, (x, y) in enumerate(((189, 61), (52, 111)), start=1):
        true = truth == truth[12, y, x]
        found = volume == number
        assert (found & true)[10:15].sum() / (found | true)[10:15].sum() > 0.75


def slide(names: Names, said: str) -> None:
    """Objects where it was clicked, and about as many as there are found by themselves."""
    clicked = open_labels("clicked.ome.zarr").array
    assert (clicked[258, 380], clicked[358, 370]) == (1, 2)
    found = np.asarray(open_labels("labels.zarr").array[:])
    assert 5 < len(np.unique(found)) - 1 < 15


def refine(names: Names, said: str) -> None:
    """Nuclei that touched are apart, with ids of their own."""
    before, after = names["before"], names["labels"]
    assert before[390, 486] == before[407, 490]
    assert after[390, 486] != after[407, 490]
    truth = nuclei()[1][0]
    for y, x in ((58, 200), (33, 212), (25, 192), (175, 134)):
        found, true = after == after[y, x], truth == truth[y, x]
        assert (found & true).sum() / (found | true).sum() > 0.8


def script(names: Names, said: str) -> None:
    """Masks that hug the coins, in every way."""
    mask, labels = names["mask"], names["labels"]
    assert mask[127, 154]
    assert 0.5 < mask.sum() / np.count_nonzero(labels == 1) < 2
    assert labels[125, 336] == 2
    assert set(np.unique(labels)) == {0, 1, 2}
    assert names["corrected"].id == 1
    assert names["corrected"].prompts.labels == (1, 0)
    assert names["written"][127, 154] == 1
    assert np.array_equal(names["replayed"], names["written"]), "replayed from the session file"
    assert names["masks"][0][125, 336]
    assert [z for z in range(6) if names["volume"][z].any()] == [2, 3]


def weights(names: Names, said: str) -> None:
    """The weights are known for what they are."""
    assert names["mask"][127, 154]
    assert said.count("sha256") >= 1


CHECKS = {
    "README.md": readme,
    "docs/batch.md": batch,
    "docs/batch_automatic.md": automatic,
    "docs/labelling.md": labelling,
    "docs/large-images.md": large_images,
    "docs/outputs.md": outputs,
    "docs/tracks.md": tracks,
    "docs/tutorials/cells.md": cells,
    "docs/tutorials/refine.md": refine,
    "docs/tutorials/script.md": script,
    "docs/tutorials/slide.md": slide,
    "docs/tutorials/weights.md": weights,
    "docs/tutorials/z-stack.md": z_stack,
}
