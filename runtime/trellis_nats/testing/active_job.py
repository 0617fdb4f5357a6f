"""Calls a handler directly, with a job that only records what the handler reports."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, JsonValue
from typing_extensions import override

from trellis_nats.clock import later, now
from trellis_nats.codec import Codec
from trellis_nats.context import Context, enter, new_context
from trellis_nats.errors import ConfigurationError, InvalidPayload
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys.lease import JobLease
from trellis_nats.jobs.keys.model.template import resolve
from trellis_nats.jobs.model.checkpoint import parse_checkpoint, read_checkpoint, write_checkpoint
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress
from trellis_nats.jobs.model.lineage import Origin, work_on
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue import JobQueue, setup_of
from trellis_nats.jobs.work.active_job import ActiveJob, CheckpointT
from trellis_nats.jobs.work.blocking import BlockingReports
from trellis_nats.jobs.work.invoke import in_time

__all__ = ["RecordedJob", "active_job", "call"]


class RecordedJob(ActiveJob[PayloadT, ResultT, UpdateT]):
    """An active job without a server: it keeps what its handler reports. `active_job` creates one."""

    def __init__(
        self,
        queue: JobQueue[PayloadT, ResultT, UpdateT],
        payload: PayloadT,
        *,
        attempt: int,
        deadline: datetime | None,
        last_checkpoint: BaseModel | JsonValue,
    ) -> None:
        spec = queue.spec
        codec = Codec[PayloadT](spec.payload, what=f'the payload of a job in queue "{spec.name}"')
        written = codec.write(payload)
        self.progress_reports: list[JobProgress] = []
        """What the handler reported with `progress`, oldest first."""
        self.log_lines: list[JobLogEntry] = []
        """What the handler wrote with `log`, oldest first."""
        self.checkpoints: list[JsonValue] = []
        """What the handler stored with `checkpoint`, oldest first, as JSON."""
        self.updates: list[UpdateT] = []
        """What the handler sent with `emit_update`, oldest first."""
        self.heartbeats = 0
        """How many times the handler called `heartbeat`."""
        self._tested = queue
        self._spec = spec
        self._value = codec.decode(written.text)
        self._number = attempt
        self._stored = None if last_checkpoint is None else self._written(last_checkpoint)
        self._deadline = deadline
        self._job_id = new_id()
        self._context = new_context()
        self._stop = asyncio.Event()
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._held: JobLease | None = None
        if spec.key is not None:
            key = resolve(spec.key.template, written.value, what=f'the payload of queue "{spec.name}"')
            expires_at = later(now(), spec.key.lease or spec.ack_wait)
            self._held = JobLease(key=key.display, token=new_id(), expires_at=expires_at)

    def cancel(self) -> None:
        """Cancel the job, as `ref.cancel()` does: `is_cancelled` is true from now on."""
        self._stop.set()

    async def run(self) -> ResultT:
        """Call the registered handler of the queue, and return its result as a caller of `ref.result()` gets it.

        Raises:
            ConfigurationError: the queue has no handler.
            InvalidPayload: the result does not match its schema.
            BaseException: whatever the handler raises.
        """
        # In a task of its own, as in a worker: the handler's context does not leak into the test.
        return await asyncio.create_task(self._run(), name=f"job {self.queue} {self.id}")

    async def _run(self) -> ResultT:
        registration = setup_of(self._tested).registration
        if registration is None:
            raise ConfigurationError(f'queue "{self.queue}" has no handler: register it before the call')
        enter(self._context)
        work_on(Origin(self.id, self.id))
        self._running_loop = asyncio.get_running_loop()
        calling = registration.call(self)
        value = await (calling if registration.timeout is None else in_time(calling, registration.timeout))
        what = f'the result of a job in queue "{self.queue}"'
        if self._spec.result is None:
            if value is not None:
                raise InvalidPayload(what, [("#", "the queue declares no `result` in its contract")])
            return value
        codec = Codec[ResultT](self._spec.result, what=what)
        return codec.decode(codec.encode(value))

    @property
    @override
    def blocking(self) -> BlockingReports:
        """Reports for a plain `def` handler."""
        if self._running_loop is None:
            raise ConfigurationError(f"{self!r} reports to a thread only while `run()` calls its handler")
        return BlockingReports(
            self._running_loop,
            lambda: False,
            progress=self.progress,
            log=self.log,
            checkpoint=self.checkpoint,
        )

    @property
    @override
    def id(self) -> str:
        """A new id, a ULID."""
        return self._job_id

    @property
    @override
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self._spec.name

    @property
    @override
    def payload(self) -> PayloadT:
        """What the job was created with."""
        return self._value

    @property
    @override
    def context(self) -> Context:
        """The context of the test, or a new one."""
        return self._context

    @property
    @override
    def deadline(self) -> datetime | None:
        """The deadline that the test gave."""
        return self._deadline

    @property
    @override
    def key(self) -> str | None:
        """The concurrency key of the payload; None for a queue without keys."""
        return None if self._held is None else self._held.key

    @property
    @override
    def lease(self) -> JobLease | None:
        """A lease as the handler of a keyed job sees it; None for a queue without keys."""
        return self._held

    @property
    @override
    def tries(self) -> int:
        """The number of the attempt that the test gave."""
        return self._number

    @property
    @override
    def max_tries(self) -> int:
        """How many attempts the contract allows."""
        return self._spec.max_deliver

    @property
    @override
    def redelivery_count(self) -> int:
        """One less than the number of the attempt."""
        return self._number - 1

    @property
    @override
    def is_cancelled(self) -> bool:
        """Whether the test has called `cancel`."""
        return self._stop.is_set()

    @property
    @override
    def cancelled(self) -> asyncio.Event:
        """Set by `cancel`."""
        return self._stop

    @override
    async def progress(
        self,
        *,
        step: str | None = None,
        message: str | None = None,
        current: int | None = None,
        total: int | None = None,
    ) -> None:
        """Record a report in `progress_reports`. Raises as that of an active job."""
        self._require_declared("progress", is_declared=self._spec.progress)
        self.progress_reports.append(self._make_report(step, message, current, total))

    @override
    async def log(self, message: str, *, level: Literal["info", "warn", "error"] = "info") -> None:
        """Record a line in `log_lines`. Raises as that of an active job."""
        self._require_declared("logs", is_declared=self._spec.logs)
        self.log_lines.append(self._make_line(message, level, now()))

    @override
    async def checkpoint(self, value: BaseModel | JsonValue, /) -> None:
        """Record a value in `checkpoints`; `last_checkpoint` is the newest. Raises as that of an active job."""
        self._stored = self._written(value)
        self.checkpoints.append(parse_checkpoint(self._stored))

    def _written(self, value: BaseModel | JsonValue) -> bytes:
        return write_checkpoint(value, what=self._checkpoint_name)

    @property
    @override
    def last_checkpoint(self) -> JsonValue:
        """What the test gave, or what the handler stored last."""
        return parse_checkpoint(self._stored)

    @override
    def last_checkpoint_as(self, shape: type[CheckpointT], /) -> CheckpointT | None:
        """Return `last_checkpoint` as a type. Raises as that of an active job."""
        return read_checkpoint(self._stored, shape, what=self._checkpoint_name)

    @override
    async def emit_update(self, value: UpdateT) -> None:
        """Record an update in `updates`. Raises as that of an active job."""
        if self._spec.update is None:
            raise ConfigurationError(f'queue "{self.queue}" declares no `update` in its contract')
        codec = Codec[UpdateT](self._spec.update, what=f'an update of a job in queue "{self.queue}"')
        self.updates.append(codec.decode(codec.encode(value)))

    @override
    async def heartbeat(self) -> None:
        """Count a call in `heartbeats`."""
        self.heartbeats += 1


def active_job(
    queue: JobQueue[PayloadT, ResultT, UpdateT],
    payload: PayloadT,
    *,
    attempt: int = 1,
    deadline: datetime | None = None,
    last_checkpoint: BaseModel | JsonValue = None,
) -> RecordedJob[PayloadT, ResultT, UpdateT]:
    """Return a job as a handler receives it. `await job.run()` calls the handler; or pass the job to a function.

    Args:
        queue: the queue of the job; its service need not be connected.
        payload: what the job carries. It is written and read again, as on the wire.
        attempt: the number of the attempt, `job.tries`.
        deadline: `job.deadline`. The queue's default is not applied.
        last_checkpoint: what an earlier attempt stored. It is written and read again.

    Raises:
        InvalidPayload: the payload does not match its schema, or has no concurrency key; or the checkpoint is not valid.
        ConfigurationError: it is not a queue, the attempt is below 1, or the deadline is not a `datetime` with a time zone.
    """
    _require_queue(queue)
    if attempt < 1:
        raise ConfigurationError(f"attempt must be at least 1, got {attempt}")
    if deadline is not None and getattr(deadline, "tzinfo", None) is None:
        raise ConfigurationError(f"deadline must be a datetime with a time zone, got {deadline!r}")
    return RecordedJob(queue, payload, attempt=attempt, deadline=deadline, last_checkpoint=last_checkpoint)


async def call(
    queue: JobQueue[PayloadT, ResultT, UpdateT],
    payload: PayloadT,
    *,
    attempt: int = 1,
    deadline: datetime | None = None,
    last_checkpoint: BaseModel | JsonValue = None,
) -> ResultT:
    """Call the handler of a queue, without the queue: no job is stored, and nothing is retried.

    The arguments and errors are those of `active_job` and `RecordedJob.run`.
    """
    job = active_job(queue, payload, attempt=attempt, deadline=deadline, last_checkpoint=last_checkpoint)
    return await job.run()


def _require_queue(queue: object) -> None:
    if not isinstance(queue, JobQueue):
        raise ConfigurationError(
            f"expected a job queue, got {queue!r}: RPCs, operations and feeds are called by a client of the service under test"
        )
