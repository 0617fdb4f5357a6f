"""Requests on a subject that a stream stores, made so that the stream refuses them.

A subscriber of the subject receives the request and may answer it; nothing is stored, and no sequence moves. So a process
can ask another one where an account may use no subject outside a stream. Works alike on 2.10, 2.12, 2.14 and 2.15, on one
server and on replicated streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_object
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.readiness import wait_ready
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.errors import NoResponders, PermissionDenied, RequestTimeout

__all__ = ["REFUSED", "UNSTORED", "request_unstored"]

REFUSED: Final = 10060
"""The error code of the refusal."""

UNSTORED: Final[Mapping[str, str]] = {"Nats-Expected-Stream": "trellis-probe"}
"""No stream has this name, so the leader of the stream refuses the message before it checks anything else.

Never add `Nats-Msg-Id`: a replicated stream on 2.10 remembers the id of a refused message. Never use
`Nats-Expected-Last-Msg-Id`: on 2.14 and 2.15 it destroys a replicated stream.
"""


async def request_unstored(
    connection: Connection, subject: str, data: bytes, *, timeout: timedelta
) -> Message:
    """Send a request that the stream of the subject refuses, and wait for the answer of a subscriber.

    The stream answers too, usually first: its refusal is dropped. So "no responders" never shows that no subscriber is
    there, only the end of `timeout` does.

    Raises:
        RequestTimeout: no subscriber answered within `timeout`, or the link ended.
        NoResponders: there is neither a stream nor a subscriber.
        NotConnected: there was no connection within `timeout`; nothing was sent.
        PermissionDenied: the account may not publish to the subject.
    """
    due = connection.loop.time() + timeout.total_seconds()
    await wait_ready(connection, due, subject)
    answer: asyncio.Future[Message] = connection.loop.create_future()
    denied = PermissionViolation("publish to", subject.lower())

    def on_message(message: Message) -> None:
        if answer.done() or _is_from_stream(message):
            return
        if message.status == NO_RESPONDERS:
            answer.set_exception(NoResponders(f'no process listens on "{subject}"'))
        else:
            answer.set_result(message)

    def on_violation(violation: PermissionViolation) -> bool:
        is_own = (
            violation == denied and not answer.done()
        )  # a second request there gets a violation of its own
        if is_own:
            answer.set_exception(PermissionDenied("publish to", subject))
        return is_own

    inbox = connection.new_inbox()
    subscription = connection.subscribe(inbox, on_message)
    remove_handler = connection.on_permission_error(on_violation)
    try:
        connection.send(subject, data, headers=UNSTORED, reply=inbox)
        async with asyncio.timeout_at(due):
            return await answer
    except TimeoutError:
        text = f'no subscriber answered on "{subject}" within {timeout.total_seconds():g} s'
        raise RequestTimeout(text) from None
    finally:
        remove_handler()
        await subscription.unsubscribe()


def _is_from_stream(message: Message) -> bool:
    """Return whether a stream answered, with a refusal or an acknowledgement. Subscribers do not answer in JSON."""
    return bool(parse_object(message.data))
