"""Tracks of the Cell Tracking Challenge: what others write, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam3 import export_labels, read_tracks
from napari_sam3.core.tracks import TrackError
from napari_sam3.labels.formats.tracks.ctc import read_ctc, write_ctc
from sam3.errors import ImageError
from tests.napari_sam3.labels.track_samples import (
    FILES,
    PARENTS,
    dividing,
    renumbered,
)


def test_many_tracks_are_32_bit_and_many_frames_sort_as_text(tmp_path: Path) -> None:
    many = np.zeros((2, 182, 182), np.uint32)
    many[0] = np.arange(1, 182 * 182 + 1).reshape(182, 182)
    write_ctc(tmp_path / "01_RES", many)
    assert tifffile.imread(tmp_path / "01_RES" / "mask000.tif").dtype == np.uint32
    np.testing.assert_array_equal(read_ctc(tmp_path / "01_RES")[0], many)
    long = np.ones((1001, 2, 2), np.uint8)
    write_ctc(tmp_path / "02_RES", long)
    names = sorted(path.name for path in (tmp_path / "02_RES").glob("*.tif"))
    assert (names[0], names[-1]) == ("mask0000.tif", "mask1000.tif")


def test_two_parents_and_no_object_cannot_be_written(tmp_path: Path) -> None:
    labels = dividing()
    labels[:3, 30, 5] = 9
    with pytest.raises(TrackError, match="track 2 has the parents 1, 9"):
        write_ctc(tmp_path / "01_RES", labels, parents={2: (1, 9)})
    for name in ("ctc", "ctc-truth", "geff"):
        with pytest.raises(TrackError, match="no object"):
            export_labels(np.zeros((2, 3, 4), int), tmp_path / FILES[name])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_ctc(tmp_path / "01_RES", dividing(), parents=PARENTS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 0 2 0", "1 0 2", "line 1 of .* is '1 0 2'. Expected four whole numbers"),
        ("1 0 2 0", "1 0 -2 0", "Expected four whole numbers"),
        ("1 0 2 0", "1 0 3 0", "track 1 is on frames 0 to 2 in the masks and on 0 to 3 in"),
        ("1 0 2 0\n", "", "track 1 is on frames 0 to 2 in the masks and on none in"),
        ("4 0 1 0", "4 0 1 2", "the parent 2 begins on frame 3, after its child 4"),
        ("3 3 4 1", "3 3 4 2", "the parent 2 is still present on frame 5"),
        ("2 3 5 1", "2 3 5 8", "track 8 has no pixels"),
        ("3 3 4 1", "2 3 5 1", "track 2 has two lines"),
    ],
)
def test_texts_that_contradict_the_masks_are_refused(
    folder: Path, old: str, new: str, message: str
) -> None:
    text = folder / "res_track.txt"
    text.write_text(text.read_text().replace(old, new))
    with pytest.raises(TrackError, match=message):
        read_tracks(folder)


def test_texts_as_others_write_them(folder: Path) -> None:
    """By btrack a track without a parent is its own; ends of lines and blanks may be others."""
    text = folder / "res_track.txt"
    content = text.read_text().replace("1 0 2 0", "1 0 2 1").replace(" ", "\t")
    text.write_text(content.replace("\n", "\r\n") + "\r\n")
    found = read_tracks(text)
    assert found.tracks.parents == PARENTS
    np.testing.assert_array_equal(found.labels, renumbered(dividing(), {})[0])


def test_masks_that_are_missing_or_damaged_are_named(folder: Path) -> None:
    mask = folder / "mask003.tif"
    mask.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="cannot be read"):
        read_tracks(folder)
    tifffile.imwrite(mask, np.zeros((3, 3), np.uint16))
    with pytest.raises(ImageError, match="several shapes"):
        read_tracks(folder)
    mask.unlink()
    with pytest.raises(ImageError, match="no mask of frame 3"):
        read_tracks(folder)
    with pytest.raises(ImageError, match="cannot be read as GEFF"):
        read_tracks(folder.parent)
