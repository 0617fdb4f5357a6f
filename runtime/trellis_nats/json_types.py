"""Types with the semantics of JSON Schema; generated models are declared with them.

| JSON Schema | pydantic alone | here |
|---|---|---|
| `1.0` is an integer | rejected | `Integer` accepts it, as `1` |
| an optional member is not nullable | `x: str = None` accepts both | `NotNull` rejects an explicit `None` |
| `true` is not `1` | `Literal[1]` accepts both | `Exact` distinguishes them |
| an enumeration may hold any JSON | `Literal` accepts strings, booleans and integers | `OneOf` accepts the rest |
| dates, times and UUIDs have one form | many forms; no leap second | `AwareDatetime`, `AwareTime`, `ExactDate`, `ExactUUID` |
| JSON has no NaN and no infinity, and `1e400` is too large | accepted | `Number` and `JsonValue` reject them |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Final, LiteralString, TypeAlias, TypeVar
from uuid import UUID

import pydantic
import pydantic_core
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    GetCoreSchemaHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from trellis_nats._support.text_formats import parse_date, parse_date_time, parse_time, parse_uuid

__all__ = [
    "AwareDatetime",
    "AwareTime",
    "Exact",
    "ExactDate",
    "ExactUUID",
    "Integer",
    "JsonObject",
    "JsonValue",
    "NotNull",
    "Number",
    "OneOf",
    "may_contain_nan",
]

ClockT = TypeVar("ClockT", datetime, time)


def may_contain_nan(written: bytes) -> bool:
    """Return whether JSON text may contain a NaN or an infinity. It may also be a word inside a string."""
    # Not `in`: before it searches, that tries the word as an integer, and formats the error.
    return written.find(b"NaN") >= 0 or written.find(b"Infinity") >= 0


def _finite(value: pydantic.JsonValue) -> pydantic.JsonValue:
    # Writing the value finds a NaN several times faster than walking it.
    if isinstance(value, float | list | dict) and may_contain_nan(
        pydantic_core.to_json(value, inf_nan_mode="constants")
    ):
        _check_finite(value)
    return value


def _check_finite(value: pydantic.JsonValue) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "has a number that is not finite")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(inner)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "may be absent, but not null: leave it out")
    return value


def _aware(value: ClockT) -> ClockT:
    if value.utcoffset() is None:
        raise PydanticCustomError("without_offset", "must have an offset from UTC")
    return value


def _exact(value: object, matches: ValidatorFunctionWrapHandler) -> object:
    matched: object = matches(value)
    if isinstance(value, bool) is not isinstance(matched, bool):
        raise PydanticCustomError("literal", "is not one of the allowed values")
    return matched


@dataclass(frozen=True, slots=True)
class _JsonText:
    """Marks a type whose JSON texts have one form. Values from Python are those of the type itself."""

    kind: LiteralString
    example: str
    parse: Callable[[str], object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def _read(self, value: object, info: ValidationInfo) -> object:
        if info.mode != "json" or not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError:
            raise PydanticCustomError(
                self.kind, "is not a {kind}, such as {example}", {"kind": self.kind, "example": self.example}
            ) from None


Integer: TypeAlias = Annotated[int, BeforeValidator(_whole)]
"""An integer; `1.0` counts as `1`."""
Exact: Final = WrapValidator(_exact)
"""Marks a `Literal` of integers or booleans: `true` is not `1`."""
NotNull: Final = AfterValidator(_not_null)
"""Marks a field that may be absent but not null. An absent field reads as None."""
Number: TypeAlias = Annotated[float, AllowInfNan(allow_inf_nan=False)]
"""A number; pydantic's `float` is also NaN and the infinities."""
JsonValue: TypeAlias = Annotated[pydantic.JsonValue, AfterValidator(_finite)]
"""Any JSON value; pydantic's own is also NaN and the infinities."""
JsonObject: TypeAlias = dict[str, pydantic.JsonValue]
"""A JSON object as it is stored, not validated."""
AwareDatetime: TypeAlias = Annotated[
    datetime, _JsonText("date-time", "2026-11-23T08:30:00Z", parse_date_time), AfterValidator(_aware)
]
"""A date and time of RFC 3339, with its offset from UTC. A leap second, `23:59:60Z`, is read as the second before it."""
AwareTime: TypeAlias = Annotated[time, _JsonText("time", "08:30:00Z", parse_time), AfterValidator(_aware)]
"""A time of day of RFC 3339, with its offset from UTC. A leap second is read as the second before it."""
ExactDate: TypeAlias = Annotated[date, _JsonText("date", "2026-11-23", parse_date)]
"""A date of RFC 3339: `2026-11-23`."""
ExactUUID: TypeAlias = Annotated[UUID, _JsonText("uuid", "2a1b2c3d-0000-4000-8000-000000000000", parse_uuid)]
"""A UUID of RFC 9562, with its dashes and nothing else."""


@dataclass(frozen=True, slots=True, eq=False)  # a type expression must be hashable, and a JSON value is not
class OneOf:
    """Marks a value that must equal one of these, as JSON Schema compares: `1` is `1.0`, and neither is `true`."""

    values: tuple[pydantic.JsonValue, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: pydantic.JsonValue) -> pydantic.JsonValue:
        if not any(_same(value, allowed) for allowed in self.values):
            raise PydanticCustomError("one_of", "is not one of the allowed values")
        return value


def _same(one: pydantic.JsonValue, other: pydantic.JsonValue) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
