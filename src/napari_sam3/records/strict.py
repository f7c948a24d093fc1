"""Records on disk as JSON: declaration, validation and writing.

A record is declared as a ``TypedDict`` under `record`; `Parts` builds a value from it. pydantic
validates that it has exactly the declared names and types, and only finite numbers. JSON is read
and written by the standard library, which keeps lone surrogates (in file names on Linux) and
formats floats as earlier versions did, so that checksums do not change.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    with_config,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from napari_sam3.core.planes import PlaneIndex
from sam3.errors import Sam3Error

__all__ = [
    "LIST",
    "MAX_ITEMS",
    "Count",
    "Int",
    "Number",
    "MakeKey",
    "Parts",
    "Reading",
    "RecordError",
    "Schema",
    "Text",
    "as_it_is",
    "dump",
    "parse",
    "reading",
    "record",
]

T = TypeVar("T")
MakeKey = Callable[[PlaneIndex], Hashable]

MAX_ITEMS = 1 << 24
MAX_TEXT = 1 << 12
_INT64, _UINT64 = -(1 << 63), (1 << 64) - 1
_READ = "Use an undamaged copy, or the napari-sam3 that wrote it."
_STORE = "Change the value."


class RecordError(Sam3Error, ValueError):
    """A record that cannot be stored, or that is invalid for this version."""

    @classmethod
    def unreadable(cls, what: str, expected: str) -> RecordError:
        """Return the error for a record that is damaged, or of another version."""
        return cls(f"{what}. Expected {expected}. {_READ}")

    @classmethod
    def unstorable(cls, what: str, expected: str) -> RecordError:
        """Return the error for a value that has no record."""
        return cls(f"{what}. Expected {expected}. {_STORE}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"a text of at most {MAX_TEXT} characters")
    return value


#: Declares a record: a TypedDict with exactly these names.
record = with_config(ConfigDict(extra="forbid"))
#: JSON lists become tuples, the only conversion of types.
LIST = Field(max_length=MAX_ITEMS, fail_fast=True)
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Int = Annotated[int, Field(strict=True, ge=_INT64, le=_UINT64)]
Count = Annotated[int, Field(strict=True, ge=0, le=_UINT64)]
#: pydantic's own validation of texts rejects lone surrogates.
Text = Annotated[str, PlainValidator(_text)]


@dataclass(frozen=True)
class Reading:
    """Options for reading records.

    Parameters
    ----------
    make_key : callable
        Converts a `PlaneIndex` to the key of a plane.
    unpack : bool
        Decompress the labels of operations other than batches.
    """

    make_key: MakeKey
    unpack: bool = True


@dataclass(frozen=True)
class Parts:
    """Build a value from a record; for use in ``Annotated[Value, Parts(...)]``.

    Parameters
    ----------
    declared : type
        The record to validate.
    make : callable, optional
        Called with the validated record and pydantic's `ValidationInfo`, returns the value. The
        message of a `ValueError` is what was expected. By default the type is called with those
        parts that are its fields.
    """

    declared: Any
    make: Callable[[Any, ValidationInfo], Any] | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return pydantic's rule: validate the record, then build the value."""
        names = [part.name for part in fields(source)] if self.make is None else []
        make = self.make or (lambda parts, _: source(**{name: parts[name] for name in names}))
        return core_schema.with_info_after_validator_function(
            make, handler.generate_schema(self.declared)
        )


def reading(info: ValidationInfo) -> Reading:
    """Return the options for reading, within a function of `Parts`."""
    assert isinstance(info.context, Reading)
    return info.context


def as_it_is(plane: PlaneIndex) -> PlaneIndex:
    """Return a plane as its own key."""
    return plane


@dataclass(frozen=True)
class Schema(Generic[T]):
    """Convert values of a type to records and back.

    Parameters
    ----------
    declared : type
        The type, ``Annotated`` with its `Parts`.
    place : str
        Name of a value in messages, such as ``the operation``.
    plain : callable
        Converts a value to dicts, lists, texts and numbers.
    """

    declared: Any
    place: str
    plain: Callable[[Any], Any]

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.declared)

    def read(self, value: Any, make_key: MakeKey = as_it_is, place: str = "") -> T:
        """Build the value of a record.

        Parameters
        ----------
        value : object
            As loaded by `json`.
        make_key : callable
            Converts a `PlaneIndex` to the key of a plane, such as `PlaneSource.key`.
        place : str
            Position of the record for messages, such as ``line 3``.

        Raises
        ------
        RecordError
            With the position in the record, its value, and what was expected.
        """
        return self._checked(value, Reading(make_key), place or self.place)

    def write(self, value: T) -> Any:
        """Convert a value to a record for `json`.

        Raises
        ------
        RecordError
            If it could not be read back.
        """
        try:
            plain = self.plain(value)
        except RecordError:
            raise
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise RecordError.unstorable(
                f"{self.place} cannot be stored: {error}", "values of the declared types"
            ) from error
        # The value read back has the declared types, such as float for an integer.
        options = Reading(as_it_is, unpack=False)
        return self.plain(self._checked(plain, options, self.place, _STORE))

    def _checked(self, value: Any, reading: Reading, place: str, remedy: str = _READ) -> T:
        try:
            return self._adapter.validate_python(value, context=reading)
        except ValidationError as error:
            raise _complaint(error.errors(include_url=False), place, remedy) from error


def dump(value: Any, place: str) -> bytes:
    """Serialise a record as ASCII JSON on one line.

    Raises
    ------
    RecordError
        If it holds a value without a JSON form, such as NaN.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError) as error:
        raise RecordError.unstorable(
            f"{place} cannot be stored: {error}", "values that JSON can hold"
        ) from error


def parse(content: bytes, place: str) -> Any:
    """Parse JSON.

    Raises
    ------
    RecordError
        If it is invalid.
    """
    try:
        return json.loads(content)
    # A ValueError for a number of ten thousand digits, a RecursionError for endless brackets.
    except (ValueError, RecursionError) as error:
        raise RecordError.unreadable(
            f"{place} is not valid JSON: {error}", "a file written by napari-sam3"
        ) from error


def _complaint(errors: list[ErrorDetails], place: str, remedy: str) -> RecordError:
    """Convert pydantic's first error to an error of the project."""
    first = errors[0]
    inner = first["loc"]
    if first["type"] in ("missing", "extra_forbidden"):
        same = [error for error in errors if error["loc"][:-1] == inner[:-1]]
        lacking = [f"lacks {e['loc'][-1]!r}" for e in same if e["type"] == "missing"]
        unknown = [
            f"has an unknown {reprlib.repr(e['loc'][-1])}"
            for e in same
            if e["type"] == "extra_forbidden"
        ]
        what = " and ".join([*lacking, *unknown[:3]])
        where = place + _steps(inner[:-1])
        return RecordError(f"{where} {what}. Expected the parts of this version. {remedy}")
    where, reason = place + _steps(inner), first.get("ctx", {}).get("error")
    if isinstance(reason, RecordError):
        return RecordError(f"{where}: {reason}")
    if isinstance(reason, Sam3Error):  # of a value: what is wrong, and what was expected
        return RecordError(f"{where}: {reason} {remedy}")
    # As in "Input should be a valid integer", "Tuple should have at most 64 items ...".
    expected = str(reason or re.sub("^.*? should (be|have) ", "", first["msg"]))
    value = reprlib.repr(first["input"])
    return RecordError(f"{where} is invalid: {value}. Expected {expected}. {remedy}")


def _steps(inner: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in inner)
