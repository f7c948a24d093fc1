"""The measuring of Find similar, not what it measures."""

import numpy as np

from benchmarks.mixed_images import SMALLEST_AREA
from benchmarks.similar import _match_others, true_objects


def test_objects_too_small_to_show_are_left_out() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[2:22, 3:23], labels[30, 30] = 4, 9
    (mask,) = true_objects(labels)
    assert mask.bbox == (2, 3, 22, 23)
    assert mask.area == 400 >= SMALLEST_AREA


def test_examples_and_what_lies_on_them_do_not_count() -> None:
    truth = np.zeros((60, 60), np.int32)
    truth[:20, :20], truth[30:50, 30:50] = 1, 2
    example, other = true_objects(truth)
    # The example found again, and the other one, too.
    both = _match_others(truth, truth, [example])
    assert both is not None
    assert (both.hits, both.true, both.found) == (1, 1, 1)
    # One beside the example is a fault though it touches it a little.
    wrong = truth.copy()
    wrong[15:29, 15:29] = 3
    faulty = _match_others(truth, wrong, [example])
    assert faulty is not None
    assert (faulty.hits, faulty.found) == (1, 2)
    assert _match_others(truth, truth, [example, other]) is None
