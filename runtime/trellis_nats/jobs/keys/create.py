"""Creates the jobs of a keyed queue: first reserves an entry in the record of the key, then stores the event."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.jetstream.batch import BATCH_MAX
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import JobNotEnqueued, MalformedJobEvent, TransportError, WriteUnknown
from trellis_nats.jobs.keys.model import event_fields
from trellis_nats.jobs.keys.model.admission import Admitted, Displaced, Full, Joined
from trellis_nats.jobs.keys.model.left_record import left_line
from trellis_nats.jobs.keys.model.record import QueueEntry
from trellis_nats.jobs.keys.model.template import JobKey, resolve
from trellis_nats.jobs.keys.orphans import RESERVATION_TIMEOUT
from trellis_nats.jobs.keys.reservations import STORE_POLL_SECONDS, Reservations
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_batches import EventBatches
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict

__all__ = ["AlreadyStored", "Created", "KeyedCreator", "not_enqueued_error"]

_log = logging.getLogger(__name__)

_DISPLACED_STORED_WITHIN: Final = RESERVATION_TIMEOUT / 2
"""How long to wait for a displaced job to be stored. The entry of the job that displaced it is reserved meanwhile."""
_UNDO_TIMEOUT: Final = timedelta(seconds=5)
"""How long a failed creation tries to remove its reservation. After that, the next caller that needs it evicts it."""


@dataclass(frozen=True, slots=True)
class Created:
    """The job is stored."""

    replaced: str | None = None
    """The id of the job that it displaced."""


@dataclass(frozen=True, slots=True)
class AlreadyStored:
    """The job of the idempotency key was already stored; nothing was changed."""

    earlier: StoredEvent | None
    """The event that created it, where it can be read."""


class _KeyedEvent:
    """The `created` event of a job with the fields of its key, encoded once."""

    __slots__ = ("_data", "event", "key", "left", "replaced")

    def __init__(self, event: NewEvent, key: JobKey, *, replaced: str | None = None) -> None:
        self.event = event
        self.key = key
        self.replaced = replaced
        """The id of the job that it displaced."""
        self.left = b""
        """The header that names the record of the key, as an encoded line."""
        fields = event_fields.created_fields(key, replaced=replaced)
        self._data = event_fields.add_fields(event, fields).encode()

    @property
    def job_id(self) -> str:
        return self.event.job_id

    @property
    def event_type(self) -> str:
        return self.event.event_type

    def encode(self) -> bytes:
        return self._data

    def header_lines(self) -> bytes:
        return self.event.header_lines() + self.left


class KeyedCreator:
    """Stores the jobs of a queue whose keys have room for them."""

    def __init__(self, reservations: Reservations, event_log: EventLog, *, queue: str) -> None:
        self._reservations = reservations
        self._event_log = event_log
        self._queue = queue
        self._template = reservations.policy.template
        self._what = f'the payload of a job in queue "{queue}"'

    def key_of(self, payload: JsonValue) -> JobKey:
        """Return the key of a job.

        Raises:
            InvalidPayload: the payload has no key.
        """
        return resolve(self._template, payload, what=self._what)

    def key_of_stored(
        self, event: LifecycleEvent, *, digest: str, payload: Callable[[], JsonValue]
    ) -> JobKey:
        """Return the key of a stored job, as `event_fields.key_of_stored` does."""
        return event_fields.key_of_stored(
            self._template, event, digest=digest, payload=payload, what=self._what
        )

    def _key_of_new(self, event: NewEvent) -> JobKey:
        return self.key_of(None if event.payload is None else json.loads(event.payload))

    async def create(
        self,
        event: NewEvent,
        *,
        strict: bool,
        idempotent: bool,
        key: JobKey | None = None,
        writer: str | None = None,
    ) -> tuple[JobKey, Created | AlreadyStored | Joined | Full]:
        """Store a job, or return why it was not stored. A `strict` creation never joins or displaces another job.

        `key` is the key of a payload that was stored before; None: it follows from the payload. `writer` is the digest of the
        contract that wrote the payload; None: that of this process.

        Raises:
            InvalidPayload: the payload has no key; nothing was sent.
            WriteConflict: a job with this id exists, and the creation is not `idempotent`.
            WriteUnknown: the write was not answered; the job may be stored.
            TransportError: NATS did not store the job; its reservation was removed if possible.
        """
        key = key or self._key_of_new(event)
        if idempotent:
            earlier = await self._event_log.newest_of(event.job_id, EventType.CREATED)
            if earlier is not None:
                return key, AlreadyStored(earlier)
        keyed = _KeyedEvent(event, key)
        self._event_log.check_size(keyed)
        result = await self._reservations.admit(key, event, strict=strict)
        match result:
            case Full() | Joined():
                return key, result
            case Admitted():
                keyed.left = self._left_line(keyed)
                return key, await self._store(keyed, idempotent=idempotent, writer=writer)
            case Displaced(replaced):
                if await self._skip(key, replaced, event.job_id):
                    keyed = _KeyedEvent(event, key, replaced=replaced.job_id)
                return key, await self._store(keyed, idempotent=idempotent, writer=writer)

    async def create_many(
        self, events: Sequence[NewEvent], batches: EventBatches, on_stored: Callable[[int], None]
    ) -> None:
        """Store jobs through `batches`, a thousand at a time. Each batch is stored as a whole or not at all.

        All jobs of a batch get their entries before the first one is stored. `on_stored` is called after each batch,
        with the number of its jobs.

        Raises:
            JobNotEnqueued: a key has no room; nothing of its batch was stored.
            InvalidPayload: a payload has no key; nothing was sent.
            PayloadTooLarge: a job is too large for the server; nothing was sent.
            WriteUnknown: the write was not answered; the batch may be stored.
            TransportError: NATS did not store the batch.
        """
        keyed = [_KeyedEvent(event, self._key_of_new(event)) for event in events]
        for event in keyed:
            self._event_log.check_size(event)
        for start in range(0, len(keyed), BATCH_MAX):
            await self._create_batch(keyed[start : start + BATCH_MAX], batches, on_stored)

    async def _create_batch(
        self, events: Sequence[_KeyedEvent], batches: EventBatches, on_stored: Callable[[int], None]
    ) -> None:
        results = await bounded_gather(events, self._reserve)
        problem = next((result for result in results if result is not None), None)
        reserved = [event for event, result in zip(events, results, strict=True) if result is None]
        if problem is not None:
            await self._undo_all(reserved)
            raise problem
        try:
            await batches.create([events], on_stored)
        except WriteUnknown:
            raise  # the jobs may be stored; if not, the next caller that needs their entries evicts them
        except TransportError:
            await self._undo_all(reserved)
            raise

    async def _reserve(self, event: _KeyedEvent) -> Exception | None:
        """Reserve the entry of a job. Return why that failed, so that the other jobs of its batch can be undone."""
        try:
            result = await self._reservations.admit(event.key, event.event, strict=True)
        except Exception as error:  # noqa: BLE001 - the caller raises it
            return error
        event.left = self._left_line(event)
        return not_enqueued_error(event.key, result) if isinstance(result, Full) else None

    def _left_line(self, event: _KeyedEvent) -> bytes:
        """Return the header that saves the worker a read, as an encoded line; empty where it would not be true."""
        known = self._reservations.store.known(event.key)
        return b"" if known is None else left_line(known.record, known.revision, event.job_id)

    async def _undo_all(self, reserved: Sequence[_KeyedEvent]) -> None:
        """Remove the reservations of jobs that were not stored, as far as that is possible in a few seconds."""

        async def undo(event: _KeyedEvent) -> None:
            if await self._event_log.newest_of(event.job_id, EventType.CREATED) is None:
                await self._reservations.withdraw(event.key, event.job_id)

        async def undo_all() -> None:
            await bounded_gather(reserved, undo)

        if reserved:
            await self._try_undo(reserved[0].key, undo_all())

    async def _store(
        self, event: _KeyedEvent, *, idempotent: bool, writer: str | None
    ) -> Created | AlreadyStored:
        key = event.key
        try:
            await self._event_log.create(event, writer=writer)
        except WriteConflict as conflict:
            newest = conflict.newest
            if newest is None or newest.event.is_terminal:
                await self._undo(key, event.job_id)
            if not idempotent:
                raise
            return AlreadyStored(conflict.same_type)
        except WriteUnknown:
            raise  # the job may be stored; if not, the next caller that needs its entry evicts it
        except TransportError:
            # Another call with the idempotency key may have stored the job meanwhile, which then needs the entry.
            if not idempotent:
                await self._undo(key, event.job_id)
            raise
        return Created(event.replaced)

    async def _skip(self, key: JobKey, replaced: QueueEntry, by: str) -> bool:
        """End a displaced job as `skipped`. Return False if it did not wait any longer: then no job was displaced.

        Raises:
            TransportError: NATS did not store the event; the displaced job got its entry back if possible.
        """
        try:
            until = monotonic() + _DISPLACED_STORED_WITHIN.total_seconds()
            newest = await self._event_log.newest(replaced.job_id)
            while newest is None and monotonic() < until:
                await asyncio.sleep(STORE_POLL_SECONDS)  # the job has a reservation and is about to be stored
                newest = await self._event_log.newest(replaced.job_id)
            while newest is not None:
                skipped = event_fields.skipped_event(newest.event, by, now())
                if skipped is None:
                    return newest.event.event_type == EventType.SKIPPED
                try:
                    await self._event_log.append(skipped, after=newest.sequence)
                except WriteConflict as conflict:
                    newest = conflict.newest
                else:
                    return True
        except MalformedJobEvent as error:
            _log.warning(
                'key "%s": displaced job %s does not end as skipped, because its history cannot be read: %s',
                key.display,
                replaced.job_id,
                error,
                extra=log_fields(
                    LogEvent.JOB_UNREADABLE, queue=self._queue, job_id=replaced.job_id, key=key.display
                ),
            )
        except TransportError:
            await self._try_undo(key, self._reservations.restore(key, replaced, by=by))
            raise
        return False

    async def _undo(self, key: JobKey, job_id: str) -> None:
        await self._try_undo(key, self._reservations.withdraw(key, job_id))

    async def _try_undo(self, key: JobKey, undo: Awaitable[None]) -> None:
        """Undo a reservation if NATS answers in time. If not, the next caller that needs the entry evicts it."""
        try:
            async with asyncio.timeout(_UNDO_TIMEOUT.total_seconds()):
                await undo
        except (TransportError, TimeoutError) as error:
            _log.warning(
                'key "%s": a reservation could not be undone, it times out instead: %s',
                key.display,
                error,
                extra=log_fields(LogEvent.RESERVATION_NOT_UNDONE, queue=self._queue, key=key.display),
            )


def not_enqueued_error(key: JobKey, full: Full) -> JobNotEnqueued:
    """Build the error for a key that has no room."""
    return JobNotEnqueued(
        full.reason,
        key.display,
        active=full.active,
        queued=full.queued,
        limit=full.limit,
        existing_job_id=full.existing,
        room=full.room,
    )
