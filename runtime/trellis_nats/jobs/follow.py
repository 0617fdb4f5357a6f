"""Follows what happens to the jobs of a service, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.pull import Pull, WorkMessage
from trellis_nats._nats.streams import create_consumer, delete_consumer
from trellis_nats.clock import parse_timestamp, to_nanoseconds
from trellis_nats.errors import TransportError
from trellis_nats.ids import new_id
from trellis_nats.jobs.event import JobLogEntry, JobProgress, LifecycleEvent
from trellis_nats.jobs.states import JobState
from trellis_nats.jobs.subjects import STREAM

__all__ = ["JobEvent", "followed"]

_IN_HAND_MAX: Final = 256
"""How many events wait in memory for the reader; the server keeps the rest."""
_ABANDONED: Final = timedelta(minutes=5)
"""When the server removes the consumer of a follower that died."""


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
async def followed(
    connection: Connection, prefixes: Iterable[str]
) -> AsyncGenerator[AsyncIterator[JobEvent], None]:
    """Give every event that is stored under the prefixes from now on, in the order of the stream.

    It comes from the stream, through reconnects: a plain subscriber would also hear events that the stream refused.

    Raises:
        PermissionDenied: the account may not make a consumer on the stream.
        ApiError: JetStream refused the consumer.
    """
    consumer = f"follow_{new_id()}"
    await create_consumer(
        connection,
        STREAM,
        {
            "durable_name": consumer,
            "filter_subject": _common(prefixes),
            "deliver_policy": "new",
            "ack_policy": "explicit",
            "max_ack_pending": _IN_HAND_MAX,
            "inactive_threshold": to_nanoseconds(_ABANDONED),
            "mem_storage": False,
        },
    )
    arrived: asyncio.Queue[WorkMessage] = asyncio.Queue()
    pull = Pull(connection, stream=STREAM, consumer=consumer, deliver=arrived.put_nowait)
    pull.start()
    pull.want(_IN_HAND_MAX)
    try:
        yield _events(arrived, pull)
    finally:
        await pull.stop()
        await _removed(connection, consumer)


def _common(prefixes: Iterable[str]) -> str:
    """Return one filter for all: the tokens that every prefix begins with."""
    split = [prefix.split(".") for prefix in prefixes]
    shared: list[str] = []
    for tokens in zip(*split, strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return ".".join((*shared, ">"))


async def _events(arrived: asyncio.Queue[WorkMessage], pull: Pull) -> AsyncGenerator[JobEvent, None]:
    while True:
        message = await arrived.get()
        event = LifecycleEvent.parse(message.data)
        if event is not None:
            yield _job_event(event)
        await message.ack()
        pull.want(_IN_HAND_MAX - arrived.qsize())


async def _removed(connection: Connection, consumer: str) -> None:
    try:
        await delete_consumer(connection, STREAM, consumer)
    except TransportError:
        return  # the server removes it by itself, `_ABANDONED` after the last pull


def _job_event(event: LifecycleEvent) -> JobEvent:
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
