"""The errors that a contract declares: their fields to JSON and back, validated by their schema. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pydantic import BaseModel, JsonValue

from trellis_nats.codec import Codec
from trellis_nats.errors import DeclaredError, InvalidPayload

__all__ = ["Common", "DeclaredCodec", "read_common"]

_COMMON: Final = frozenset({"id", "type", "message", "context", "traceId"})
"""The members of every error. A schema may name them too."""


class Common(NamedTuple):
    """The members of every error, as far as they are well formed."""

    id: str | None
    message: str
    context: Mapping[str, JsonValue]


def read_common(body: Mapping[str, JsonValue]) -> Common:
    """Read the members of every error."""
    error_id, message, context = body.get("id"), body.get("message"), body.get("context")
    return Common(
        error_id if isinstance(error_id, str) else None,
        message if isinstance(message, str) else "",
        context if isinstance(context, dict) else {},
    )


class DeclaredCodec:
    """Encodes and decodes the errors of one generated class."""

    def __init__(self, declared: type[DeclaredError]) -> None:
        shape = dict[str, JsonValue] if declared.data_type is None else declared.data_type
        self._declared = declared
        self._members = _members(declared.data_type)
        self._data = Codec[object](shape, what=f'error "{declared.error_type}"')
        self._context = Codec[object](
            dict[str, JsonValue], what=f'the context of error "{declared.error_type}"'
        )

    def context(self, error: DeclaredError) -> Mapping[str, JsonValue]:
        """Encode what the error contains in addition to its declared fields.

        Raises:
            InvalidPayload: it is not JSON.
        """
        return _object(self._context.to_json(dict(error.context)))

    def fields(self, error: DeclaredError, common: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Encode the error's own fields, validated by the schema together with the common members that it names.

        A field that is None is left out where the schema does not require it.

        Raises:
            InvalidPayload: the fields do not match the schema.
        """
        given = {
            name: value for name, value in error.fields.items() if value is not None or self._requires(name)
        }
        written = _object(self._data.to_json({**self._named(common), **given}))
        return {name: value for name, value in written.items() if name not in _COMMON}

    def read(self, body: Mapping[str, JsonValue]) -> DeclaredError | None:
        """Build the error; None when its fields do not match their schema."""
        try:
            data = self._data.from_json(self._named(body))
        except InvalidPayload:
            return None
        common = read_common(body)
        error = self._declared.__new__(self._declared)
        DeclaredError.__init__(
            error, common.message, **_values(data, body)
        )  # the generated constructor has other parameters
        error.id = common.id
        error.context = common.context
        return error

    def _requires(self, name: str) -> bool:
        return self._members is None or self._members.get(name, False)

    def _named(self, body: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Leave out the common members that the schema does not name: it may forbid other members."""
        members = self._members
        return {
            name: value
            for name, value in body.items()
            if members is None or name in members or name not in _COMMON
        }


def _members(data_type: object) -> Mapping[str, bool] | None:
    """Return the members that an object schema names, and whether each is required; None for other schemas."""
    if not (isinstance(data_type, type) and issubclass(data_type, BaseModel)):
        return None
    return {field.alias or name: field.is_required() for name, field in data_type.model_fields.items()}


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _values(data: object, body: Mapping[str, JsonValue]) -> Mapping[str, object]:
    if not isinstance(data, BaseModel):
        return {name: value for name, value in body.items() if name not in _COMMON}
    named = [(field.alias or name, name) for name, field in type(data).model_fields.items()]
    return {member: getattr(data, name) for member, name in named if member not in _COMMON}
