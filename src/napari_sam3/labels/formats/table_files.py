"""Tables of objects in CSV and Parquet files, read strictly: nothing in them is lost unsaid."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.core.plain_values import label_of, plain
from napari_sam3.labels.output_files import ExportError

__all__ = ["axis_columns", "no_table", "read_lines"]

#: How tables write that a value is missing, in lower case.
_MISSING = {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "nat", "1.#qnan"}
#: Columns that are known by these names, however they are written.
_KNOWN = {"plane", "class", "score", "points", "boxes", "parent"}
_AXES = re.compile(r"axis-[0-9]|[tcz]")


def no_table(path: Path, why: str) -> ExportError:
    """Return the error for a file that is not a table of objects."""
    return ExportError(
        f"{str(path)!r} is not a table of objects ({why}); expected a CSV or Parquet file with a "
        "column 'id' (or 'label', 'label_value') of labels"
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a table; what is missing is None.

    Parameters
    ----------
    path : Path
        Parquet by its suffix, otherwise CSV, with commas, semicolons or tabs.

    Raises
    ------
    ExportError
        If it cannot be read, or a row has more values than there are columns.
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
    """Find the columns that hold places on single axes, by lines without a column "plane".

    Returns
    -------
    list of str, str
        Columns called t, c, z, or axis-0 and so on, and why one of these is none; "" if all are.
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
    """Return how each column is called here: without blanks, known ones in lower case."""
    bare = {name: str(name).strip() for name in names}
    known = {
        name: text.lower() if text.lower() in _KNOWN and text.lower() not in bare.values() else text
        for name, text in bare.items()
    }
    count = Counter(known.values())
    return {name: text if count[text] == 1 else name for name, text in known.items()}


def _class(value: Any) -> Any:
    """Return a class as the text or number that was meant: "1.0" in a table with gaps is 1."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in _MISSING:
        return None
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    # Excel begins its files with a byte-order mark.
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = raw.decode(encoding)
    first = text.partition("\n")[0]
    # Excel writes semicolons, and decimal commas, where the comma is the decimal mark.
    mark = "," if "," in first else next((one for one in ";\t" if one in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise no_table(path, f"its column {twice[0]!r} comes twice")
    return list(_rows(reader, header, path, decimal_comma=mark == ";"))


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
    """Return the number that a text is, as tables are written; other texts as they are."""
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    # Classes are names, even "007".
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
        raise ExportError(
            "Parquet needs pyarrow, which is not installed; pip install 'napari-sam3[formats]', or "
            "use CSV"
        ) from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return [{name: plain(value) for name, value in row.items()} for row in rows]
