"""The JSON API of JetStream: one request, one answer, errors of `trellis_nats.errors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from pydantic import JsonValue
from pydantic_core import from_json

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._nats.request import request
from trellis_nats.errors import ApiError, WrongLastSequence

__all__ = ["API_TIMEOUT", "JsonObject", "api_subject", "call", "parse_error", "parse_object"]

API_TIMEOUT: Final = timedelta(seconds=5)
"""nats-py's default too. A leader election takes one to a few seconds."""

_WRONG_LAST_SEQUENCE: Final = (10071, 10164)
"""The server's error codes for a refused fence; the second one is that of replicated streams since 2.12."""

JsonObject = dict[str, JsonValue]


async def call(
    connection: Connection,
    operation: str,
    body: Mapping[str, JsonValue] | None = None,
    *,
    timeout: timedelta = API_TIMEOUT,
    repeat: bool = False,
    answer: AnswerSize | None = None,
) -> JsonObject:
    """Send an API request such as `STREAM.INFO.JOBS` and return the answer. `repeat` and `answer` as in `request`.

    Raises:
        ApiError: JetStream answered with an error.
        NoResponders: JetStream is not enabled, or not ready yet.
        RequestTimeout: the server did not answer.
        NotConnected: there was no connection within `timeout`.
        PermissionDenied: the account may not send this request.
    """
    data = b"" if body is None else json.dumps(body).encode()
    message = await request(
        connection, api_subject(connection, operation), data, timeout=timeout, repeat=repeat, answer=answer
    )
    content = parse_object(message.data)
    refused = parse_error(operation, content)
    if refused is not None:
        try:
            raise refused
        finally:
            del refused  # the error refers to this call: a reference back would be a cycle
    return content


def api_subject(connection: Connection, operation: str) -> str:
    """Return the subject of an API request, under the prefix of the connection's settings."""
    return f"{connection.settings.api_prefix}.{operation}"


def parse_object(data: bytes) -> JsonObject:
    """Parse a JSON object; anything else counts as an empty one."""
    try:
        content = cast("JsonValue", from_json(data))  # several times as fast as the standard library's
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def parse_error(operation: str, content: JsonObject) -> ApiError | None:
    """Return the error of an answer; None when it has none."""
    error = content.get("error")
    if not isinstance(error, dict):
        return None
    code, err_code = error.get("code"), error.get("err_code")
    kind = WrongLastSequence if err_code in _WRONG_LAST_SEQUENCE else ApiError
    return kind(
        request=operation,
        code=code if isinstance(code, int) else 0,
        err_code=err_code if isinstance(err_code, int) else 0,
        description=str(error.get("description", "")),
    )
