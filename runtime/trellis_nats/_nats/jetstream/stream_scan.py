"""Lists the messages of a stream, page by page: subjects, sequences and times, without the bodies.

A short-lived consumer reads them, which costs the server no memory per subject (docs/decisions/0009).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, api_subject
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.request_many import request_many
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now, to_nanoseconds
from trellis_nats.errors import ApiError, RequestTimeout, TransportError
from trellis_nats.ids import new_id

__all__ = ["Entry", "StreamScan", "probe_scan", "scan_stream"]

_PAGE: Final = 1000
"""How many entries one request asks for, about 300 kB."""
_ABANDONED: Final = timedelta(seconds=30)
"""After this time without a request, the server removes the consumer of a scan whose process died."""
_CREATED_WITHIN: Final = timedelta(seconds=20)
"""The server counts what the filters match before it answers: 0.2 s of its time for 200,000 stored jobs, and more than 5 s for
a million on a busy machine."""
_BEYOND: Final = 2**62
"""A sequence that no stream reaches. A message would come under its own subject, which no request waits for."""
_LATEST: Final[JsonObject] = {"deliver_policy": "last_per_subject"}
_NO_MORE: Final = (0, 404, 408)
"""A full page, or the statuses of a request that found less than it asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the stream, without its body."""

    subject: str
    sequence: int
    time: datetime
    """When the server stored it."""
    headers: Mapping[str, str]


class StreamScan:
    """The messages under some filters, oldest first."""

    def __init__(
        self, connection: Connection, stream: str, consumer: str, info: ConsumerInfo, rate_limit: RateLimit
    ) -> None:
        self.now = info.server_time or now()
        """The server's time when the scan began. Compare ages with it, not with the clock of this machine."""
        self._left = info.pending
        self._connection = connection
        self._stream = stream
        self._subject = api_subject(connection, f"CONSUMER.MSG.NEXT.{stream}.{consumer}")
        self._rate_limit = rate_limit
        self._received = 0

    async def probe(self) -> None:
        """Request one message, to find out whether the account may do that.

        Raises:
            PermissionDenied: it may not.
            RequestTimeout: the server did not answer.
        """
        body = json.dumps({"batch": 1, "no_wait": True}).encode()
        await request(self._connection, self._subject, body, timeout=API_TIMEOUT)

    async def pages(self) -> AsyncGenerator[list[Entry], None]:
        """Yield what the stream held when the scan began, up to 1,000 entries at a time.

        Raises:
            PermissionDenied: the account may not request messages.
            RequestTimeout: messages of the scan were lost on the way.
            ApiError: JetStream ended the scan.
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
        _, sequence, delivered, stored_ns, _ = split_ack_subject(message.reply)
        self._received += 1
        if int(delivered) != self._received:
            raise RequestTimeout(f"messages of a scan of stream {self._stream} were lost on the way")
        time = datetime.fromtimestamp(int(stored_ns) / 1e9, UTC)
        return Entry(message.subject, int(sequence), time, message.headers)


@asynccontextmanager
async def scan_stream(
    connection: Connection,
    stream: str,
    filters: Sequence[str],
    *,
    rate_limit: RateLimit,
    after: int = 0,
    latest: bool = False,
) -> AsyncGenerator[StreamScan, None]:
    """Scan what a stream holds under the filters, which must not overlap, after a sequence.

    With `latest`, list only the newest message of each subject.

    Raises:
        PermissionDenied: the account may not create a consumer on the stream.
        ApiError: JetStream refused the consumer.
        RequestTimeout: the server did not answer.
        NotConnected: there was no connection.
    """
    name = f"duty_{new_id()}"
    config: JsonObject = {
        "name": name,
        "filter_subjects": list(filters),
        **(_LATEST if latest else {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}),
        "ack_policy": "none",
        "headers_only": True,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": to_nanoseconds(_ABANDONED),
    }
    # A server that stops in that time does not answer: the next one is asked.
    info = await create_consumer(connection, stream, config, timeout=_CREATED_WITHIN, repeat=True)
    try:
        yield StreamScan(connection, stream, name, info, rate_limit)
    finally:
        with suppress(TransportError):  # the server removes the consumer a little later
            await delete_consumer(connection, stream, name)


async def probe_scan(connection: Connection, stream: str, filters: Sequence[str]) -> None:
    """Find out whether the account may scan a stream.

    Raises:
        PermissionDenied: it may not.
        TransportError: JetStream did not answer.
    """
    async with scan_stream(connection, stream, filters, rate_limit=RateLimit(), after=_BEYOND) as scan:
        await scan.probe()


def _ends_page(size: int, message: Message, count: int) -> bool:
    return message.status != 0 or count == size
