"""What each unit of work gave, as small files that are whole or not there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_sam3.core.objects import Instance
from napari_sam3.inference.automatic.find import Found
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.labels.painting import Extent
from napari_sam3.records.checks import Node, RecordError, dump, parse
from napari_sam3.records.lines import encode_line
from napari_sam3.records.parts import prompts_from_record, prompts_to_record
from napari_sam3.records.rle import mask_from_record, mask_to_record
from sam3.files import read_bounded, write_whole

from .prompts import Position
from .results import BatchError

__all__ = ["Painted", "Records", "name_of", "position_of"]

T = TypeVar("T")
# What a plane or a tile gave, as text.
MAX_RECORD_BYTES = 1 << 30
_FIRST = b'{"sum":"'
_BODY_AT = len(_FIRST) + 8 + len(b'","body":')
_ROOMS = ("found", "forward", "backward", "tiles", "painted")


@dataclass(frozen=True)
class Painted:
    """That a plane of labels was written.

    Parameters
    ----------
    made_from : str
        Digest of the objects that were painted.
    extents : tuple of Extent
        What is to be seen of them.
    scores : tuple of float
        Their scores.
    prompts : tuple of (int, int)
        Numbers of clicks and boxes that each of them was asked by.
    """

    made_from: str
    extents: tuple[Extent, ...]
    scores: tuple[float, ...]
    prompts: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, objects: Sequence[Instance], extents: tuple[Extent, ...], made_from: str
    ) -> Painted:
        """Describe objects that were painted."""
        scores = tuple(one.score for one in objects)
        prompts = ((len(one.prompts.points), int(one.prompts.box is not None)) for one in objects)
        return cls(made_from, extents, scores, tuple(prompts))


class Records:
    """The records of a batch in a folder, each in a file of its own.

    A record says what it was made from, and counts only for that: where an earlier plane has
    changed, what was carried on from it is made again. Damaged records count as missing.

    Parameters
    ----------
    path : Path
        The folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def tidy(self) -> None:
        """Delete files that a killed process had in hand."""
        for room in _ROOMS:
            for partial in (self.path / room).glob(".*.partial"):
                partial.unlink(missing_ok=True)

    def clear(self, room: str) -> None:
        """Delete all records of a kind."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path / room)

    def has(self, room: str, name: str) -> bool:
        """Whether there is a record, whatever it was made from."""
        return self._file(room, name).exists()

    def forget(self, room: str, name: str) -> None:
        """Delete a record that no longer says the truth."""
        self._file(room, name).unlink(missing_ok=True)

    def objects(
        self, room: str, name: str, made_from: str | None = ""
    ) -> tuple[Instance, ...] | None:
        """Return the objects of a unit, made from certain things or from any.

        None if it is not done.
        """
        return self._read(room, name, made_from, _object_from)

    def put_objects(
        self, room: str, name: str, objects: Iterable[Instance], made_from: str = ""
    ) -> None:
        """Keep the objects of a unit; raises BatchError."""
        self._write(room, name, made_from, [_object_to(one) for one in objects])

    def found(self, name: str) -> tuple[Found, ...] | None:
        """Return what was found in a tile; None if it is not done."""
        return self._read("tiles", name, "", _found_from)

    def put_found(self, name: str, found: Iterable[Found]) -> None:
        """Keep what was found in a tile; raises BatchError."""
        self._write("tiles", name, "", [_found_to(one) for one in found])

    def names(self, room: str) -> list[str]:
        """Return the names of all records of a kind, in no order."""
        return [path.stem for path in (self.path / room).glob("*.json")]

    def painted_at(self, position: Position) -> Painted | None:
        """Return how a plane was painted; None if it was not."""
        return self.painted(name_of(position))

    def painted(self, name: str, made_from: str | None = None) -> Painted | None:
        """Return how a plane was painted, from certain objects or from any; None if it was not."""
        node = self._node("painted", name)
        try:
            if node is None or made_from not in (None, node.parts(*_PARTS)["made_from"].text()):
                return None
            parts = node.parts(*_PARTS)
            lines = [item.parts(*_LINE) for item in parts["items"].items()]
            return Painted(
                parts["made_from"].text(),
                tuple(_extent_from(line) for line in lines),
                tuple(line["score"].number() for line in lines),
                tuple((line["points"].integer(0), line["boxes"].integer(0)) for line in lines),
            )
        except RecordError:
            return None

    def put_painted(self, name: str, painted: Painted) -> None:
        """Keep that a plane was painted; raises BatchError."""
        lines = [
            {
                "id": extent.id,
                "area": extent.area,
                "centroid": list(extent.centroid),
                "bbox": list(extent.bbox),
                "score": score,
                "points": points,
                "boxes": boxes,
            }
            for extent, score, (points, boxes) in zip(
                painted.extents, painted.scores, painted.prompts, strict=True
            )
        ]
        self._write("painted", name, painted.made_from, lines)

    def _read(
        self, room: str, name: str, made_from: str | None, convert: Callable[[Node], T]
    ) -> tuple[T, ...] | None:
        node = self._node(room, name)
        try:
            if node is None:
                return None
            parts = node.parts(*_PARTS)
            if made_from not in (None, parts["made_from"].text()):
                return None
            return tuple(convert(item) for item in parts["items"].items())
        except RecordError:
            return None

    def _node(self, room: str, name: str) -> Node | None:
        try:
            line = read_bounded(self._file(room, name), MAX_RECORD_BYTES)
        except OSError:
            return None
        body = line[_BODY_AT:-2]
        if encode_line(body, 0)[0] != line:
            return None
        with contextlib.suppress(RecordError):
            return parse(body, f"{room} {name}")
        return None

    def _write(self, room: str, name: str, made_from: str, items: list[Any]) -> None:
        body = dump({"made_from": made_from, "items": items}, f"{room} {name}")
        path = self._file(room, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, encode_line(body, 0)[0])
        except OSError as error:
            raise BatchError(
                f"{str(path)!r} cannot be written ({error.strerror or error}); free some space, "
                "then the same command goes on from there"
            ) from error

    def _file(self, room: str, name: str) -> Path:
        assert room in _ROOMS
        return self.path / room / f"{name}.json"


def name_of(position: Position, tile: tuple[int, int] | None = None) -> str:
    """Return the name of a plane's records, or of those of a tile of it, by its first pixel."""
    plane = "-".join(map(str, position)) if position else "plane"
    return plane if tile is None else f"{plane}_{tile[0]}_{tile[1]}"


