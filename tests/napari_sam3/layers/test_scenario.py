"""Thirty objects of a sample labelled by gestures alone, against a script with the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from napari_sam3.core.planes import plane_from_array
from napari_sam3.layers.plane_source import PlaneKey
from napari_sam3.session.session import LabelingSession
from sam3 import load_predictor
from sam3.predictor import Predictor

OpenDesk = Callable[..., Any]
PLANES = (5, 11, 17)
OBJECTS = 30


def centres(truth: npt.NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """Deepest pixel (row, column) and id of every object large enough to be clicked on."""
    found = []
    for label in np.unique(truth)[1:]:
        mask = truth == label
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth.max() > 5:
            found.append((int(row), int(column), int(label)))
    return found


class Labeller:
    """Somebody who labels a stack: clicks, drags, keys and sliders, and nothing else."""

    def __init__(self, desk: Any, truth: npt.NDArray[np.integer]) -> None:
        self.desk, self.truth = desk, truth
        self.count = 0

    @property
    def binding(self) -> Any:
        return self.desk.widget.binding

    def label_plane(self, z: int, count: int) -> None:
        desk, hand = self.desk, self.desk.hand
        desk.viewer.dims.set_current_step(0, z)
        QApplication.processEvents()
        until = self.count + count
        for row, column, label in centres(self.truth[z]):
            if self.count == until:
                break
            if self.binding.labels.data[z][row, column]:
                continue  # a neighbour's mask lies there: nobody would click
            if self.count % 7 == 3:
                rows, columns = np.nonzero(self.truth[z] == label)
                hand.drag((rows.min() - 1, columns.min() - 1), (rows.max() + 1, columns.max() + 1))
            else:
                hand.click((row, column))
            desk.settle()
            if self.count % 5 == 1:
                hand.click(self.beside(z, label), right=True)
                desk.settle()
            hand.type("N")
            desk.settle()
            self.count += 1
            self.disturb()

    def beside(self, z: int, label: int) -> tuple[int, int]:
        """A place of background near an object."""
        near = ndimage.binary_dilation(self.truth[z] == label, iterations=5)
        rows, columns = np.nonzero(near & (self.truth[z] == 0))
        return int(rows[0]), int(columns[0])

    def disturb(self) -> None:
        """Do what people do between objects; none of it may change the result."""
        desk, hand, binding = self.desk, self.desk.hand, self.binding
        if self.count == 4:
            for _ in range(3):
                hand.type("Control-Z")
            for _ in range(3):
                hand.type("Control-Shift-Z")
        elif self.count == 8:
            for layer in desk.viewer.layers:
                layer.name = f"{layer.name} renamed"
        elif self.count == 12:
            desk.viewer.layers.remove(binding.preview)
            desk.viewer.layers.remove(binding.points)
            QApplication.processEvents()
            way_back: Any = desk.widget.panel.way_back
            QTest.mouseClick(way_back, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
            QApplication.processEvents()
        elif self.count in (14, 22):
            accepted = desk.session.objects[-2]
            z = binding.plane.index[0]
            if accepted.plane.plane.index[0] == z:
                (y0, x0, y1, x1), labels = accepted.bbox, binding.labels.data[z]
                rows, columns = np.nonzero(labels[y0:y1, x0:x1] == accepted.id)
                middle = len(rows) // 2
                hand.click((y0 + rows[middle], x0 + columns[middle]), control=True)
                assert desk.session.draft_set.draft.label == accepted.id
                hand.click((y0 + rows[middle] + 1, x0 + columns[middle] + 1))
                desk.settle()
                hand.type("N")
                desk.settle()
        elif self.count == 18:
            hand.click((1, 1))
            desk.settle()
            hand.type("Q")
            desk.viewer.layers.move(0, len(desk.viewer.layers))
        desk.settle()


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return load_predictor(device="cpu")


def by_script(predictor: Predictor, image: Any, operations: Any) -> npt.NDArray[np.uint32]:
    """What a person writes who has the prompts and no viewer."""
    labels = np.zeros(image.shape, np.uint32)
    session = LabelingSession(predictor)
    for operation in operations:
        plane = operation.plane.plane
        session.set_plane(plane_from_array(image[plane.index[0]]), plane, labels)
        for made in operation.objects:
            if made.draft.label is not None:
                session.reopen(made.draft.label)
            for turn in made.draft.turns:
                session.set_prompts(turn.prompts)
                session.predict()
            session.accept()
    return labels


@pytest.mark.timeout(600)
def test_thirty_objects_by_gestures_are_those_of_a_script(
    open_desk: OpenDesk, tiny: Predictor
) -> None:
    desk = open_desk(model=tiny)
    desk.viewer.open_sample("napari-sam3", "stack")
    QApplication.processEvents()
    layers = desk.viewer.layers
    layers.selection.active = layers["stack"]
    image, truth = layers["stack"].data, layers["stack, truth"].data
    desk.viewer.reset_view()
    desk.widget.binding.listen()
    QApplication.processEvents()
    person = Labeller(desk, truth)
    for z in PLANES:
        person.label_plane(z, OBJECTS // len(PLANES))
    session, labels = desk.session, desk.widget.binding.labels.data
    assert person.count == OBJECTS
    assert len(session.objects) == OBJECTS
    assert {one.plane.plane.index[0] for one in session.objects} == set(PLANES)
    assert all(isinstance(one.plane, PlaneKey) for one in session.objects)
    assert not set(np.flatnonzero(labels.any(axis=(1, 2)))) - set(PLANES)

    scripted = by_script(tiny, image, session.operations)
    assert sorted(np.unique(scripted)) == sorted(np.unique(labels))
    assert (scripted == labels).mean() >= 0.9999
    right = [
        ((labels[z] == one.id) & (truth[z] > 0)).sum() / max(1, (labels[z] == one.id).sum())
        for one in session.objects
        for z in one.plane.plane.index
    ]
    assert np.median(right) > 0.8, "and most of what was labelled is nucleus"
