"""One try of one job, as its worker writes it: every event fenced on the one before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from trellis_nats.clock import now
from trellis_nats.errors import TransportError
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, NewEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog, StoredEvent, WriteConflict

__all__ = ["Attempt"]

_log = logging.getLogger(__name__)


class Attempt:
    """The state that a running try shares with its worker: what was written last, and who stopped it."""

    def __init__(self, event_log: EventLog, identity: JobIdentity, *, tries: int, after: int) -> None:
        """Prepare the try with the given number, after the event with the given sequence."""
        self.identity = identity
        self.tries = tries
        self.has_begun = False
        """Whether its `started` is stored."""
        self.is_cancelled = False
        """Whether the history says that the job is cancelled."""
        self.superseded = False
        """Whether the history says that somebody else has the job, or that it ended some other way."""
        self.slot_lost = False
        """Whether the job has lost its slot of its concurrency key."""
        self.interrupted = False
        """Whether the handler has to stop: the job is superseded or lost its slot, or the host's grace is over."""
        self._is_over = False
        """Whether the handler has ended: what it still reports comes too late."""
        self._waker: asyncio.Future[None] | None = None
        self._event_log = event_log
        self._sequence = after
        self._writing = asyncio.Lock()
        self._ids: dict[str, str] = {}
        """The message ids of the beginning and the end, by event type: written again, each is stored once."""
        self._reported: tuple[str, ...] = ()
        """The message ids of reports that may be stored."""
        self._cancelled: asyncio.Event | None = None  # most handlers never ask for it

    @property
    def cancelled(self) -> asyncio.Event:
        """Set once the job is cancelled. A handler may ask for it in a thread, while the loop learns of it."""
        event = self._cancelled
        if event is None:
            event = self._cancelled = asyncio.Event()
            if self.is_cancelled:
                event.set()
        return event

    async def progress(self, progress: JobProgress) -> None:
        """Write how far the handler is."""
        await self._report(self.identity.progress(progress, tries=self.tries, at=now()))

    async def logged(self, entry: JobLogEntry) -> None:
        """Write a line of the handler."""
        await self._report(self.identity.logged(entry, tries=self.tries, at=now()))

    async def begin(self, started: NewEvent) -> None:
        """Write that the try begins. It may be called again after an error.

        Raises:
            Overtaken: somebody else wrote first.
            WriteUnknown: it may be stored.
            TransportError: NATS did not take it.
        """
        await self._write_own(started)
        self.has_begun = True

    def end(self, event: NewEvent) -> Coroutine[None, None, None]:
        """Write the end of the try. It may be called again after an error.

        Raises:
            Overtaken: the job is cancelled or somebody else has it; the flags say which.
            TransportError: NATS did not take it.
        """
        return self._write_own(event)

    def close(self) -> None:
        """Drop what is reported from now on: a report behind the end would make the job look active again."""
        self._is_over = True

    async def _write_own(self, event: NewEvent) -> None:
        """Store the beginning or the end, which is known by its id from then on."""
        message_id = self._ids.get(event.event_type)
        if message_id is None:
            message_id = self._ids[event.event_type] = self._event_log.new_message_id(event)
        await self._writing.acquire()  # `async with` would take three coroutines
        try:
            await self._write(event, message_id)
        finally:
            self._writing.release()

    async def _write(self, event: NewEvent, message_id: str) -> None:
        """Store an event behind those that are known."""
        while True:
            try:
                self._sequence = await self._event_log.append(
                    event, after=self._sequence, message_id=message_id
                )
            except WriteConflict as overtaken:
                known, is_over = self._sequence, self.see(overtaken.newest)
                if self._sequence > known:
                    continue
                if not is_over:
                    self._supersede()  # by what cannot be read, or its history is gone
                raise
            else:
                self._reported = ()
                return

    def see(self, newest: StoredEvent | None) -> bool:
        """Take note of the newest event of the job. Return whether it ends this try."""
        if newest is None or newest.sequence <= self._sequence or newest.message_id in self._ids.values():
            return False  # older, or ours, and its answer is still to come
        if newest.message_id in self._reported:
            self._sequence = newest.sequence  # ours, and its answer was lost
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
        """Have the handler stopped: another job of its key may begin."""
        self.slot_lost = True
        self.interrupt()

    def interrupt(self) -> None:
        """Have the handler stopped."""
        self.interrupted = True
        self._wake()

    def over(self, handler: asyncio.Task[object]) -> asyncio.Future[None]:
        """Return what is done when the handler has ended, or has to stop."""
        # One future for both; asyncio.wait would cost as much as the rest of a short job.
        waker = self._waker = handler.get_loop().create_future()
        if self.interrupted or handler.done():
            self._wake()
        else:
            handler.add_done_callback(self._wake)
        return waker

    def _wake(self, _: object = None) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def look(self) -> bool:
        """Read the newest event and take note of it. Return whether it ends this try."""
        async with self._writing:
            return self.see(await self._event_log.newest(self.identity.job_id))

    async def _report(self, event: NewEvent) -> None:
        """Write what does not decide anything: what cannot be written is dropped, and the job goes on."""
        job, what = self.identity.job_id, event.event_type
        message_id = self._event_log.new_message_id(event)
        async with self._writing:
            if self._is_over:
                _log.info("job %s: %s came after its handler had ended, and was dropped", job, what)
            if self._is_over or self.is_cancelled or self.superseded:
                return
            self._reported = (
                *self._reported,
                message_id,
            )  # whatever becomes of the write: its handler may not wait for it
            try:
                await self._write(event, message_id)
            except WriteConflict:
                return
            except TransportError as error:
                _log.warning("job %s: %s was not stored: %s", job, what, error)
