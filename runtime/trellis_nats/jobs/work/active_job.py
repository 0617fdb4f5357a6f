"""The job as its handler receives it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from pydantic import BaseModel, JsonValue

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import timestamp
from trellis_nats.context import Context
from trellis_nats.errors import ConfigurationError, JobCancelled
from trellis_nats.errors.configuration import require_text
from trellis_nats.jobs.keys.lease import JobLease
from trellis_nats.jobs.model.checkpoint import parse_checkpoint, read_checkpoint, write_checkpoint
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, instant
from trellis_nats.jobs.model.event_factory import shorten
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.blocking import BlockingReports
from trellis_nats.jobs.work.queue_context import QueueContext
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["ActiveJob", "CheckpointT"]

_log = logging.getLogger(__name__)

CheckpointT = TypeVar("CheckpointT")

_SAFE_INTEGER_MAX: Final = 2**53 - 1
"""JavaScript's `Number.MAX_SAFE_INTEGER`: larger numbers lose digits there."""


class ActiveJob(Generic[PayloadT, ResultT, UpdateT]):
    """A job while its handler runs.

    The runtime tells the server that the job is alive for as long as this process lives, even while the handler blocks
    the event loop. However long the handler runs, the job is not given to another worker meanwhile.
    """

    def __init__(
        self,
        payload: PayloadT,
        item: WorkItem,
        attempt: Attempt,
        queue: QueueContext[PayloadT, ResultT, UpdateT],
    ) -> None:
        """Created by the runtime for each attempt."""
        self._payload = payload
        self._item = item
        self._attempt = attempt
        self._slot = item.lease
        self._queue = queue
        self._updates_sent = 0

    def __repr__(self) -> str:
        return f"<ActiveJob {self.queue} {self.id} attempt {self.tries} of {self.max_tries}>"

    @property
    def blocking(self) -> BlockingReports:
        """Reports for a plain `def` handler, which cannot `await`: `job.blocking.progress(step="…")`."""
        connection = self._queue.connection
        return BlockingReports(
            connection.loop,
            connection.is_forked,
            progress=self.progress,
            log=self.log,
            checkpoint=self.checkpoint,
        )

    @property
    def id(self) -> str:
        """The job's id, a ULID."""
        return self._item.job_id

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self._item.queue

    @property
    def payload(self) -> PayloadT:
        """What the job was created with."""
        return self._payload

    @property
    def context(self) -> Context:
        """The request and trace that the job belongs to. Jobs that the handler creates inherit it."""
        return self._item.identity.context

    @property
    def deadline(self) -> datetime | None:
        """When the job expires; None for never."""
        return instant(self._item.event.deadline)

    @property
    def key(self) -> str | None:
        """The job's concurrency key in its readable form; None for a queue without keys."""
        return None if self._slot is None else self._slot.key.display

    @property
    def lease(self) -> JobLease | None:
        """The lease that the job holds on a slot of its key, as it stands now; None for a queue without keys.

        The runtime renews it. When it is lost, the handler is cancelled and its result is refused. Until the handler
        notices, another job of the same key may have started: make the handler's writes idempotent, or pass
        `lease.token` to a system that refuses the writes of an older token.
        """
        return None if self._slot is None else self._slot.job_lease

    @property
    def tries(self) -> int:
        """The number of this attempt, counted from 1."""
        return self._attempt.tries

    @property
    def max_tries(self) -> int:
        """How many attempts the job has. If the last one fails, the job is dead."""
        return self._item.max_attempts

    @property
    def is_redelivery(self) -> bool:
        """Whether a handler may have worked on this job before, partly or completely."""
        return self.redelivery_count > 0

    @property
    def redelivery_count(self) -> int:
        """How many times the job was delivered to a worker before this delivery."""
        return max(self._item.message.delivered, self._attempt.tries) - 1

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled. What the handler returns or raises then no longer matters."""
        return self._attempt.is_cancelled

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when the job is cancelled: `await job.cancelled.wait()`."""
        return self._attempt.cancelled

    def raise_if_cancelled(self) -> None:
        """Leave the handler if the job was cancelled.

        Raises:
            JobCancelled: the job was cancelled.
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
        """Report the handler's progress. A new report replaces the previous one.

        Reporting never fails the job: while NATS cannot be reached, the report is dropped and a line is logged.

        Args:
            step: the step that runs now, for instance `"upload"`. Cut after 8 KiB.
            message: a text for people. Cut after 8 KiB; characters that cannot be printed are replaced.
            current: how much is done, a whole number from 0 to 2^53-1. Other numbers are left out and logged.
            total: how much there is to do, like `current`.

        Raises:
            ConfigurationError: the contract of the queue declares `progress: false`, or a text is not a text.
        """
        self._queue.connection.require_own_loop()
        self._require_declared("progress", is_declared=self._queue.binding.progress)
        await self._attempt.progress(self._make_report(step, message, current, total))

    def _make_report(
        self, step: str | None, message: str | None, current: float | None, total: float | None
    ) -> JobProgress:
        for name, text in (("step", step), ("message", message)):
            if text is not None:
                require_text(f"progress({name}=…)", text)
        return JobProgress(
            step=None if step is None else shorten(step),
            message=None if message is None else shorten(message),
            current=self._check_number("current", current),
            total=self._check_number("total", total),
        )

    def _require_declared(self, feature: str, *, is_declared: bool) -> None:
        if not is_declared:
            raise ConfigurationError(
                f'queue "{self.queue}" declares `{feature}: false` in its contract, so its handler cannot report {feature}'
            )

    def _make_line(self, message: str, level: str, at: datetime) -> JobLogEntry:
        require_text("log(message)", message)
        if level not in {"info", "warn", "error"}:  # other runtimes read no event with another one
            raise ConfigurationError(f'log: level must be "info", "warn" or "error", got {level!r}')
        return JobLogEntry(timestamp=timestamp(at), level=level, message=shorten(message))

    def _check_number(self, name: str, value: float | None) -> int | None:
        """Return what the wire takes: a whole number from 0 up that every runtime reads exactly (reference, 6.3)."""
        if value is None or (0 <= value <= _SAFE_INTEGER_MAX and value == int(value)):
            return None if value is None else int(value)
        _log.warning(
            "job %s of queue %s: progress without %s=%r: only whole numbers from 0 to 2^53-1 can be stored",
            self.id,
            self.queue,
            name,
            value,
            extra=log_fields(
                LogEvent.REPORT_DROPPED, queue=self.queue, job_id=self.id, key=self.key, attempt=self.tries
            ),
        )
        return None

    async def log(self, message: str, *, level: Literal["info", "warn", "error"] = "info") -> None:
        """Write a line into the job's history, which keeps it as long as the job: do not log secrets.

        Like `progress`, it never fails the job while NATS cannot be reached. The message is cut after 8 KiB.

        Raises:
            ConfigurationError: the contract of the queue declares `logs: false`, the message is not a text, or the level is
                none of these three.
        """
        self._queue.connection.require_own_loop()
        self._require_declared("logs", is_declared=self._queue.binding.logs)
        await self._attempt.log(self._make_line(message, level, self._queue.clock.now()))

    @property
    def last_checkpoint(self) -> JsonValue:
        """What this attempt or an earlier one stored last with `checkpoint`, as JSON; None where none did.

        A retry or a replay by an operator keeps it. A replay with another payload is a new job, without a checkpoint.
        """
        return parse_checkpoint(self._attempt.checkpoint)

    def last_checkpoint_as(self, shape: type[CheckpointT], /) -> CheckpointT | None:
        """Return `last_checkpoint` as a model, or as another type that pydantic reads; None where there is none.

        Raises:
            InvalidPayload: it does not match the type, for instance because an earlier version of the handler wrote it.
        """
        return read_checkpoint(self._attempt.checkpoint, shape, what=self._checkpoint_name)

    async def checkpoint(self, value: BaseModel | JsonValue, /) -> None:
        """Store what the next attempt needs to continue where this one ends, in place of what was stored before.

        It returns once it is stored: then the next attempt has it as `last_checkpoint`, whichever way this one ends. The
        stream keeps every checkpoint as long as the job, so store one now and then, not for each row.

        Args:
            value: a pydantic model, or JSON: up to 64 KiB as text. Do not store secrets.

        Raises:
            InvalidPayload: it is neither, contains NaN or an infinity, or is too long; nothing was stored.
            JobCancelled: the job is cancelled; nothing was stored.
            JobError: this attempt is over, because another worker runs the job or its handler has ended; nothing was stored.
            WriteUnknown: no answer came; it may be stored.
            TransportError: NATS did not store it.
        """
        self._queue.connection.require_own_loop()
        await self._attempt.store_checkpoint(write_checkpoint(value, what=self._checkpoint_name))

    @property
    def _checkpoint_name(self) -> str:
        return f'a checkpoint of a job in queue "{self.queue}"'

    async def emit_update(self, value: UpdateT) -> None:
        """Send a live update to every process that iterates over `ref.updates()`. It is not stored.

        Raises:
            ConfigurationError: the queue declares no `update` in its contract.
            InvalidPayload: the value does not match its schema.
        """
        self._queue.connection.require_own_loop()
        self._updates_sent += 1
        await self._queue.updates.emit(
            value,
            job_id=self.id,
            attempt=self.tries,
            sequence=self._updates_sent,
            context=self.context,
        )

    async def heartbeat(self) -> None:
        """Tell the server now that the job is alive, and renew its key's lease. Rarely needed: the runtime does both.

        Raises:
            TransportError: the lease could not be renewed now; the runtime tries again.
        """
        self._queue.connection.require_own_loop()
        await self._item.message.in_progress()
        if self._slot is not None:
            await self._slot.renew()
