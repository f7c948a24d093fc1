"""Accepted objects as training data: parts of planes with their labels and clicks.

::

    plane +-----------------+      one window around objects that lie close together; labels cut
          |  +-----+        |      by its border are left out, and no object is in two windows
          |  | a b |  +---+ |
          |  +-----+  | c | |
          +-----------+---+-+
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError

if TYPE_CHECKING:
    from napari_sam3.core.masks import Region
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.prompts import PromptSet
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.labels.targets import LabelTarget

__all__ = ["Lesson", "find_lessons", "write_lessons"]

Box = tuple[int, int, int, int]  # row, column, row, column: first and one past the last

SIDE = 768  # px of a window
MOST_WINDOWS = 48
LEAST_OBJECTS = 2


@dataclass(frozen=True, eq=False)
class Lesson:
    """One window of a plane.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : Region
        Rows and columns of the window, in px of the plane.
    labels : ndarray of int32, H x W
        Objects made by the user, and labels of which the session does not know the origin.
    clicks : ndarray of float32, N x 4
        Label, x, y (in px of the window) and polarity of each click, in the order of clicking.
    """

    plane: Hashable
    region: Region
    labels: npt.NDArray[np.int32]
    clicks: npt.NDArray[np.float32]


def find_lessons(
    objects: Iterable[AcceptedObject], labels_on: Callable[[Any], LabelTarget]
) -> list[Lesson]:
    """Collect the objects to learn from.

    Objects that were propagated, or found by a search or a batch, are not learnt from: the user
    has not shown the model what they are.

    Parameters
    ----------
    objects : iterable of AcceptedObject
        Of one label image.
    labels_on : callable
        Returns the labels of a plane, given its key.

    Raises
    ------
    LabelError
        If there are too few objects.
    """
    by_plane: dict[Hashable, list[AcceptedObject]] = defaultdict(list)
    for accepted in objects:
        by_plane[accepted.plane].append(accepted)
    found = [
        lesson
        for plane, here in by_plane.items()
        for lesson in _windows(plane, here, labels_on(plane))
    ]
    count = sum(len(np.unique(lesson.labels[lesson.labels > 0])) for lesson in found)
    if count < LEAST_OBJECTS:
        raise LabelError(
            f"too few objects to learn from: {count}. Expected at least {LEAST_OBJECTS}, better "
            "20, made with clicks or boxes. Accept more objects."
        )
    chosen = np.linspace(0, len(found) - 1, min(MOST_WINDOWS, len(found)))
    return [found[int(place)] for place in chosen]


def _windows(
    plane: Hashable, objects: Sequence[AcceptedObject], target: LabelTarget
) -> Iterator[Lesson]:
    """Yield windows that cover the user's objects on a plane, each object in one of them."""
    shown = {one.id: one for one in objects if one.draft.turns}
    foreign = [one.id for one in objects if one.id not in shown]
    boxes = {label: _box_now(one, target) for label, one in shown.items()}
    waiting = sorted((box, label) for label, box in boxes.items() if box is not None)
    done: list[int] = []
    while waiting:
        region = _window(waiting[0][0], target.shape)
        labels = target.read(region)
        cut = _cut_labels(labels, region, target.shape)
        labels[np.isin(labels, [*done, *foreign, *cut])] = 0
        present = [int(label) for label in np.unique(labels) if label > 0]
        done += [*present, waiting[0][1]]
        waiting = [one for one in waiting if one[1] not in done]
        if present:
            made = [(label, shown[label].prompts) for label in present if label in shown]
            yield Lesson(plane, region, _numbered(labels, present), _clicks(made, present, region))


def _box_now(accepted: AcceptedObject, target: LabelTarget) -> Box | None:
    """Return the box of the rest of an object, which may have been painted over since."""
    row, column, row_stop, column_stop = accepted.bbox
    mask = target.read((slice(row, row_stop), slice(column, column_stop))) == accepted.id
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)) + row, np.flatnonzero(mask.any(0)) + column
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _window(bbox: Box, shape: tuple[int, int]) -> Region:
    """Return a window around a bounding box, inside the plane."""
    side = max(SIDE, 2 * (bbox[2] - bbox[0]), 2 * (bbox[3] - bbox[1]))
    sides = []
    for first, stop, length in ((bbox[0], bbox[2], shape[0]), (bbox[1], bbox[3], shape[1])):
        start = min(max(0, (first + stop - side) // 2), max(0, length - side))
        sides.append(slice(start, min(length, start + side)))
    return sides[0], sides[1]


def _cut_labels(
    labels: npt.NDArray[Any], region: Region, shape: tuple[int, int]
) -> npt.NDArray[Any]:
    """Return the labels at borders of a window that are not borders of the plane."""
    rows, columns = region
    borders = (
        (labels[0], rows.start > 0),
        (labels[-1], rows.stop < shape[0]),
        (labels[:, 0], columns.start > 0),
        (labels[:, -1], columns.stop < shape[1]),
    )
    return np.unique(np.concatenate([[0], *(border for border, inner in borders if inner)]))


def _numbered(labels: npt.NDArray[Any], present: Sequence[int]) -> npt.NDArray[np.int32]:
    """Renumber labels from 1 in their order, since ids may exceed 32 bits."""
    places = np.searchsorted(present, labels.ravel()).reshape(labels.shape) + 1
    return np.where(labels > 0, places, 0).astype(np.int32)


def _clicks(
    made: Iterable[tuple[int, PromptSet]], present: Sequence[int], region: Region
) -> npt.NDArray[np.float32]:
    left, top = region[1].start, region[0].start
    rows = [
        (present.index(label) + 1, x - left, y - top, polarity)
        for label, prompts in made
        for (x, y), polarity in zip(prompts.points, prompts.labels, strict=True)
    ]
    return np.array(rows, np.float32).reshape(-1, 4)


def write_lessons(
    lessons: Sequence[Lesson], image_of: Callable[[Any], PlaneImage], folder: Path
) -> None:
    """Write lessons with their pixels, one npz file each; for `sam3.training.learn_process`.

    Parameters
    ----------
    lessons : sequence of Lesson
    image_of : callable
        Returns the image of a plane, given its key; called on this thread.
    folder : Path
        An empty folder.

    Raises
    ------
    sam3.errors.ImageError
        If a plane cannot be read.
    OSError
        If the disk is full.
    """
    for number, lesson in enumerate(lessons):
        pixels = image_of(lesson.plane).region(*lesson.region)
        np.savez(
            folder / f"{number:04d}.npz",
            image=np.broadcast_to(pixels, (*lesson.labels.shape, 3)),
            labels=lesson.labels,
            clicks=lesson.clicks,
        )
