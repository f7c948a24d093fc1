"""Features table of a Labels layer: our rows next to rows and columns of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.plain_values import label_column, label_of, plain, plane_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["find_rows", "replace_rows", "row_values", "with_index"]

#: Largest integer up to which floats represent every integer.
_EXACT = 1 << 53
#: Rows after which the pieces of a column of texts are made one.
_PIECES = 64


def with_index(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with napari's column "index", the label of each row.

    If missing, it is filled from "label" (scikit-image), "label_value" and similar columns, or
    from the number of the row, as napari does.
    """
    import pandas as pd

    if "index" in table or not table.shape[1]:
        return table
    table = table.copy()
    if table.columns.nlevels > 1:  # from groupby
        table.columns = pd.Index([" ".join(map(str, name)).strip() for name in table.columns])
    chosen = label_column(_columns(table))
    if chosen is None:
        labels: Any = np.arange(len(table))
    else:
        labels = [label_of(value) for value in _columns(table)[chosen]]
        if None in labels:  # rows without a label
            largest = max(label for label in labels if label is not None)
            labels = pd.array(labels, dtype="UInt64" if largest >= 1 << 63 else "Int64")
    table.insert(0, "index", labels)
    return table


def find_rows(table: pd.DataFrame, wanted: Sequence[tuple[int, str, str]]) -> list[int | None]:
    """Return the row of each object, by position; None if there is none, or it is ambiguous.

    Parameters
    ----------
    table : DataFrame
        From `with_index`.
    wanted : sequence of (int, str, str)
        Label, plane, and time of accepting, which identifies the row written for the object.
        Other rows count if they name its plane, or none.
    """
    columns = _columns(table)
    if "index" not in columns:
        return [None] * len(wanted)
    rows = np.flatnonzero(columns["index"].isin({label for label, *_ in wanted}))
    values = {
        name: columns[name].iloc[rows].tolist() if name in columns else [None] * len(rows)
        for name in ("index", "plane", "time", "model")
    }
    about: dict[int, list[tuple[int, str, Any, Any]]] = {}
    for row, label, plane, time, model in zip(rows.tolist(), *values.values(), strict=True):
        about.setdefault(int(label), []).append((row, plane_of(plane), time, plain(model)))
    found: list[int | None] = []
    for label, plane, time in wanted:
        fitting = [one for one in about.get(label, ()) if one[1] in (plane, "")]
        certain = [one for one in fitting if one[2] == time]
        ours = [one for one in fitting if one[3] is not None]
        clear = (rows for rows in (certain, fitting, ours) if len(rows) == 1)
        found.append(next((rows[0][0] for rows in clear), None))
    return found


def row_values(table: pd.DataFrame, row: int) -> dict[Any, Any]:
    """Return the values of a row by column, without missing ones."""
    values = {name: column.iloc[row] for name, column in _columns(table).items()}
    return {name: value for name, value in values.items() if plain(value) is not None}


def replace_rows(
    table: pd.DataFrame, gone: Iterable[int], rows: Sequence[Mapping[Any, Any]]
) -> pd.DataFrame:
    """Return a table without some rows, and with others appended.

    Columns keep their types if these can hold the new values.

    Parameters
    ----------
    table : DataFrame
        From `with_index`.
    gone : iterable of int
        Positions of the rows to remove.
    rows : sequence of mapping
        New rows, as values by column. The label in "index" is also written to the column from
        which that was filled.
    """
    import pandas as pd

    kept = np.delete(np.arange(len(table)), list(gone))
    columns = _columns(table)
    also = _twin(columns)
    made: dict[Any, Any] = {}
    for name in dict.fromkeys((*columns, *(name for row in rows for name in row))):
        values = [row.get("index" if name == also else name) for row in rows]
        made[name] = _joined(columns.get(name), kept, values)
    return pd.DataFrame(made, index=pd.RangeIndex(len(kept) + len(rows)))


def _twin(columns: Mapping[Any, Any]) -> Any:
    """Return the name of the other column with the same values as "index", or None."""
    others = {name: column for name, column in columns.items() if name != "index"}
    name = label_column(others)
    if name is None or "index" not in columns:
        return None
    pairs = zip(others[name], columns["index"], strict=True)
    return name if all(label_of(one) == label_of(other) for one, other in pairs) else None


def _columns(table: pd.DataFrame) -> dict[Any, Any]:
    """Return the columns by name; duplicate names get a number."""
    columns: dict[Any, Any] = {}
    for at, name in enumerate(table.columns):
        columns[name if name not in columns else f"{name} {at}"] = table.iloc[:, at]
    return columns


def _joined(column: Any, kept: npt.NDArray[np.intp], values: Sequence[Any]) -> Any:
    """Return the kept rows of a column with new values appended; None is missing."""
    import pandas as pd

    if column is None:
        return pd.Series([*[None] * len(kept), *values])
    old = (column if len(kept) == len(column) else column.iloc[kept]).reset_index(drop=True)
    if not values:
        return old
    old = _widened(old, values)
    fresh = pd.Series(list(values), dtype=object)
    try:
        same = fresh.astype(old.dtype)
        equal = all(plain(a) == plain(b) for a, b in zip(same.tolist(), values, strict=True))
    except (TypeError, ValueError, OverflowError):
        equal = False
    if not equal:
        return pd.Series([*old.tolist(), *values], dtype=object)
    joined = pd.concat([old, same], ignore_index=True)
    if isinstance(joined.dtype, pd.StringDtype) and len(joined) % _PIECES < len(values):
        # Texts would be split into one chunk per addition, which gets slow. Joining the chunks of
        # thousands of texts is slow, too, so it is done now and then.
        joined = pd.Series(pd.array(joined.to_numpy(object), dtype=joined.dtype))
    return joined


def _widened(old: Any, values: Sequence[Any]) -> Any:
    """Return a column whose type allows missing values and new categories, if needed."""
    import pandas as pd

    known = [value for value in values if plain(value) is not None]
    if isinstance(old.dtype, pd.CategoricalDtype):
        new = [value for value in dict.fromkeys(known) if value not in old.cat.categories]
        return old.cat.add_categories(new)
    if (
        len(known) == len(values)
        or old.dtype.kind not in "biu"
        or not isinstance(old.dtype, np.dtype)
    ):
        return old
    if old.dtype.kind == "b":
        return old.astype(object)
    if len(old) and max(int(old.max()), -int(old.min())) > _EXACT:
        return old.astype("UInt64" if old.dtype.kind == "u" else "Int64")
    return old.astype(float)
