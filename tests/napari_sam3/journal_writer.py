"""Changes of labels for the tests of journals; as a program, a process that is to be killed.

``python journal_writer.py FOLDER SEED COUNT`` appends changes and prints a line after each one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange, LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.records.journal import Journal

SHAPE = (3, 80, 90)
IMAGE = ImageIdentity("Zellen 細胞", SHAPE, "uint16", "0123456789abcdef" * 2)


def accepted(label: int, plane: PlaneIndex, bbox: tuple[int, int, int, int]) -> AcceptedObject:
    y0, x0, y1, x1 = bbox
    turns = (Turn(PromptSet(((float(x0), float(y0)),), (1,))),)
    return AcceptedObject(
        id=label,
        plane=plane,
        bbox=bbox,
        area=(y1 - y0) * (x1 - x0),
        score=0.9,
        draft=Draft(label, turns, PlaneMask(y0, x0, np.eye(3, dtype=bool))),
        field=FieldOfView(0, (0, 80), (0, 90), (0, 0), (0, 0)),
        candidate=0,
        level=None,
        typical_size=None,
        model="tiny",
        fingerprint="f" * 32,
        precision="float32",
        rendering=Rendering((), ((0.0, 255.0),)),
        category="",
        time="2025-02-03T04:05:06+00:00",
    )


def changes(
    seed: int, count: int, side: int = 30
) -> Iterator[tuple[LabelChange, npt.NDArray[Any], tuple[int, ...]]]:
    """Give a change, all labels after it, and the ids in effect after it; equal for equal seeds."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int32)
    done: list[tuple[Operation, tuple[slice, slice], npt.NDArray[Any], npt.NDArray[Any]]] = []
    undone: list[tuple[Operation, tuple[slice, slice], npt.NDArray[Any], npt.NDArray[Any]]] = []
    for number in range(1, count + 1):
        what = random.choice(
            ["accept", "paint", "delete", "undo", "redo"], p=[0.5, 0.1, 0.1, 0.2, 0.1]
        )
        direction: Any = "do"
        if what == "undo" and done:
            direction, step = "undo", done.pop()
            undone.append(step)
        elif what == "redo" and undone:
            direction, step = "redo", undone.pop()
            done.append(step)
        else:
            step = _step(random, labels, number, str(what), side)
            done.append(step)
            undone.clear()
        operation, region, before, after = step
        values = before if direction == "undo" else after
        assert isinstance(operation.plane, PlaneIndex)
        labels[operation.plane.slices(*region)] = values
        writes = operation.writes if direction == "do" else ()
        writes = writes or (LabelWrite(operation.plane, region, values),)
        yield LabelChange(operation, direction, writes), labels.copy(), _ids(done)


def _step(
    random: np.random.Generator, labels: npt.NDArray[Any], number: int, what: str, side: int
) -> tuple[Operation, tuple[slice, slice], npt.NDArray[Any], npt.NDArray[Any]]:
    plane = PlaneIndex((1, 2), (int(random.integers(SHAPE[0])),))
    row, column = (int(random.integers(n - side)) for n in SHAPE[1:])
    region = slice(row, row + side), slice(column, column + side)
    before = labels[plane.slices(*region)].copy()
    after = np.where(random.random((side, side)) < 0.7, number, before).astype(np.int32)
    if what == "paint":
        write = LabelWrite(plane, region, after)
        return Operation("paint", plane, writes=(write,)), region, before, after
    present = np.unique(before[before > 0])
    if what == "delete" and present.size:
        after = np.where(before == present[0], 0, before).astype(np.int32)
        return Operation("delete", plane, labels=(int(present[0]),)), region, before, after
    made = accepted(number, plane, (row, column, row + side, column + side))
    return Operation("accept", plane, (made,)), region, before, after


def _ids(done: list[Any]) -> tuple[int, ...]:
    objects: dict[tuple[Any, int], None] = {}
    for operation, *_ in done:
        for label in operation.labels:
            objects.pop((operation.plane, label), None)
        for made in operation.objects:
            objects[made.plane, made.id] = None
    return tuple(label for _, label in objects)


def main(folder: str, seed: str, count: str) -> None:
    journal = Journal(IMAGE, SHAPE, np.int32, folder=folder)
    print("held", journal.path, flush=True)
    for number, (change, _, _) in enumerate(changes(int(seed), int(count)), 1):
        journal.append(change)
        print(number, flush=True)
    while True:  # until it is killed
        time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
