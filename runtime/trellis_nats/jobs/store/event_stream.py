"""Follows what happens to the jobs of a service, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer
from trellis_nats.clock import parse_timestamp, to_nanoseconds
from trellis_nats.errors import ApiError, NoResponders, NotConnected, RequestTimeout, TransportError
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, LifecycleEvent
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.model.subjects import STREAM

__all__ = ["JobEvent", "follow_events", "history_of", "job_event"]

_IN_HAND_MAX: Final = 256
"""How many events wait in memory for the reader; the server keeps the rest."""
_ABANDONED: Final = timedelta(minutes=1)
"""When the server removes the consumer of a follower that died."""
_AGAIN: Final = timedelta(milliseconds=100)
"""The pause between attempts to go on after a reconnect, while the stream has no leader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """One thing that happened to one job."""

    job_id: str
    queue: str
    event: str
    """For example `started`."""
    state: JobState
    """The job's state after it."""
    tries: int
    error: str | None
    progress: JobProgress | None
    logs: tuple[JobLogEntry, ...]
    at: datetime


@asynccontextmanager
async def follow_events(
    connection: Connection, prefixes: Iterable[str]
) -> AsyncGenerator[AsyncIterator[JobEvent], None]:
    """Give every event that is stored under the prefixes from now on, once, in the order of the stream.

    It comes from the stream, through reconnects: a plain subscriber would also hear events that the stream refused.

    Raises:
        PermissionDenied: the account may not make a consumer on the stream.
        ApiError: JetStream refused the consumer.
    """
    async with _reading(connection, _common(prefixes), after=None) as events:
        yield (job_event(event) async for event in events)


async def history_of(connection: Connection, filter_subject: str) -> AsyncGenerator[LifecycleEvent, None]:
    """Give every event under a filter, from the first one that is stored on; it does not end by itself.

    Raises:
        PermissionDenied: the account may not make a consumer on the stream.
        ApiError: JetStream refused the consumer.
    """
    async with _reading(connection, filter_subject, after=0) as events:
        async for event in events:
            yield event


@asynccontextmanager
async def _reading(
    connection: Connection, filter_subject: str, *, after: int | None
) -> AsyncGenerator[AsyncGenerator[LifecycleEvent, None], None]:
    follower = _Follower(connection, filter_subject, after)
    await follower.open()
    try:
        yield follower.events()
    finally:
        await follower.close()


def _common(prefixes: Iterable[str]) -> str:
    """Return one filter for all: the tokens that every prefix begins with."""
    split = [prefix.split(".") for prefix in prefixes]
    shared: list[str] = []
    for tokens in zip(*split, strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return ".".join((*shared, ">"))


class _Follower:
    """Reads the stream through one short-lived consumer after another, each from where the last one ended."""

    def __init__(self, connection: Connection, subject: str, after: int | None) -> None:
        self._connection = connection
        self._subject = subject
        self._sequence = after
        """The last event that was read; None for "what is new", before the first consumer said where that begins."""
        self._arrived: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._pull: Pull | None = None
        self._consumer = ""
        self._forget = connection.on_reconnect(self._mark_gap)

    async def open(self) -> None:
        """Make a consumer that begins after the last event that was read, and pull from it."""
        self._consumer = f"follow_{new_id()}"
        self._arrived = asyncio.Queue()
        start: JsonObject = {"deliver_policy": "new"}
        if self._sequence is not None:
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._sequence + 1}
        info = await create_consumer(
            self._connection,
            STREAM,
            {
                "durable_name": self._consumer,
                "filter_subject": self._subject,
                "ack_policy": "none",
                "inactive_threshold": to_nanoseconds(_ABANDONED),
                "mem_storage": True,
                "num_replicas": 1,
                **start,
            },
        )
        if self._sequence is None:
            self._sequence = _last_before(info)
        self._pull = Pull(
            self._connection, stream=STREAM, consumer=self._consumer, deliver=self._arrived.put_nowait
        )
        self._pull.start()
        self._pull.want(_IN_HAND_MAX)

    async def events(self) -> AsyncGenerator[LifecycleEvent, None]:
        """Give the events, and mend the consumer between them."""
        while True:
            message = await self._arrived.get()
            if message is None:
                await self._reopen()
                continue
            self._sequence = message.stream_sequence
            event = LifecycleEvent.parse(message.data)
            if event is not None:
                yield event
            if self._pull is not None:
                self._pull.want(_IN_HAND_MAX - self._arrived.qsize())

    async def close(self) -> None:
        """Stop reading. The consumer is removed now, or by the server a while after the last pull."""
        self._forget()
        await self._end()

    def _mark_gap(self) -> None:
        # What was under way when the link ended is lost, and a consumer without acks does not send it again.
        self._arrived.put_nowait(None)

    async def _reopen(self) -> None:
        await self._end()
        while True:
            try:
                await self.open()
            except (RequestTimeout, NoResponders, NotConnected, ApiError):
                await self._connection.wait_connected()
                await asyncio.sleep(_AGAIN.total_seconds())
            else:
                return

    async def _end(self) -> None:
        if self._pull is not None:
            await self._pull.stop()
        try:
            await delete_consumer(self._connection, STREAM, self._consumer)
        except TransportError:
            return


def _last_before(info: JsonObject) -> int | None:
    """Return the sequence after which a new consumer begins."""
    match info.get("delivered"):
        case {"stream_seq": int(sequence)}:
            return sequence
        case _:
            return None


def job_event(event: LifecycleEvent) -> JobEvent:
    """Give an event the form that users see."""
    return JobEvent(
        job_id=event.job_id,
        queue=event.job_type,
        event=event.event_type,
        state=event.effective_state,
        tries=event.tries,
        error=event.error,
        progress=event.progress,
        logs=event.logs or (),
        at=parse_timestamp(event.timestamp),
    )
