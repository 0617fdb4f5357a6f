"""Reads the members of a JSON object one by one, and keeps those that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp

__all__ = ["JsonReader", "Malformed"]

T = TypeVar("T")
JsonObject = dict[str, JsonValue]


class Malformed(Exception):
    """A stored value is no record of its key."""


class JsonReader:
    """A JSON object that is read member by member; what was not asked for is left in `rest`, which it is read out of."""

    __slots__ = ("place", "rest")

    def __init__(self, value: JsonValue, place: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{place} is not an object")
        self.place = place
        """Where it stands, for errors."""
        self.rest: JsonObject = value

    def take(self, name: str, kind: type[T]) -> T:
        """Return a member of this very type.

        Raises:
            Malformed: it is missing, or of another type.
        """
        value = self.rest.pop(name, None)
        if type(value) is not kind:
            raise Malformed(f"{self.place}: {name} is missing, or not of type {kind.__name__}")
        return value

    def instant(self, name: str) -> str:
        """Return a member that is an instant, as it is written.

        Raises:
            Malformed: it is missing, or no instant.
        """
        text = self.take(name, str)
        try:
            parse_timestamp(text)
        except ValueError:
            raise Malformed(f"{self.place}: {name} is no instant") from None
        return text

    def items(self, name: str) -> Iterator[JsonReader]:
        """Yield the objects of a member that is an array, each to be read before the next one.

        Raises:
            Malformed: it is missing, or of another type, or one of its items is.
        """
        value = self.rest.pop(name, None)
        if not isinstance(value, list):
            raise Malformed(f"{self.place}: {name} is missing, or no array")
        for index, each in enumerate(value):
            yield JsonReader(each, f"{name}/{index}")
