"""A delivered message of a work queue, until it is acknowledged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import ACK_PREFIX, IN_PROGRESS, consumer_of, split_ack_subject
from trellis_nats._nats.jetstream.progress_thread import Hold
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import from_unix_nanoseconds, to_nanoseconds
from trellis_nats.errors import NoResponders, NotConnected, RequestTimeout, TransportError

__all__ = ["Delivery", "is_delivery", "parse_delivery"]

_log = logging.getLogger(__name__)

_ACK_TIMEOUT: Final = timedelta(seconds=5)
_NAK_LONGEST: Final = timedelta(days=30)
"""A longer delay is cut. A server redelivers at once, and without end, when the delay does not fit into 64 bits of
nanoseconds (292 years)."""
_TRUSTED_DELIVERIES: Final = 3
"""From this delivery on, a message without a body is not taken for one whose body was left out, unless its consumer does that."""


@dataclass(slots=True)
class Delivery:
    """One delivery of a message. If it is not acknowledged, the message is redelivered after the ack wait.

    The methods that answer without a confirmation return False when there is no connection: nothing was sent, and the
    message will be redelivered.
    """

    subject: str
    data: bytes
    headers: Mapping[str, str]
    reply: str
    """The ack subject, for progress acks from another connection."""
    stream_sequence: int
    """In the work stream."""
    delivered: int
    """How often it has been delivered, this time included; starts at 1 again when the consumer is created again."""
    source_sequence: int | None
    """In the stream that it was sourced from; None when it was published to the work stream itself."""
    _connection: Connection = field(repr=False)
    stored_nanoseconds: int = 0
    """When the server stored it, since 1970, by the server's clock."""
    hold: Hold | None = field(default=None, repr=False)
    """Sends the progress acks of this message. Released before a delayed `nak`: a later progress ack would undo that."""

    @property
    def stored_at(self) -> datetime:
        """When the server stored it, by the server's clock: that clock has reached this instant."""
        return from_unix_nanoseconds(self.stored_nanoseconds)

    async def lacks_body(self) -> bool:
        """Return whether the server left out the body, which its consumer asks for with `headers_only`.

        A header says so, which a publisher may have written too: when the message is redelivered, the consumer is looked up.
        """
        if self.data or self.headers.get("Nats-Msg-Size", "0") == "0":
            return False
        if self.delivered < _TRUSTED_DELIVERIES:
            return True
        try:
            info = await get_consumer_info(self._connection, *consumer_of(self.reply))
        except TransportError:
            return True
        return info is None or info.config.get("headers_only") is True

    async def ack(self) -> bool:
        """Acknowledge, without a confirmation of the server."""
        return await self._respond(b"+ACK")

    async def ack_confirmed(self, *, timeout: timedelta = _ACK_TIMEOUT, attempts: int = 3) -> bool:
        """Acknowledge until the server confirms. Return False when it did not, or the consumer is gone.

        Raises:
            PermissionDenied: the account may not acknowledge.
        """
        for _ in range(attempts):
            try:
                await request(self._connection, self.reply, b"+ACK", timeout=timeout, repeat=True)
            except (RequestTimeout, NotConnected) as error:
                extra = log_fields(LogEvent.ACK_NOT_CONFIRMED, subject=self.subject)
                _log.warning("an acknowledgement is not confirmed yet: %s", error, extra=extra)
                continue
            except NoResponders:
                return False
            return True
        return False

    async def nak(self, delay: timedelta | None = None) -> bool:
        """Return the message to the server, for redelivery immediately or after `delay`, at most 30 days."""
        if delay is None or delay <= timedelta(0):
            return await self._respond(b"-NAK")
        if self.hold is not None:
            self.hold.release()
        return await self._respond(
            b"-NAK " + json.dumps({"delay": to_nanoseconds(min(delay, _NAK_LONGEST))}).encode()
        )

    def nak_now(self) -> bool:
        """Return the message to the server for immediate redelivery, without waiting for the socket."""
        try:
            self._connection.send(self.reply, b"-NAK")
        except NotConnected:
            return False
        return True

    async def term(self, reason: str) -> bool:
        """Remove the message from the stream without an acknowledgement. The server's advisory shows the reason."""
        return await self._respond(b"+TERM " + " ".join(reason.split()).encode())

    async def in_progress(self) -> bool:
        """Restart the ack wait."""
        return await self._respond(IN_PROGRESS)

    async def _respond(self, data: bytes) -> bool:
        try:
            await self._connection.publish(self.reply, data)
        except NotConnected:
            return False
        return True


def is_delivery(message: Message) -> bool:
    """Return whether this is a delivery; other messages of a pull request are statuses."""
    return message.reply.startswith(ACK_PREFIX)


def parse_delivery(connection: Connection, message: Message) -> Delivery:
    """Parse a delivery.

    Raises:
        ValueError: its reply subject is not one of JetStream.
    """
    delivered, stream_sequence, _, stored, _ = split_ack_subject(message.reply)
    source = message.headers.get("Nats-Stream-Source", "").split()
    source_sequence = int(source[1]) if len(source) > 1 and source[1].isdecimal() else 0
    return Delivery(
        subject=message.subject,
        data=message.data,
        headers=message.headers,
        reply=message.reply,
        stream_sequence=int(stream_sequence),
        delivered=int(delivered),
        # Sequences start at 1. A forged 0 would pass a fence that expects no message.
        source_sequence=source_sequence or None,
        stored_nanoseconds=int(stored),
        _connection=connection,
    )
