"""The accepted objects of an image that are still in its labels, which others may erase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .label_levels import finest

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.session.session import LabelingSession

    from .plane_source import PlaneSource

__all__ = ["PresentObjects"]


class PresentObjects:
    """Counts accepted objects by a pixel of each, which is looked up again at each question.

    All pixels are looked up at once, so that thousands of objects cost no more than a few. Arrays
    that are not in memory are not read: there, all objects count.

    Parameters
    ----------
    labels : Labels
        Where they were written.
    session : LabelingSession
        Knows them.
    source : PlaneSource
        Knows which planes are those of the image.

    Attributes
    ----------
    last : int
        The last count.
    """

    def __init__(self, labels: Labels, session: LabelingSession, source: PlaneSource) -> None:
        self._labels, self._session, self._source = labels, session, source
        self._every: tuple[AcceptedObject, ...] = ()
        self._ours: list[AcceptedObject] = []
        self._ids = np.zeros(0, np.uint64)
        # A column for each object, with -1 where no pixel of it is known.
        self._pixels = np.zeros((0, 0), np.intp)
        self._shape: tuple[int, ...] = ()
        self.last = 0

    def count(self) -> int:
        """Return the number of objects of which a pixel is there; one on many planes is one."""
        data = finest(self._labels.data, multiscale=self._labels.multiscale)
        self._follow(self._session.objects_in(self._labels.unique_id))
        ids = self._ids
        if isinstance(data, np.ndarray):
            ids = ids[self._find(data)]
        self.last = len(np.unique(ids))
        return self.last

    def _follow(self, every: tuple[AcceptedObject, ...]) -> None:
        """Note the objects there are; usually they are those of the last time, or a few more."""
        known = len(self._every)
        if every == self._every:
            return
        if every[:known] == self._every:
            news = [one for one in every[known:] if self._source.is_ours(one.plane)]
        else:
            before = {id(one): at for at, one in enumerate(self._ours)}
            seen = {id(one) for one in self._every}
            news = [
                one
                for one in every
                if id(one) in before or (id(one) not in seen and self._source.is_ours(one.plane))
            ]
            places = np.array([before.get(id(one), -1) for one in news], np.intp)
            nowhere = np.full((len(self._pixels), 1), -1)
            missing = max(0, len(self._ours) - self._pixels.shape[1])
            pixels = np.pad(self._pixels, ((0, 0), (0, missing)), constant_values=-1)
            self._pixels = np.concatenate([pixels, nowhere], axis=1)[:, places]
            self._ours, self._ids = [], self._ids[:0]
        self._every = every
        self._ours += news
        self._ids = np.append(self._ids, np.array([one.id for one in news], np.uint64))

    def _find(self, data: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which objects have a pixel in the labels; those not known are looked for."""
        if data.shape != self._shape:
            self._shape, self._pixels = data.shape, np.zeros((data.ndim, 0), np.intp)
        missing = len(self._ours) - self._pixels.shape[1]
        self._pixels = np.pad(self._pixels, ((0, 0), (0, missing)), constant_values=-1)
        if not self._ours:
            return np.zeros(0, np.bool_)
        there = data[tuple(self._pixels)] == self._ids.astype(data.dtype)
        there &= self._pixels[0] >= 0
        for number in np.flatnonzero(~there).tolist():
            pixel = _find_pixel(data, self._ours[number])
            self._pixels[:, number] = -1 if pixel is None else pixel
            there[number] = pixel is not None
        return np.asarray(there)


def _find_pixel(data: npt.NDArray[Any], one: AcceptedObject) -> list[int] | None:
    """Return the index of a pixel amid those that an object has left; None if it has none."""
    y0, x0, y1, x1 = one.bbox
    plane: Any = getattr(one.plane, "plane", one.plane)
    rows, columns = np.nonzero(data[plane.slices(slice(y0, y1), slice(x0, x1))] == one.id)
    if not rows.size:
        return None
    pixel = [0] * data.ndim
    for axis, place in zip(plane.other_axes, plane.index, strict=True):
        pixel[axis] = place
    middle = rows.size // 2
    for axis, place in zip(plane.axes, (rows[middle] + y0, columns[middle] + x0), strict=True):
        pixel[axis] = int(place)
    return pixel
