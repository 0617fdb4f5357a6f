"""Reads the members of a JSON object one by one, and keeps the unknown ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp

__all__ = ["InvalidRecord", "JsonReader"]

T = TypeVar("T")
JsonObject = dict[str, JsonValue]


class InvalidRecord(Exception):
    """A stored value is not a valid record of its key."""


class JsonReader:
    """A JSON object that is read member by member. Members that were not read stay in `rest`."""

    __slots__ = ("position", "rest")

    def __init__(self, value: JsonValue, position: str) -> None:
        if not isinstance(value, dict):
            raise InvalidRecord(f"{position} is not an object")
        self.position = position
        """The position of the object in the record, for errors."""
        self.rest: JsonObject = value

    def take(self, name: str, kind: type[T]) -> T:
        """Return a member, whose type must be exactly `kind`.

        Raises:
            InvalidRecord: it is missing, or has another type.
        """
        value = self.rest.pop(name, None)
        if type(value) is not kind:
            raise InvalidRecord(f"{self.position}: {name} is missing, or is not of type {kind.__name__}")
        return value

    def timestamp(self, name: str) -> str:
        """Return the text of a member that is a timestamp.

        Raises:
            InvalidRecord: it is missing, or is not a timestamp.
        """
        text = self.take(name, str)
        try:
            parse_timestamp(text)
        except ValueError:
            raise InvalidRecord(f"{self.position}: {name} is not a timestamp") from None
        return text

    def items(self, name: str) -> Iterator[JsonReader]:
        """Yield the objects of a member that is an array.

        Raises:
            InvalidRecord: it is missing, is not an array, or an item is not an object.
        """
        value = self.rest.pop(name, None)
        if not isinstance(value, list):
            raise InvalidRecord(f"{self.position}: {name} is missing, or is not an array")
        for index, item in enumerate(value):
            yield JsonReader(item, f"{name}/{index}")
