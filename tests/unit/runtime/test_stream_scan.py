"""A scan of a large stream."""

from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.stream_scan import scan_stream


async def test_a_server_has_time_to_count_what_a_scan_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so before it answers the request that creates the consumer."""
    allowed: dict[str, timedelta] = {}

    async def answer(
        connection: Connection,
        operation: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout: timedelta = API_TIMEOUT,
        **_: object,
    ) -> JsonObject:
        del connection, body
        allowed[operation.rpartition(".")[0]] = timeout
        return {"config": {}}

    monkeypatch.setattr("trellis_nats._nats.jetstream.streams.call", answer)
    connection = cast(
        "Connection", type("_Connection", (), {"settings": type("_S", (), {"api_prefix": "$JS.API"})})
    )
    async with scan_stream(connection, "JOBS", ["a.>"], rate_limit=RateLimit()):
        pass

    assert allowed["CONSUMER.CREATE.JOBS"] >= 3 * API_TIMEOUT
