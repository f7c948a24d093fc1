"""Tables of prompts for a batch, as CSV or JSON, read strictly."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.core.prompts import PromptSet, parse_polarity
from sam3.errors import PromptError
from sam3.files import read_bounded, write_whole

from .prompts import MAX_ID, BatchPrompts, Position, PromptEntry

__all__ = ["read_prompts", "write_prompts"]

# Far above the prompts of a large study.
MAX_TABLE_BYTES = 1 << 28
BOX = ("x0", "y0", "x1", "y1")
_POINT = ("x", "y")
_PLANE = "plane"
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_JSON_KEYS = ("box", "outline")


def read_prompts(path: str | os.PathLike[str], leading: Sequence[str] | int = 0) -> BatchPrompts:
    """Read a table of prompts.

    Parameters
    ----------
    path : str or path-like
        ``.csv``, or ``.json`` with a list of objects with the same names. Each row is a click
        (``x``, ``y`` and ``polarity``, by default foreground) or a box (``x0``, ``y0``, ``x1``,
        ``y1``), in px from the centre of the first pixel. ``object`` is the id of its object;
        without it, each box and foreground click is an object. ``plane`` holds the position on each
        axis before rows and columns, separated by spaces; alternatively each axis has a column
        with its name, or ``axis-0``, ``axis-1`` and so on. In JSON, ``plane`` may be a list,
        ``box`` is a list of four, and ``outline`` a list of (x, y).
    leading : sequence of str, or int
        Names or number of the image's axes before rows and columns.

    Returns
    -------
    BatchPrompts

    Raises
    ------
    sam3.errors.PromptError
        With the file, the line, the value and what was expected.
    """
    path = Path(path)
    names = (
        tuple(f"axis-{i}" for i in range(leading)) if isinstance(leading, int) else tuple(leading)
    )
    reader = {".csv": _csv_rows, ".json": _json_rows}.get(path.suffix.lower())
    if reader is None:
        raise PromptError(
            f"prompts in {path.name!r} cannot be read. Expected a .csv or .json file. Save the "
            "prompts as one of these."
        )
    try:
        text = read_bounded(path, MAX_TABLE_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise PromptError(
            f"the prompts {str(path)!r} cannot be read: {why}. Expected a table of prompts. Check "
            "the path."
        ) from (error)
    rows = [_row(values, names, place) for place, values in reader(text, path.name)]
    if not rows:
        raise PromptError(
            f"{path.name} holds no prompt. Expected at least one click or box. Add one."
        )
    return BatchPrompts.from_rows(rows)


def write_prompts(
    path: str | os.PathLike[str], prompts: BatchPrompts, leading: Sequence[str] = ()
) -> None:
    """Write prompts as a table, from which `read_prompts` reads equal ones.

    Parameters
    ----------
    path : str or path-like
        ``.csv`` or ``.json``.
    prompts : BatchPrompts
        The prompts.
    leading : sequence of str, optional
        Names of the axes before rows and columns, for one column each; by default they share the
        column ``plane``.

    Raises
    ------
    sam3.errors.PromptError
        If the type of the file is unknown, or it cannot hold outlines or be written.
    """
    path = Path(path)
    rows = [_values(row, leading) for row in prompts.rows()]
    if path.suffix.lower() == ".json":
        text = json.dumps(rows, indent=1) + "\n"
    elif path.suffix.lower() == ".csv":
        if any("outline" in row for row in rows):
            raise PromptError(
                f"a CSV such as {path.name!r} holds no outlines. Expected points and boxes. Write "
                "a .json file."
            )
        text = _csv_text(rows, leading)
    else:
        raise PromptError(
            f"{path.name!r} is not a table of prompts. Expected a name that ends in .csv or "
            ".json. Choose such a name."
        )
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise PromptError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Expected a writable "
            "folder. Choose another folder."
        ) from error


def _csv_rows(text: str, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # Excel writes semicolons between values where the comma is the decimal sign.
    first = text.partition("\n")[0]
    separator = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if len(set(header)) < len(header):
            raise PromptError(
                f"{name}, line 1: a column comes twice: {', '.join(header)}. Expected each column "
                "once. Remove one."
            )
        for fields in reader:
            place = f"{name}, line {reader.line_num}"
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                raise PromptError(
                    f"{place} has {len(fields)} values. Expected {len(header)}: "
                    f"{', '.join(header)}. Correct the row."
                )
            if separator == ";":
                fields = [field.replace(",", ".") for field in fields]
            values = zip(header, (field.strip() for field in fields), strict=True)
            yield place, {column: value for column, value in values if value != ""}
    except csv.Error as error:
        raise PromptError(
            f"{name}, line {reader.line_num} is not valid CSV: {error}. Expected a table. "
            "Mend the line."
        ) from error


def _json_rows(text: str, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(
            f"{name} is not valid JSON: {error}. Expected a list of prompts. Mend the file."
        ) from error
    if not isinstance(rows, list):
        raise PromptError(
            f"{name} holds {type(rows).__name__}. Expected a list of prompts. Put the prompts "
            "into a list."
        )
    for i, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise PromptError(
                f"{name}, prompt {i} is {row!r}. Expected names and values. Correct it."
            )
        values = {str(key): value for key, value in row.items() if value is not None}
        if isinstance(values.get("box"), list):
            box = values.pop("box")
            if len(box) != 4 or any(corner in values for corner in BOX):
                raise PromptError(
                    f"{name}, prompt {i}: box is {box!r}. Expected [x0, y0, x1, y1]. Correct it."
                )
            values |= dict(zip(BOX, box, strict=True))
        yield f"{name}, prompt {i}", values


def _row(values: Mapping[str, Any], leading: tuple[str, ...], place: str) -> PromptEntry:
    numbered = tuple(f"axis-{i}" for i in range(len(leading)))
    known = {_PLANE, "object", "polarity", *_POINT, *BOX, *leading, *numbered, *_JSON_KEYS}
    lower = {name.lower(): name for name in known}
    values = {n if n in known else lower.get(n.lower(), n): value for n, value in values.items()}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise PromptError(
            f"{place} has the unknown column {unknown[0]!r}. Expected plane (or "
            f"{', '.join(leading) or 'none'}), object, x, y, polarity, {', '.join(BOX)}. Rename "
            "or remove it."
        )
    number = None
    if "object" in values:
        number = _whole(values["object"], "object", place)
        if not 1 <= number <= MAX_ID:
            raise PromptError(
                f"{place}: object is {number}. Expected a number from 1 to {MAX_ID}. Give it "
                "another number."
            )
    return PromptEntry(
        _position(values, leading, numbered, place), _prompt(values, place), number, place
    )


def _position(
    values: Mapping[str, Any], leading: tuple[str, ...], numbered: tuple[str, ...], place: str
) -> Position:
    given = [names for names in (leading, numbered) if names and any(n in values for n in names)]
    if _PLANE in values:
        raw = values[_PLANE]
        if isinstance(raw, str):
            raw = raw.split()
        parts = list(raw) if isinstance(raw, list) else [raw]
        if given or len(parts) != len(leading):
            raise PromptError(
                f"{place}: plane is {values[_PLANE]!r}. Expected "
                + (f"{len(leading)} number(s) ({' '.join(leading)}), and no other column for an "
                   "axis. Correct the columns." if leading else
                   "no plane, since the image has a single one. Remove the column.")
            )  # fmt: skip
        return tuple(_whole(part, _PLANE, place) for part in parts)
    if not leading:
        return ()
    missing = [name for name in (given[0] if given else leading) if name not in values]
    if missing:
        raise PromptError(
            f"{place} has no {missing[0]!r}. Expected the plane as {' '.join(leading)}, each in a "
            f"column, or together in a column {_PLANE!r}. Add it."
        )
    return tuple(_whole(values[name], name, place) for name in given[0])


def _prompt(values: Mapping[str, Any], place: str) -> PromptSet:
    click = [name for name in _POINT if name in values]
    box = [name for name in BOX if name in values]
    try:
        if "outline" in values and not click and not box:
            return PromptSet().with_outline(values["outline"])
        if len(click) == 2 and not box:
            polarity = parse_polarity(values.get("polarity", "foreground"))
            x, y = (_number(values[name], name, place) for name in _POINT)
            return PromptSet(((x, y),), (polarity,))
        if len(box) == 4 and not click and "polarity" not in values:
            return PromptSet.from_arrays(box=[_number(values[name], name, place) for name in BOX])
    except PromptError as error:
        raise PromptError(_once(place, str(error))) from error
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"{place}: outline cannot be read: {error}. Expected a list of (x, y). Correct it."
        ) from error
    values_given = ", ".join(f"{name} {values[name]}" for name in (*click, *box)) or "neither"
    raise PromptError(
        f"{place} has {values_given}. Expected a click (x, y, and polarity if it is background) "
        f"or a box ({', '.join(BOX)}, no polarity). Correct the row."
    )


def _whole(value: Any, name: str, place: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not _WHOLE.fullmatch(text):
        raise PromptError(f"{place}: {name} is {value!r}. Expected a whole number. Correct it.")
    return int(text.partition(".")[0])


def _number(value: Any, name: str, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise PromptError(f"{place}: {name} is {value!r}. Expected a number. Correct it.")
    return number


def _once(place: str, message: str) -> str:
    return message if message.startswith(place) else f"{place}: {message}"


def _values(row: PromptEntry, leading: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(leading, row.position, strict=True)) if leading else {}
    if not leading and row.position:
        values[_PLANE] = " ".join(map(str, row.position))
    values["object"] = row.object
    prompts = row.prompts
    if prompts.outline:
        return {**values, "outline": [list(corner) for corner in prompts.outline]}
    if prompts.box is not None:
        return {**values, **dict(zip(BOX, prompts.box, strict=True))}
    (x, y), (label,) = prompts.points[0], prompts.labels
    return {**values, "x": x, "y": y, "polarity": "foreground" if label else "background"}


def _csv_text(rows: Sequence[Mapping[str, Any]], leading: Sequence[str]) -> str:
    names = [*(leading or [_PLANE]), "object", *_POINT, "polarity", *BOX]
    used = [name for name in names if any(name in row for row in rows)]
    file = io.StringIO()
    writer = csv.DictWriter(file, used, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
