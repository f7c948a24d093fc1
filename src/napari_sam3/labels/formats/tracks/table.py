"""Track tables: one line per object and frame, in the order of napari's Tracks layer.

    track_id,t,y,x,area,parent_id
    1,0,12.5,30.25,120,
    2,1,14.0,30.5,60,1

The first columns are the rows of a Tracks layer, in frames and px.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.plain_values import label_of
from napari_sam3.core.tracks import TrackError, Tracks
from napari_sam3.labels.output_files import replacing

from .measuring import tracks_of

__all__ = ["read_track_table", "write_track_table"]

#: Names of each column in this and other programs, in any case.
_NAMES = {
    "track_id": ("track_id", "track", "id", "label"),
    "t": ("t", "frame", "time"),
    "parent_id": ("parent_id", "parent", "parent_track_id"),
    "area": ("area",),
}
_SPACE = ("z", "y", "x")


def write_track_table(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axis: int = 0,
    axes: ImageAxes | None = None,
    parents: Mapping[int, int | Sequence[int]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the tracks of a label image as CSV.

    Parameters
    ----------
    path : str or path-like
        File to write.
    labels : array-like of integers, T x ... x H x W
        Read one frame at a time.
    axis : int
        The time axis.
    axes : ImageAxes, optional
        Names of the axes.
    parents : mapping of int to int or sequence of int, optional
        The parent of each label that has one; several are separated by blanks.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ExportError
        If the file cannot be written.
    TrackError
        If the parents contradict the labels.
    """
    tracks = tracks_of(labels, axis, parents)
    axes = ImageAxes.default(len(labels.shape)) if axes is None else axes
    space = [name for at, name in enumerate(axes.names) if at != axis]
    with (
        replacing(path, overwrite) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["track_id", "t", *space, "area", "parent_id"])
        rows = zip(
            tracks.ids.tolist(),
            tracks.frames.tolist(),
            tracks.places.tolist(),
            tracks.areas.tolist(),
            strict=True,
        )
        for track, frame, place, area in rows:
            parent = " ".join(map(str, tracks.parents.get(track, ())))
            writer.writerow([track, frame, *place, area, parent])
    return Path(path)


def read_track_table(path: str | os.PathLike[str]) -> Tracks:
    """Read tracks from a CSV with columns for track, time, and z, y, x, in any order and case.

    Raises
    ------
    TrackError
        If the file is not a track table, or the tracks contradict each other.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [
                {str(name).strip().lower(): text for name, text in line.items()}
                for line in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrackError(
            f"{str(path)!r} cannot be read: {error}. Expected a CSV file. Check the file."
        ) from error
    columns = {
        wanted: next((name for name in names if lines and name in lines[0]), None)
        for wanted, names in _NAMES.items()
    }
    space = [name for name in _SPACE if lines and name in lines[0]]
    if columns["track_id"] is None or columns["t"] is None or not space:
        has = ", ".join(lines[0]) if lines else "no line"
        raise TrackError(
            f"{str(path)!r} is not a track table: it has {has}. Expected the columns track_id, t, "
            "y and x, optionally z and parent_id. Rename the columns."
        )
    parents: dict[int, tuple[int, ...]] = {}
    rows = []
    for number, line in enumerate(lines, 2):
        track = label_of(line[columns["track_id"]])
        frame = label_of(line[columns["t"]])
        try:
            place = [float(line[name]) for name in space]
        except (TypeError, ValueError):
            place = []
        if track is None or frame is None or not place:
            raise TrackError(
                f"line {number} of {str(path)!r} is {','.join(map(str, line.values()))}. Expected "
                "integers for track and frame, and numbers for the position. Correct the line."
            )
        area = label_of(line[columns["area"]]) if columns["area"] is not None else None
        rows.append((track, frame, place, area or 0))
        parent = _parents(line, columns["parent_id"], track)
        if parents.setdefault(track, parent) != parent:
            raise TrackError(
                f"track {track} has the parents {parents[track]} and, in line {number} of "
                f"{str(path)!r}, {parent}. Expected the same on all its lines. Correct the line."
            )
    ids, frames, places, areas = zip(*rows, strict=True)
    return Tracks.of(ids, frames, places, areas, parents)


def _parents(line: Mapping[str, Any], name: str | None, track: int) -> tuple[int, ...]:
    """Return the parents in a line; 0, -1 and the track itself mean none."""
    texts = str(line[name] or "").split() if name is not None else []
    found = [label_of(text) for text in texts]
    return tuple(one for one in found if one not in (None, 0, -1, track))
