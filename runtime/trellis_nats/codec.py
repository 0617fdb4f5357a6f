"""Encodes values to JSON and decodes them, validated against their type both ways."""

from __future__ import annotations

import inspect
import json
from functools import cached_property
from typing import Annotated, Final, Generic, NamedTuple, TypeVar, cast

import pydantic_core
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from trellis_nats._support.issues import list_issues
from trellis_nats._support.union_labels import LABEL_UNIONS
from trellis_nats.errors import InvalidPayload
from trellis_nats.json_types import may_contain_nan

__all__ = ["Codec", "JsonText", "decode_json", "encode_json", "list_issues"]

T = TypeVar("T")

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)
"""Refuses NaN and infinities; pydantic's encoder, eight times as fast, does not."""

_NOT_A_VALUE: Final = (AttributeError, LookupError, RuntimeError, TypeError)
"""What the serializer of a model raises, instead of a ValueError, for objects with attributes of their own: dataclasses,
exceptions, classes, mocks."""


class JsonText(NamedTuple):
    """A JSON value together with its text, so that it is encoded only once."""

    value: JsonValue
    text: bytes


class Codec(Generic[T]):
    """Encodes and decodes the values of one type.

    Decoding is strict, rejects everything that the type forbids, and never puts the invalid value into an error.
    The validator is built at first use, so that importing a package is fast.
    """

    def __init__(self, shape: object, *, what: str) -> None:
        self._shape = shape
        self._what = what

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        # Generated code passes a type expression; before Python 3.15 (PEP 747) no annotation describes one.
        return TypeAdapter(cast("type[T]", Annotated[self._shape, LABEL_UNIONS]))

    @property
    def what(self) -> str:
        """What the values are, as errors name them."""
        return self._what

    @property
    def shape(self) -> object:
        """The type, as an expression that pydantic understands."""
        return self._shape

    def decode(self, data: bytes) -> T:
        """Read a value from JSON text.

        Raises:
            InvalidPayload: it is not JSON, or does not match the type.
        """
        try:
            # The validator reads NaN and the infinities where it looks at nothing, as in members that a model ignores.
            if may_contain_nan(data):
                decode_json(data)
            value: T = self._adapter.validator.validate_json(data, strict=True, by_name=False)
        except ValidationError as error:
            issues = list_issues(error)
        except ValueError as error:
            issues = [("#", str(error))]
        else:
            return value
        # Raised here, so that it has no context: a validation error may take 300 MB, and a log record keeps its arguments.
        raise InvalidPayload(self._what, issues)

    def from_json(self, value: JsonValue) -> T:
        """Read a value from parsed JSON.

        Raises:
            InvalidPayload: it does not match the type, or contains what JSON does not have, such as NaN.
        """
        try:
            text = encode_json(value)
        except ValueError as error:
            raise InvalidPayload(self._what, [("#", str(error))]) from None
        return self.decode(text)

    def to_json(self, value: T) -> JsonValue:
        """Return a value as parsed JSON; fields that were never set are left out.

        Raises:
            InvalidPayload: the value does not match the type, or contains NaN or an infinity.
        """
        return self.write(value).value

    def encode(self, value: T) -> bytes:
        """Encode a value as JSON text; fields that were never set are left out. Raises as `to_json`."""
        adapter = self._adapter
        try:
            text = adapter.serializer.to_json(value, by_alias=True, exclude_unset=True, warnings=False)
            if text.find(b"null") < 0 and not may_contain_nan(text):
                adapter.validator.validate_json(text, strict=True, by_name=False)
                return text
        except Exception:  # noqa: BLE001 - `write` raises an error whose text does not have the invalid value
            text = b""
        # This serializer writes NaN as null, which a member may be; `write` does not.
        written = self.write(value)
        if not text or decode_json(text) != written.value:  # an iterator, which the first reading has used up
            raise InvalidPayload(self._what, [("#", "it is not the same when it is read again")])
        return written.text

    def write(self, value: T) -> JsonText:
        """Return a value as parsed JSON and as text; fields that were never set are left out. Raises as `to_json`."""
        adapter = self._adapter
        try:
            written: JsonValue = adapter.serializer.to_python(
                value, mode="json", by_alias=True, exclude_unset=True, warnings=False
            )
            # The text is validated, as its reader will: `model_construct` validates nothing, a float may be NaN, and a
            # value does not show whether a member is absent or None.
            text = encode_json(written)
            adapter.validator.validate_json(text, strict=True, by_name=False)
            return JsonText(written, text)
        except ValidationError as error:
            issues = list_issues(error)
        except ValueError as error:
            issues = [("#", str(error))]
        except _NOT_A_VALUE as error:
            what = f"an object of type {type(value).__name__} cannot be written: {type(error).__name__}"
            issues = [("#", what)]
        if (other := self._name_other_class(value)) is not None:
            issues.insert(0, ("#", other))
        raise InvalidPayload(self._what, issues)  # without a context, as in `decode`

    def _name_other_class(self, value: object) -> str | None:
        """Return which class is expected instead of that of the value, or None. A dict may become an object of the class."""
        expected = self._shape
        if not (isinstance(expected, type) and issubclass(expected, BaseModel)):
            return None
        if isinstance(value, expected | dict):
            return None
        advice = ": await it" if inspect.iscoroutine(value) else ""
        return f"{expected.__name__} is expected, got {type(value).__name__}{advice}"


def decode_json(data: bytes) -> JsonValue:
    """Parse JSON text. The parser limits its depth, and NaN and infinities are rejected.

    Raises:
        ValueError: it is not JSON.
    """
    parsed: JsonValue = pydantic_core.from_json(data, allow_inf_nan=False)
    return parsed


def encode_json(value: JsonValue) -> bytes:
    """Encode JSON text without white space.

    Raises:
        ValueError: the value contains NaN or an infinity, or text that is not valid Unicode.
    """
    written = pydantic_core.to_json(value, inf_nan_mode="constants")
    if may_contain_nan(written):
        return _ENCODER.encode(value).encode()
    return written
