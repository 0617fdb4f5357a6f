"""One try of one job, as its worker writes it: every event fenced on the one before."""

from __future__ import annotations

import asyncio
import logging

from trellis_nats.clock import now
from trellis_nats.errors import InvalidPayload, TransportError
from trellis_nats.jobs.event import JobLogEntry, JobProgress, NewEvent
from trellis_nats.jobs.history import JobHistory, Overtaken, StoredEvent
from trellis_nats.jobs.record import JobIdentity
from trellis_nats.jobs.states import EventType

__all__ = ["Attempt"]

_log = logging.getLogger(__name__)


class Attempt:
    """The state that a running try shares with its worker: what was written last, and who stopped it."""

    def __init__(self, history: JobHistory, identity: JobIdentity, *, tries: int, after: int) -> None:
        """Prepare the try with the given number, after the event with the given sequence."""
        self.identity = identity
        self.tries = tries
        self.has_begun = False
        """Whether its `started` is stored."""
        self.cancelled = asyncio.Event()
        """Set once the history says that the job is cancelled."""
        self.superseded = False
        """Whether the history says that somebody else has the job, or that it ended some other way."""
        self.slot_lost = False
        """Whether the job has lost its slot of its concurrency key."""
        self.interrupted = False
        """Whether the handler has to stop: the job is superseded, or the host's grace is over."""
        self._over: asyncio.Future[None] | None = None
        self._history = history
        self._sequence = after
        self._writing = asyncio.Lock()

    async def progress(self, progress: JobProgress) -> None:
        """Write how far the handler is."""
        await self._report(self.identity.progress(progress, tries=self.tries, at=now()))

    async def logged(self, entry: JobLogEntry) -> None:
        """Write a line of the handler."""
        await self._report(self.identity.logged(entry, tries=self.tries, at=now()))

    async def begin(self, started: NewEvent) -> None:
        """Write that the try begins. Raises as `append`."""
        await self.append(started)
        self.has_begun = True

    async def append(self, event: NewEvent) -> None:
        """Write the end of the try.

        Raises:
            Overtaken: the job is cancelled or somebody else has it; the flags say which.
            TransportError: NATS did not answer.
        """
        async with self._writing:
            try:
                self._sequence = await self._history.append(event, after=self._sequence)
            except Overtaken as overtaken:
                self.see(overtaken.newest)
                raise

    def see(self, newest: StoredEvent | None) -> bool:
        """Take note of the newest event of the job. Return whether it ends this try."""
        if newest is None or newest.sequence <= self._sequence:
            return False
        if newest.event.event_type == EventType.CANCELLED:
            self.cancelled.set()
        else:
            self.superseded = True
            self.interrupt()
        return True

    def lose_slot(self) -> None:
        """Have the handler stopped: another job of its key may begin."""
        self.slot_lost = True
        self.interrupt()

    def interrupt(self) -> None:
        """Have the handler stopped."""
        self.interrupted = True
        self._wake()

    async def until_over(self, handler: asyncio.Task[object]) -> None:
        """Return when the handler has ended, or has to stop."""
        if self.interrupted or handler.done():
            return
        # One future for both; asyncio.wait would cost as much as the rest of a short job.
        self._over = handler.get_loop().create_future()
        handler.add_done_callback(self._wake)
        await self._over

    def _wake(self, _: object = None) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    async def look(self) -> bool:
        """Read the newest event and take note of it. Return whether it ends this try."""
        async with self._writing:
            return self.see(await self._history.newest(self.identity.job_id))

    async def _report(self, event: NewEvent) -> None:
        """Write what does not decide anything: what cannot be written is dropped, and the job goes on."""
        if self.cancelled.is_set() or self.superseded:
            return
        try:
            await self.append(event)
        except Overtaken:
            return
        except (TransportError, InvalidPayload) as error:
            _log.warning("job %s: %s was not stored: %s", self.identity.job_id, event.event_type, error)
