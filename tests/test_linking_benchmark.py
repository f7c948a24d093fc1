"""The measuring of linked objects, not what it measures."""

import numpy as np

from benchmarks.linking import apart, match_objects


def test_a_plane_has_no_object_in_common_with_the_next() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[:, 0, 0], labels[:, 2, 2] = 3, 7
    assert apart(labels)[:, [0, 2], [0, 2]].tolist() == [[1, 2], [3, 4]]
    assert (apart(labels) > 0).sum() == 4


def test_objects_are_matched_by_their_voxels() -> None:
    truth = np.zeros((4, 6, 6), np.uint8)
    truth[:, :3, :3], truth[0, 4:, 4:] = 1, 2
    whole = np.where(truth > 0, 5 * truth, 0)
    assert match_objects(truth, (1, 2), whole).f1 == 1
    # A plane of an object is not the object, and what lies on one that does not count is no fault.
    matched = match_objects(truth, (1,), apart(whole))
    assert (matched.hits, matched.true, matched.found) == (0, 1, 4)
    half = whole.copy()
    half[2:] = 0
    assert match_objects(truth, (1,), half).hits == 0  # an IoU of exactly 0.5
