"""A message of a work queue, in hand until it is acknowledged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import NoResponders, NotConnected, RequestTimeout

__all__ = ["IN_PROGRESS", "Delivery", "is_work", "read_work"]

_log = logging.getLogger(__name__)

IN_PROGRESS: Final = b"+WPI"
"""Sent to a message's reply subject, by any connection, it restarts the message's ack wait."""

_ACK_PREFIX: Final = "$JS.ACK."
_TOKENS: Final = 9
"""Of `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`; more with a domain."""
_ACK_TIMEOUT: Final = timedelta(seconds=5)


class Keeper(Protocol):
    """Keeps a message from being delivered again."""

    def release(self) -> None:
        """Stop."""
        ...


@dataclass(slots=True)
class Delivery:
    """One delivery of a message. Unless it is acknowledged, it comes again after the ack wait.

    The short answers return False when there is no connection: nothing was sent then, and the message comes again.
    """

    subject: str
    data: bytes
    headers: Mapping[str, str]
    reply: str
    """The ack subject, for progress acks from another connection."""
    stream_sequence: int
    """In the work stream."""
    delivered: int
    """How often it has been delivered, this time included; begins at 1 again when the consumer is created anew."""
    source_sequence: int | None
    """In the stream that it was sourced from; None when it was published into the work stream itself."""
    _connection: Connection = field(repr=False)
    keeper: Keeper | None = field(default=None, repr=False)
    """Sends the progress acks for this message. It is told to stop before a delayed `nak`: one behind it would undo that."""

    async def ack(self) -> bool:
        """Tell the server that the work is done. It does not confirm."""
        return await self._answer(b"+ACK")

    async def ack_confirmed(self, *, timeout: timedelta = _ACK_TIMEOUT, tries: int = 3) -> bool:
        """Tell the server that the work is done until it confirms; False when it did not, or the consumer is gone.

        Raises:
            PermissionDenied: the account may not acknowledge.
        """
        for _ in range(tries):
            try:
                await request(self._connection, self.reply, b"+ACK", timeout=timeout, repeat=True)
            except (RequestTimeout, NotConnected) as error:
                _log.warning("an acknowledgement is not confirmed yet: %s", error)
                continue
            except NoResponders:
                return False
            return True
        return False

    async def nak(self, delay: timedelta | None = None) -> bool:
        """Give the message back, to be delivered again at once or after `delay`."""
        if delay is None or delay <= timedelta(0):
            return await self._answer(b"-NAK")
        if self.keeper is not None:
            self.keeper.release()
        return await self._answer(b"-NAK " + json.dumps({"delay": to_nanoseconds(delay)}).encode())

    async def term(self, reason: str) -> bool:
        """Remove the message although nobody did the work. The reason shows in the server's advisory."""
        return await self._answer(b"+TERM " + " ".join(reason.split()).encode())

    async def in_progress(self) -> bool:
        """Restart the ack wait."""
        return await self._answer(IN_PROGRESS)

    def give_back(self) -> bool:
        """Do as `nak` without a delay, without waiting for the socket."""
        try:
            self._connection.send(self.reply, b"-NAK")
        except NotConnected:
            return False
        return True

    async def _answer(self, data: bytes) -> bool:
        try:
            await self._connection.publish(self.reply, data)
        except NotConnected:
            return False
        return True


def is_work(message: Message) -> bool:
    """Say whether this is a delivery, and not a status."""
    return message.reply.startswith(_ACK_PREFIX)


def read_work(connection: Connection, message: Message) -> Delivery:
    """Read a delivery.

    Raises:
        ValueError: its reply subject is not as JetStream makes it.
    """
    tokens = message.reply.split(".")
    if len(tokens) < _TOKENS:
        raise ValueError(f'"{message.reply}" is no ack subject')
    # With a domain, two tokens come after `ACK` and a random one at the end.
    shift = 0 if len(tokens) == _TOKENS else 2
    source = message.headers.get("Nats-Stream-Source", "").split()
    sequence = int(source[1]) if len(source) > 1 and source[1].isdecimal() else 0
    return Delivery(
        subject=message.subject,
        data=message.data,
        headers=message.headers,
        reply=message.reply,
        stream_sequence=int(tokens[5 + shift]),
        delivered=int(tokens[4 + shift]),
        source_sequence=sequence
        or None,  # no message has 0: whoever forged it hopes for a fence on "nothing there"
        _connection=connection,
    )
