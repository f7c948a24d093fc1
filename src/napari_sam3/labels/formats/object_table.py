"""Values of objects other than pixels: scores, prompt counts, classes."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.core.axes import axis_letter
from napari_sam3.core.plain_values import label_column, label_of, plain, plane_of, readable_plane
from napari_sam3.labels.output_files import ExportError

from .table_files import axis_columns, no_table, read_lines

if TYPE_CHECKING:
    from napari_sam3.labels.table import ObjectRow

#: Label and plane of a row.
Row = tuple[int, str]
# Rows listed in an error or a warning.
MOST_NAMED = 5

__all__ = ["ObjectTable", "class_name", "plane_text", "no_class_name"]

#: Columns that are measured from the pixels.
MEASURED = (
    "id",
    "index",
    "plane",
    "area",
    "centroid_y",
    "centroid_x",
    "x0",
    "y0",
    "x1",
    "y1",
    "unit",
)


def plane_text(position: Iterable[int]) -> str:
    """Return the index of a plane as text, as in the column "plane"."""
    return " ".join(str(at) for at in position)


def class_name(known: Mapping[str, Any]) -> str:
    """Return the class of an object as text, such as "nucleus" or "0"; "" if it has none."""
    value = plain(known.get("class"))
    if (
        isinstance(value, float) and value.is_integer()
    ):  # integers become floats in tables with gaps
        value = int(value)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class ObjectTable:
    """Values by label and plane.

    Parameters
    ----------
    rows : mapping of (int, str) to mapping
        Values by name, such as "score" and "class", for each label and plane (see `plane_text`).
        A row with the plane "" applies to every plane.
    name : str
        Name for messages.
    axes : tuple of str
        Names of the axes of the planes, if the table states them.
    strict : bool
        Warn about rows without an object.
    seen : set of (int, str)
        Rows that were used; see `warn_of_unused`.
    """

    rows: Mapping[Row, Mapping[str, Any]] = field(default_factory=dict)
    name: str = "the table of objects"
    axes: tuple[str, ...] = ()
    strict: bool = True
    seen: set[Row] = field(default_factory=set, repr=False, compare=False)
    _fitted_to: tuple[int, ...] | None = field(default=None, repr=False, compare=False)
    _before: Mapping[Row, Row] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_rows(cls, rows: Iterable[ObjectRow]) -> ObjectTable:
        """Return the table of newly segmented objects."""
        # Objects may have lost all their pixels to others.
        return replace(_gather(((row.id, asdict(row)) for row in rows), "id"), strict=False)

    @classmethod
    def from_features(cls, features: Any) -> ObjectTable:
        """Return the table of a Labels layer.

        Parameters
        ----------
        features : pandas.DataFrame
            The labels are in the column "index" (napari), "label" (scikit-image), "label_value" or
            "label-value". Without any of these, the position of a row is its label; the first row
            is the background.
        """
        named = {str(name).lower() for name in features.index.names if name is not None}
        if named and label_column({name: [1] for name in named}) is not None:
            features = features.reset_index(allow_duplicates=True)
        names = [
            " ".join(filter(None, map(str, n))) if isinstance(n, tuple) else str(n)
            for n in features
        ]
        columns = {name: features.iloc[:, at].tolist() for at, name in enumerate(names)}
        lines = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        chosen = "index" if "index" in columns else label_column(columns)
        labels = range(len(lines)) if chosen is None else columns[chosen]
        unreadable = [line["plane"] for line in lines if readable_plane(line.get("plane")) is None]
        if unreadable:
            warnings.warn(
                f"{len(unreadable)} of {len(lines)} rows of the features have an invalid plane, "
                f"such as {unreadable[0]!r}. They apply to every plane.",
                stacklevel=3,
            )
        return _gather(zip(labels, lines, strict=True), chosen)

    @classmethod
    def from_properties(cls, properties: Iterable[Mapping[str, Any]]) -> ObjectTable:
        """Return the table of an OME-Zarr label image, which applies to all planes.

        Parameters
        ----------
        properties : iterable of mapping
            The properties in its metadata, each with a "label-value".
        """
        return _gather(
            ((one.get("label-value"), {**one, "plane": None}) for one in properties), "label-value"
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ObjectTable:
        """Read a table with a column "id" or "label", and further columns.

        Planes are given by a column "plane", or by one column per axis: t, c, z, or axis-0 and so
        on.

        Parameters
        ----------
        path : str or path-like
            Parquet if its name ends in .parquet, otherwise CSV.

        Raises
        ------
        ExportError
            If the file is not a table of objects, or a plane or an id is invalid.
        """
        path = Path(path)
        lines = read_lines(path)
        names = list(dict.fromkeys(name for line in lines for name in line))
        columns = {name: [line.get(name) for line in lines] for name in names}
        chosen = label_column(columns, "id")
        if chosen is None and lines:
            raise no_table(path, _why_no_labels(columns))
        axes, unlike = axis_columns(lines)
        if unlike:
            warnings.warn(
                f"the {unlike} in {str(path)!r}, which is not a plane. The rows apply to every "
                "plane. Rename the column: 'plane' if it holds planes.",
                stacklevel=2,
            )
        if axes:
            lines = [
                {**{n: v for n, v in line.items() if n not in axes},
                 "plane": [line.get(name) for name in axes]}
                for line in lines
            ]  # fmt: skip
        _check_planes(path, lines)
        labels = columns[chosen] if chosen else ()
        table = _gather(zip(labels, lines, strict=False), chosen)
        return replace(table, name=repr(str(path)), axes=tuple(name.lower() for name in axes))

    def fitted(self, shape: Sequence[int], names: Sequence[str] = ()) -> ObjectTable:
        """Return the table with the planes of a label image of this shape.

        Files may drop or add axes of length 1, so a table may have planes of more or fewer axes
        than the labels. Rows whose planes do not fit are dropped, with a warning.

        Parameters
        ----------
        shape : sequence of int
            Shape of the labels, including rows and columns.
        names : sequence of str, optional
            Names of their axes.
        """
        lengths = tuple(int(length) for length in shape[:-2])
        if self._fitted_to == lengths:
            return self
        order = _order(self.axes, names[:-2])
        keys = {text: _places(text, order) for _, text in self.rows if text}
        texts = {"": ""}
        for count in {len(key) for key in keys.values()}:
            group = {text: key for text, key in keys.items() if len(key) == count}
            texts |= _fit(group, lengths)
        lost = next((text for text in keys if text not in texts), None)
        if lost is not None:
            warnings.warn(
                f"rows of the table of objects are dropped: their planes, such as {lost!r}, "
                f"do not fit labels of shape {tuple(shape)}. Expected {len(lengths)} number(s).",
                stacklevel=3,
            )
        before = {(n, texts[text]): (n, text) for n, text in self.rows if text in texts}
        self.seen.update(row for row in self.rows if row[0] == 0 or row[1] not in texts)
        self.seen.add((0, ""))
        rows = {row: self.rows[old] for row, old in before.items()}
        return replace(self, rows=rows, _fitted_to=lengths, _before=before)

    def known(self, label: int, position: Iterable[int]) -> Mapping[str, Any]:
        """Return the values of an object on a plane; empty if unknown."""
        asked = [(label, ""), (label, plane_text(position))]
        self.seen.update(self._before.get(row, row) for row in asked)
        return {name: value for row in asked for name, value in self.rows.get(row, {}).items()}

    def warn_of_unused(self) -> None:
        """Warn about rows without an object, after all objects were queried by `known`."""
        unused = [row for row in self.rows if row not in self.seen]
        if not (self.strict and self.seen and unused):
            return
        warnings.warn(
            f"{len(unused)} of {len(self.rows)} rows of {self.name} are dropped, since the labels "
            f"have no such object: {_named(unused)}",
            stacklevel=3,
        )

    def columns(self) -> list[str]:
        """Return the names of all values, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))


