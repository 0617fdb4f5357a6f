"""One request, many answers: what JetStream sends for a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import PermissionDenied, RequestTimeout

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
        PermissionDenied: the account may not send this request.
        RequestTimeout: there was no connection, or no further answer arrived, for 5 s: the link ended.
        NotConnected: the connection was lost while sending, or was closed.
    """
    arrived: asyncio.Queue[Message | PermissionDenied] = asyncio.Queue()
    denied = PermissionViolation("publish to", subject.lower())

    def on_violation(violation: PermissionViolation) -> bool:
        if violation == denied:
            arrived.put_nowait(PermissionDenied("publish to", subject))
        return violation == denied

    forget = connection.on_permission_error(on_violation)
    inbox = connection.new_inbox()
    subscription = connection.subscribe(inbox, arrived.put_nowait)
    collected: list[Message] = []
    try:
        async with asyncio.timeout(_SILENCE.total_seconds()):
            await connection.wait_connected()
            await connection.wait_writable()
        connection.send(subject, json.dumps(body).encode(), reply=inbox)
        while not collected or not is_last(collected[-1], len(collected)):
            if arrived.empty():  # a timer for each of many answers would take as long as reading them
                async with asyncio.timeout(_SILENCE.total_seconds()):
                    answer = await arrived.get()
            else:
                answer = arrived.get_nowait()
            if isinstance(answer, PermissionDenied):
                raise answer
            collected.append(answer)
    except TimeoutError:
        raise RequestTimeout(f'no more answers on "{subject}" after {len(collected)}') from None
    finally:
        forget()
        await subscription.unsubscribe()
    return collected