def position_of(name: str) -> Position:
    """Return the position of the plane that records have a name of."""
    return () if name == "plane" else tuple(map(int, name.split("-")))


_PARTS = "made_from", "items"
_LINE = "id", "area", "centroid", "bbox", "score", "points", "boxes"


def _object_to(one: Instance) -> dict[str, Any]:
    return {
        "id": int(one.id),
        "mask": mask_to_record(one.mask),
        "score": float(one.score),
        "prompts": prompts_to_record(one.prompts),
        "steps": int(one.steps),
        "ended": one.ended,
    }


def _object_from(node: Node) -> Instance:
    parts = node.parts("id", "mask", "score", "prompts", "steps", "ended")
    return Instance(
        parts["id"].integer(0),
        mask_from_record(parts["mask"]),
        parts["score"].number(),
        prompts_from_record(parts["prompts"]),
        parts["steps"].integer(0),
        parts["ended"].text(),
    )


def _found_to(one: Found) -> dict[str, Any]:
    return {
        "mask": mask_to_record(one.mask),
        "score": float(one.score),
        "stability": float(one.stability),
        "seed": [one.seed.y, one.seed.x, one.seed.size],
        "level": int(one.level),
    }


def _found_from(node: Node) -> Found:
    parts = node.parts("mask", "score", "stability", "seed", "level")
    y, x, size = parts["seed"].items(3)
    seed = Seed(y.number(), x.number(), None if size.value is None else size.number())
    return Found(
        mask_from_record(parts["mask"]),
        parts["score"].number(),
        parts["stability"].number(),
        seed,
        parts["level"].integer(-64, 64),
    )


def _extent_from(parts: dict[str, Node]) -> Extent:
    row, column = parts["centroid"].numbers(2)
    y0, x0, y1, x1 = parts["bbox"].integers(4, low=0)
    return Extent(parts["id"].integer(0), parts["area"].integer(0), (row, column), (y0, x0, y1, x1))
