"""Publishing with acknowledgements of JetStream.

nats-py's pipelined publishing never reports a refusal of the server, and its futures never finish after a reconnect
(nats.py issue 985). Here every publish finishes: acknowledged, refused, or unknown.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_error, parse_object
from trellis_nats._nats.readiness import wait_jetstream, wait_ready
from trellis_nats._nats.wire.headers import encode_lines, require_line
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.errors import NoResponders, PermissionDenied, TransportError, WriteUnknown

__all__ = ["ExpectedLast", "PubAck", "begin_publish", "publish_acked", "supports_fence"]

_TIMEOUT: Final = timedelta(seconds=5)
_FENCE_SINCE: Final = (2, 11, 0)
_STORED: Final = re.compile(rb'\{"stream":"([A-Za-z0-9_-]+)", ?"seq":([0-9]{1,18})\}')
"""Almost every acknowledgement, which takes half as long to read in this way."""


class PubAck(NamedTuple):
    """JetStream has stored the message."""

    stream: str
    sequence: int
    duplicate: bool
    """Whether the stream already had a message with this id; `sequence` is then that one's."""


class ExpectedLast(NamedTuple):
    """A fence: write only if the newest message under a subject filter has this sequence."""

    sequence: int
    """0: only if there is none."""
    subject: str
    """A filter, or the subject of the message. It may have wildcards where `supports_fence` returns True."""


def supports_fence(connection: Connection) -> bool:
    """Return whether the server supports `ExpectedLast` with wildcards: 2.11 does, 2.10 refuses the write."""
    return connection.server_version >= _FENCE_SINCE


async def publish_acked(
    connection: Connection,
    subject: str,
    data: bytes,
    *,
    headers: Mapping[str, str] | bytes = b"",
    message_id: str | None = None,
    expected_last: ExpectedLast | None = None,
    expected_last_on_subject: int | None = None,
    timeout: timedelta = _TIMEOUT,
    waits_for_jetstream: bool = True,
) -> PubAck:
    """Publish, and return when the message is stored.

    While disconnected, while a cluster elects a leader, or while a server stops, wait; without `waits_for_jetstream`, for
    the connection only. When cancelled, the message may still be stored.

    Args:
        connection: where the stream is.
        subject: where to publish.
        data: the body.
        headers: by name, or as encoded lines.
        message_id: messages with the same one within the stream's duplicate window are stored once.
        expected_last: a fence by a filter.
        expected_last_on_subject: the fence for exactly `subject`: the sequence of its newest message; 0: there is none.
        timeout: how long to wait for the connection and the acknowledgement together.
        waits_for_jetstream: whether to wait while no stream answers.

    Raises:
        WriteUnknown: no acknowledgement arrived within `timeout`, or the link ended; the message may be stored.
        WrongLastSequence: a newer message is behind the fence.
        NotConnected: there was no connection within `timeout`; nothing was sent.
        NoResponders: no stream listens on the subject.
        PermissionDenied: the account may not publish to the subject.
        PayloadTooLarge: data and headers exceed the server's limit; nothing was sent.
        ApiError: the stream refused the message, for example because it is full.
    """
    lines = _with_controls(subject, headers, message_id, expected_last, expected_last_on_subject)
    loop = connection.loop
    due = loop.time() + timeout.total_seconds()
    left = timeout
    absent_since = 0.0
    while True:
        if not connection.is_ready:
            await wait_ready(connection, due, subject)
            left = timedelta(seconds=max(0.0, due - loop.time()))
        try:
            return await _send(connection, subject, data, lines, left)
        except NoResponders:
            absent_since = absent_since or loop.time()
            if not waits_for_jetstream or not await wait_jetstream(connection, due, absent_since):
                raise
            left = timedelta(seconds=max(0.0, due - loop.time()))


