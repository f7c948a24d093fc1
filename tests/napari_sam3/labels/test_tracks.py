"""Tracks measured from labels, and parents that cannot be."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.tracks import TrackError, Tracks, check_parents, sound_parents
from napari_sam3.labels.formats.tracks.measuring import measure_frame, time_axis, tracks_of
from sam3.errors import ImageError
from tests.napari_sam3.labels.track_samples import PARENTS, dividing


def test_an_id_is_a_track_with_a_centroid_on_each_frame() -> None:
    tracks = tracks_of(dividing(), parents=PARENTS)
    assert tracks.spans == {1: (0, 2), 2: (3, 5), 3: (3, 4), 4: (0, 5), 7: (5, 5)}
    assert tracks.runs()[4] == [(0, 1), (4, 5)]
    assert tracks.parents == PARENTS
    (at,) = np.flatnonzero((tracks.ids == 4) & (tracks.frames == 4))
    assert tracks.places[at].tolist() == [25.5, 23.5]
    assert tracks.areas[at] == 64


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_time_may_be_any_axis(axis: int) -> None:
    labels = np.moveaxis(dividing(), 0, axis)
    lazy = dask.array.from_array(labels, chunks=5)
    expected = tracks_of(dividing())
    for given_labels in (labels, lazy):
        found = tracks_of(given_labels, axis)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.places, expected.places)


def test_volumes_have_centroids_in_depth() -> None:
    labels = np.zeros((2, 4, 5, 6), np.int64)
    labels[:, 1:4, 2, 3] = 1 << 40
    tracks = tracks_of(labels)
    assert tracks.places.tolist() == [[2, 2, 3], [2, 2, 3]]
    assert tracks.ids.tolist() == [1 << 40] * 2


def test_labels_that_are_no_tracks_are_refused() -> None:
    with pytest.raises(TrackError, match="the label -3 cannot be a track"):
        measure_frame(np.array([[-3, 0]]))
    with pytest.raises(TrackError, match="cannot be a track"):
        measure_frame(np.array([[2**64 - 1, 0]], np.uint64))
    with pytest.raises(ImageError, match="labels of type"):
        tracks_of(np.zeros((2, 3, 4)))
    with pytest.raises(TrackError, match=r"shape \(3, 4\) have no time axis 0"):
        tracks_of(np.zeros((3, 4), int))


@pytest.mark.parametrize(
    ("names", "lengths", "axis"),
    [
        ("tyx", (3, 8, 8), 0),
        ("zyx", (3, 8, 8), 0),  # the only one: a file that says nothing calls it z
        ("tzyx", (3, 4, 8, 8), 0),
        ("ztyx", (3, 4, 8, 8), 1),
        (("Frame", "depth", "y", "x"), (3, 4, 8, 8), 0),
        (("a", "b", "y", "x"), (1, 4, 8, 8), 1),
    ],
)
def test_the_axis_of_time(names: str, lengths: tuple[int, ...], axis: int) -> None:
    assert time_axis(ImageAxes.of(names), lengths) == axis


def test_time_is_told_by_its_unit_or_asked_for() -> None:
    assert time_axis(ImageAxes.of("abyx", units=("um", "min", "um", "um")), (3, 4, 8, 8)) == 1
    with pytest.raises(TrackError, match="no time axis: a, b, y, x"):
        time_axis(ImageAxes.of("abyx"), (3, 4, 8, 8))
    with pytest.raises(TrackError, match="no time axis"):
        time_axis(ImageAxes.of("yx"), (8, 8))


SPANS = {1: (0, 2), 2: (3, 5), 3: (3, 4), 4: (0, 5), 5: (6, 6)}


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ({2: (9,)}, "track 9 has no pixels, but the link from 9 to 2 names it"),
        ({9: (1,)}, "track 9 has no pixels, but the link from 1 to 9 names it"),
        ({2: (2,)}, "the tracks 2 -> 2 are each other's parents, in a circle"),
        ({2: (1,), 1: (2,)}, r"the tracks (1 -> 2 -> 1|2 -> 1 -> 2) are each other's parents"),
        ({5: (2,), 2: (1,), 1: (5,)}, "in a circle"),
        ({1: (2,)}, "the parent 2 begins on frame 3, after its child 1 on frame 0"),
        ({2: (3,)}, "the parent 3 is still present on frame 4, and its child 2 begins on frame 3"),
        ({2: (1, 4)}, "the parent 4 is still present on frame 5"),
    ],
)
def test_parents_that_cannot_be_are_refused(
    parents: dict[int, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(TrackError, match=message):
        check_parents(SPANS, parents)
    kept = sound_parents(SPANS, parents)
    check_parents(SPANS, kept)
    assert (2 in kept) == (parents.get(2, (0,))[0] == 1)


@given(
    st.dictionaries(
        st.integers(1, 8), st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted), min_size=1
    ),
    st.dictionaries(
        st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True)
    ),
)
def test_only_graphs_that_run_forward_pass(
    spans: dict[int, list[int]], parents: dict[int, list[int]]
) -> None:
    known = {label: (first, last) for label, (first, last) in spans.items()}
    links = {child: tuple(several) for child, several in parents.items()}
    forward = all(
        one in spans and child in spans and spans[one][1] < spans[child][0]
        for child, several in links.items()
        for one in several
    )
    if forward:
        check_parents(known, links)
        assert sound_parents(known, links) == links
    else:
        with pytest.raises(TrackError):
            check_parents(known, links)


def test_rows_in_any_order_are_sorted_and_checked() -> None:
    tracks = Tracks.of([2, 1, 1], [0, 1, 0], [[2, 2], [1, 1], [0, 0]], parents={})
    assert tracks.ids.tolist() == [1, 1, 2]
    assert tracks.places[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(TrackError, match="track 1 is twice on frame 0"):
        Tracks.of([1, 1], [0, 0], [[0, 0], [1, 1]])
    with pytest.raises(TrackError, match="the id 0 or the frame 2"):
        Tracks.of([0], [2], [[0, 0]])
