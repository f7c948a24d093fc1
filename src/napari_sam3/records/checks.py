"""Strict reading of what JSON gave: every value is checked, every complaint names its place."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sam3.errors import Sam3Error

__all__ = ["MAX_ITEMS", "MAX_TEXT", "Node", "RecordError", "dump", "parse"]

MAX_ITEMS = 1 << 24
MAX_TEXT = 1 << 12
_INT64, _UINT64 = -(1 << 63), (1 << 64) - 1


class RecordError(Sam3Error, ValueError):
    """A record that cannot be stored, or is not what this version stores."""


@dataclass(frozen=True)
class Node:
    """A value out of JSON and where it stands.

    Parameters
    ----------
    value : object
        As `json` gives it.
    place : str
        For messages, such as ``operation.objects[2].score``.
    """

    value: Any
    place: str

    def error(self, expected: str) -> RecordError:
        """Return the error that says what was expected here."""
        return RecordError(
            f"{self.place} is {reprlib.repr(self.value)}; expected {expected}. The record is "
            "damaged, or was made by another version of napari-sam3"
        )

    def parts(self, *names: str) -> dict[str, Node]:
        """Return the values of an object that has exactly these names."""
        if not isinstance(self.value, dict):
            raise self.error(f"an object with {', '.join(names)}")
        missing = [name for name in names if name not in self.value]
        unknown = [name for name in self.value if name not in names]
        if missing or unknown:
            what = [f"lacks {name!r}" for name in missing]
            what += [f"has an unknown {reprlib.repr(name)}" for name in unknown[:3]]
            raise RecordError(
                f"{self.place} {' and '.join(what)}; expected exactly {', '.join(names)}. The "
                "record is damaged, or was made by another version of napari-sam3"
            )
        return {name: Node(self.value[name], f"{self.place}.{name}") for name in names}

    def items(self, length: int | None = None, most: int = MAX_ITEMS) -> list[Node]:
        """Return the values of a list, of `length` if given, else of at most `most`."""
        known = isinstance(self.value, list) and len(self.value) <= most
        if not known or length not in (None, len(self.value)):
            raise self.error(f"a list of {f'at most {most}' if length is None else length} values")
        return [Node(value, f"{self.place}[{i}]") for i, value in enumerate(self.value)]

    def integer(self, low: int = _INT64, high: int = _UINT64) -> int:
        """Return an integer from `low` to `high`; true and false are none."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.error(f"an integer from {low} to {high}")
        return self.value

    def integers(self, length: int | None = None, low: int = _INT64) -> tuple[int, ...]:
        """Return a list of integers, none below `low`."""
        return tuple(item.integer(low) for item in self.items(length))

    def number(self) -> float:
        """Return a finite number."""
        finite = False
        if type(self.value) in (int, float):
            try:
                finite = math.isfinite(self.value)
            except OverflowError:
                finite = False
        if not finite:
            raise self.error("a finite number")
        return float(self.value)

    def numbers(self, length: int) -> tuple[float, ...]:
        """Return a list of so many finite numbers."""
        return tuple(item.number() for item in self.items(length))

    def text(self, most: int = MAX_TEXT) -> str:
        """Return a text of at most so many characters."""
        if not isinstance(self.value, str) or len(self.value) > most:
            raise self.error(f"a text of at most {most} characters")
        return self.value

    def one_of(self, options: Sequence[str]) -> str:
        """Return a text that is one of a few."""
        if not isinstance(self.value, str) or self.value not in options:
            raise self.error(f"one of {', '.join(options)}")
        return self.value


def dump(record: Any, place: str) -> bytes:
    """Return a record as ASCII JSON on one line.

    Raises
    ------
    RecordError
        If it holds something that JSON has no form for, such as NaN.
    """
    try:
        return json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError) as error:
        raise RecordError(f"{place} cannot be stored: {error}") from error


def parse(content: bytes, place: str) -> Node:
    """Read JSON.

    Raises
    ------
    RecordError
        If it is none.
    """
    try:
        return Node(json.loads(content), place)
    # A number of ten thousand digits is a ValueError; brackets without end, a RecursionError.
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{place} is no JSON ({error}); expected a file written by napari-sam3"
        ) from error