def begin_publish(
    connection: Connection,
    subject: str,
    data: bytes,
    *,
    headers: bytes = b"",
    message_id: str,
    expected_last: ExpectedLast | None = None,
    timeout: timedelta,
) -> asyncio.Future[PubAck]:
    """Publish without waiting: messages are stored in the order of the calls, as long as the link lasts.

    The returned future raises as `publish_acked`, which also sends again where that helps.

    Raises:
        NotConnected: there is no connection; nothing was sent.
        PayloadTooLarge: the message exceeds the server's limit; nothing was sent.
    """
    lines = _with_controls(subject, headers, message_id, expected_last, None)
    return _send(connection, subject, data, lines, timeout)


def _send(
    connection: Connection, subject: str, data: bytes, lines: bytes, timeout: timedelta
) -> asyncio.Future[PubAck]:
    acknowledgement: asyncio.Future[PubAck] = connection.loop.create_future()
    connection.send_request(_PendingPublish(subject, acknowledgement), subject, data, lines, timeout)
    return acknowledgement


def _with_controls(
    subject: str,
    headers: Mapping[str, str] | bytes,
    message_id: str | None,
    expected_last: ExpectedLast | None,
    expected_last_on_subject: int | None,
) -> bytes:
    """Return the lines of all headers."""
    lines = headers if isinstance(headers, bytes) else encode_lines(headers)
    controls = ""
    if message_id is not None:
        controls = f"Nats-Msg-Id: {require_line(message_id)}\r\n"
    if expected_last is not None:
        controls += f"Nats-Expected-Last-Subject-Sequence: {expected_last.sequence}\r\n"
        if expected_last.subject != subject:  # which is what a server looks at anyway
            controls += (
                f"Nats-Expected-Last-Subject-Sequence-Subject: {require_line(expected_last.subject)}\r\n"
            )
    elif expected_last_on_subject is not None:
        controls += f"Nats-Expected-Last-Subject-Sequence: {expected_last_on_subject}\r\n"
    return lines + controls.encode()


class _PendingPublish:
    """A publish that waits for its acknowledgement."""

    __slots__ = ("_subject", "acknowledgement")

    def __init__(self, subject: str, acknowledgement: asyncio.Future[PubAck]) -> None:
        self.acknowledgement = acknowledgement
        self._subject = subject

    def on_reply(self, message: Message) -> None:
        if self.acknowledgement.done():
            return
        outcome = parse_acknowledgement(self._subject, message)
        if isinstance(outcome, PubAck):
            self.acknowledgement.set_result(outcome)
        else:
            self.acknowledgement.set_exception(outcome)

    def on_timeout(self, *, closed: bool) -> None:
        self._unknown("before the connection was closed" if closed else "in time")

    def on_denied(self) -> None:
        self._fail(PermissionDenied("publish to", self._subject))

    def on_disconnect(self) -> bool:
        self._unknown("before the connection was lost")
        return True

    def _unknown(self, when: str) -> None:
        text = f'no acknowledgement arrived {when} for a message to "{self._subject}"; it may be stored'
        self._fail(WriteUnknown(text))

    def _fail(self, error: TransportError) -> None:
        if not self.acknowledgement.done():
            self.acknowledgement.set_exception(error)


def parse_acknowledgement(subject: str, message: Message) -> PubAck | TransportError:
    """Parse the answer to a publish. Errors are returned, not raised."""
    plain = _STORED.fullmatch(message.data)
    if plain is not None and not message.status:
        return PubAck(plain[1].decode(), int(plain[2]), False)
    if message.status == NO_RESPONDERS:
        return NoResponders(f'no stream listens on "{subject}"')
    body = parse_object(message.data)
    refused = parse_error(f'publishing to "{subject}"', body) if "error" in body else None
    if refused is not None:  # a refusal has the stream as well, and sequence 0
        return refused
    stream, sequence = body.get("stream"), body.get("seq")
    if isinstance(stream, str) and isinstance(sequence, int):
        return PubAck(stream, sequence, duplicate=body.get("duplicate") is True)
    # It comes from a plain subscriber on the same subject, not from a stream.
    return WriteUnknown(
        f'the answer to a message to "{subject}" is not an acknowledgement; the message may be stored'
    )
