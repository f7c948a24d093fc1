"""Strict reader of object tables in CSV and Parquet: no value is dropped silently."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.core.plain_values import label_column, label_of, plain
from napari_sam3.labels.output_files import ExportError, missing_package

__all__ = ["axis_columns", "no_table", "read_lines"]

#: Texts for a missing value, in lower case.
_MISSING = {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "nat", "1.#qnan"}
#: Known columns, in any case.
_KNOWN = {"plane", "class", "score", "points", "boxes", "parent"}
_AXES = re.compile(r"axis-[0-9]|[tcz]")


def no_table(path: Path, why: str) -> ExportError:
    """Return the error for a file that is not a table of objects."""
    return ExportError(
        f"{str(path)!r} is not a table of objects ({why}). Expected a CSV or Parquet file with a "
        "column 'id' (or 'label', 'label_value') of labels. Choose such a file, or rename the "
        "column."
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a table; missing values are None.

    Parameters
    ----------
    path : Path
        Parquet if its name ends in .parquet, otherwise CSV with commas, semicolons or tabs.

    Raises
    ------
    ExportError
        If the file cannot be read, or a row has more values than the header.
    """
    try:
        lines = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except ExportError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise no_table(path, str(error)) from error
    names = _names(list(dict.fromkeys(name for line in lines for name in line)))
    return [
        {names[name]: _class(value) if names[name] == "class" else value
         for name, value in line.items()}
        for line in lines
    ]  # fmt: skip


def axis_columns(lines: Sequence[Mapping[str, Any]]) -> tuple[list[str], str]:
    """Find the columns with the index along one axis, in tables without a column "plane".

    Returns
    -------
    list of str, str
        Columns named t, c, z, or axis-0 and so on; and why one of them does not hold indices, or
        "".
    """
    names = list(dict.fromkeys(name for line in lines for name in line))
    if "plane" in names:
        return [], ""
    found = [name for name in names if _AXES.fullmatch(name.lower())]
    for name in found:
        for value in (line.get(name) for line in lines):
            place = label_of(value)
            if value is not None and (place is None or place < 0):
                return [], f"column {name!r} has the value {value!r}"
    return sorted(found, key=lambda name: (len(name) > 1, name if len(name) > 1 else "")), ""


def _names(names: Sequence[str]) -> dict[str, str]:
    """Return the names of columns here: without blanks, known ones in lower case."""
    bare = {name: str(name).strip() for name in names}
    known = {
        name: text.lower() if text.lower() in _KNOWN and text.lower() not in bare.values() else text
        for name, text in bare.items()
    }
    count = Counter(known.values())
    return {name: text if count[text] == 1 else name for name, text in known.items()}


def _class(value: Any) -> Any:
    """Return a class as written; "1.0" from a table with gaps becomes "1"."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in _MISSING:
        return None
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    # Excel writes a byte-order mark.
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = re.sub(r"\A(\s*[\r\n])+", "", raw.decode(encoding))
    stated = re.match(r"sep=(.)\s*[\r\n]+", text, re.IGNORECASE)  # by Excel
    text = text[stated.end() :] if stated else text
    mark = stated[1] if stated else _mark(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise no_table(path, f"its column {twice[0]!r} is duplicated")
    return list(_rows(reader, header, path, decimal_comma=mark == ";"))


def _mark(text: str) -> str:
    """Return the separator of the columns: the one that yields a column of labels, or the comma."""
    for mark in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
        if label_column({name.strip(): [1] for name in next(reader, [])}, "id") is not None:
            return mark
    # Where the comma is the decimal mark, Excel separates by semicolons.
    first = text.partition("\n")[0]
    return "," if "," in first else next((one for one in ";\t" if one in first), ",")


def _rows(
    reader: Any, header: Sequence[str], path: Path, *, decimal_comma: bool
) -> Iterator[dict[str, Any]]:
    for fields in reader:
        if any(field.strip() for field in fields[len(header) :]):
            raise no_table(
                path, f"line {reader.line_num} has {len(fields)} values for {len(header)} columns"
            )
        if any(field.strip() for field in fields):
            yield {
                name: _value(text, name.lower(), decimal_comma=decimal_comma)
                for name, text in zip(header, fields, strict=False)
                if name
            }


def _value(text: str, name: str, *, decimal_comma: bool) -> Any:
    """Parse a number; other texts are returned unchanged."""
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    # Classes and codes such as "007" are not numbers.
    if name == "class" or "_" in text or re.fullmatch(r"[+-]?0[0-9].*", text):
        return text
    comma = decimal_comma and name != "plane" and text.count(",") == 1
    number = text.replace(",", ".") if comma else text
    for kind in (int, float):
        try:
            return kind(number)
        except ValueError:
            continue
    return text


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise missing_package("pyarrow", "Parquet", "formats", ", or use CSV") from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return [{name: plain(value) for name, value in row.items()} for row in rows]
