"""The track formats, with their time axis and the parents of tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_sam3.core.plain_values import label_of
from napari_sam3.core.tracks import TrackError, Tracks
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.output_files import ExportError, already_exists, check_output

from .channels import of_one_channel
from .ctc import CtcKind, is_ctc, read_ctc, write_ctc
from .geff import read_geff, write_geff
from .measuring import time_axis, tracks_of
from .table import read_track_table, write_track_table

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.labels.formats.output import LabelOutput

__all__ = [
    "PARENT",
    "TrackFile",
    "check_folder",
    "parents_in",
    "read_tracks",
    "with_parents",
    "write_graph",
    "write_result",
    "write_rows",
    "write_truth",
]

#: Column of object tables with the parents of a track, separated by blanks.
PARENT = "parent"
ParentsLike = Mapping[int, int | Sequence[int]]


@dataclass(frozen=True, eq=False)
class TrackFile:
    """The content of a track file.

    Parameters
    ----------
    tracks : Tracks
        Ids, frames, positions and parents.
    labels : ndarray of integers, T x (Z x) H x W, optional
        The pixels, if the format stores them.
    axes : ImageAxes, optional
        Scale, units and translation of time and space, if the format stores them.
    """

    tracks: Tracks
    labels: npt.NDArray[Any] | None = None
    axes: ImageAxes | None = None


def read_tracks(path: str | os.PathLike[str]) -> TrackFile:
    """Read tracks of the Cell Tracking Challenge, GEFF, or a table.

    Parameters
    ----------
    path : str or path-like
        A folder such as ``01_RES``, ``01_GT`` or ``tracks.geff``, or a CSV with the columns
        track_id, t, y and x, perhaps z and parent_id.

    Raises
    ------
    sam3.errors.ImageError
        If the folder has another format.
    TrackError
        If the file is not a table of tracks, or the tracks contradict each other.
    """
    path = Path(path)
    if is_ctc(path):
        labels, parents = read_ctc(path)
        return TrackFile(tracks_of(labels, parents=parents), labels)
    if path.is_dir():
        tracks, axes = read_geff(path)
        return TrackFile(tracks, axes=axes)
    return TrackFile(read_track_table(path))


def parents_in(table: ObjectTable | None) -> dict[int, tuple[int, ...]]:
    """Return the parents in the column "parent" of an object table.

    Raises
    ------
    TrackError
        If a value is not an id, or several ids separated by blanks.
    """
    parents: dict[int, tuple[int, ...]] = {}
    for (label, _), known in (table.rows if table is not None else {}).items():
        texts = str(known.get(PARENT, "")).split()
        found = [label_of(text) for text in texts]
        if None in found:
            raise TrackError(
                f"the parent of label {label} is {known[PARENT]!r} in the table. Expected the id "
                "of a label. Correct the column 'parent'."
            )
        several = tuple(one for one in found if one)
        if several:
            parents[label] = several
    return parents


def with_parents(table: ObjectTable, parents: Mapping[int, Sequence[int]]) -> ObjectTable:
    """Return a copy of a table with the parents of labels in its column "parent"."""
    rows = {key: dict(known) for key, known in table.rows.items()}
    for child, several in parents.items():
        rows.setdefault((child, ""), {})[PARENT] = " ".join(map(str, several))
    return ObjectTable(rows)


def write_result(output: LabelOutput, **options: Any) -> Path:
    """Write a result for the Cell Tracking Challenge; see `write_ctc`."""
    return _write_ctc(output, "result", **options)


def write_truth(output: LabelOutput, **options: Any) -> Path:
    """Write ground truth for the Cell Tracking Challenge; see `write_ctc`."""
    return _write_ctc(output, "truth", **options)


def write_graph(output: LabelOutput, **options: Any) -> Path:
    """Write a graph; see `write_geff`."""
    output = of_one_channel(output)
    return write_geff(output.path, output.labels, axes=output.axes, **_options(output, **options))


def write_rows(output: LabelOutput, **options: Any) -> Path:
    """Write a table; see `write_track_table`."""
    output = of_one_channel(output)
    return write_track_table(
        output.path, output.labels, axes=output.axes, **_options(output, **options)
    )


def check_folder(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise ExportError if a folder cannot be written, before any work is done."""
    path = Path(path)
    if path.is_file():
        raise ExportError(
            f"{str(path)!r} is a file. Expected a folder or a new name. Choose another one."
        )
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise already_exists(path)
    check_output(path.with_name(f".{path.name}.partial.txt"), overwrite=True)


def _write_ctc(output: LabelOutput, kind: CtcKind, **options: Any) -> Path:
    output = of_one_channel(output)
    return write_ctc(output.path, output.labels, kind=kind, **_options(output, **options))


def _options(output: LabelOutput, *, parents: ParentsLike | None = None) -> dict[str, Any]:
    """Return the options of all track formats; the table names the parents by default."""
    return {
        "axis": time_axis(output.axes, output.shape),
        "parents": parents_in(output.given_table) if parents is None else parents,
        "overwrite": output.overwrite,
    }
