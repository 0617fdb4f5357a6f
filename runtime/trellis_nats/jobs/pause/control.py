"""Pauses and resumes a queue: a record in the bucket of its service, which every worker obeys.

The record is the truth. From nats-server 2.11 on, the consumers of the queue are held too, for workers of other runtimes and
of earlier releases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats.binding import keys_bucket_of
from trellis_nats.clock import now
from trellis_nats.errors import (
    ApiError,
    ConfigurationError,
    NoResponders,
    PermissionDenied,
    ProvisioningError,
    WrongLastSequence,
)
from trellis_nats.errors.configuration import require_text
from trellis_nats.ids import require_token
from trellis_nats.jobs.model.queue_pause import QueuePause, pause_key
from trellis_nats.jobs.pause.consumer_hold import (
    ConsumerHold,
    QueueConsumer,
    find_consumers,
    hold_consumer,
    release_consumer,
)

__all__ = ["PauseResult", "ResumeResult", "list_pauses", "pause_queue", "read_pause", "resume_queue"]

_TEXT_MAX: Final = 2_000
"""Characters of an actor, a reason or a source."""
_READ_AGAIN: Final = 0.05
"""Seconds until the record is read again after its revision was an older one."""
_NO_STREAM: Final = 10059
"""The error code of JetStream for a stream that does not exist."""
_MISSING: Final = (
    'bucket "{}" does not exist, and a queue cannot be paused without it: no worker of the service has started yet, and '
    "`trellis provision apply` has not created it"
)


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What `pause_queue` did."""

    pause: QueuePause
    """The record that pauses the queue now."""
    is_new: bool
    """Whether this call stored it; False: the queue was paused already."""
    holds: tuple[ConsumerHold, ...]
    """What became of the queue's consumers. None is held on servers before 2.11, or if the queue was resumed meanwhile."""


@dataclass(frozen=True, slots=True)
class ResumeResult:
    """What `resume_queue` did."""

    removed: QueuePause | None
    """The record that paused the queue until now. None: the queue was not paused."""
    holds: tuple[ConsumerHold, ...]
    """The queue's consumers, which are not held any longer, unless the queue was paused again meanwhile."""
    missing_bucket: str | None = None
    """The bucket of the record, if it does not exist: workers that had seen a pause stay paused until it does."""


async def pause_queue(
    connection: Connection,
    namespace: str,
    queue: str,
    *,
    by: str,
    source: str,
    reason: str | None = None,
    consumers: Sequence[QueueConsumer] | None = None,
    timeout: timedelta = API_TIMEOUT,
) -> PauseResult:
    """Pause a queue: its workers begin no job any longer, within a second. Handlers that run end normally.

    Jobs are still accepted, and none is lost; retries and delayed jobs wait too. A queue that is paused already keeps its
    record; the hold of its consumers is extended.

    Args:
        connection: an account with the role `operator` of the service.
        namespace: the service's, as in the subjects of its jobs.
        queue: the queue's name.
        by: the actor.
        source: from where: `command line`, `console`, `Python API` …
        reason: why.
        consumers: those of the queue. By default they are looked up.
        timeout: how long each request waits for its answer.

    Raises:
        ConfigurationError: a name is not valid, or a text is empty or longer than 2,000 characters.
        ProvisioningError: the service has no bucket for the record.
        PermissionDenied: the account may not write the record.
        TransportError: NATS did not answer; the queue may be paused.
    """
    wanted = QueuePause(
        by=_text("by", by),
        reason=None if reason is None else _text("reason", reason),
        since=now(),
        source=_text("source", source),
    )
    bucket, key = _place(connection, namespace, queue, timeout)
    while True:
        stored = await _read(bucket, key)
        existing = _parse(stored)
        if existing is not None:
            break
        if stored is None and await _is_missing(bucket, key):
            raise ProvisioningError([_MISSING.format(bucket.name)])
        try:
            await bucket.put(key, wanted.encode(), expected_revision=0 if stored is None else stored.revision)
        except WrongLastSequence:  # another operator was first, or a replica answered with an older record
            await asyncio.sleep(_READ_AGAIN)
        else:
            break
    if consumers is None:
        consumers = await find_consumers(connection, namespace, queue)
    holds = await _follow_record(connection, bucket, key, consumers)
    return PauseResult(existing or wanted, existing is None, holds)


async def resume_queue(
    connection: Connection,
    namespace: str,
    queue: str,
    *,
    consumers: Sequence[QueueConsumer] | None = None,
    timeout: timedelta = API_TIMEOUT,
) -> ResumeResult:
    """Let a paused queue go on, within a second. A hold of its consumers is ended too, also one without a record.

    Args:
        connection: an account with the role `operator` of the service.
        namespace: the service's, as in the subjects of its jobs.
        queue: the queue's name.
        consumers: those of the queue. By default they are looked up.
        timeout: how long each request waits for its answer.

    Raises:
        ConfigurationError: a name is not valid.
        PermissionDenied: the account may not remove the record, or a consumer is held and it may not end that. The queue
            stays paused.
        TransportError: NATS did not answer; the queue may be resumed.
    """
    bucket, key = _place(connection, namespace, queue, timeout)
    if consumers is None:
        consumers = await find_consumers(connection, namespace, queue)
    # If this process dies in between, the record shows that the queue is still paused.
    for consumer in consumers:
        await release_consumer(connection, consumer, timeout=timeout)
    removed: QueuePause | None = None
    while True:
        stored = await _read(bucket, key)
        existing = _parse(stored)
        if stored is None or existing is None:
            break
        try:
            await bucket.delete(key, expected_revision=stored.revision)
        except WrongLastSequence:
            await asyncio.sleep(_READ_AGAIN)
        else:
            removed = existing
            break
    # The leader may have extended the holds before the record was removed.
    holds = await _follow_record(connection, bucket, key, consumers)
    is_missing = stored is None and await _is_missing(bucket, key)
    return ResumeResult(removed, holds, bucket.name if is_missing else None)


async def read_pause(
    connection: Connection, namespace: str, queue: str, *, timeout: timedelta = API_TIMEOUT
) -> QueuePause | None:
    """Return the record that pauses a queue; None while it is not paused.

    `timeout` is how long the read waits for its answer.

    Raises:
        ConfigurationError: a name is not valid.
        PermissionDenied: the account may not read the record.
        TransportError: NATS did not answer.
    """
    bucket, key = _place(connection, namespace, queue, timeout)
    return _parse(await _read(bucket, key))


async def list_pauses(connection: Connection, namespace: str) -> dict[str, QueuePause]:
    """Return the paused queues of a service, by name.

    Raises:
        ConfigurationError: the namespace is not valid.
        PermissionDenied: the account may not list the bucket.
        TransportError: NATS did not answer.
    """
    bucket = KvBucket(connection, keys_bucket_of(require_token("namespace", namespace)))
    try:
        keys = await bucket.keys(pause_key("*"))
    except (ApiError, NoResponders) as error:
        # JetStream itself says that there is no such stream; other answers are asked about once more.
        is_known = isinstance(error, ApiError) and error.err_code == _NO_STREAM
        if is_known or await _is_missing(bucket, pause_key("*")):
            return {}
        raise
    found = {key.partition(".")[2]: _parse(await _read(bucket, key)) for key in keys}
    return {queue: pause for queue, pause in sorted(found.items()) if pause is not None}


def _place(connection: Connection, namespace: str, queue: str, timeout: timedelta) -> tuple[KvBucket, str]:
    bucket = keys_bucket_of(require_token("namespace", namespace))
    return KvBucket(connection, bucket, timeout=timeout), pause_key(require_token("queue", queue))


async def _follow_record(
    connection: Connection, bucket: KvBucket, key: str, consumers: Sequence[QueueConsumer]
) -> tuple[ConsumerHold, ...]:
    """Hold consumers, or end their holds, as the record says, also if another operator changes it meanwhile."""
    is_paused = _parse(await _read(bucket, key)) is not None
    while True:
        change = hold_consumer if is_paused else release_consumer
        holds = tuple([await change(connection, consumer, timeout=bucket.timeout) for consumer in consumers])
        was_paused, is_paused = is_paused, _parse(await _read(bucket, key)) is not None
        if is_paused == was_paused:
            return holds


async def _read(bucket: KvBucket, key: str) -> KvRecord | None:
    """Return the newest record; None when there never was one, or there is no bucket."""
    try:
        return await bucket.get(key, leader=True)
    except PermissionDenied:
        pass  # a replica may answer with an older record; a write by its revision is refused then
    try:
        return await bucket.get(key)
    except NoResponders:
        return None


def _parse(stored: KvRecord | None) -> QueuePause | None:
    if stored is None or stored.operation != "PUT":
        return None
    return QueuePause.parse(stored.value, stored_at=stored.time)


async def _is_missing(bucket: KvBucket, key: str) -> bool:
    """Return whether there is no such bucket. The subscriptions of workers would let a write there seem unanswered."""
    try:
        await bucket.get(key)
    except NoResponders:
        return True
    return False


def _text(name: str, value: str) -> str:
    require_text(name, value)
    if not value.strip() or len(value) > _TEXT_MAX:
        raise ConfigurationError(
            f"{name}: a text of 1 to {_TEXT_MAX} characters is expected, got {len(value)}"
        )
    return value
