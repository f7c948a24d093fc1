"""Tracks of a Labels layer, measured by frame, and updated only where labels changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.axes import ImageAxes, is_time
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.tracks import Parents, Span, TrackError, Tracks, sound_parents

from .writers import layer_axes

if TYPE_CHECKING:
    from napari_sam3.core.operations import LabelWrite
    from napari_sam3.labels.formats.tracks.measuring import FrameMeasure
    from napari_sam3.labels.targets import LabelTarget

    from .label_layer import LabelStore

__all__ = ["MeasuredFrames", "truncated"]

#: Labels with more bytes are measured only on request.
QUICK_BYTES = 1 << 28


class MeasuredFrames:
    """The objects of each frame.

    Parameters
    ----------
    store : LabelStore
        The labels.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self._frames: list[FrameMeasure | None] = []

    @property
    def known(self) -> bool:
        """Whether the frames were measured before; some may be outdated."""
        return bool(self._frames)

    @property
    def is_series(self) -> bool:
        """Whether an axis of the layer is declared as time, and its frames are quick to measure."""
        layer = self._store.layer
        axes = zip(layer.axis_labels, self._axes.units, strict=True)
        timed = any(is_time(str(name), unit) for name, unit in list(axes)[:-2])
        data = self._store.data
        return timed and isinstance(data, np.ndarray) and data.nbytes <= QUICK_BYTES

    @property
    def _axes(self) -> ImageAxes:
        layer = self._store.layer
        names = ("axis_labels", "units", "scale", "translate")
        return layer_axes({name: getattr(layer, name) for name in names}, layer.ndim)

    @property
    def axis(self) -> int:
        """The axis of time; raises TrackError if there is none, or it is not the first one."""
        from napari_sam3.labels.formats.tracks.measuring import time_axis

        axis = time_axis(self._axes, self._store.data.shape)
        if axis:
            raise TrackError(
                f"time is axis {axis} of {self._store.layer.name!r}. Expected axis 0, as in "
                "napari's Tracks layers. Move the axis in the image and the labels."
            )
        return axis

    def forget(self) -> None:
        """Mark all frames as outdated."""
        self._frames = []

    def outdate(self, writes: Iterable[LabelWrite]) -> None:
        """Mark the frames that were written to as outdated."""
        for write in writes if self._frames else ():
            plane = getattr(write.plane, "plane", write.plane)
            assert isinstance(plane, PlaneIndex), "the keys of a viewer are indices"
            fixed = dict(zip(plane.other_axes, plane.index, strict=True))
            free = dict(zip(plane.axes, write.region, strict=True))
            span = slice(fixed[0], fixed[0] + 1) if 0 in fixed else free[0]
            for frame in range(span.start, span.stop):
                self._frames[frame] = None

    def tracks(self, parents: Parents) -> Tracks:
        """Return the current tracks, with the valid links."""
        from napari_sam3.labels.formats.tracks.measuring import frame_of, gather, measure_frame

        data, axis = self._store.data, self.axis
        if len(self._frames) != data.shape[axis]:
            self._frames = [None] * data.shape[axis]
        measured: list[FrameMeasure] = []
        for at, known in enumerate(self._frames):
            frame = known if known is not None else measure_frame(frame_of(data, axis, at))
            self._frames[at] = frame
            measured.append(frame)
        tracks = gather(measured)
        return tracks.with_parents(sound_parents(tracks.spans, parents))

    def targets(self, label: int, tracks: Tracks, begin: int) -> Iterator[LabelTarget]:
        """Yield the planes with pixels of a label, from a frame on."""
        data = self._store.data
        lead = data.shape[1:-2]
        for frame in tracks.frames[tracks.ids == label].tolist():
            for depth in np.ndindex(*lead) if frame >= begin else ():
                if (np.asarray(data[(frame, *depth)]) == label).any():
                    axes = data.ndim - 2, data.ndim - 1
                    yield self._store.plane(PlaneIndex(axes, (frame, *depth)))


def truncated(spans: Mapping[int, Span], label: int, before: int) -> dict[int, Span]:
    """Return spans in which a label ends before a frame, if it begins earlier."""
    begin, end = spans[label]
    return {**spans, label: (begin, min(end, before - 1) if begin < before else end)}
