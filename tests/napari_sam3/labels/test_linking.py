"""Labels linked through the planes of a stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.labels.linking import Linked, LinkSettings, link_labels, link_planes, relabel
from tests.napari_sam3.effort import calls

Labels = npt.NDArray[Any]
LOOSE = LinkSettings(min_iou=0.4)


def stack(*planes: dict[int, tuple[int, int]], side: int = 8) -> Labels:
    """Return planes of 40 x 40 px with squares, by label and first pixel."""
    labels = np.zeros((len(planes), 40, 40), np.uint8)
    for plane, squares in zip(labels, planes, strict=True):
        for label, (row, column) in squares.items():
            plane[row : row + side, column : column + side] = label
    return labels


def test_overlapping_labels_are_one_object_however_they_are_numbered() -> None:
    labels = stack({1: (2, 2), 2: (20, 20)}, {1: (20, 21), 2: (3, 3)}, {5: (21, 22), 6: (4, 4)})
    linked = link_labels(labels, LinkSettings(min_iou=0.5))
    assert [plane.tolist() for plane in linked[:, [5, 22], [5, 23]]] == [[1, 2]] * 3


@pytest.mark.parametrize(("gap", "ids"), [(0, {0}), (1, {0, 1}), (3, {0, 1})])
def test_an_object_may_be_missing_on_a_few_planes(gap: int, ids: set[int]) -> None:
    labels = stack({1: (2, 2)}, {2: (2, 2)}, {}, {3: (2, 2)}, {4: (2, 2)})
    linked = link_labels(labels, LinkSettings(gap=gap, min_planes=3))
    assert set(np.unique(linked)) == ids


@pytest.mark.parametrize(("fewest", "kept", "removed"), [(1, 2, 0), (2, 1, 1), (3, 0, 3)])
def test_objects_of_too_few_planes_are_removed(fewest: int, kept: int, removed: int) -> None:
    labels = stack({1: (2, 2)}, {1: (2, 2), 2: (20, 20)}, {})
    linked = link_planes(labels, LinkSettings(min_planes=fewest))
    assert (linked.objects, linked.labels, linked.removed) == (kept, 3, removed)


def test_a_stack_of_few_planes_keeps_what_is_on_all_of_them() -> None:
    labels = stack({1: (2, 2)}, {1: (2, 2), 2: (20, 20)})
    assert link_planes(labels).planes == ({1: 1}, {1: 1, 2: 0})


def test_the_best_overlaps_in_sum_win() -> None:
    # One by one, 1 would take 2, with which it overlaps most, and leave 3 without a partner.
    labels = np.zeros((2, 4, 40), np.uint8)
    labels[0, :, 0:10], labels[0, :, 10:20] = 1, 4
    labels[1, :, 1:14], labels[1, :, 14:20] = 2, 3
    ids = link_planes(labels, LinkSettings(min_iou=0.1, min_planes=1)).planes
    assert ids == ({1: 1, 4: 4}, {2: 1, 3: 4})


def test_an_id_that_comes_twice_is_given_once() -> None:
    labels = stack({3: (2, 2)}, {3: (2, 2)}, {3: (20, 20)}, {3: (20, 20)})
    linked = link_labels(labels, LinkSettings(min_planes=2))
    assert [np.unique(plane).tolist() for plane in linked] == [[0, 3]] * 2 + [[0, 4]] * 2


def test_what_is_one_object_stays_one_though_it_overlaps_little() -> None:
    labels = stack({3: (2, 2)}, {5: (3, 3), 3: (8, 8)}, {3: (9, 9)})
    ids = link_planes(labels, LinkSettings(min_iou=0.5, min_planes=1)).planes
    assert [plane[3] for plane in ids] == [3] * 3
    assert ids[1][5] not in (0, 3)


def test_stacks_beside_each_other_share_no_object() -> None:
    one = stack({1: (2, 2)}, {2: (2, 2)}, {3: (2, 2)})
    linked = link_labels(np.stack([one, one]))
    assert [np.unique(part).tolist() for part in linked] == [[0, 1], [0, 4]]
    along_time = link_labels(np.stack([one] * 3), axis=0)
    assert [np.unique(part).tolist() for part in np.moveaxis(along_time, 1, 0)] == [
        [0, label] for label in (1, 2, 3)
    ]


def test_ids_get_the_type_they_need() -> None:
    labels = stack({255: (2, 2)}, {255: (20, 20)}, {255: (2, 2)})
    linked = link_labels(labels, LinkSettings(gap=0, min_planes=1))
    assert linked.dtype == np.uint16
    assert linked.max() == 257
    assert link_labels(np.zeros((3, 4, 4), bool)).dtype == np.uint8


def test_relabel_leaves_other_labels_alone() -> None:
    assert relabel(np.array([[0, 1, 9]]), {1: 4, 5: 6}).tolist() == [[0, 4, 9]]


def test_ten_thousand_labels_that_all_touch_are_linked_with_little_work() -> None:
    tiles = np.arange(1, 10_001).reshape(100, 100).repeat(6, 0).repeat(6, 1)
    linked: list[Linked] = []
    planes = [tiles, np.roll(tiles, 2, 1), np.roll(tiles, 4, 1)]
    assert calls(lambda: linked.append(link_planes(planes, LOOSE))) < 200 * 10_000
    assert linked[0].objects > 9_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_iou": 0.0}, "minimum IoU is 0.0"),
        ({"min_iou": float("nan")}, "minimum IoU is nan"),
        ({"gap": -1}, "gap is -1"),
        ({"min_planes": 0}, "minimum number of planes is 0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LinkSettings(**wrong)


@pytest.mark.parametrize("labels", [np.zeros((4, 4), int), np.zeros((2, 4, 4), int)])
def test_a_missing_axis_is_refused(labels: Labels) -> None:
    with pytest.raises(LabelError, match="cannot be linked along axis 1"):
        link_labels(labels, axis=1)


@pytest.mark.parametrize("label", [-1, -300, 2**63])
def test_a_label_that_cannot_be_linked_is_refused(label: int) -> None:
    dtype = np.int16 if label < 0 else np.uint64
    labels = stack({1: (2, 2)}, {1: (2, 2)}).astype(dtype)
    labels[1, 30:, 30:] = label
    with pytest.raises(LabelError, match=f"cannot be linked: {label}"):
        link_labels(labels)
