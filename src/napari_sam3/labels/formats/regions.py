"""Writer of region tables: one row per object and plane, as CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import plain
from napari_sam3.labels.measure import measure
from napari_sam3.labels.output_files import missing_package, replacing

from .label_planes import Position, objects, plane_positions
from .object_table import ObjectTable, plane_text

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes

    from .output import LabelOutput

__all__ = ["region_rows", "write_regions"]

_BATCH = 4096

Write = Callable[[Sequence[Mapping[str, Any]]], None]


def region_rows(output: LabelOutput) -> Iterator[dict[str, Any]]:
    """Measure all objects of a label image.

    Yields
    ------
    dict
        "id" and "plane" (indices along the axes before rows and columns, separated by blanks);
        "area", "centroid_y", "centroid_x" (pixel centres at integers), "x0", "y0", "x1" and "y1"
        (first column and row, and one past the last) in px; area, centroid and indices in the
        units of the axes as "..._physical", with the "unit" of rows and columns; then the columns
        of the table.
    """
    labels, table = output.labels, output.table
    columns = table.columns()
    for position in plane_positions(labels):
        for label, mask in objects(labels, position):
            known = table.known(label, position)
            row = _measure(label, mask, position, output.axes)
            yield {**row, **{name: known.get(name) for name in columns}}


def write_regions(output: LabelOutput) -> Path:
    """Write the table of regions in batches of rows.

    Parameters
    ----------
    output : LabelOutput
        A Parquet file if its name ends in .parquet, otherwise a CSV file.

    Raises
    ------
    ExportError
        If Parquet lacks its library pyarrow, or the file cannot be written.
    """
    labels, table = output.labels, output.table
    # The row of an example object, so that a table without rows has its columns.
    example = _measure(
        1, PlaneMask(0, 0, np.ones((1, 1), bool)), (0,) * (labels.ndim - 2), output.axes
    )
    rows = region_rows(output)
    parquet = output.path.suffix.lower() == ".parquet"
    opened = _parquet if parquet else _csv
    with (
        replacing(output.path, output.overwrite) as partial,
        opened(partial, example, table, labels.dtype) as write,
    ):
        batch: list[Mapping[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                write(batch)
                batch = []
        write(batch)
    return output.path


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
        raise missing_package("pyarrow", "Parquet", "formats", ", or use CSV") from error
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
    """Return the type of a column; string for mixed or unknown types."""
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
