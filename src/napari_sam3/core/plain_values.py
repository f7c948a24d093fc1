"""Conversion of table values to Python types and to JSON."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["is_number", "json_value", "label_column", "label_of", "plain", "plane_of"]
__all__ += ["readable_plane"]

#: Names of label columns: those of napari, scikit-image, OME-Zarr readers and OME-Zarr.
_LABEL_COLUMNS = ("index", "label", "label_value", "label-value", "label_id")

#: Below this every integer is a number in floating point.
_EXACT = 2**53
_INTEGER = re.compile(r"\s*([+-]?[0-9]+)(\.0*)?\s*")


def plain(value: Any) -> Any:
    """Convert a value to a Python or pandas type; None if it is missing (NaN, NaT, NA, "")."""
    if isinstance(value, str | int):
        return value if value != "" else None
    if value is None or isinstance(value, float):
        return value if value == value else None
    import pandas as pd  # slow to import, and needed for rare values only

    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    elif isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    elif isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def label_of(value: Any) -> int | None:
    """Convert a table value of any type to a label; None if it is missing or not a label.

    Whole numbers count as labels, also as text: 3, 3.0 and "3.0" are 3. Those with a decimal point
    count below 2^53 only, since larger ones are not exact.
    """
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _INTEGER.fullmatch(value)
        inexact = match is not None and match[2] and abs(int(match[1])) >= _EXACT
        return int(match[1]) if match and not inexact else None
    if isinstance(value, float) and abs(value) >= _EXACT:
        return None
    if isinstance(value, int | float | decimal.Decimal) and math.isfinite(value):
        return int(value) if int(value) == value else None
    return None


def plane_of(value: Any) -> str:
    """Convert a value of any type to the tables' form of a plane, such as "0 3".

    A value that is not a position (nothing, a name) becomes "", which stands for all planes.
    """
    return readable_plane(value) or ""


def readable_plane(value: Any) -> str | None:
    """Return a plane like `plane_of`; None if there is a value that is not a position."""
    value = plain(value)
    if value is None or (isinstance(value, list | tuple) and all(plain(v) is None for v in value)):
        return ""
    if isinstance(value, str):
        value = re.findall(r"[^\s,;()\[\]]+", value)
    positions = [label_of(one) for one in (value if isinstance(value, list | tuple) else [value])]
    valid = [str(at) for at in positions if at is not None and at >= 0]
    return " ".join(valid) if len(valid) == len(positions) else None


def label_column(columns: Mapping[Any, Iterable[Any]], *first: str) -> str | None:
    """Return the name of the column with the labels of the rows; None if there is none.

    Parameters
    ----------
    columns : mapping of str to iterable
        All columns. A column with texts, fractions or only missing values is not one of labels.
    *first : str
        Names with precedence over "index", "label" and so on.
    """
    lower = {name.lower(): name for name in reversed(list(columns)) if isinstance(name, str)}
    for candidate in (*first, *_LABEL_COLUMNS):
        name = candidate if candidate in columns else lower.get(candidate)
        if name is not None:
            values = [value for value in map(plain, columns[name]) if value is not None]
            if values and all(label_of(value) is not None for value in values):
                return name
    return None


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def json_value(value: Any) -> Any:
    """Convert a value for JSON: dates to ISO 8601, other types to text."""
    if isinstance(value, Mapping):
        return {str(name): json_value(one) for name, one in value.items()}
    value = plain(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(one) for one in value]
    if value is None or isinstance(value, bool | str | int) or is_number(value):
        return value
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return int(value) if int(value) == value else float(value)
    if isinstance(value, datetime.date | datetime.time):  # including pandas' timestamps
        return value.isoformat()
    return str(value)
