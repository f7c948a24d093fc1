"""What is known of each object besides its pixels: scores, numbers of prompts, classes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.output_files import ExportError

if TYPE_CHECKING:
    from napari_sam3.export import ObjectRow

__all__ = ["ObjectTable", "plane_text"]

#: What the pixels tell better.
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
        return cls({(row.id, row.plane): _beside_pixels(asdict(row)) for row in rows})

    @classmethod
    def from_features(cls, features: Any) -> ObjectTable:
        """Return the table of a Labels layer.

        Parameters
        ----------
        features : pandas.DataFrame
            With the labels in the column "index", as napari has it; other tables say nothing
            about labels and give an empty one.
        """
        if "index" not in features:
            return cls()
        return cls(
            {
                (int(line["index"]), str(line.get("plane") or "")): _beside_pixels(line)
                for line in features.to_dict("records")
                if line["index"] == line["index"]  # a row of nobody has NaN
            }
        )

    @classmethod
    def from_properties(cls, properties: Iterable[Mapping[str, Any]]) -> ObjectTable:
        """Return the table that an OME-Zarr label image keeps, for all planes alike.

        Parameters
        ----------
        properties : iterable of mapping
            As in its metadata, each with its "label-value".
        """
        return cls(
            {
                (int(one["label-value"]), ""): _beside_pixels(one)
                for one in properties
                if "label-value" in one
            }
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ObjectTable:
        """Read a table with a column "id", perhaps "plane", and others.

        Parameters
        ----------
        path : str or path-like
            CSV, or Parquet by its suffix.

        Raises
        ------
        ExportError
            If it is no such table.
        """
        path = Path(path)
        try:
            lines = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
            return cls(
                {(int(line["id"]), str(line.get("plane") or "")): _beside_pixels(line)
                 for line in lines}
            )  # fmt: skip
        except ExportError:
            raise
        except (OSError, ValueError, KeyError, csv.Error) as error:
            why = "it has no column 'id'" if isinstance(error, KeyError) else error
            raise ExportError(
                f"{str(path)!r} is no table of objects ({why}); expected a CSV or Parquet file "
                "with a column 'id' of labels"
            ) from error

    def known(self, label: int, position: Iterable[int]) -> Mapping[str, Any]:
        """Return what is known of an object on a plane; may be empty."""
        found = self.rows.get((label, plane_text(position)))
        return found if found is not None else self.rows.get((label, ""), {})

    def columns(self) -> list[str]:
        """Return the names of all values, in the order in which they come first."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))


def _beside_pixels(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other values as Python's own types, those that are missing left out."""
    plain = {name: getattr(value, "item", lambda v=value: v)() for name, value in line.items()}
    return {
        str(name): value
        for name, value in plain.items()
        if name not in MEASURED
        and not str(name).endswith("_physical")
        and value not in (None, "")
        and value == value  # NaN is not
    }


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: _value(text) for name, text in line.items() if name}
            for line in csv.DictReader(file)
        ]


def _value(text: str | None) -> Any:
    for kind in (int, float):
        try:
            return kind(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
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
