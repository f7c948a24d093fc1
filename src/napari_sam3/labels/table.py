"""The table of accepted objects."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .measure import measure
from .output_files import replacing

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject

__all__ = ["ObjectRow", "format_table", "write_table"]


@dataclass(frozen=True)
class ObjectRow:
    """One row of the table of objects.

    Parameters
    ----------
    id : int
        Value of the object in the label image.
    plane : str
        Position on every axis before rows and columns, separated by spaces; empty in 2-D.
    score : float
        The model's estimate of the mask's IoU, about 0 to 1.
    area : int
        In px.
    centroid_y, centroid_x : float
        In px of the plane, with pixel centres at integers.
    x0, y0, x1, y1 : int
        Bounding box in px: the first column and row, and one past the last.
    points, boxes : int
        Number of prompts.
    """

    id: int
    plane: str
    score: float
    area: int
    centroid_y: float
    centroid_x: float
    x0: int
    y0: int
    x1: int
    y1: int
    points: int
    boxes: int

    @classmethod
    def measure(
        cls, accepted: AcceptedObject, labels: npt.NDArray[Any], position: Sequence[int] = ()
    ) -> ObjectRow:
        """Measure an accepted object in the present labels.

        Parameters
        ----------
        accepted : AcceptedObject
            From the session.
        labels : ndarray of integers, H x W
            Plane of the label image to which it was written.
        position : sequence of int
            Position of that plane on every axis before rows and columns.
        """
        y0, x0, y1, x1 = accepted.bbox
        measured = measure(labels[y0:y1, x0:x1] == accepted.id, y0, x0)
        if measured.area:
            centroid, (y0, x0, y1, x1) = measured.centroid, measured.bbox
        else:  # erased since
            centroid = (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2
        return cls(
            id=accepted.id,
            plane=" ".join(str(at) for at in position),
            score=round(accepted.score, 4),
            area=measured.area,
            centroid_y=round(centroid[0], 2),
            centroid_x=round(centroid[1], 2),
            x0=x0,
            y0=y0,
            x1=x1,
            y1=y1,
            points=len(accepted.prompts.points),
            boxes=int(accepted.prompts.box is not None),
        )


def write_table(
    path: str | os.PathLike[str], rows: Sequence[ObjectRow], *, overwrite: bool = False
) -> Path:
    """Write the table of objects as CSV with a header, one row per object.

    Parameters
    ----------
    path : str or path-like
        Path of the file; missing folders are created.
    rows : sequence of ObjectRow
        The objects.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    ExportError
        If the file exists or the folder cannot be written to.
    """
    with (
        replacing(path, overwrite) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([column.name for column in fields(ObjectRow)])
        writer.writerows(astuple(row) for row in rows)
    return Path(path)


def format_table(rows: Sequence[ObjectRow]) -> str:
    """Format the table of objects for a terminal."""
    lines = ["  id  score   area px  centre (x, y)    points  boxes"]
    lines += [
        f"{row.id:4d}  {row.score:5.2f}  {row.area:8d}  "
        f"{f'{row.centroid_x:.1f}, {row.centroid_y:.1f}':15s}  {row.points:6d}  {row.boxes:5d}"
        for row in rows
    ]
    return "\n".join(lines)
