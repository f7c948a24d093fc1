"""The accepted objects of an image that are still in its labels, which others may erase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .label_levels import finest

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.session.session import LabelingSession

    from .plane_source import PlaneSource

__all__ = ["PresentObjects"]


class PresentObjects:
    """Counts accepted objects by a pixel of each, which is looked up again at each question.

    Arrays that are not in memory are not read: there, all objects count.

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
        # By identity of an object, which is kept so that its identity stays its own.
        self._pixels: dict[int, tuple[AcceptedObject, tuple[Any, ...]]] = {}
        self.last = 0

    def count(self) -> int:
        """Return the number of objects of which a pixel is there; one on many planes is one."""
        data = finest(self._labels.data, multiscale=self._labels.multiscale)
        pixels, self._pixels = self._pixels, {}
        ids = set()
        for one in self._session.objects_in(self._labels.unique_id):
            if not self._source.is_ours(one.plane):
                continue
            if not isinstance(data, np.ndarray):
                ids.add(one.id)
                continue
            _, pixel = pixels.get(id(one), (one, None))
            if pixel is None or data[pixel] != one.id:
                pixel = _find_pixel(data, one)
            if pixel is not None:
                self._pixels[id(one)] = one, pixel
                ids.add(one.id)
        self.last = len(ids)
        return self.last


def _find_pixel(data: Any, one: AcceptedObject) -> tuple[Any, ...] | None:
    """Return the index of a pixel amid those that an object has left; None if it has none."""
    y0, x0, y1, x1 = one.bbox
    plane: Any = getattr(one.plane, "plane", one.plane)
    rows, columns = np.nonzero(data[plane.slices(slice(y0, y1), slice(x0, x1))] == one.id)
    if not rows.size:
        return None
    y, x = int(rows[rows.size // 2]) + y0, int(columns[rows.size // 2]) + x0
    pixel: tuple[Any, ...] = plane.slices(slice(y, y + 1), slice(x, x + 1))
    return pixel
