"""One attempt of one job, as its worker writes it: every event is fenced on the one before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import Clock
from trellis_nats.codec import decode_json
from trellis_nats.errors import JobCancelled, JobError, TransportError, WriteUnknown
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, NewEvent, StoredEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict

__all__ = ["Attempt"]

_log = logging.getLogger(__name__)

_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of `started` whose answers are lost."""


class Attempt:
    """The state that a running attempt shares with its worker: what was written last, and what stopped it."""

    def __init__(
        self, event_log: EventLog, identity: JobIdentity, clock: Clock, *, tries: int, after: int
    ) -> None:
        """Prepare the attempt with the given number, after the event with the given sequence."""
        self.identity = identity
        self.clock = clock
        self.tries = tries
        self.handler: asyncio.Task[Any] | None = None  # Any: its result is not used here
        """The task that runs the handler; None before it begins and after it ended."""
        self.has_begun = False
        """Whether its `started` is stored."""
        self.is_cancelled = False
        """Whether the history says that the job is cancelled."""
        self.superseded = False
        """Whether the history says that another worker runs the job, or that the job ended in some other way."""
        self.lost_history = False
        """Whether it is superseded because its stream has no event of the job any longer that can be read."""
        self.slot_lost = False
        """Whether the job has lost its slot of its concurrency key."""
        self.interrupted = False
        """Whether the handler must stop: the job is superseded or lost its slot, or the worker's grace period is over."""
        self.is_outlasting = False
        """Whether the worker stops, and the handler neither ended in time nor can be stopped."""
        self._is_over = False
        """Whether the handler has ended: later reports are dropped."""
        self._waker: asyncio.Future[None] | None = None
        self._event_log = event_log
        self._sequence = after
        self._writing = asyncio.Lock()
        self._ids: dict[str, str] = {}
        """The message ids of `started` and the outcome, by event type: under the same id, an event is stored once."""
        self._reported: tuple[str, ...] = ()
        """The message ids of reports that may be stored."""
        self.checkpoint: bytes | None = None
        """The text of the newest checkpoint of the job; None where there is none."""
        self.checkpoint_at: int | None = None
        """Its sequence. Every event of the attempt carries it: the next attempt knows what it has to find."""
        self._cancelled: asyncio.Event | None = None  # created on demand: most handlers never use it

    @property
    def cancelled(self) -> asyncio.Event:
        """Set once the job is cancelled. A handler may read it in a thread while the event loop sets it."""
        event = self._cancelled
        if event is None:
            event = self._cancelled = asyncio.Event()
            if self.is_cancelled:
                event.set()
        return event

    async def progress(self, progress: JobProgress) -> None:
        """Write a progress report of the handler."""
        await self._report(self.identity.progress(progress, tries=self.tries, at=self.clock.now()))

    async def log(self, entry: JobLogEntry) -> None:
        """Write a log line of the handler."""
        await self._report(self.identity.logged(entry, tries=self.tries, at=self.clock.now()))

    async def store_checkpoint(self, text: bytes) -> None:
        """Write a checkpoint of the handler. Return only after it is stored.

        Raises:
            JobCancelled: the job is cancelled; nothing was stored.
            JobError: the attempt is over: another worker runs the job, or its handler has ended; nothing was stored.
            TransportError: NATS did not take it.
        """
        event = self.identity.checkpoint(decode_json(text), tries=self.tries, at=self.clock.now())
        message_id = self._event_log.new_message_id(event)
        async with self._writing:
            self._require_running()
            self._reported = (*self._reported, message_id)
            try:
                await self._write(event, message_id)
            except WriteConflict:
                self._require_running()
                raise
            self.checkpoint, self.checkpoint_at = text, self._sequence

    def _require_running(self) -> None:
        what = f"job {self.identity.job_id}: its checkpoint is not stored"
        if self.is_cancelled:
            raise JobCancelled(f"{what}: it was cancelled")
        if self._is_over or self.superseded or self.slot_lost:
            raise JobError(f"{what}: attempt {self.tries} is over, and another worker may run the job")

    async def begin(self, started: NewEvent, *, grace_over: asyncio.Event) -> None:
        """Write `started`. Once it may be stored, repeat the write until it is: giving up could consume the attempt.

        Raises:
            WriteConflict: another writer was first.
            WriteUnknown: the grace period is over, and `started` may be stored.
            TransportError: NATS did not take it.
        """
        is_unknown = False
        while True:
            try:
                await self._write_own(started)
            except TransportError as error:
                is_unknown = is_unknown or isinstance(error, WriteUnknown)
                if not is_unknown:
                    raise
                if grace_over.is_set():
                    raise WriteUnknown(f"started may have been stored: {error}") from error
                _log.warning(
                    "job %s: cannot tell whether started is stored; writing it again: %s",
                    self.identity.job_id,
                    error,
                    extra=self._fields(LogEvent.START_NOT_CONFIRMED),
                )
                await asyncio.sleep(_WRITE_AGAIN.total_seconds())
            else:
                self.has_begun = True
                return

    def end(self, event: NewEvent) -> Coroutine[None, None, None]:
        """Write the outcome of the attempt. It may be called again after an error.

        Raises:
            WriteConflict: the job is cancelled or another worker runs it; the flags say which.
            TransportError: NATS did not take it.
        """
        return self._write_own(event)

    def close(self) -> None:
        """Drop later reports: one behind the outcome would make the job look active again."""
        self._is_over = True

    async def _write_own(self, event: NewEvent) -> None:
        """Store `started` or the outcome, which is recognised by its id from then on."""
        message_id = self._ids.get(event.event_type)
        if message_id is None:
            message_id = self._ids[event.event_type] = self._event_log.new_message_id(event)
        await self._writing.acquire()  # `async with` would create three coroutines
        try:
            await self._write(event, message_id)
        finally:
            self._writing.release()

    async def _write(self, event: NewEvent, message_id: str) -> None:
        """Store an event after those that are known."""
        if self.checkpoint_at is not None:
            event.tail["checkpointAt"] = self.checkpoint_at
        while True:
            try:
                self._sequence = await self._event_log.append(
                    event, after=self._sequence, message_id=message_id
                )
            except WriteConflict as overtaken:
                known, is_over = self._sequence, self._take_note(overtaken.newest)
                if self._sequence > known:
                    continue
                if not is_over:
                    self.lost_history = overtaken.newest is None
                    self._supersede()  # by an event that cannot be read, or the history is gone
                raise
            else:
                self._reported = ()
                return

    def _take_note(self, newest: StoredEvent | None) -> bool:
        """Take note of the newest event of the job. Return whether it ends this attempt."""
        if newest is None or newest.sequence <= self._sequence or newest.message_id in self._ids.values():
            return False  # older, or written by this attempt, whose answer is still to come
        if newest.message_id in self._reported:
            self._sequence = newest.sequence  # written by this attempt, and the answer was lost
            return False
        if newest.event.event_type == EventType.CANCELLED:
            self.is_cancelled = True
            if self._cancelled is not None:
                self._cancelled.set()
        else:
            self._supersede()
        return True

    def _supersede(self) -> None:
        self.superseded = True
        self.interrupt()

    def lose_slot(self) -> None:
        """Stop the handler: another job of its key may begin."""
        self.slot_lost = True
        self.interrupt()

    def interrupt(self) -> None:
        """Stop the handler."""
        self.interrupted = True
        self._wake()

    def watch_again(self, handler: asyncio.Task[object]) -> asyncio.Future[None]:
        """Return, after an interruption, a future that is done when the handler has ended, or at the next interruption."""
        self.interrupted = self.superseded or self.slot_lost
        return self.watch(handler)

    def watch(self, handler: asyncio.Task[object]) -> asyncio.Future[None]:
        """Return a future that is done when the handler has ended, or must stop."""
        # One future for both: asyncio.wait would cost as much as the rest of a short job.
        waker = self._waker = handler.get_loop().create_future()
        if self.interrupted or handler.done():
            self._wake()
        else:
            handler.add_done_callback(self._wake)
        return waker

    def _wake(self, _: object = None) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def refresh(self) -> bool:
        """Read the newest event and take note of it. Return whether it ends this attempt."""
        async with self._writing:
            return self._take_note(await self._event_log.newest(self.identity.job_id))

    async def _report(self, event: NewEvent) -> None:
        """Write a report. It decides nothing: one that cannot be written is dropped, and the job continues."""
        job, what = self.identity.job_id, event.event_type
        message_id = self._event_log.new_message_id(event)
        async with self._writing:
            if self._is_over:
                fields = self._fields(LogEvent.REPORT_DROPPED)
                _log.info("job %s: dropped %s: its handler has ended", job, what, extra=fields)
            if self._is_over or self.is_cancelled or self.superseded:
                return
            # Known before the write ends: the handler may not wait for it.
            self._reported = (*self._reported, message_id)
            try:
                await self._write(event, message_id)
            except WriteConflict:
                return
            except TransportError as error:
                fields = self._fields(LogEvent.REPORT_DROPPED)
                _log.warning("job %s: dropped %s: %s", job, what, error, extra=fields)

    def _fields(self, event: LogEvent) -> dict[str, object]:
        job = self.identity
        return log_fields(
            event, queue=job.queue, job_id=job.job_id, attempt=self.tries, trace_id=job.context.trace_id
        )
