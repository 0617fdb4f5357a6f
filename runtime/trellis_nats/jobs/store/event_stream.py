"""Follows the events of jobs as they are stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.jetstream.stream_follower import follow_stream
from trellis_nats._versions import digest_of
from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import STREAM

__all__ = ["JobEvent", "follow_events", "history_of", "job_event"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """One event of one job, as `follow` and `ref.events()` yield it."""

    job_id: str
    queue: str
    event: str
    """For example `started`."""
    state: JobState
    """The job's state after it."""
    tries: int
    """How many attempts were started until then, except those that a stopping worker released."""
    error: str | None
    """Why an attempt or the job failed, in events that say so."""
    error_detail: ErrorDetail | None
    """The class and the stack of the exception that failed an attempt."""
    progress: JobProgress | None
    """The report, in the event `progress`."""
    logs: tuple[JobLogEntry, ...]
    """The lines that the handler wrote, in the event `logged`."""
    checkpoint: JsonValue
    """What the handler stored for the next attempt, in the event `checkpoint`."""
    at: datetime
    """When it was written, in UTC, by the clock of the process that wrote it."""


@asynccontextmanager
async def follow_events(
    connection: Connection, prefixes: Iterable[str]
) -> AsyncGenerator[AsyncIterator[JobEvent], None]:
    """Yield every event that is stored under the prefixes from now on, once, in the order of the stream.

    The events are read from the stream, across reconnects: a plain subscription would also receive events that the
    stream refused.

    Raises:
        PermissionDenied: the account may not create a consumer on the stream.
        ApiError: JetStream refused the consumer.
    """
    async with follow_stream(connection, STREAM, _common(prefixes), after=None) as messages:
        yield _parsed(connection, messages)


async def _parsed(
    connection: Connection, messages: AsyncIterator[Delivery]
) -> AsyncGenerator[JobEvent, None]:
    connection.require_own_loop()
    async for message in messages:
        event = LifecycleEvent.parse(message.data)
        if event is not None:
            yield job_event(event)


async def history_of(
    connection: Connection, filter_subject: str
) -> AsyncGenerator[tuple[int, StoredEvent | None], None]:
    """Yield every event under a filter, from the first one that is stored on, and its sequence. It does not end.

    An event that cannot be read is None.

    Raises:
        PermissionDenied: the account may not create a consumer on the stream.
        ApiError: JetStream refused the consumer.
    """
    async with follow_stream(connection, STREAM, filter_subject, after=0) as messages:
        async for message in messages:
            event, sequence = LifecycleEvent.parse(message.data), message.stream_sequence
            digest = digest_of(message.headers)
            yield sequence, None if event is None else StoredEvent(event, sequence, None, digest=digest)


def _common(prefixes: Iterable[str]) -> str:
    """Return one filter for all: the tokens that every prefix begins with."""
    split = [prefix.split(".") for prefix in prefixes]
    shared: list[str] = []
    for tokens in zip(*split, strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return ".".join((*shared, ">"))


def job_event(event: LifecycleEvent) -> JobEvent:
    """Give an event the form that users see."""
    return JobEvent(
        job_id=event.job_id,
        queue=event.job_type,
        event=EventType.CHECKPOINT.value if event.has_checkpoint else event.event_type,
        state=event.effective_state,
        tries=event.tries,
        error=event.error,
        error_detail=ErrorDetail.read(event.error_detail),
        progress=event.progress,
        logs=event.logs or (),
        checkpoint=event.checkpoint,
        at=event.at,
    )
