"""A table of regions: one row for each object on each plane, as CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import plain
from napari_sam3.labels.measure import measure
from napari_sam3.labels.output_files import ExportError, replacing

from .label_planes import Position, check_labels, objects, plane_positions
from .object_table import ObjectTable, plane_text

__all__ = ["region_rows", "write_regions"]

_BATCH = 4096

Write = Callable[[Sequence[Mapping[str, Any]]], None]


def region_rows(
    labels: Any, *, axes: ImageAxes | None = None, table: ObjectTable | None = None
) -> Iterator[dict[str, Any]]:
    """Measure all objects of a label image.

    Parameters
    ----------
    labels : array-like of integers, ... x H x W
        Label image.
    axes : ImageAxes, optional
        Units and scale.
    table : ObjectTable, optional
        What else is known; its columns follow.

    Yields
    ------
    dict
        "id", "plane" (place on every axis before rows and columns, separated by blanks), in px
        "area", "centroid_y", "centroid_x" (pixel centres at integers), "x0", "y0", "x1", "y1"
        (the first column and row, and one past the last); the area, the centroid and the place on
        the other axes in the units of the axes, as "..._physical", with "unit" for rows and
        columns; then the columns of the table.
    """
    check_labels(labels)
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
    columns = table.columns()
    for position in plane_positions(labels):
        for label, mask in objects(labels, position):
            known = table.known(label, position)
            row = _measure(label, mask, position, axes)
            yield {**row, **{name: known.get(name) for name in columns}}


def write_regions(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the table of regions, a few thousand rows at a time.

    Parameters
    ----------
    path : str or path-like
        File to write: Parquet if it ends in .parquet, else CSV.
    labels, axes, table
        As for `region_rows`.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ExportError
        If pyarrow, which Parquet needs, is not installed; or it cannot be written.
    sam3.errors.ImageError
        If it is not a label image.
    """
    check_labels(labels)
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
    # Of an object that is there in any case, so that a table without rows has its columns, too.
    example = _measure(1, PlaneMask(0, 0, np.ones((1, 1), bool)), (0,) * (labels.ndim - 2), axes)
    rows = region_rows(labels, axes=axes, table=table)
    parquet = Path(path).suffix.lower() == ".parquet"
    opened = _parquet if parquet else _csv
    with (
        replacing(path, overwrite) as partial,
        opened(partial, example, table, labels.dtype) as write,
    ):
        batch: list[Mapping[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                write(batch)
                batch = []
        write(batch)
    return Path(path)


def _measure(label: int, mask: PlaneMask, position: Position, axes: ImageAxes) -> dict[str, Any]:
    measured = measure(mask.crop, mask.row, mask.column)
    area, (y, x), (top, left, bottom, right) = measured.area, measured.centroid, measured.bbox
    place = [start + step * at for start, step, at in zip(
        axes.translate, axes.scale, (*position, y, x), strict=True
    )]  # fmt: skip
    units = dict.fromkeys(unit or "pixel" for unit in axes.units[-2:])
    return {
        "id": label,
        "plane": plane_text(position),
        "area": area,
        "centroid_y": y,
        "centroid_x": x,
        "x0": left,
        "y0": top,
        "x1": right,
        "y1": bottom,
        "area_physical": area * abs(axes.scale[-2] * axes.scale[-1]),
        "centroid_y_physical": place[-2],
        "centroid_x_physical": place[-1],
        **{f"{name}_physical": at for name, at in zip(axes.names[:-2], place[:-2], strict=True)},
        "unit": " x ".join(units),
    }


@contextlib.contextmanager
def _csv(path: Path, example: Mapping[str, Any], table: ObjectTable, dtype: Any) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*example, *table.columns()])
        writer.writeheader()
        yield writer.writerows


@contextlib.contextmanager
def _parquet(
    path: Path, example: Mapping[str, Any], table: ObjectTable, dtype: Any
) -> Iterator[Write]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow, which is not installed; pip install 'napari-sam3[formats]', or "
            "write a CSV"
        ) from error
    kinds: dict[type, Any] = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    fields = [(name, kinds[type(value)]) for name, value in example.items()]
    if dtype == np.uint64:
        fields[0] = ("id", pyarrow.uint64())
    for name in table.columns():
        values = (plain(row.get(name)) for row in table.rows.values())
        fields.append((name, _parquet_type([value for value in values if value is not None])))
    schema = pyarrow.schema(fields)
    texts = {name for name, kind in fields if kind == pyarrow.string()}
    with parquet.ParquetWriter(path, schema) as writer:

        def write(rows: Sequence[Mapping[str, Any]]) -> None:
            values = [{name: plain(value) for name, value in row.items()} for row in rows]
            known = [
                {n: str(v) if n in texts and v is not None else v for n, v in row.items()}
                for row in values
            ]
            writer.write_table(pyarrow.Table.from_pylist(known, schema=schema))

        yield write


def _parquet_type(values: Sequence[Any]) -> Any:
    """Return the type of a column; text for values of several types, and of none that it knows."""
    import pyarrow

    types = {type(value) for value in values}
    if types == {int} and max(values) >= 1 << 63:
        return pyarrow.uint64() if min(values) >= 0 and max(values) < 1 << 64 else pyarrow.string()
    if not values or len(types) > (2 if types == {int, float} else 1):
        return pyarrow.string()
    try:
        kind = pyarrow.array(values).type
    except (pyarrow.ArrowException, OverflowError, ValueError):
        return pyarrow.string()
    if any(getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0) for value in values):
        if pyarrow.types.is_timestamp(kind):
            return pyarrow.timestamp("ns", kind.tz)
        return pyarrow.duration("ns")
    if pyarrow.types.is_timestamp(kind) and len({str(value.tzinfo) for value in values}) > 1:
        return pyarrow.string()
    return kind
