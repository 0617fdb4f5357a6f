"""The frames of a transfer: their headers, and errors (reference, 10). Pure.

Other runtimes send a download without waiting for its reader. A caller that sends `trellis-transfer-acks: 1` acknowledges
the frames that it has used, so that the service is never far ahead of it; with `trellis-transfer-ahead` it says how far.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from trellis_nats.codec import decode_json, encode_json
from trellis_nats.errors import TransferError

__all__ = [
    "ABANDON_HEADERS",
    "LEAVE_HEADERS",
    "ack_headers",
    "chunk_headers",
    "encode_error",
    "get_headers",
    "is_abandon",
    "is_eof",
    "is_leave",
    "read_ack",
    "read_ahead",
    "read_error",
    "read_sequence",
    "wants_acks",
]

_SEQUENCE: Final = "trellis-transfer-seq"
_EOF: Final = "trellis-transfer-eof"
_ACKS: Final = "trellis-transfer-acks"
_ACK: Final = "trellis-transfer-ack"
_AHEAD: Final = "trellis-transfer-ahead"
LEAVE_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_ACKS: "0"})
"""Sent by such a reader when it stops before the end."""
_ABANDON: Final = "trellis-transfer-abandon"
ABANDON_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_ABANDON: "1"})
"""Of a message that ends an upload early. Ours; other runtimes end it too, because the message has no sequence."""
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def chunk_headers(sequence: int, *, eof: bool = False) -> dict[str, str]:
    """Write the headers of a chunk."""
    headers = {_SEQUENCE: str(sequence)}
    return {**headers, _EOF: "true"} if eof else headers


def read_sequence(headers: Mapping[str, str], *, operation: str = "transfer") -> int:
    """Read the sequence of a chunk.

    Raises:
        TransferError: it is missing or malformed.
    """
    text = headers.get(_SEQUENCE)
    if text is None:
        raise TransferError(operation, "missing_sequence")
    if _NUMBER.fullmatch(text) is None:
        raise TransferError(operation, "invalid_sequence", {"raw": text[:100]})
    return int(text)


def is_eof(headers: Mapping[str, str]) -> bool:
    """Return whether a chunk is the last one."""
    return headers.get(_EOF) == "true"


def is_abandon(headers: Mapping[str, str]) -> bool:
    """Return whether the caller ends its upload early."""
    return headers.get(_ABANDON) == "1"


def get_headers(ahead: int) -> dict[str, str]:
    """Write the headers of a request for a download whose reader acknowledges what it has used, and wants so many frames ahead."""
    return {_ACKS: "1", _AHEAD: str(ahead)}


def read_ahead(headers: Mapping[str, str]) -> int | None:
    """Read how many frames the caller wants ahead; None where it does not say."""
    text = headers.get(_AHEAD, "")
    return int(text) if _NUMBER.fullmatch(text) else None


def wants_acks(headers: Mapping[str, str]) -> bool:
    """Return whether the caller acknowledges what it has used."""
    return headers.get(_ACKS) == "1"


def is_leave(headers: Mapping[str, str]) -> bool:
    """Return whether the caller receives no more."""
    return headers.get(_ACKS) == "0"


def ack_headers(sequence: int) -> dict[str, str]:
    """Write the headers of an acknowledgement: every frame up to this one was used."""
    return {_ACK: str(sequence)}


def read_ack(headers: Mapping[str, str]) -> int | None:
    """Read an acknowledgement; None where it is none."""
    text = headers.get(_ACK, "")
    return int(text) if _NUMBER.fullmatch(text) else None


def encode_error(error: TransferError, *, error_id: str) -> bytes:
    """Encode an error."""
    context: dict[str, JsonValue] = {
        name: value for name, value in error.context.items() if isinstance(value, str | int)
    }
    return encode_json(
        {
            "id": error_id,
            "type": "TransferError",
            "message": f"Transfer {error.operation} failed",
            "operation": error.operation,
            "context": {"reason": error.reason, **context},
        }
    )


def read_error(data: bytes, *, operation: str) -> TransferError:
    """Read an error; one that cannot be read has the reason `unknown`."""
    try:
        body = decode_json(data)
    except ValueError:
        body = None
    match body:
        case {"type": "TransferError", "context": {"reason": str(reason), **others}, **rest}:
            stated = rest.get("operation")
            context = {str(name): value for name, value in others.items()}
            error = TransferError(stated if isinstance(stated, str) else operation, reason, context)
            error.id = error_id if isinstance(error_id := rest.get("id"), str) else None
            return error
        case {"type": str(kind), **rest}:
            return TransferError(operation, "unknown", {"type": kind, "message": str(rest.get("message"))})
        case _:
            return TransferError(operation, "unknown")
