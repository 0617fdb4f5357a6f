"""Stores the events that create many jobs, in atomic batches where the server and stream JOBS have them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.batch import (
    BATCH_ALREADY_STORED,
    BATCHES_OFF,
    Batch,
    BatchMessage,
    publish_batch,
    supports_batch,
)
from trellis_nats._nats.jetstream.repeat_write import RepeatRefused, repeat_write
from trellis_nats._nats.link.link import Link
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats._versions import digest_line
from trellis_nats.errors import ApiError, TransportError, WriteUnknown, WrongLastSequence
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.jobs.store.event_log import EventLog, Writable

__all__ = ["EventBatches"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_OPEN_BATCHES_MAX: Final = 8
"""A stream accepts 50 open batches, of all processes together."""


class EventBatches:
    """Stores the `created` events of one queue's jobs, many at a time."""

    def __init__(self, connection: Connection, event_log: EventLog, *, timeout: timedelta) -> None:
        """Prepare. `event_log` is that of the queue."""
        self._connection = connection
        self._event_log = event_log
        self._timeout = timeout
        self._digest_line = digest_line(event_log.digest)
        self._open_batches = asyncio.Semaphore(_OPEN_BATCHES_MAX)
        self._without_batches: Link | None = None
        """The link on which the stream refused a batch, because it has none. After a reconnect it is asked again."""

    async def create(self, batches: Iterable[Sequence[Writable]], on_stored: Callable[[int], None]) -> None:
        """Store the events that create jobs, in batches of up to `BATCH_MAX`, one after another.

        Where the server and the stream have atomic batches, each batch is stored completely or not at all. Otherwise the
        events are stored one by one, and an error may leave some of them stored.

        Args:
            batches: the events.
            on_stored: called after each batch, with the number of its events.

        Raises:
            WriteUnknown: no write was answered; the batch, or some of its events, may be stored.
            TransportError: NATS did not store them.
        """
        upcoming = ((events, self._encode(events)) for events in batches)
        following = next(upcoming, None)
        while following is not None:
            # The server stores a batch while the next one is made.
            stored, made = await asyncio.gather(
                self._store(*following), _next_of(upcoming), return_exceptions=True
            )
            if isinstance(stored, BaseException):
                raise stored
            on_stored(len(following[0]))
            if isinstance(made, BaseException):
                raise made
            following = made

    async def _store(self, events: Sequence[Writable], batch: Batch | None) -> None:
        if batch is None or not self._has_batches or not await self._store_batch(events, batch):
            await self._store_singly(events)

    async def _store_singly(self, events: Sequence[Writable]) -> None:
        results = await asyncio.gather(*map(self._event_log.create, events), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        # An unknown outcome first: the caller must not assume that nothing more is stored.
        failures.sort(key=lambda failure: not isinstance(failure, WriteUnknown))
        if failures:
            raise failures[0]

    @property
    def _has_batches(self) -> bool:
        """Whether the server has batches, and the stream too, as far as this process knows."""
        link = self._connection.link
        return supports_batch(self._connection) and (link is None or link is not self._without_batches)

    def _encode(self, events: Sequence[Writable]) -> Batch | None:
        """Encode events as one batch; None when the server or the stream has no batches."""
        if not self._has_batches:
            return None
        event_subject, digest = self._event_log.subjects.event, self._digest_line
        return Batch(
            [
                BatchMessage(
                    event_subject(event.job_id, event.event_type),
                    event.encode(),
                    event.header_lines() + digest,
                )
                for event in events
            ],
            max_payload_bytes=self._connection.max_payload,
        )

    async def _store_batch(self, events: Sequence[Writable], batch: Batch) -> bool:
        """Store events as one batch. Return False when the stream has no batches; nothing was stored."""
        what, writes = f"a batch of {plural(len(events), 'job')}", self._event_log.writes
        try:
            async with self._open_batches:
                await repeat_write(
                    lambda: publish_batch(self._connection, batch, timeout=self._timeout), what=what
                )
        except (ApiError, RepeatRefused) as refused:
            err_code = refused.err_code if isinstance(refused, ApiError) else 0
            if err_code == BATCHES_OFF:
                self._report_no_batches()
                return False
            if err_code != BATCH_ALREADY_STORED and not isinstance(
                refused, WrongLastSequence | RepeatRefused
            ):
                writes.fail(refused)
                raise
            # The ids are new, so an earlier, unanswered batch was stored.
            if await self._event_log.find_stored(events[-1]) is None:
                text = (
                    str(refused)
                    if isinstance(refused, RepeatRefused)
                    else f"{what} may have been stored: {refused}"
                )
                raise WriteUnknown(text) from refused
        except TransportError as error:
            writes.fail(error)
            raise
        writes.succeed()
        return True

    def _report_no_batches(self) -> None:
        self._without_batches = self._connection.link
        _log.warning(
            "stream %s has no atomic batches: create_many stores jobs one by one, so that an error may leave some of "
            "them stored; to change that, update the stream with allow_atomic: true, which is safe and can be undone",
            STREAM,
            extra=log_fields(LogEvent.BATCHES_OFF, stream=STREAM),
        )


async def _next_of(items: Iterator[T]) -> T | None:
    await asyncio.sleep(0)  # until what the other task has sent is written
    return next(items, None)
