"""The base of generated queue classes: creating jobs and registering their handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, Generic, overload

from pydantic import JsonValue

from trellis_nats._tracing.descriptions import MESSAGE_ID, OUTCOME, describe_creation
from trellis_nats._tracing.span import Span
from trellis_nats._tracing.tracer import start_outgoing
from trellis_nats.ids import require_token
from trellis_nats.jobs.actions.queue_stats import QueueStats, read_stats
from trellis_nats.jobs.create_many import create_many
from trellis_nats.jobs.dead_job import DeadJob, dead_jobs
from trellis_nats.jobs.keys.create import AlreadyStored, Created, not_enqueued_error
from trellis_nats.jobs.keys.model.admission import Full, Joined
from trellis_nats.jobs.keys.queue_keys import QueueKeys
from trellis_nats.jobs.model.creation import Creation, draft
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.payload_reader import Upcaster
from trellis_nats.jobs.model.queue_pause import QueuePause
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.pause.consumer_hold import consumers_of
from trellis_nats.jobs.pause.control import pause_queue, read_pause, resume_queue
from trellis_nats.jobs.queue_setup import QueueSetup
from trellis_nats.jobs.queue_surface import QueueSurface
from trellis_nats.jobs.ref import JobRef
from trellis_nats.jobs.store.event_log import WriteConflict
from trellis_nats.jobs.store.reused_key import warn_of_other_payload
from trellis_nats.jobs.submission import Accepted, Coalesced, Rejected, Replaced, Submission
from trellis_nats.jobs.work.handler import Handler
from trellis_nats.jobs.work.queue_context import QueueContext
from trellis_nats.runtime import Runtime
from trellis_nats.specs import JobSpec

__all__ = ["JobQueue", "setup_of"]


class JobQueue(Generic[PayloadT, ResultT, UpdateT]):
    """A queue of jobs with one payload type and one result type.

    ```python
    ref = await service.jobs.charge_payment.create(ChargePaymentPayload(order_id="o-1", amount=990))
    receipt = await ref.result()
    ```
    """

    spec: ClassVar[JobSpec]
    """What the contract declares about the queue."""

    def __init__(self, runtime: Runtime) -> None:
        self._setup = QueueSetup[PayloadT, ResultT, UpdateT](runtime, self.spec)
        self._description = describe_creation(self.spec.name)
        runtime.register(
            QueueSurface(
                self.spec,
                runtime.instance_id,
                has_handler=lambda: self._setup.registration is not None,
                payloads=self._setup.payloads,
            )
        )
        runtime.offer_job_results(self.spec.name, lambda job_id: self.ref(job_id).result())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"

    async def create(
        self,
        payload: PayloadT,
        *,
        idempotency_key: str | None = None,
        deadline: timedelta | datetime | None = None,
        delay: timedelta | None = None,
    ) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Create a job, and return once it is stored: from then on it is not lost.

        When a handler calls this, the job inherits the handler's request id and trace, and names the handler's job as
        its parent. A call that is cancelled may have stored the job.

        Args:
            payload: what the handler gets as `job.payload`.
            idempotency_key: the queue has one job for each key. A second call with the same key returns the ref of the
                first job while its history is stored. Another payload, which is logged, deadline or delay is not stored.
            deadline: an instant, or a time from now. A job that has not ended by then expires. The default is the
                contract's.
            delay: how long the job waits before it may begin. Workers of other runtimes do not wait.

        Raises:
            InvalidPayload: the payload does not match its schema, or has no concurrency key; nothing was sent.
            PayloadTooLarge: the server would not accept it; nothing was sent.
            ConfigurationError: the idempotency key is empty, the delay is negative, or the deadline is before the job
                could begin.
            JobNotEnqueued: the concurrency key has no room; nothing was stored. Only `submit` joins or replaces jobs.
            MalformedKeyRecord: the stored record of the concurrency key cannot be read; nothing was stored.
            KeyContended: other processes changed the record of the key at every attempt; nothing was stored.
            WriteUnknown: no answer came; the job may have been stored.
            TransportError: NATS did not store it.
        """
        context = self._context
        creation = Creation(idempotency_key=idempotency_key, deadline=deadline, delay=delay)
        with start_outgoing(self._description) as span:
            event = self._draft(context.payload.encode(payload), creation, span)
            span.set(MESSAGE_ID, event.job_id)
            if context.keys is not None:
                await self._create_keyed(context.keys, event, creation, strict=True)
            else:
                await self._store(event, creation)
        return JobRef(context, event.job_id, is_stored=True)

    async def create_many(
        self, payloads: Iterable[PayloadT], *, delay: timedelta | None = None
    ) -> list[JobRef[PayloadT, ResultT, UpdateT]]:
        """Create many jobs, and return their refs in the same order once all are stored.

        Every payload is validated before the first one is sent. The jobs are stored in batches of a thousand, one after
        another, each completely or not at all. An error after a batch, and a cancellation, have a note (`__notes__`) with
        the number of jobs that are stored: the first ones. Servers before 2.12 have no batches, nor has a stream that such
        a server or another runtime created, until `allow_atomic` is switched on in it: there the jobs of a batch are stored
        one by one, and an error may leave some of them stored too.

        Args:
            payloads: one for each job.
            delay: how long each job waits before it may begin.

        Raises:
            InvalidPayload: a payload does not match its schema; nothing was sent.
            PayloadTooLarge: the server would not accept one of them; nothing of its batch was stored.
            ConfigurationError: the delay is negative, or not shorter than the contract's deadline.
            JobNotEnqueued: the concurrency key of one of them has no room; nothing of its batch was stored.
            WriteUnknown: no answer came; the batch may have been stored.
            TransportError: NATS did not store the batch.
        """
        context = self._context
        with start_outgoing(self._description) as span:
            make = partial(self._draft, creation=Creation(delay=delay), span=span)
            ids = await create_many(context, payloads, make, span)
        return [JobRef(context, job_id, is_stored=True) for job_id in ids]

    async def submit(
        self,
        payload: PayloadT,
        *,
        idempotency_key: str | None = None,
        deadline: timedelta | datetime | None = None,
        delay: timedelta | None = None,
    ) -> Submission[PayloadT, ResultT, UpdateT]:
        """Create a job, or return why it was not created. A queue without a concurrency key always accepts.

        When the key has no room, the contract's `whenFull` decides: the job is `Rejected`; or it is `Coalesced` with a
        job of the key that exists already; or it is accepted as `Replaced`, and the job that waited longest ends as
        `skipped`. A job that is active is never replaced.

        The arguments are those of `create`.

        Raises:
            InvalidPayload: the payload does not match its schema, or has no concurrency key; nothing was sent.
            MalformedKeyRecord: the stored record of the concurrency key cannot be read; nothing was stored.
            TransportError: as for `create`.
        """
        context = self._context
        creation = Creation(idempotency_key=idempotency_key, deadline=deadline, delay=delay)
        with start_outgoing(self._description) as span:
            event = self._draft(context.payload.encode(payload), creation, span)
            span.set(MESSAGE_ID, event.job_id)
            submission: Submission[PayloadT, ResultT, UpdateT]
            if context.keys is not None:
                submission = await self._create_keyed(context.keys, event, creation, strict=False)
            else:
                await self._store(event, creation)
                submission = Accepted(ref=JobRef(context, event.job_id, is_stored=True))
            span.set(OUTCOME, type(submission).__name__.lower())
        return submission

    def ref(self, job_id: str) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Return a handle on a job that this process or another one created. It reads nothing yet.

        Raises:
            ConfigurationError: `job_id` is not a valid job id.
        """
        return JobRef(self._setup.context, require_token("job id", job_id))

    @overload
    def handle(
        self, handler: Handler[PayloadT, ResultT, UpdateT], /
    ) -> Handler[PayloadT, ResultT, UpdateT]: ...

    @overload
    def handle(
        self, /, *, concurrency: int | None = None, timeout: timedelta | None = None
    ) -> Callable[[Handler[PayloadT, ResultT, UpdateT]], Handler[PayloadT, ResultT, UpdateT]]: ...

    def handle(
        self,
        handler: Handler[PayloadT, ResultT, UpdateT] | None = None,
        /,
        *,
        concurrency: int | None = None,
        timeout: timedelta | None = None,
    ) -> object:
        """Register the queue's handler: `@queue.handle`, `@queue.handle(timeout=…)` or `queue.handle(function)`.

        When the handler returns, the job is completed. When it raises, the job runs again after the queue's backoff,
        until its attempts are used up; `JobFailed` ends the job at once. A plain `def` runs in a thread and reports
        through `job.blocking`.

        Args:
            handler: an `async def` or a plain `def` that takes the `ActiveJob`.
            concurrency: how many handlers run at a time in this process. The default is the contract's.
            timeout: how long one may run. A handler that runs longer is cancelled, and its attempt has failed. By
                default there is no limit.

        Raises:
            HandlerConflict: the queue has a handler, or the workers have started.
            ConfigurationError: the handler cannot be called, a number is not positive, or a plain `def` is given a
                timeout: a thread cannot be stopped.
        """
        register = partial(self._setup.register, concurrency=concurrency, timeout=timeout)
        return register if handler is None else register(handler)

    def leave_to_others(self) -> None:
        """State that other processes work the queue, so that the start does not warn of it. This one may create its jobs.

        Raises:
            HandlerConflict: it has a handler, or the workers have started.
        """
        self._setup.leave_to_others()

    @overload
    def upcast(
        self, upcaster: Upcaster[PayloadT], /, *, from_digest: str | None = None
    ) -> Upcaster[PayloadT]: ...

    @overload
    def upcast(
        self, /, *, from_digest: str | None = None
    ) -> Callable[[Upcaster[PayloadT]], Upcaster[PayloadT]]: ...

    def upcast(
        self, upcaster: Upcaster[PayloadT] | None = None, /, *, from_digest: str | None = None
    ) -> object:
        """Register how payloads of another version of the contract become those of this version.

        ```python
        @service.jobs.charge_payment.upcast(from_digest="mXM5SgH1EIbSxJImkz-WGXMifPhTMI38ewQ0q8qx19w")
        def from_cents(old: JsonObject) -> ChargePaymentPayload:
            return ChargePaymentPayload.model_validate({"orderId": old["orderId"], "amount": old["cents"]})
        ```

        With `from_digest`, it builds every payload that the contract with this digest wrote, even one that matches the
        new schema: a renamed optional member would be lost otherwise. Without, it builds payloads of other and of unknown
        versions that do not match the new schema, such as those of other runtimes; a queue has one such upcaster.
        Upcasters are not chained: each one returns a payload of this version. Payloads of this version are never upcast.

        It applies wherever this process reads payloads: for handlers, at every attempt, and in snapshots. The stored payload
        does not change. If it raises, this version cannot read the job: the job waits for a worker of its version, for
        `Options.version_patience` and without an attempt, and then fails with the upcaster's error. A job of an unknown
        version fails at once.

        Args:
            upcaster: a plain function without side effects. It gets a copy of the stored payload, and returns a new one. It
                raises if it cannot convert the payload, and does not invent what is missing.
            from_digest: the whole digest of the old contract: `trellis-gen digest` prints it, and the log and the error
                of a job of another version name it. Use the decorator twice for two old versions with the same payload.

        Raises:
            HandlerConflict: there is an upcaster for this digest already, or the workers have started.
            ConfigurationError: it is an `async def` or cannot be called, or the digest is not one of another version.
        """
        register = partial(self._setup.register_upcaster, from_digest=from_digest)
        return register if upcaster is None else register(upcaster)

    def read_payload(self, stored: JsonValue, *, digest: str = "") -> PayloadT:
        """Return a stored payload as a handler of this service gets it: validated, or upcast. It needs no connection.

        For tests of upcasters, with payloads that an earlier version stored.

        Args:
            stored: the payload as parsed JSON. It is not changed.
            digest: the digest of the contract that wrote it; empty if it is unknown.

        Raises:
            UpcastFailed: its upcaster raised, or did not return a payload of this version.
            InvalidPayload: it does not match the schema, and there is no upcaster for it.
        """
        return self._setup.payloads.read(stored, digest).value

    # --- pausing ---------------------------------------------------------------------------------------------------

    async def pause(self, *, reason: str | None = None, actor: str | None = None) -> QueuePause:
        """Pause the queue for all its workers: within a second they begin no job of it any longer.

        Handlers that run end normally. Jobs are still accepted; they wait, and so do retries and delayed jobs. The pause
        survives restarts, until `resume`. If the queue is paused already, it stays as it is.

        Args:
            reason: why: it is shown wherever the queue shows as paused.
            actor: the person or program that pauses it; by default the service.

        Returns:
            The record that pauses the queue now.

        Raises:
            ConfigurationError: the reason or the actor is not a text of 1 to 2,000 characters.
            PermissionDenied: the account may not; it needs the role `operator`.
            ProvisioningError: the service has no bucket for the record.
            TransportError: NATS did not answer; the queue may be paused.
        """
        connection, jobs = self._setup.connected_jobs()
        result = await pause_queue(
            connection,
            jobs.namespace,
            self._setup.binding.queue_type,
            by=self._setup.service if actor is None else actor,
            reason=reason,
            source="Python API",
            consumers=consumers_of(jobs, self._setup.binding),
            timeout=self._setup.request_timeout,
        )
        return result.pause

    async def resume(self) -> QueuePause | None:
        """Let the paused queue go on, within a second. Return the record that paused it; None if it was not paused.

        Raises:
            PermissionDenied: the account may not; it needs the role `operator`.
            TransportError: NATS did not answer; the queue may be resumed.
        """
        connection, jobs = self._setup.connected_jobs()
        result = await resume_queue(
            connection,
            jobs.namespace,
            self._setup.binding.queue_type,
            consumers=consumers_of(jobs, self._setup.binding),
            timeout=self._setup.request_timeout,
        )
        return result.removed

    async def paused(self) -> QueuePause | None:
        """Return the record that pauses the queue, with its actor and reason; None while it is not paused.

        Raises:
            PermissionDenied: the account may not read it.
            TransportError: NATS did not answer.
        """
        connection, jobs = self._setup.connected_jobs()
        queue, timeout = self._setup.binding.queue_type, self._setup.request_timeout
        return await read_pause(connection, jobs.namespace, queue, timeout=timeout)

    # --- operating -------------------------------------------------------------------------------------------------

    async def dead(self) -> AsyncGenerator[DeadJob[PayloadT, ResultT, UpdateT], None]:
        """Iterate over the jobs that are dead when the iteration begins, the oldest death first.

        ```python
        async for job in service.jobs.charge_payment.dead():
            if job.snapshot.last_error == "card service unavailable":
                await job.replay(reason="the card service works again", actor="anna")
        ```

        Jobs that are replayed or dismissed meanwhile are left out, and so is one whose events cannot be read, with a warning.

        Raises:
            PermissionDenied: the account may not list stream JOBS (role `operator`). Workers do not need that.
            TransportError: NATS did not answer.
        """
        async with aclosing(dead_jobs(self._context)) as jobs:
            async for job in jobs:
                yield job

    async def stats(self) -> QueueStats:
        """Count the jobs of the queue: those that wait, that workers have, that are parked, and that are dead.

        Raises:
            ProvisioningError: the queue has no consumer.
            PermissionDenied: the account may not read the report of the queue's consumer (role `worker` or `operator`).
            TransportError: NATS did not answer.
        """
        connection, jobs = self._setup.connected_jobs()
        return await read_stats(connection, self._setup.binding, jobs.work_stream)

    # --- creating --------------------------------------------------------------------------------------------------

    @property
    def _context(self) -> QueueContext[PayloadT, ResultT, UpdateT]:
        """What the queue's refs and workers share. Raises `WrongEventLoop` elsewhere than on the event loop that connected."""
        context = self._setup.context
        context.connection.require_own_loop()
        return context

    def _draft(self, payload: bytes, creation: Creation, span: Span) -> NewEvent:
        context = self._setup.context
        return draft(
            payload,
            creation,
            service=self._setup.service,
            queue=context.queue,
            max_tries=context.binding.max_deliver,
            default_deadline=context.binding.default_deadline,
            context=span.context,
            at=context.clock.now(),
        )

    async def _store(self, event: NewEvent, creation: Creation) -> None:
        event_log = self._setup.context.event_log
        try:
            earlier = await event_log.create(event)
        except WriteConflict as conflict:
            if creation.idempotency_key is None:
                raise
            earlier = conflict.same_type
        warn_of_other_payload(event, earlier, creation.idempotency_key, digest=event_log.digest)

    async def _create_keyed(
        self, keys: QueueKeys, event: NewEvent, creation: Creation, *, strict: bool
    ) -> Submission[PayloadT, ResultT, UpdateT]:
        context, idempotent = self._setup.context, creation.idempotency_key is not None
        key, outcome = await keys.creator.create(event, strict=strict, idempotent=idempotent)
        ref = JobRef(context, event.job_id, is_stored=True)
        match outcome:
            case Created(replaced=str() as replaced):
                return Replaced(ref=ref, replaced=JobRef(context, replaced), key=key.display)
            case Created():
                return Accepted(ref=ref, key=key.display)
            case AlreadyStored(earlier=earlier):
                digest = context.event_log.digest
                warn_of_other_payload(event, earlier, creation.idempotency_key, digest=digest)
                return Accepted(ref=ref, key=key.display)
            case Joined(existing):
                return Coalesced(existing=JobRef(context, existing), key=key.display)
            case Full() if strict:
                raise not_enqueued_error(key, outcome)
            case Full():
                return Rejected(
                    key=key.display,
                    reason=outcome.reason,
                    active=outcome.active,
                    queued=outcome.queued,
                    limit=outcome.limit,
                )


def setup_of(queue: JobQueue[PayloadT, ResultT, UpdateT]) -> QueueSetup[PayloadT, ResultT, UpdateT]:
    """Return what a queue shares with the facade of its service."""
    return queue._setup  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - private to this package, not to the class
