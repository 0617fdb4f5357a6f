"""Holds the consumers of a paused queue at the server: for workers that do not read the record.

The server then delivers nothing: no new message, no delayed one, and none whose ack wait has passed; acknowledgements go on.
The hold ends at a date, so that a forgotten one ends too, and is extended while the record exists (nats-facts.md, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, call
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.clock import later, now, timestamp
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied, TransportError
from trellis_nats.jobs.model.subjects import DELAYED_PREFIX, DELAYED_STREAM, WORK_PREFIX, WORK_STREAM

__all__ = [
    "HOLD_FOR",
    "HOLD_SINCE",
    "ConsumerHold",
    "QueueConsumer",
    "consumers_of",
    "find_consumers",
    "hold_consumer",
    "is_queue_held",
    "release_consumer",
]

HOLD_SINCE: Final = (2, 11, 0)
"""The oldest server that holds a consumer. Older ones do not answer the request."""
HOLD_FOR: Final = timedelta(hours=1)
"""How long a hold lasts that is not extended; the leader extends it every ten minutes."""
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class QueueConsumer:
    """A consumer that delivers jobs of a queue."""

    stream: str
    name: str


@dataclass(frozen=True, slots=True)
class ConsumerHold:
    """What became of the hold of one consumer."""

    consumer: QueueConsumer
    until: datetime | None = None
    """When it ends, if it is not extended. None: the consumer is not held."""
    problem: str | None = None
    """Why it could not be held or released. Workers of this runtime obey the record in any case."""


def consumers_of(jobs: JobsBinding, queue: QueueBinding) -> tuple[QueueConsumer, ...]:
    """Return the consumers of a queue: that of new work, and that of parked jobs which are due."""
    return (
        QueueConsumer(jobs.work_stream, queue.consumer_name),
        QueueConsumer(DELAYED_STREAM, queue.consumer_name),
    )


async def find_consumers(connection: Connection, namespace: str, queue: str) -> tuple[QueueConsumer, ...]:
    """Return the consumers of a queue: those with the usual names, or else those that deliver its subjects.

    What may not be looked up counts as existing under its usual name.

    Raises:
        TransportError: NATS did not answer.
    """
    found: list[QueueConsumer] = []
    for stream, subject in (
        (WORK_STREAM, f"{WORK_PREFIX}.{namespace}.{queue}"),
        (DELAYED_STREAM, f"{DELAYED_PREFIX}.due.{namespace}.{queue}"),
    ):
        usual = QueueConsumer(stream, f"{namespace}__{queue}")
        try:
            is_usual = await get_consumer_info(connection, stream, usual.name) is not None
            found += [usual] if is_usual else await _list_consumers(connection, stream, subject)
        except PermissionDenied:
            found.append(usual)
    return tuple(found)


async def _list_consumers(connection: Connection, stream: str, subject: str) -> list[QueueConsumer]:
    found: list[QueueConsumer] = []
    offset = 0
    while True:
        try:
            answer = await call(connection, f"CONSUMER.LIST.{stream}", {"offset": offset})
        except ApiError as error:
            if error.code == _NOT_FOUND:
                return []
            raise
        page, total = answer.get("consumers"), answer.get("total")
        listed = page if isinstance(page, list) else []
        found += [QueueConsumer(stream, name) for name in _names_of(listed, subject)]
        offset += len(listed)
        if not listed or not isinstance(total, int) or offset >= total:
            return found


def _names_of(listed: Sequence[JsonValue], subject: str) -> Iterator[str]:
    for consumer in listed:
        match consumer:
            case {"name": str(name), "config": {"filter_subject": str(filtered)}} if filtered == subject:
                yield name
            case {"name": str(name), "config": {"filter_subjects": list(subjects)}} if subject in subjects:
                yield name
            case _:
                continue


async def hold_consumer(
    connection: Connection, consumer: QueueConsumer, *, timeout: timedelta = API_TIMEOUT
) -> ConsumerHold:
    """Hold a consumer for an hour, or extend its hold. A server that cannot is not asked."""
    if connection.server_version < HOLD_SINCE:
        return ConsumerHold(consumer)
    until = later(now(), HOLD_FOR)
    try:
        await _set(connection, consumer, {"pause_until": timestamp(until)}, timeout)
    except ApiError as error:
        problem = "it does not exist" if error.code == _NOT_FOUND else str(error)
        return ConsumerHold(consumer, problem=problem)
    except TransportError as error:
        return ConsumerHold(consumer, problem=str(error))
    return ConsumerHold(consumer, until)


async def release_consumer(
    connection: Connection, consumer: QueueConsumer, *, timeout: timedelta = API_TIMEOUT
) -> ConsumerHold:
    """End the hold of a consumer, if it is held.

    Raises:
        PermissionDenied: it is held, and the account may not end that.
        TransportError: NATS did not answer.
    """
    if connection.server_version < HOLD_SINCE:
        return ConsumerHold(consumer)
    try:
        await _set(connection, consumer, {}, timeout)
    except PermissionDenied:
        if await _is_held(connection, consumer):
            raise
    except ApiError as error:
        if error.code != _NOT_FOUND:
            raise
    return ConsumerHold(consumer)


async def is_queue_held(connection: Connection, namespace: str, queue: str) -> bool:
    """Return whether the server holds a consumer of a queue, as far as the account may look that up.

    Raises:
        TransportError: NATS did not answer.
    """
    if connection.server_version < HOLD_SINCE:
        return False
    consumers = await find_consumers(connection, namespace, queue)
    return any([await _is_held(connection, consumer) for consumer in consumers])


async def _is_held(connection: Connection, consumer: QueueConsumer) -> bool:
    try:
        info = await get_consumer_info(connection, consumer.stream, consumer.name)
    except (PermissionDenied, NoResponders):
        return False  # an account that may not look it up did not hold it
    return info is not None and info.is_paused


async def _set(
    connection: Connection, consumer: QueueConsumer, body: dict[str, JsonValue], timeout: timedelta
) -> None:
    operation = f"CONSUMER.PAUSE.{consumer.stream}.{consumer.name}"
    await call(connection, operation, body, timeout=timeout)
