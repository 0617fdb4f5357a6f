"""JetStream's JSON interface: one request, one answer, errors as ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats.errors import ApiError

__all__ = ["API_TIMEOUT", "JsonObject", "call"]

API_TIMEOUT: Final = timedelta(seconds=5)
"""nats-py's default too. A leader election takes one to a few seconds."""

JsonObject = dict[str, JsonValue]


async def call(
    connection: Connection,
    request: str,
    body: Mapping[str, JsonValue] | None = None,
    *,
    timeout: timedelta = API_TIMEOUT,
    repeat: bool = False,
) -> JsonObject:
    """Send a request such as `STREAM.INFO.JOBS` and return the answer. `repeat` as in `Connection.request`.

    Raises:
        ApiError: JetStream answered with an error.
        NoResponders: JetStream is not there, or not yet.
        RequestTimeout: no answer came.
        NotConnected: there was no connection within `timeout`.
        PermissionDenied: the account may not ask this.
    """
    data = b"" if body is None else json.dumps(body).encode()
    answer = await connection.request(f"$JS.API.{request}", data, timeout=timeout, repeat=repeat)
    content = cast("JsonObject", json.loads(answer.data))
    match content.get("error"):
        case {"code": int(code), **error}:
            err_code = error.get("err_code")
            raise ApiError(
                request=request,
                code=code,
                err_code=err_code if isinstance(err_code, int) else 0,
                description=str(error.get("description", "")),
            )
        case _:
            return content
