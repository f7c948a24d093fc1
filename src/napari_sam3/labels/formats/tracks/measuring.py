"""Tracks measured from a label image through time; each id is a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes, is_time
from napari_sam3.core.tracks import TrackError, Tracks
from napari_sam3.labels.formats.label_planes import check_labels

__all__ = ["FrameMeasure", "frame_of", "gather", "measure_frame", "time_axis", "tracks_of"]

_MOST_ID = 2**63 - 1


@dataclass(frozen=True, eq=False)
class FrameMeasure:
    """The objects of one frame.

    Parameters
    ----------
    ids, areas : ndarray of int64, N
        Labels in ascending order, and their areas in px.
    places : ndarray of float64, N x D
        Centroids in px along the axes of the frame.
    """

    ids: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]
    places: npt.NDArray[np.float64]


def time_axis(axes: ImageAxes, lengths: Sequence[int]) -> int:
    """Return the time axis: by its name or unit, or the only axis before rows and columns.

    Raises
    ------
    TrackError
        If there is none, or several are possible.
    """
    lead = range(axes.ndim - 2)
    times = [at for at in range(axes.ndim) if is_time(axes.names[at], axes.units[at])]
    named = [at for at in times if at in lead]
    if times and not named:
        raise TrackError(
            f"time is axis {times[0]} of {', '.join(axes.names)}, among rows and columns, which "
            "are the last two. Expected axis 0. Move the axis in the image and the labels."
        )
    long = [at for at in lead if lengths[at] > 1]
    for fitting in (named, long):
        if len(fitting) == 1:
            return fitting[0]
    if not named and len(lead) == 1:
        return 0
    raise TrackError(
        f"no time axis: {', '.join(axes.names)} of lengths {tuple(lengths)}. Expected one named t "
        "or time, or a single one before rows and columns. Name it in the file, or in the "
        "layer's axis_labels."
    )


def frame_of(labels: Any, axis: int, frame: int) -> npt.NDArray[Any]:
    """Read a frame: all axes except time."""
    index: list[int | slice] = [slice(None)] * len(labels.shape)
    index[axis] = frame
    pixels = np.asarray(labels[tuple(index)])
    return pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels


def measure_frame(frame: npt.NDArray[Any]) -> FrameMeasure:
    """Measure all objects of a frame.

    Parameters
    ----------
    frame : ndarray of integers, any shape
        0 is background.

    Raises
    ------
    TrackError
        If a label is negative or does not fit into 63 bits.
    """
    where = np.flatnonzero(frame)
    ids, numbers, areas = np.unique(frame.ravel()[where], return_inverse=True, return_counts=True)
    if ids.size and (int(ids[0]) < 0 or int(ids[-1]) > _MOST_ID):
        wrong = int(ids[0]) if int(ids[0]) < 0 else int(ids[-1])
        raise TrackError(
            f"the label {wrong} cannot be a track. Expected labels from 1 to {_MOST_ID}. "
            "Renumber the labels."
        )
    places = np.zeros((ids.size, frame.ndim))
    for at, coordinates in enumerate(np.unravel_index(where, frame.shape)):
        places[:, at] = np.bincount(numbers, coordinates, ids.size) / areas
    return FrameMeasure(ids.astype(np.int64), areas.astype(np.int64), places)


def tracks_of(
    labels: Any,
    axis: int = 0,
    parents: Mapping[int, int | Sequence[int]] | None = None,
) -> Tracks:
    """Measure the tracks of a label image, reading one frame at a time.

    Parameters
    ----------
    labels : array-like of integers, T x ... x H x W
        numpy, dask or zarr. An object has one label on all frames.
    axis : int
        The time axis.
    parents : mapping of int to int or sequence of int, optional
        The parent of each label that has one.

    Returns
    -------
    Tracks

    Raises
    ------
    TrackError
        If the parents contradict the labels; see `napari_sam3.core.tracks.check_parents`.
    sam3.errors.ImageError
        If the labels are not a label image.
    """
    check_labels(labels)
    shape = tuple(int(length) for length in labels.shape)
    if not -len(shape) <= axis < len(shape) or len(shape) < 3:
        raise TrackError(
            f"labels of shape {shape} have no time axis {axis}. Expected frames of rows and "
            "columns. Put the frames into one image."
        )
    axis %= len(shape)
    frames = [measure_frame(frame_of(labels, axis, at)) for at in range(shape[axis])]
    return gather(frames, parents)


def gather(
    frames: Sequence[FrameMeasure],
    parents: Mapping[int, int | Sequence[int]] | None = None,
) -> Tracks:
    """Combine measured frames; raises like `tracks_of`."""
    counts = [one.ids.size for one in frames]
    return Tracks.of(
        np.concatenate([one.ids for one in frames]) if frames else [],
        np.repeat(np.arange(len(frames)), counts),
        np.concatenate([one.places for one in frames]) if frames else np.zeros((0, 2)),
        np.concatenate([one.areas for one in frames]) if frames else [],
        parents,
    )
