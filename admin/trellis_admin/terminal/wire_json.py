"""Turns what queries and actions return into JSON: camelCase, times as UTC text, lengths of time in milliseconds. Pure."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from typing import cast

__all__ = ["members_to_wire", "to_wire"]


def to_wire(value: object) -> object:
    """Return a value that `json.dumps` writes.

    Names of members are in camelCase; those of lengths of time end with `Ms`. Bytes that are JSON become text, so that integers
    stay exact for every reader; others become base64.
    """
    match value:
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        case timedelta():
            return round(value / timedelta(milliseconds=1))
        case Enum():
            return value.value
        case bytes():
            return _bytes(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            return _container(value)


def _container(value: object) -> object:
    named: Callable[[], dict[str, object]] | None = getattr(value, "_asdict", None)
    if named is not None:  # a named tuple
        return members_to_wire(named())
    if dataclasses.is_dataclass(value):
        return members_to_wire({part.name: getattr(value, part.name) for part in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        return {str(to_wire(name)): to_wire(item) for name, item in members.items()}
    if isinstance(value, Sequence | AbstractSet):
        return [to_wire(item) for item in cast("Collection[object]", value)]
    dump: Callable[..., dict[str, object]] | None = getattr(value, "model_dump", None)
    return str(value) if dump is None else to_wire(dump(by_alias=True, exclude_none=True))


def members_to_wire(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members of an object, as `to_wire` names them."""
    return {
        _camel(name) + ("Ms" if isinstance(value, timedelta) else ""): to_wire(value)
        for name, value in members.items()
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _bytes(value: bytes) -> object:
    try:
        json.loads(value)
        return value.decode()
    except ValueError:
        return base64.b64encode(value).decode()
