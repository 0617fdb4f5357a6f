"""One job queue, as generated code declares it and user code holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import ClassVar, Generic, overload

from trellis_nats.binding import QueueBinding
from trellis_nats.clock import now
from trellis_nats.codec import Codec
from trellis_nats.errors import ConfigurationError, HandlerConflict
from trellis_nats.ids import checked_token
from trellis_nats.jobs.keys.create import AlreadyStored, Created, not_enqueued_error
from trellis_nats.jobs.keys.model.admission import Full, Joined
from trellis_nats.jobs.keys.queue_keys import QueueKeys, build_queue_keys
from trellis_nats.jobs.model.creation import Creation, draft
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_context import QueueContext
from trellis_nats.jobs.queue_surface import QueueSurface
from trellis_nats.jobs.ref import JobRef
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict
from trellis_nats.jobs.store.live_updates import LiveUpdates
from trellis_nats.jobs.submission import Accepted, Coalesced, Rejected, Replaced, Submission
from trellis_nats.jobs.work.handler import Handler, HandlerRegistration, register
from trellis_nats.runtime import Runtime
from trellis_nats.specs import JobSpec

__all__ = ["JobQueue"]


class JobQueue(Generic[PayloadT, ResultT, UpdateT]):
    """A queue of jobs with one payload type and one result type."""

    spec: ClassVar[JobSpec]
    """What the contract says about the queue."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registration: HandlerRegistration[PayloadT, ResultT, UpdateT] | None = None
        self._started = False
        runtime.register(
            QueueSurface(self.spec, runtime.instance_id, has_handler=lambda: self._registration is not None)
        )

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

        Called by a handler, the job inherits the handler's request and trace. With an idempotency key there is one
        job of the queue for the key: a second call returns the first job's ref, for as long as that job's history is
        kept. `deadline` is an instant or a time from now, instead of the contract's default; a job that has not ended
        by then expires. `delay` is how long it waits at least before it begins; other runtimes' workers do not wait.

        Raises:
            InvalidPayload: the payload does not match its schema, or has no concurrency key; nothing was sent.
            PayloadTooLarge: the server would not take it; nothing was sent.
            ConfigurationError: the idempotency key is empty, the delay negative, or the deadline before the beginning.
            JobNotEnqueued: its concurrency key has no room; nothing was stored. Nobody is joined or replaced: that is
                for `submit`.
            MalformedKeyRecord: what is stored for the concurrency key cannot be read; nothing was stored.
            KeyContended: others changed the record of the key at every one of many tries; nothing was stored.
            WriteUnknown: no answer came; the job may have been stored.
            TransportError: NATS did not take it.
        """
        creation = Creation(idempotency_key=idempotency_key, deadline=deadline, delay=delay)
        event = self._draft(payload, creation)
        if self._access.keys is not None:
            await self._keyed(self._access.keys, event, creation, strict=True)
        else:
            await self._store(event, creation)
        return JobRef(self._access, event.job_id)

    async def _store(self, event: NewEvent, creation: Creation) -> None:
        try:
            await self._access.event_log.create(event)
        except WriteConflict:
            if creation.idempotency_key is None:
                raise

    async def create_many(
        self, payloads: Iterable[PayloadT], *, delay: timedelta | None = None
    ) -> list[JobRef[PayloadT, ResultT, UpdateT]]:
        """Create jobs, all of a thousand or none, and return once all are stored.

        Every payload is checked before the first one is sent. Servers before 2.12 have no batches: there, the jobs
        are stored one by one, and an error may leave some of them.

        Raises:
            InvalidPayload: a payload does not match its schema; nothing was sent.
            PayloadTooLarge: the server would not take one of them; nothing of its thousand was stored.
            JobNotEnqueued: the concurrency key of one of them has no room; nothing was stored.
            WriteUnknown: no answer came; the thousand may have been stored.
            TransportError: NATS did not take them.
        """
        events = [self._draft(payload, Creation(delay=delay)) for payload in payloads]
        keys = self._access.keys
        if keys is None:
            await self._access.event_log.create_many(events)
        else:
            await keys.creator.create_many(events)
        return [JobRef(self._access, event.job_id) for event in events]

    async def submit(
        self,
        payload: PayloadT,
        *,
        idempotency_key: str | None = None,
        deadline: timedelta | datetime | None = None,
        delay: timedelta | None = None,
    ) -> Submission[PayloadT, ResultT, UpdateT]:
        """Create a job, or say why not. A queue without a concurrency key always accepts.

        What happens when the key has no room is the contract's `whenFull`: the job is rejected, or one that is already
        there stands for it, or it takes the place of the one that waited longest, which ends as `skipped`. A job that
        is active is never replaced.

        Raises:
            InvalidPayload: the payload does not match its schema, or has no key; nothing was sent.
            MalformedKeyRecord: what is stored for the key cannot be read; nothing was stored.
            TransportError: as for `create`.
        """
        creation = Creation(idempotency_key=idempotency_key, deadline=deadline, delay=delay)
        event = self._draft(payload, creation)
        keys = self._access.keys
        if keys is not None:
            return await self._keyed(keys, event, creation, strict=False)
        await self._store(event, creation)
        return Accepted(ref=JobRef(self._access, event.job_id))

    async def _keyed(
        self, keys: QueueKeys, event: NewEvent, creation: Creation, *, strict: bool
    ) -> Submission[PayloadT, ResultT, UpdateT]:
        idempotent = creation.idempotency_key is not None
        key, outcome = await keys.creator.create(event, strict=strict, idempotent=idempotent)
        ref = JobRef(self._access, event.job_id)
        match outcome:
            case Created(replaced=str() as replaced):
                return Replaced(ref=ref, replaced=JobRef(self._access, replaced), key=key.display)
            case Created() | AlreadyStored():
                return Accepted(ref=ref, key=key.display)
            case Joined(existing):
                return Coalesced(existing=JobRef(self._access, existing), key=key.display)
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

    def _draft(self, payload: PayloadT, creation: Creation) -> NewEvent:
        binding = self.binding
        return draft(
            self._access.payload.to_json(payload),
            creation,
            service=self._service,
            queue=self.spec.name,
            max_tries=binding.max_deliver,
            default_deadline=binding.default_deadline,
            at=now(),
        )

    def ref(self, job_id: str) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Return a handle on a job that was created before, by this process or another. It reads nothing yet.

        Raises:
            ConfigurationError: this cannot be a job id.
        """
        return JobRef(self._access, checked_token("job id", job_id))

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

        Returning ends the job as completed. Any exception has it tried again after the queue's backoff, until its
        tries are used; `JobFailed` ends it at once. A plain `def` runs in a thread; it reports through
        `job.blocking`. `concurrency` is how many run at a time in this process, instead of the contract's number.
        A handler that runs longer than `timeout` is cancelled, as if it had raised; None lets it run for ever.

        Raises:
            HandlerConflict: the queue has a handler, or its worker has started.
            ConfigurationError: the handler cannot be called, a number is not positive, or a plain `def` is given a
                timeout: a thread cannot be stopped.
        """
        if handler is None:
            return partial(self._register, concurrency=concurrency, timeout=timeout)
        return self._register(handler, concurrency=concurrency, timeout=timeout)

    def _register(
        self,
        handler: Handler[PayloadT, ResultT, UpdateT],
        *,
        concurrency: int | None,
        timeout: timedelta | None,
    ) -> Handler[PayloadT, ResultT, UpdateT]:
        name = self.spec.name
        if self._registration is not None:
            raise HandlerConflict(f'job "{name}" already has a handler')
        if self._started:
            raise HandlerConflict(f'job "{name}": register its handler before the workers start')
        self._registration = register(name, handler, concurrency=concurrency, timeout=timeout)
        return handler

    @property
    def registration(self) -> HandlerRegistration[PayloadT, ResultT, UpdateT] | None:
        """The registered handler, if there is one."""
        return self._registration

    def seal(self) -> None:
        """Take no handler from now on: the workers start."""
        self._started = True

    @property
    def access(self) -> QueueContext[PayloadT, ResultT, UpdateT]:
        """Where the queue's events are, and how they are read."""
        return self._access

    @property
    def binding(self) -> QueueBinding:
        """The queue's names and numbers on the server.

        Raises:
            ConfigurationError: the binding that was given does not have the queue.
        """
        jobs = self._runtime.binding.jobs
        binding = None if jobs is None else jobs.queues.get(self.spec.name)
        if binding is None:
            raise ConfigurationError(f'the binding has no queue "{self.spec.name}"')
        return binding

    @property
    def _service(self) -> str:
        jobs = self._runtime.binding.jobs
        return self._runtime.contract.name if jobs is None else jobs.service

    @cached_property
    def _access(self) -> QueueContext[PayloadT, ResultT, UpdateT]:
        spec, runtime, binding = self.spec, self._runtime, self.binding
        timeout = runtime.options.request_timeout
        subjects = JobSubjects(binding.publish_prefix)
        event_log = EventLog(runtime.connection, subjects, timeout=timeout)
        jobs = runtime.binding.jobs
        return QueueContext(
            runtime.connection,
            subjects,
            queue=spec.name,
            payload=Codec[PayloadT](spec.payload, what=f'the payload of job "{spec.name}"'),
            result=None
            if spec.result is None
            else Codec[ResultT](spec.result, what=f'the result of job "{spec.name}"'),
            updates=LiveUpdates(
                runtime.connection,
                queue=spec.name,
                prefix=binding.updates_prefix,
                codec=None
                if spec.update is None
                else Codec[UpdateT](spec.update, what=f'an update of job "{spec.name}"'),
            ),
            event_log=event_log,
            keys=None
            if jobs is None
            else build_queue_keys(
                runtime.connection,
                jobs,
                binding,
                event_log,
                instance_id=runtime.instance_id,
                timeout=timeout,
            ),
        )
