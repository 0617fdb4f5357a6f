"""Lists what stream JOBS holds: subjects, places and times, page by page, without a single body.

A short-lived consumer reads it, which costs the server no memory per subject (docs/decisions/0009).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, call
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.request_many import request_many
from trellis_nats._nats.jetstream.streams import delete_consumer
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now, parse_timestamp, to_nanoseconds
from trellis_nats.errors import ApiError, RequestTimeout, TransportError
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.subjects import STREAM

__all__ = ["Entry", "StreamScan", "probe_scan", "scan_stream"]

_PAGE: Final = 1000
"""How many entries are asked for at a time, about 300 kB."""
_ABANDONED: Final = timedelta(seconds=30)
"""When the server removes the consumer of a listing that died."""
_BEYOND: Final = 2**62
"""A sequence that no stream reaches. A message would come under its own subject, which no request waits for."""
_NO_MORE: Final = (0, 404, 408)
"""A full page, or the statuses of a request that found less than it asked for."""
_ACK_TOKENS: Final = 9
"""Of `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<order>.<time>.<pending>`; more with a domain."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the stream, without its body."""

    subject: str
    sequence: int
    time: datetime
    """When the server stored it."""


@dataclass(frozen=True, slots=True)
class _Place:
    sequence: int
    order: int
    """Counts what the consumer has sent, from 1."""
    time: datetime


class StreamScan:
    """The messages under some filters, oldest first."""

    def __init__(
        self, connection: Connection, consumer: str, info: JsonObject, rate_limit: RateLimit
    ) -> None:
        self.now = _instant(info.get("ts"))
        """The server's time when the listing began. Ages are judged by it, never by a clock of this machine."""
        pending = info.get("num_pending")
        self._left = pending if isinstance(pending, int) else 0
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}"
        self._rate_limit = rate_limit
        self._order = 0

    async def probe(self) -> None:
        """Ask for one message, to see whether the account may.

        Raises:
            PermissionDenied: it may not.
            RequestTimeout: no answer came.
        """
        body = json.dumps({"batch": 1, "no_wait": True}).encode()
        await request(self._connection, self._subject, body, timeout=API_TIMEOUT)

    async def pages(self) -> AsyncGenerator[list[Entry], None]:
        """Give what was there when the listing began, some at a time.

        Raises:
            RequestTimeout: the listing was cut off.
            ApiError: JetStream ended it.
            NotConnected: there was no connection.
        """
        while self._left > 0:
            size = min(_PAGE, self._left)
            await self._rate_limit.spend(size)
            messages = await request_many(
                self._connection,
                self._subject,
                {"batch": size, "no_wait": True},
                partial(_ends_page, size),
            )
            entries = [self._entry(message) for message in messages if message.status == 0]
            self._left -= len(entries)
            last = messages[-1]
            if last.status not in _NO_MORE:
                raise ApiError(
                    request=self._subject, code=last.status, err_code=0, description=last.description
                )
            if not entries:
                return
            yield entries

    def _entry(self, message: Message) -> Entry:
        place = _place(message.reply)
        self._order += 1
        if place.order != self._order:
            raise RequestTimeout(f"a listing of {STREAM} lost messages on the way")
        return Entry(message.subject, place.sequence, place.time)


@asynccontextmanager
async def scan_stream(
    connection: Connection, filters: Sequence[str], *, rate_limit: RateLimit, after: int = 0
) -> AsyncGenerator[StreamScan, None]:
    """List what is stored under the filters, which must not overlap, behind a sequence of the stream.

    Raises:
        PermissionDenied: the account may not make a consumer on the stream.
        ApiError: JetStream refused the consumer.
        RequestTimeout: no answer came.
        NotConnected: there was no connection.
    """
    name = f"duty_{new_id()}"
    config: JsonObject = {
        "name": name,
        "filter_subjects": list(filters),
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "ack_policy": "none",
        "headers_only": True,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": to_nanoseconds(_ABANDONED),
    }
    body: JsonObject = {"stream_name": STREAM, "config": config, "action": "create"}
    info = await call(connection, f"CONSUMER.CREATE.{STREAM}.{name}", body)
    try:
        yield StreamScan(connection, name, info, rate_limit)
    finally:
        with suppress(TransportError):  # the server removes it by itself a little later
            await delete_consumer(connection, STREAM, name)


async def probe_scan(connection: Connection, filters: Sequence[str]) -> None:
    """See whether the account may list.

    Raises:
        PermissionDenied: it may not.
        TransportError: JetStream did not answer.
    """
    async with scan_stream(connection, filters, rate_limit=RateLimit(), after=_BEYOND) as nothing:
        await nothing.probe()


def _ends_page(size: int, message: Message, count: int) -> bool:
    return message.status != 0 or count == size


def _place(reply: str) -> _Place:
    tokens = reply.split(".")
    shift = 0 if len(tokens) == _ACK_TOKENS else 2
    sequence, order, stored = (int(token) for token in tokens[5 + shift : 8 + shift])
    return _Place(sequence, order, datetime.fromtimestamp(stored / 1e9, UTC))


def _instant(text: object) -> datetime:
    """Read the server's time from its answer; servers before 2.10 do not tell it."""
    return parse_timestamp(text) if isinstance(text, str) else now()
