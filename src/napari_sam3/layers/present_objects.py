"""Count of accepted objects that are still in the labels, since other tools may erase them."""

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
    """Count accepted objects by one pixel of each, which is read again for every count.

    All pixels are read at once, so that thousands of objects take no longer than a few. Arrays
    that are not in memory are not read; all of their objects count.

    Parameters
    ----------
    labels : Labels
        Layer with the objects.
    session : LabelingSession
        Session with the accepted objects.
    source : PlaneSource
        Decides which planes belong to the image.

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
        # One column per object, with -1 if no pixel of it is known.
        self._pixels = np.zeros((0, 0), np.intp)
        self._shape: tuple[int, ...] = ()
        # Whether each object is on one plane.
        self._planar = True
        self.last = 0

    def count(self) -> int:
        """Return the number of objects with a pixel; an object on many planes counts once."""
        data = finest(self._labels.data, multiscale=self._labels.multiscale)
        self._follow(self._session.objects_in(self._labels.unique_id))
        there = self._find(data) if isinstance(data, np.ndarray) else np.ones(len(self._ids), bool)
        if self._planar:
            self.last = int(np.count_nonzero(there))
        else:
            self.last = len(np.unique(self._ids[there]))
        return self.last

    def _follow(self, every: tuple[AcceptedObject, ...]) -> None:
        """Update the objects; usually they are the same, or a few more."""
        known = len(self._every)
        if every == self._every:
            return
        if every[:known] == self._every:
            news = [accepted for accepted in every[known:] if self._source.is_ours(accepted.plane)]
        else:
            before = {id(accepted): at for at, accepted in enumerate(self._ours)}
            seen = {id(accepted) for accepted in self._every}
            news = [
                accepted
                for accepted in every
                if id(accepted) in before
                or (id(accepted) not in seen and self._source.is_ours(accepted.plane))
            ]
            places = np.array([before.get(id(accepted), -1) for accepted in news], np.intp)
            nowhere = np.full((len(self._pixels), 1), -1)
            missing = max(0, len(self._ours) - self._pixels.shape[1])
            pixels = np.pad(self._pixels, ((0, 0), (0, missing)), constant_values=-1)
            self._pixels = np.concatenate([pixels, nowhere], axis=1)[:, places]
            self._ours, self._ids = [], self._ids[:0]
        self._every = every
        self._ours += news
        self._ids = np.append(self._ids, np.array([one.id for one in news], np.uint64))
        self._planar = len(np.unique(self._ids)) == len(self._ids)

    def _find(self, data: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which objects have a pixel in the labels; search for unknown ones."""
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


def _find_pixel(data: npt.NDArray[Any], accepted: AcceptedObject) -> list[int] | None:
    """Return the index of the middle one of an object's remaining pixels; None without any."""
    y0, x0, y1, x1 = accepted.bbox
    plane: Any = getattr(accepted.plane, "plane", accepted.plane)
    rows, columns = np.nonzero(data[plane.slices(slice(y0, y1), slice(x0, x1))] == accepted.id)
    if not rows.size:
        return None
    pixel = [0] * data.ndim
    for axis, place in zip(plane.other_axes, plane.index, strict=True):
        pixel[axis] = place
    middle = rows.size // 2
    for axis, place in zip(plane.axes, (rows[middle] + y0, columns[middle] + x0), strict=True):
        pixel[axis] = int(place)
    return pixel
