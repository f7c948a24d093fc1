"""Properties of objects other than their pixels: scores, numbers of prompts, classes."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.core.plain_values import label_column, label_of, plain, plane_of
from napari_sam3.labels.output_files import ExportError

if TYPE_CHECKING:
    from napari_sam3.labels.table import ObjectRow

__all__ = ["ObjectTable", "class_name", "plane_text"]

#: Columns that are measured from the pixels instead.
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
    """Return a plane's place on every axis before rows and columns, as tables have it."""
    return " ".join(str(at) for at in position)


def class_name(known: Mapping[str, Any]) -> str:
    """Return the class of an object as text, such as "nucleus" or "0"; "" if it has none."""
    value = plain(known.get("class"))
    if isinstance(value, float) and value.is_integer():  # as tables with gaps have integers
        value = int(value)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class ObjectTable:
    """Values by label and plane.

    Parameters
    ----------
    rows : mapping of (int, str) to mapping
        Label and plane (see `plane_text`) to values by name, such as "score", "points", "boxes"
        and "class". A row with the plane "" holds for every plane.
    """

    rows: Mapping[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_rows(cls, rows: Iterable[ObjectRow]) -> ObjectTable:
        """Return the table of objects that were segmented just now."""
        return _gather(((row.id, asdict(row)) for row in rows), "id")

    @classmethod
    def from_features(cls, features: Any) -> ObjectTable:
        """Return the table of a Labels layer.

        Parameters
        ----------
        features : pandas.DataFrame
            With the labels in the column "index", as napari has it, or else "label" (of
            scikit-image), "label_value" or "label-value"; without any, each row is about the label
            of its number, the first about the background.
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
        return _gather(zip(labels, lines, strict=True), chosen)

    @classmethod
    def from_properties(cls, properties: Iterable[Mapping[str, Any]]) -> ObjectTable:
        """Return the table that an OME-Zarr label image keeps, for all planes alike.

        Parameters
        ----------
        properties : iterable of mapping
            As in its metadata, each with its "label-value".
        """
        return _gather(
            ((one.get("label-value"), {**one, "plane": None}) for one in properties), "label-value"
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ObjectTable:
        """Read a table with a column "id" or "label", perhaps "plane", and others.

        Parameters
        ----------
        path : str or path-like
            CSV, or Parquet by its suffix.

        Raises
        ------
        ExportError
            If it is not a table of objects.
        """
        path = Path(path)
        try:
            lines = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
        except ExportError:
            raise
        except (OSError, ValueError, csv.Error) as error:
            raise _no_table(path, str(error)) from error
        names = list(dict.fromkeys(name for line in lines for name in line))
        columns = {name: [line.get(name) for line in lines] for name in names}
        chosen = label_column(columns, "id")
        if chosen is None and lines:
            has = "its column 'id' has values that are not labels" if "id" in columns else None
            raise _no_table(path, has or "it has no column 'id'")
        return _gather(zip(columns[chosen] if chosen else (), lines, strict=False), chosen)

    def fitted(self, shape: Sequence[int]) -> ObjectTable:
        """Return the table with the planes of a label image of this shape.

        Axes of length 1 get lost and come back on the way through files, so a table may tell
        places on more axes, or fewer, than the labels have. Rows whose places do not fit are left
        out, with a warning.

        Parameters
        ----------
        shape : sequence of int
            Of the labels, with rows and columns.
        """
        lengths = tuple(int(length) for length in shape[:-2])
        keys = {text: tuple(map(int, text.split())) for _, text in self.rows if text}
        texts = {"": ""}
        for count in {len(key) for key in keys.values()}:
            group = {text: key for text, key in keys.items() if len(key) == count}
            texts |= _fit(group, lengths)
        lost = next((text for text in keys if text not in texts), None)
        if lost is not None:
            warnings.warn(
                f"rows of the table of objects are left out, since their planes, such as {lost!r}, "
                f"do not fit labels of shape {tuple(shape)}; expected {len(lengths)} number(s)",
                stacklevel=3,
            )
        return ObjectTable(
            {(n, texts[text]): known for (n, text), known in self.rows.items() if text in texts}
        )

    def known(self, label: int, position: Iterable[int]) -> Mapping[str, Any]:
        """Return what is known of an object on a plane; may be empty."""
        everywhere = self.rows.get((label, ""), {})
        here = self.rows.get((label, plane_text(position)), {})
        return {**everywhere, **here}

    def columns(self) -> list[str]:
        """Return the names of all values, in the order in which they come first."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))


def _gather(lines: Iterable[tuple[Any, Mapping[str, Any]]], label_name: str | None) -> ObjectTable:
    """Return the table of rows with their labels; of values given twice the last one counts."""
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for label, line in lines:
        number = label_of(label)
        if number is not None:  # a row of nobody
            known = rows.setdefault((number, plane_of(line.get("plane"))), {})
            known.update(_beside_pixels(line, label_name))
    return ObjectTable(rows)


def _fit(
    keys: Mapping[str, tuple[int, ...]], lengths: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    """Pair texts of planes, all of as many axes, with those for axes of these lengths."""
    count, wanted = len(next(iter(keys.values()))), len(lengths)
    used = {at for key in keys.values() for at, place in enumerate(key) if place}
    fitting: list[dict[str, tuple[int, ...]]] = []
    # The last axes are the same in both, if that can be.
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


def _beside_pixels(line: Mapping[str, Any], label_name: str | None) -> dict[str, Any]:
    """Return the other values as Python's own types, those that are missing left out."""
    return {
        str(name): value
        for name, value in ((name, plain(value)) for name, value in line.items())
        if value is not None
        and name not in (*MEASURED, label_name)
        and not str(name).endswith("_physical")
    }


def _no_table(path: Path, why: str) -> ExportError:
    return ExportError(
        f"{str(path)!r} is not a table of objects ({why}); expected a CSV or Parquet file with a "
        "column 'id' (or 'label', 'label_value') of labels"
    )


def _read_csv(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    # Excel begins its files with a byte-order mark.
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    reader = csv.DictReader(io.StringIO(raw.decode(encoding), newline=""))
    lines = [{name: text for name, text in line.items() if name} for line in reader]
    # Classes are names, even "007"; those of numbers were written as 1.0 by a table with gaps.
    kinds = {line.get("class") for line in lines} - {None, "", "nan", "<NA>"}
    names = not all(re.fullmatch(r"-?[0-9]+\.0", str(kind)) for kind in kinds)
    return [
        {name: _value(text, is_name=names and name == "class") for name, text in line.items()}
        for line in lines
    ]


def _value(text: str | None, *, is_name: bool) -> Any:
    """Return the number that a text is, as tables are written; other texts as they are."""
    if not text or text in ("nan", "<NA>", "NaT"):
        return None
    if is_name or "_" in text or re.fullmatch(r"[+-]?0[0-9].*", text):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow, which is not installed; pip install 'napari-sam3[formats]', or "
            "use CSV"
        ) from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows
