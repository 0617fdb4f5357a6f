"""What a handler stores for the next attempt of its job, as text. Pure."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from trellis_nats.codec import decode_json, encode_json, list_issues
from trellis_nats.errors import InvalidPayload

__all__ = ["CHECKPOINT_BYTES_MAX", "parse_checkpoint", "read_checkpoint", "write_checkpoint"]

CHECKPOINT_BYTES_MAX: Final = 64 * 1024
"""How long the JSON text of a checkpoint may be. The stream keeps every one of them as long as the job, and each worker that
takes over the job reads the newest."""

T = TypeVar("T")

_JSON: Final = TypeAdapter[JsonValue](JsonValue)


def write_checkpoint(value: BaseModel | JsonValue, *, what: str) -> bytes:
    """Return a checkpoint as JSON text. Models are written under their aliases, also the members that were never set.

    Models of a contract leave out what was never set, as everywhere.

    Raises:
        InvalidPayload: it is neither a model nor JSON, contains NaN or an infinity, or is too long.
    """
    try:
        if isinstance(value, BaseModel):
            text = encode_json(value.model_dump(mode="json", by_alias=True))
        else:
            text = encode_json(_JSON.validate_python(value, strict=True))
    except ValidationError as error:
        issues = list_issues(error)
    except ValueError as error:
        issues = [("#", str(error))]
    else:
        if len(text) <= CHECKPOINT_BYTES_MAX:
            return text
        problem = (
            f"{len(text)} bytes as JSON, and {CHECKPOINT_BYTES_MAX} are allowed: store what is large elsewhere, for "
            "instance in a store or a bucket, and its name here"
        )
        issues = [("#", problem)]
    raise InvalidPayload(what, issues)  # here, so that it has no context: a validation error holds the value


def parse_checkpoint(text: bytes | None) -> JsonValue:
    """Return a checkpoint as JSON; None where there is none."""
    return None if text is None else decode_json(text)


def read_checkpoint(text: bytes | None, shape: type[T], *, what: str) -> T | None:
    """Return a checkpoint as a value of a type; None where there is none, or it is null.

    Raises:
        InvalidPayload: it does not match the type.
    """
    if text is None or text == b"null":
        return None
    try:
        return TypeAdapter(shape).validate_json(text)
    except ValidationError as error:
        issues = list_issues(error)
    raise InvalidPayload(what, issues)
