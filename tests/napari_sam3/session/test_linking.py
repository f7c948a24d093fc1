"""Labels of planes linked into objects of a stack: one step, kept, undone and replayed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.batch import Instance
from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import PlaneIndex, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.linking import LinkSettings
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.session.replay import replay_into
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor

Labels = npt.NDArray[Any]
PLANES = 4


def plane(z: int) -> PlaneIndex:
    return PlaneIndex((1, 2), (z,))


def targets(labels: Labels) -> list[ArrayTarget]:
    return [ArrayTarget(labels, plane(z), plane(z)) for z in range(len(labels))]


def box(number: int, row: int, column: int, **options: Any) -> Instance:
    return Instance(
        number, PlaneMask.from_array(np.ones((4, 4), bool), row, column), 0.75, **options
    )


def batch_session(predictor: Predictor, labels: Labels) -> LabelingSession:
    """Return a session with an object found on each plane, and one on the second alone."""
    session, planes = LabelingSession(predictor), targets(labels)
    batch = session.begin_batch(planes[0])
    for z, target in enumerate(planes):
        found = [box(2 * z + 1, 2, 2), *([box(2 * z + 2, 12, 12)] if z == 1 else [])]
        session.write_batch(batch, plane(z), target, found, predictor, Rendering())
    return session


def test_objects_of_planes_become_one_and_undo_brings_them_back(predictor: Predictor) -> None:
    labels = np.zeros((PLANES, 20, 20), np.uint16)
    session = batch_session(predictor, labels)
    before, objects = labels.copy(), session.objects
    linked = session.link(targets(labels))
    assert (linked.labels, linked.objects, linked.removed) == (5, 1, 1)
    assert np.unique(labels).tolist() == [0, 1]
    assert (labels[:, 3, 3] == 1).all()
    assert [(one.id, one.plane) for one in session.objects] == [(1, plane(z)) for z in range(4)]
    after = labels.copy()
    session.undo()
    np.testing.assert_array_equal(labels, before)
    assert {id(one) for one in session.objects} == {id(one) for one in objects}
    session.redo()
    np.testing.assert_array_equal(labels, after)
    assert {one.id for one in session.objects} == {1}


def test_labels_of_others_are_linked_as_well(predictor: Predictor) -> None:
    labels = np.zeros((PLANES, 20, 20), np.uint8)
    for z in range(PLANES):
        labels[z, 2:8, 2:8] = 10 * (z + 1)
    session, before = LabelingSession(predictor), labels.copy()
    session.link(targets(labels))
    assert np.unique(labels).tolist() == [0, 10]
    assert not session.objects
    session.undo()
    np.testing.assert_array_equal(labels, before)


def test_what_a_person_clicked_is_never_removed(predictor: Predictor) -> None:
    labels = np.zeros((PLANES, 20, 20), np.uint16)
    session = LabelingSession(predictor)
    batch = session.begin_batch(targets(labels)[0])
    clicked = box(1, 2, 2, prompts=PromptSet(((3, 3),), (1,)))
    session.write_batch(
        batch, plane(0), targets(labels)[0], [clicked, box(2, 12, 12)], predictor, Rendering()
    )
    session.link(targets(labels))
    assert np.unique(labels).tolist() == [0, 1]


def test_a_replay_gives_the_linked_labels(predictor: Predictor) -> None:
    labels = np.zeros((PLANES, 20, 20), np.uint16)
    session = batch_session(predictor, labels)
    session.link(targets(labels))
    again, other = np.zeros_like(labels), LabelingSession(predictor)
    picture = ArrayPlane(plane_from_array(np.zeros((20, 20), np.uint8)))

    def planes(key: Any) -> tuple[ArrayPlane, ArrayTarget]:
        return picture, targets(again)[key.index[0]]

    replay_into(other, session.operations, planes)
    np.testing.assert_array_equal(again, labels)
    assert {(one.id, one.plane) for one in other.objects} == {
        (one.id, one.plane) for one in session.objects
    }


def test_an_id_that_does_not_fit_leaves_everything_as_it_is(predictor: Predictor) -> None:
    labels = np.zeros((PLANES, 20, 20), np.uint8)
    labels[:, 2:6, 2:6] = 255
    labels[:2, 10:14, 2:6] = 3  # ends, and begins anew elsewhere under the same id
    labels[2:, 10:14, 12:16] = 3
    before, session = labels.copy(), LabelingSession(predictor)
    with pytest.raises(LabelError, match="256"):
        session.link(targets(labels), LinkSettings(min_planes=1))
    np.testing.assert_array_equal(labels, before)
    assert not session.can_undo


def test_nothing_to_link_is_said(predictor: Predictor) -> None:
    session = LabelingSession(predictor)
    with pytest.raises(NothingThereError, match="holds no label"):
        session.link(targets(np.zeros((2, 4, 4), np.uint8)))
    with pytest.raises(NothingThereError, match="no stack is open"):
        session.link()
