"""One request, many answers: what JetStream sends for a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import RequestTimeout

__all__ = ["request_many"]

_SILENCE: Final = timedelta(seconds=5)
"""How long to wait for the next answer; as long as for any JetStream request."""


async def request_many(
    connection: Connection,
    subject: str,
    body: Mapping[str, JsonValue],
    is_last: Callable[[Message, int], bool],
) -> list[Message]:
    """Send a request and collect the answers, up to the one for which `is_last` returns True.

    `is_last` gets the answer and how many there are so far, this one included.

    Raises:
        RequestTimeout: there was no connection, or no further answer arrived, for 5 s: the link ended, or the account
            may not send this request.
        NotConnected: the connection was lost while sending, or was closed.
    """
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    inbox = connection.new_inbox()
    subscription = connection.subscribe(inbox, arrived.put_nowait)
    collected: list[Message] = []
    try:
        async with asyncio.timeout(_SILENCE.total_seconds()):
            await connection.wait_connected()
            await connection.wait_writable()
        connection.send(subject, json.dumps(body).encode(), reply=inbox)
        while not collected or not is_last(collected[-1], len(collected)):
            async with asyncio.timeout(_SILENCE.total_seconds()):
                collected.append(await arrived.get())
    except TimeoutError:
        raise RequestTimeout(f'no more answers on "{subject}" after {len(collected)}') from None
    finally:
        await subscription.unsubscribe()
    return collected
