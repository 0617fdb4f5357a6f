"""Types with the semantics of JSON Schema; generated models are declared with them.

| JSON Schema | pydantic alone | here |
|---|---|---|
| `1.0` is an integer | rejected | `Integer` accepts it, as `1` |
| an optional member is not nullable | `x: str = None` accepts both | `NotNull` rejects an explicit `None` |
| `true` is not `1` | `Literal[1]` accepts both | `Exact` distinguishes them |
| an enumeration may hold any JSON | `Literal` accepts strings, booleans and integers | `OneOf` accepts the rest |
| `format: time` has an offset | `time` may be naive | `AwareTime` |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Annotated, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    JsonValue,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = ["AwareTime", "Exact", "Integer", "NotNull", "OneOf"]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "may be absent, but not null")
    return value


def _aware(value: time) -> time:
    if value.utcoffset() is None:
        raise PydanticCustomError("time_without_offset", "must have an offset from UTC")
    return value


def _exact(value: object, matches: ValidatorFunctionWrapHandler) -> object:
    matched: object = matches(value)
    if isinstance(value, bool) is not isinstance(matched, bool):
        raise PydanticCustomError("literal", "is not one of the allowed values")
    return matched


Integer: TypeAlias = Annotated[int, BeforeValidator(_whole)]
"""An integer; `1.0` counts as `1`."""
Exact: Final = WrapValidator(_exact)
"""Marks a `Literal` of integers or booleans: `true` is not `1`."""
NotNull: Final = AfterValidator(_not_null)
"""Marks a field that may be absent but not null. An absent field reads as None."""
AwareTime: TypeAlias = Annotated[time, AfterValidator(_aware)]
"""A time of day with its offset from UTC."""


@dataclass(frozen=True, slots=True, eq=False)  # a type expression must be hashable, and a JSON value is not
class OneOf:
    """Marks a value that must equal one of these, as JSON Schema compares: `1` is `1.0`, and neither is `true`."""

    values: tuple[JsonValue, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: JsonValue) -> JsonValue:
        if not any(_same(value, allowed) for allowed in self.values):
            raise PydanticCustomError("one_of", "is not one of the allowed values")
        return value


def _same(one: JsonValue, other: JsonValue) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