def _why_no_labels(columns: Mapping[str, Sequence[Any]]) -> str:
    name = next((name for name in columns if name.lower() == "id"), None)
    if name is None:
        return "it has no column 'id'"
    wrong = [value for value in columns[name] if value is not None and label_of(value) is None]
    example = f", such as {wrong[0]!r}" if wrong else ""
    return (
        f"its column {name!r} has values that are not labels{example} (integers; from 2^53 "
        "without a decimal point)"
    )


def _check_planes(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    wrong = [
        (number, line["plane"])
        for number, line in enumerate(lines, 1)
        if readable_plane(line.get("plane")) is None
    ]
    if wrong:
        listed = ", ".join(f"{value!r} in row {number}" for number, value in wrong[:MOST_NAMED])
        raise ExportError(
            f"{len(wrong)} of {len(lines)} rows of {str(path)!r} have an invalid plane: {listed}. "
            "Expected one index per axis before rows and columns, such as 3 or '0 3', or nothing "
            "for every plane. Correct these rows."
        )


def _order(axes: tuple[str, ...], names: Sequence[str]) -> list[int]:
    """Return the order of the table's axes in the image."""
    letters = [axis_letter(name) for name in names]
    known = all(axis in letters for axis in axes)
    return sorted(range(len(axes)), key=lambda at: letters.index(axes[at])) if known else []


def _places(text: str, order: Sequence[int]) -> tuple[int, ...]:
    places = tuple(map(int, text.split()))
    return tuple(places[at] for at in order) if len(order) == len(places) else places


def _gather(lines: Iterable[tuple[Any, Mapping[str, Any]]], label_name: str | None) -> ObjectTable:
    """Return the table of labelled rows; of several values the last counts, with a warning."""
    rows: dict[Row, dict[str, Any]] = {}
    twice: list[Row] = []
    lines = list(lines)
    for label, line in lines:
        number = label_of(label)
        if number is not None:  # skip rows without a label
            row = number, plane_of(line.get("plane"))
            known, values = rows.setdefault(row, {}), _values(line, label_name)
            if any(name in known and not _same(known[name], values[name]) for name in values):
                twice.append(row)
            known.update(values)
    if twice:
        warnings.warn(
            f"{len(twice)} of {len(lines)} rows have other values than earlier rows for the same "
            f"object and plane, such as {_named(twice)}. The last value counts. Give the planes in "
            "a column 'plane', or remove rows.",
            stacklevel=4,
        )
    return ObjectTable(rows)


def _same(one: Any, other: Any) -> bool:
    with contextlib.suppress(TypeError, ValueError):  # arrays and the like
        return bool(one == other)
    return False


def _named(rows: Sequence[Row]) -> str:
    """Return the objects and planes of rows, for messages."""
    named = ", ".join(
        f"{label} on plane {plane}" if plane else str(label) for label, plane in rows[:MOST_NAMED]
    )
    return named + (", ..." if len(rows) > MOST_NAMED else "")


def _fit(
    keys: Mapping[str, tuple[int, ...]], lengths: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    """Map planes of a table, all with the same number of axes, to planes of the labels."""
    count, wanted = len(next(iter(keys.values()))), len(lengths)
    used = {at for key in keys.values() for at, place in enumerate(key) if place}
    fitting: list[dict[str, tuple[int, ...]]] = []
    # Prefer to match the last axes.
    for kept in reversed(
        list(itertools.combinations(range(max(count, wanted)), min(count, wanted)))
    ):
        if count >= wanted and used <= set(kept):
            fitting.append({text: tuple(key[at] for at in kept) for text, key in keys.items()})
        elif count < wanted and all(lengths[at] == 1 for at in range(wanted) if at not in kept):
            places = {text: dict(zip(kept, key, strict=True)) for text, key in keys.items()}
            fitting.append(
                {text: tuple(at.get(n, 0) for n in range(wanted)) for text, at in places.items()}
            )
    inside = [
        one for one in fitting
        if all(at < n for key in one.values() for at, n in zip(key, lengths, strict=True))
    ]  # fmt: skip
    for one in (inside or fitting)[:1]:
        yield from ((text, plane_text(key)) for text, key in one.items())


def _values(line: Mapping[str, Any], label_name: str | None) -> dict[str, Any]:
    """Return the values that are not measured from pixels, as Python types, without gaps."""
    return {
        str(name): value
        for name, value in ((name, plain(value)) for name, value in line.items())
        if value is not None
        and name not in (*MEASURED, label_name)
        and not str(name).endswith("_physical")
    }


def no_class_name(table: ObjectTable) -> str:
    """Return a class for objects without one: "object", or a name that the table does not use."""
    name = "object"
    while any(class_name(known) == name for known in table.rows.values()):
        name += "_"
    return name
