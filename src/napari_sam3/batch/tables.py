"""Tables of the objects of a batch, from its records."""

from __future__ import annotations

import os
from collections.abc import Iterator

from napari_sam3.labels.table import ObjectRow

from .output import folder_beside
from .results import BatchError
from .unit_records import Records, position_of

__all__ = ["read_objects"]


def read_objects(output: str | os.PathLike[str]) -> Iterator[ObjectRow]:
    """Yield each object of each finished plane, without reading pixels.

    Parameters
    ----------
    output : path-like
        Labels of a running or finished batch.

    Yields
    ------
    ObjectRow
        The visible part of an object, without pixels that others cover. Objects without visible
        pixels are skipped.

    Raises
    ------
    BatchError
        If the output has no records.
    """
    folder = folder_beside(output)
    if not (folder / "manifest.json").exists():
        raise BatchError(
            f"no records in {str(folder)!r}. Expected the output of a batch with its folder of "
            "records. Check the path."
        )
    records = Records(folder)
    positions = sorted(map(position_of, records.names("painted")))
    for position in positions:
        painted = records.painted_at(position)
        if painted is None:
            continue
        for extent, score, (points, boxes) in zip(
            painted.extents, painted.scores, painted.prompts, strict=True
        ):
            if extent.area:
                y0, x0, y1, x1 = extent.bbox
                yield ObjectRow(
                    id=extent.id,
                    plane=" ".join(map(str, position)),
                    score=round(score, 4),
                    area=extent.area,
                    centroid_y=round(extent.centroid[0], 2),
                    centroid_x=round(extent.centroid[1], 2),
                    x0=x0,
                    y0=y0,
                    x1=x1,
                    y1=y1,
                    points=points,
                    boxes=boxes,
                )
