"""Records of the units of a batch, in files that are either complete or missing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from typing_extensions import TypedDict

from napari_sam3.core.objects import Instance
from napari_sam3.inference.automatic.find import Found
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.labels.painting import Extent
from napari_sam3.records.lines import encode_line
from napari_sam3.records.schema import LevelPart, MaskPart, PromptsPart, plain
from napari_sam3.records.strict import (
    LIST,
    Count,
    Number,
    Parts,
    RecordError,
    Schema,
    Text,
    dump,
    parse,
    record,
)
from sam3.files import read_bounded, write_whole

from .prompts import Position
from .results import BatchError

__all__ = ["Painted", "Records", "name_of", "position_of"]

T = TypeVar("T")
# Maximum size of a record of a plane or a tile.
MAX_RECORD_BYTES = 1 << 30
_FIRST = b'{"sum":"'
_BODY_AT = len(_FIRST) + 8 + len(b'","body":')
_KINDS = ("found", "forward", "backward", "tiles", "painted")


@record
class _FoundRecord(TypedDict):
    mask: MaskPart
    score: Number
    stability: Number
    seed: Annotated[Seed, Parts(tuple[Number, Number, Number | None], lambda at, _: Seed(*at))]
    level: LevelPart


@record
class _InstanceRecord(TypedDict):
    id: Count
    mask: MaskPart
    score: Number
    prompts: PromptsPart
    steps: Count
    ended: Text


@record
class _Line(TypedDict):
    id: Count
    area: Count
    centroid: tuple[Number, Number]
    bbox: tuple[Count, Count, Count, Count]
    score: Number
    points: Count
    boxes: Count


@record
class _Unit(TypedDict, Generic[T]):
    made_from: Text
    items: Annotated[tuple[T, ...], LIST]


def _plain(unit: _Unit[Any]) -> dict[str, Any]:
    items = [
        {**plain(item), "seed": plain((item.seed.y, item.seed.x, item.seed.size))}
        if isinstance(item, Found)
        else item
        for item in unit["items"]
    ]
    return {"made_from": unit["made_from"], "items": plain(items)}


_OBJECTS: Schema[_Unit[Instance]] = Schema(
    _Unit[Annotated[Instance, Parts(_InstanceRecord)]], "the objects of a unit", _plain
)
_FOUND: Schema[_Unit[Found]] = Schema(
    _Unit[Annotated[Found, Parts(_FoundRecord)]], "what was found in a tile", _plain
)
_PAINTED: Schema[_Unit[_Line]] = Schema(_Unit[_Line], "how a plane was painted", _plain)


@dataclass(frozen=True)
class Painted:
    """The record of a painted plane of labels.

    Parameters
    ----------
    made_from : str
        Digest of the painted objects.
    extents : tuple of Extent
        Visible parts of the objects.
    scores : tuple of float
        Scores of the objects.
    prompts : tuple of (int, int)
        Numbers of clicks and boxes of each object.
    """

    made_from: str
    extents: tuple[Extent, ...]
    scores: tuple[float, ...]
    prompts: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, objects: Sequence[Instance], extents: tuple[Extent, ...], made_from: str
    ) -> Painted:
        """Describe painted objects."""
        scores = tuple(instance.score for instance in objects)
        prompts = (
            (len(instance.prompts.points), int(instance.prompts.box is not None))
            for instance in objects
        )
        return cls(made_from, extents, scores, tuple(prompts))


class Records:
    """The records of a batch in a folder, one file each.

    A record names its inputs by a digest and is valid for these only: if an earlier plane has
    changed, the planes that depend on it are computed again. Damaged records count as missing.

    Parameters
    ----------
    path : Path
        The folder, created when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def tidy(self) -> None:
        """Delete partial files that killed processes left in the folder of the batch."""
        for folder in (self.path, *(self.path / kind for kind in _KINDS)):
            for partial in folder.glob(".*.partial"):
                partial.unlink(missing_ok=True)

    def clear(self, kind: str) -> None:
        """Delete all records of a kind."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path / kind)

    def has(self, kind: str, name: str) -> bool:
        """Tell whether there is a record, valid or outdated."""
        return self._file(kind, name).exists()

    def forget(self, kind: str, name: str) -> None:
        """Delete an outdated record."""
        self._file(kind, name).unlink(missing_ok=True)

    def objects(
        self, kind: str, name: str, made_from: str | None = ""
    ) -> tuple[Instance, ...] | None:
        """Return the objects of a unit, made from certain inputs or (None) from any.

        None if there is no valid record.
        """
        unit = self._read(kind, name, made_from, _OBJECTS)
        return None if unit is None else unit["items"]

    def put_objects(
        self, kind: str, name: str, objects: Iterable[Instance], made_from: str = ""
    ) -> None:
        """Record the objects of a unit; raises BatchError."""
        self._write(kind, name, _OBJECTS, made_from, objects)

    def found(self, name: str) -> tuple[Found, ...] | None:
        """Return the objects found in a tile; None if there is no valid record."""
        unit = self._read("tiles", name, "", _FOUND)
        return None if unit is None else unit["items"]

    def put_found(self, name: str, found: Iterable[Found]) -> None:
        """Record the objects found in a tile; raises BatchError."""
        self._write("tiles", name, _FOUND, "", found)

    def names(self, kind: str) -> list[str]:
        """Return the names of all records of a kind, unordered."""
        return [path.stem for path in (self.path / kind).glob("*.json")]

    def painted_at(self, position: Position) -> Painted | None:
        """Return the record of a painted plane; None if there is none."""
        return self.painted(name_of(position))

    def painted(self, name: str, made_from: str | None = None) -> Painted | None:
        """Return the record of a plane painted from certain objects, or (None) from any."""
        unit = self._read("painted", name, made_from, _PAINTED)
        if unit is None:
            return None
        lines = unit["items"]
        return Painted(
            unit["made_from"],
            tuple(Extent(n["id"], n["area"], n["centroid"], n["bbox"]) for n in lines),
            tuple(line["score"] for line in lines),
            tuple((line["points"], line["boxes"]) for line in lines),
        )

    def put_painted(self, name: str, painted: Painted) -> None:
        """Record a painted plane; raises BatchError."""
        lines: tuple[_Line, ...] = tuple(
            {
                "id": extent.id,
                "area": extent.area,
                "centroid": extent.centroid,
                "bbox": extent.bbox,
                "score": score,
                "points": points,
                "boxes": boxes,
            }
            for extent, score, (points, boxes) in zip(
                painted.extents, painted.scores, painted.prompts, strict=True
            )
        )
        self._write("painted", name, _PAINTED, painted.made_from, lines)

    def _read(
        self, kind: str, name: str, made_from: str | None, schema: Schema[_Unit[T]]
    ) -> _Unit[T] | None:
        """Return a valid record, made from certain inputs or (None) from any."""
        try:
            line = read_bounded(self._file(kind, name), MAX_RECORD_BYTES)
        except OSError:
            return None
        body = line[_BODY_AT:-2]
        if encode_line(body, 0)[0] != line:
            return None
        try:
            unit = schema.read(parse(body, f"{kind} {name}"))
        except RecordError:
            return None
        return unit if made_from in (None, unit["made_from"]) else None

    def _write(
        self, kind: str, name: str, schema: Schema[_Unit[T]], made_from: str, items: Iterable[T]
    ) -> None:
        unit: _Unit[T] = {"made_from": made_from, "items": tuple(items)}
        body = dump(schema.write(unit), f"{kind} {name}")
        path = self._file(kind, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, encode_line(body, 0)[0])
        except OSError as error:
            raise BatchError(
                f"{str(path)!r} cannot be written: {error.strerror or error}. Expected a "
                "writable folder with free space. Free some space, then run the same command again "
                "to resume."
            ) from error

    def _file(self, kind: str, name: str) -> Path:
        assert kind in _KINDS
        return self.path / kind / f"{name}.json"


def name_of(position: Position, tile: tuple[int, int] | None = None) -> str:
    """Return the name of the records of a plane, or of a tile of it by its first pixel."""
    plane = "-".join(map(str, position)) if position else "plane"
    return plane if tile is None else f"{plane}_{tile[0]}_{tile[1]}"


def position_of(name: str) -> Position:
    """Return the position of the plane from the name of its records."""
    return () if name == "plane" else tuple(map(int, name.split("-")))
