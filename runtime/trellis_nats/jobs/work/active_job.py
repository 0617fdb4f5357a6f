"""The job that a handler is given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Generic, Literal, NamedTuple

from trellis_nats.clock import now, timestamp
from trellis_nats.context import Context
from trellis_nats.errors import JobCancelled
from trellis_nats.jobs.keys.lease import JobLease, SlotLease
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress
from trellis_nats.jobs.model.event_factory import bounded
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.store.live_updates import LiveUpdates
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.blocking import BlockingReports

__all__ = ["ActiveJob", "JobFacts"]

_log = logging.getLogger(__name__)

_SAFE_INTEGER_MAX: Final = 2**53 - 1
"""JavaScript's `Number.MAX_SAFE_INTEGER`: it reads larger numbers as other ones."""


class JobFacts(NamedTuple):
    """What does not change while a try runs."""

    queue: str
    context: Context
    deadline: datetime | None
    max_tries: int
    redelivery_count: int
    loop: asyncio.AbstractEventLoop
    """The service's."""
    held: SlotLease | None = None
    """The slot of its concurrency key; None for a queue without one."""


class ActiveJob(Generic[PayloadT, ResultT, UpdateT]):
    """A job while its handler runs.

    Heartbeats go out by themselves, also while the handler blocks the event loop: however long it runs, the job is
    not given to another worker as long as this process lives.
    """

    def __init__(
        self,
        payload: PayloadT,
        attempt: Attempt,
        facts: JobFacts,
        *,
        updates: LiveUpdates[UpdateT],
        beat: Callable[[], Awaitable[object]],
    ) -> None:
        self._payload = payload
        self._attempt = attempt
        self._facts = facts
        self._beat = beat
        self._updates = updates
        self._updates_sent = 0

    def __repr__(self) -> str:
        return f"<ActiveJob {self._facts.queue} {self.id} try {self.tries} of {self.max_tries}>"

    @property
    def blocking(self) -> BlockingReports:
        """The reports for a plain `def` handler, which cannot `await`: `job.blocking.progress(step="…")`."""
        return BlockingReports(self._facts.loop, progress=self.progress, log=self.log)

    @property
    def id(self) -> str:
        """The job's id, a ULID."""
        return self._attempt.identity.job_id

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self._facts.queue

    @property
    def payload(self) -> PayloadT:
        """What the job was created with."""
        return self._payload

    @property
    def context(self) -> Context:
        """The request and trace that the job belongs to. Jobs created by the handler inherit it."""
        return self._facts.context

    @property
    def deadline(self) -> datetime | None:
        """When the job expires; None for never."""
        return self._facts.deadline

    @property
    def key(self) -> str | None:
        """The job's concurrency key, as people read it; None for a queue without one."""
        held = self._facts.held
        return None if held is None else held.key.display

    @property
    def lease(self) -> JobLease | None:
        """The hold that the job has on its key, as it stands now; None for a queue without one.

        It is renewed by itself. When it is lost, the handler is cancelled and what it returns is refused; until it has
        noticed, another job of the key may have begun. So let what it writes be idempotent, or give `lease.token` along.
        """
        held = self._facts.held
        return None if held is None else held.lease

    @property
    def tries(self) -> int:
        """The number of this try, from 1."""
        return self._attempt.tries

    @property
    def max_tries(self) -> int:
        """How many tries there are. After the last one the job is dead."""
        return self._facts.max_tries

    @property
    def is_redelivery(self) -> bool:
        """Whether a handler may have worked on this job before, in part or in whole."""
        return self._facts.redelivery_count > 0

    @property
    def redelivery_count(self) -> int:
        """How often the job was given to a worker before this time."""
        return self._facts.redelivery_count

    @property
    def is_cancelled(self) -> bool:
        """Whether someone cancelled the job. What the handler returns or raises then no longer matters."""
        return self._attempt.is_cancelled

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when someone cancels the job: `await job.cancelled.wait()`."""
        return self._attempt.cancelled

    def raise_if_cancelled(self) -> None:
        """Leave the handler if the job was cancelled.

        Raises:
            JobCancelled: it was.
        """
        if self.is_cancelled:
            raise JobCancelled(f"job {self.id} was cancelled")

    async def progress(
        self,
        *,
        step: str | None = None,
        message: str | None = None,
        current: int | None = None,
        total: int | None = None,
    ) -> None:
        """Tell how far the handler is, in steps of its own from 0 up. The newest progress replaces the one before.

        A report never fails the job: while NATS cannot be reached it is dropped, and a number that other runtimes could
        not read is left out, with a line in the log. Texts are cut after 8 KiB, and what is no printable character is
        replaced.
        """
        await self._attempt.progress(
            JobProgress(
                step=None if step is None else bounded(step),
                message=None if message is None else bounded(message),
                current=self._counted("current", current),
                total=self._counted("total", total),
            ),
        )

    def _counted(self, name: str, value: float | None) -> int | None:
        """Return what the wire takes: a whole number from 0 up that every runtime reads exactly (reference, 6.3)."""
        if value is None or (0 <= value <= _SAFE_INTEGER_MAX and value == int(value)):
            return None if value is None else int(value)
        _log.warning("%r: progress without %s=%r: it takes whole numbers from 0 to 2^53-1", self, name, value)
        return None

    async def log(self, message: str, *, level: Literal["info", "warn", "error"] = "info") -> None:
        """Write a line into the job's history. It is kept for as long as the job is; put no secrets there.

        Like `progress`, it never fails the job.
        """
        entry = JobLogEntry(timestamp=timestamp(now()), level=level, message=bounded(message))
        await self._attempt.logged(entry)

    async def emit_update(self, value: UpdateT) -> None:
        """Send a live update to whoever follows the job with `ref.updates()`. It is not stored.

        Raises:
            ConfigurationError: the queue declares no `update`.
            InvalidPayload: the value does not match its schema.
        """
        self._updates_sent += 1
        await self._updates.emit(
            value,
            job_id=self.id,
            attempt=self.tries,
            sequence=self._updates_sent,
            context=self.context,
        )

    async def heartbeat(self) -> None:
        """Tell the server at once that the job is alive, and renew its key. Seldom needed: the runtime does so by itself.

        Raises:
            TransportError: the key could not be renewed now; it is tried again by itself.
        """
        await self._beat()
        if self._facts.held is not None:
            await self._facts.held.renew()
