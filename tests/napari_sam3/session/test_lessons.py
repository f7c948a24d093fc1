"""Accepted objects as training data: windows, labels and clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.session.lessons import SIDE, find_lessons, write_lessons
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from sam3.training.learn_process import read_samples


def label_with(session: LabelingSession, *clicks: tuple[int, int]) -> int:
    polarity = [1] + [0] * (len(clicks) - 1)
    session.set_prompts(PromptSet.from_arrays(np.array(clicks, float), polarity))
    session.predict()
    accepted = session.accept()
    assert accepted is not None
    return accepted.id


@pytest.fixture
def labels() -> Any:
    return np.zeros((2, 900, 2000), np.int64)


def targets(labels: Any) -> dict[int, ArrayTarget]:
    return {z: ArrayTarget(labels, z, PlaneIndex((1, 2), (z,))) for z in (0, 1)}


@pytest.fixture
def session(predictor: Predictor, labels: Any) -> LabelingSession:
    session = LabelingSession(predictor, policy="overwrite")
    image = np.random.default_rng(0).integers(0, 255, (900, 2000, 3)).astype(np.uint8)
    session.set_plane(image, 0, targets(labels)[0])
    return session


def disc(labels: Any, number: int, x: int, y: int, radius: int = 20) -> None:
    labels[labels == number] = 0
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]]
    labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = number


def test_objects_come_once_with_labels_as_they_are_and_clicks(
    session: LabelingSession, labels: Any, tmp_path: Path
) -> None:
    made = [
        label_with(session, (100, 100), (160, 100)),
        label_with(session, (300, 120)),
        label_with(session, (1900, 800)),
    ]
    plane = labels[0]
    plane[:] = 0
    disc(plane, made[0], 100, 100)
    disc(plane, made[1], 300, 120)
    disc(plane, made[2], 1900, 800)
    disc(plane, 5_000_000_000, 500, 300)  # painted by hand
    disc(plane, 77, SIDE, 60)  # cut by the window
    lessons = find_lessons(session.objects, targets(labels).__getitem__)
    assert [len(np.unique(one.labels)) - 1 for one in lessons] == [3, 1]
    first, second = lessons
    rows, columns = first.region
    here = plane[rows, columns]
    for number, label in enumerate(sorted([made[0], made[1], 5_000_000_000]), start=1):
        np.testing.assert_array_equal(first.labels == number, here == label)
    order = sorted([made[0], made[1]])
    assert first.clicks.tolist() == [
        [order.index(made[0]) + 1, 100, 100, 1],
        [order.index(made[0]) + 1, 160, 100, 0],
        [order.index(made[1]) + 1, 300, 120, 1],
    ]
    (click,) = second.clicks.tolist()
    assert click[1] + second.region[1].start == 1900
    assert click[2] + second.region[0].start == 800

    image = ArrayPlane(
        np.arange(900 * 2000 * 3, dtype=np.uint64).astype(np.uint8).reshape(900, 2000, 3)
    )
    write_lessons(lessons, lambda key: image, tmp_path)
    samples = read_samples(tmp_path)
    np.testing.assert_array_equal(samples[0].image, image.region(rows, columns))
    assert samples[0].clicks[order.index(made[0]) + 1].tolist() == [[100, 100, 1], [160, 100, 0]]
    assert not samples[0].complete


def test_objects_of_a_batch_are_not_learnt_from(session: LabelingSession, labels: Any) -> None:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import Instance
    from napari_sam3.core.rendering import Rendering

    made = label_with(session, (100, 100)), label_with(session, (300, 120))
    target = targets(labels)[0]
    mask = np.zeros((900, 2000), bool)
    mask[:20, :20] = True
    writing = session.begin_batch(target)
    predictor = session.predictor
    assert predictor is not None
    found = [Instance(1, PlaneMask.from_array(mask), 0.9)]
    (batch,) = session.write_batch(writing, 0, target, found, predictor, Rendering())
    for place, one in enumerate(session.objects[:2]):
        row, column = one.bbox[:2]
        labels[0][labels[0] == one.id] = 0
        labels[0][row + 30 * place : row + 30 * place + 20, column : column + 20] = one.id
    assert made == tuple(one.id for one in session.objects[:2])
    (lesson,) = find_lessons(session.objects, targets(labels).__getitem__)
    assert len(np.unique(lesson.labels)) - 1 == 2
    assert not lesson.labels[mask[lesson.region]].any()
    only = [one for one in session.objects if one.id == batch.id]
    with pytest.raises(LabelError, match="too few objects to learn from: 0"):
        find_lessons(only, targets(labels).__getitem__)


def test_too_few_objects_are_refused(session: LabelingSession, labels: Any) -> None:
    with pytest.raises(LabelError, match="learn from: 0"):
        find_lessons(session.objects, targets(labels).__getitem__)
    label_with(session, (100, 100))
    with pytest.raises(LabelError, match="learn from: 1"):
        find_lessons(session.objects, targets(labels).__getitem__)
