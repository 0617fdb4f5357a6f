"""Values as generated models read and write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

__all__ = ["REFUSED", "drop_undeclared", "read_value", "write_value"]

REFUSED: Final = object()
"""What is read of a value that a model refuses."""


def read_value(model: TypeAdapter[object], value: JsonValue) -> object:
    """Return a value as a model reads it, or `REFUSED`."""
    try:
        return model.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return REFUSED


def drop_undeclared(value: object) -> None:
    """Drop the members that no schema declares: whether a model keeps those depends on its twins."""
    for part in _walk(value):
        further = str(type(part).__annotations__.get("__pydantic_extra__", ""))
        if part.__pydantic_extra__ and further.endswith("dict[str, JsonValue]"):
            part.__pydantic_extra__.clear()


def write_value(model: TypeAdapter[object], value: object) -> JsonValue:
    """Return what a model writes."""
    text = model.dump_json(value, by_alias=True, exclude_unset=True, warnings="none")
    written: JsonValue = json.loads(text)
    return written


def _walk(value: object) -> Iterator[BaseModel]:
    """Yield the models in a value."""
    inner: Iterable[object] = ()
    if isinstance(value, BaseModel):
        yield value
        fields = [getattr(value, name) for name in type(value).model_fields]
        inner = [*fields, *(value.__pydantic_extra__ or {}).values()]
    elif isinstance(value, dict):
        inner = cast("dict[str, object]", value).values()
    elif isinstance(value, list | tuple):
        inner = cast("Sequence[object]", value)
    for each in inner:
        yield from _walk(each)
