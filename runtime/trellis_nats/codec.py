"""Values to JSON and back, checked against their type both ways."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Final, Generic, TypeVar, cast

import pydantic_core
from pydantic import JsonValue, TypeAdapter, ValidationError

from trellis_nats.errors import InvalidPayload

__all__ = ["Codec", "decode_json", "encode_json"]

T = TypeVar("T")

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)
"""Tells a NaN from the word; pydantic's writer, eight times as quick, does not refuse one."""


class Codec(Generic[T]):
    """Encodes and decodes the values of one type.

    Decoding is strict, ignores nothing that the type forbids, and never puts the offending value into an error.
    The validator is built at first use, so that importing a package costs nothing.
    """

    def __init__(self, shape: object, *, what: str) -> None:
        self._shape = shape
        self._what = what

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        # What generated code states is a type expression, which no annotation can name before Python 3.15 (PEP 747).
        return TypeAdapter(cast("type[T]", self._shape))

    def decode(self, data: bytes) -> T:
        """Read a value from JSON text.

        Raises:
            InvalidPayload: it is not JSON, or does not match the type.
        """
        try:
            return self._adapter.validate_json(data, strict=True)
        except ValidationError as error:
            raise InvalidPayload(self._what, issues(error)) from None

    def from_json(self, value: JsonValue) -> T:
        """Read a value from parsed JSON.

        Raises:
            InvalidPayload: it does not match the type, or holds what JSON does not have, such as NaN.
        """
        try:
            text = encode_json(value)
        except ValueError as error:
            raise InvalidPayload(self._what, [("#", str(error))]) from None
        return self.decode(text)

    def to_json(self, value: T) -> JsonValue:
        """Write a value as parsed JSON; fields that were never set stay absent.

        Raises:
            InvalidPayload: the value does not match the type, or holds NaN or an infinity.
        """
        return self._written(value)[0]

    def encode(self, value: T) -> bytes:
        """Write a value as JSON text; fields that were never set stay absent. Raises as `to_json`."""
        return self._written(value)[1]

    def _written(self, value: T) -> tuple[JsonValue, bytes]:
        try:
            written: JsonValue = self._adapter.dump_python(
                value, mode="json", by_alias=True, exclude_unset=True, warnings="none"
            )
            # Checked is the text, as its reader will: `model_construct` checks nothing, a float may be NaN, and of a value
            # itself one cannot tell a member that is absent from one that is None.
            text = encode_json(written)
            self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            raise InvalidPayload(self._what, issues(error)) from None
        except ValueError as error:
            raise InvalidPayload(self._what, [("#", str(error))]) from None
        return written, text


def issues(error: ValidationError) -> list[tuple[str, str]]:
    """List the places and rules of a validation error, without the values."""
    return [
        ("/".join(("#", *(str(part) for part in item["loc"]))), item["msg"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def decode_json(data: bytes) -> JsonValue:
    """Parse JSON text. Its depth is bounded by the parser, and NaN and infinities are refused.

    Raises:
        ValueError: it is not JSON.
    """
    parsed: JsonValue = pydantic_core.from_json(data, allow_inf_nan=False)
    return parsed


def encode_json(value: JsonValue) -> bytes:
    """Write JSON text without white space.

    Raises:
        ValueError: the value holds NaN or an infinity, or text that is no Unicode.
    """
    written = pydantic_core.to_json(value, inf_nan_mode="constants")
    if has_no_json_number(written):
        return _ENCODER.encode(value).encode()
    return written


def has_no_json_number(written: bytes) -> bool:
    """Say whether text may hold a number that JSON does not have. It may also be a word in somebody's string."""
    return b"NaN" in written or b"Infinity" in written
