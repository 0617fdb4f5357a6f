"""The part of a queue that the facade of its service uses, and that users do not see."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Generic

from trellis_nats._nats.connection import Connection
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.codec import Codec
from trellis_nats.errors import ConfigurationError, HandlerConflict
from trellis_nats.jobs.keys.queue_keys import build_queue_keys
from trellis_nats.jobs.model.payload_reader import PayloadReader, Upcaster
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.questions import build_liveness
from trellis_nats.jobs.store.event_batches import EventBatches
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.job_reader import JobReader
from trellis_nats.jobs.store.live_updates import LiveUpdates
from trellis_nats.jobs.work.handler import Handler, HandlerRegistration, register
from trellis_nats.jobs.work.queue_context import QueueContext
from trellis_nats.runtime import Runtime
from trellis_nats.specs import JobSpec

__all__ = ["QueueSetup"]


class QueueSetup(Generic[PayloadT, ResultT, UpdateT]):
    """A queue's handler and upcasters, and the context of its jobs, which exists once the runtime is connected."""

    def __init__(self, runtime: Runtime, spec: JobSpec) -> None:
        self.registration: HandlerRegistration[PayloadT, ResultT, UpdateT] | None = None
        """The registered handler, if there is one."""
        self.is_left_to_others = False
        """Whether the program says that other processes work the queue."""
        self._runtime = runtime
        self._spec = spec
        self._is_sealed = False
        self._payload = Codec[PayloadT](spec.payload, what=self._what("the payload"))
        self.payloads = PayloadReader(self._payload, queue=spec.name, digest=runtime.contract.digest)
        """Reads stored payloads of every version. It needs no connection."""

    def register(
        self,
        handler: Handler[PayloadT, ResultT, UpdateT],
        *,
        concurrency: int | None,
        timeout: timedelta | None,
    ) -> Handler[PayloadT, ResultT, UpdateT]:
        """Register the queue's handler, and return it unchanged.

        Raises:
            HandlerConflict: the queue has a handler, or the workers have started.
            ConfigurationError: the handler or an option is not valid.
        """
        name = self._spec.name
        if self.registration is not None:
            raise HandlerConflict(f'queue "{name}" already has a handler')
        if self._is_sealed:
            raise HandlerConflict(f'queue "{name}": register the handler before the workers start')
        if self.is_left_to_others:
            raise HandlerConflict(f'queue "{name}": this process leaves the queue to others')
        self.registration = register(name, handler, concurrency=concurrency, timeout=timeout)
        return handler

    def register_upcaster(
        self, function: Upcaster[PayloadT], *, from_digest: str | None
    ) -> Upcaster[PayloadT]:
        """Register an upcaster of the queue's payloads, and return it unchanged.

        Raises:
            HandlerConflict: there is one already, or the workers have started.
            ConfigurationError: the function or the digest is not valid.
        """
        if self._is_sealed:
            raise HandlerConflict(f'queue "{self._spec.name}": register upcasters before the workers start')
        self.payloads.register(function, from_digest=from_digest)
        return function

    def leave_to_others(self) -> None:
        """Note that other processes work the queue.

        Raises:
            HandlerConflict: it has a handler, or the workers have started.
        """
        if self._is_sealed or self.registration is not None:
            why = "the workers have started" if self._is_sealed else "it has a handler"
            raise HandlerConflict(f'queue "{self._spec.name}" cannot be left to others: {why}')
        self.is_left_to_others = True

    def seal(self) -> None:
        """Refuse handlers and upcasters from now on: the workers start."""
        self._is_sealed = True

    @property
    def name(self) -> str:
        """The queue's name in the contract."""
        return self._spec.name

    @property
    def service(self) -> str:
        """The service's name in the events of jobs."""
        jobs = self._runtime.binding.jobs
        return self._runtime.contract.name if jobs is None else jobs.service

    @property
    def request_timeout(self) -> timedelta:
        """How long a read or a write waits for its answer."""
        return self._runtime.options.request_timeout

    @property
    def binding(self) -> QueueBinding:
        """The queue's names and numbers on the server.

        Raises:
            ConfigurationError: the binding that was given does not have the queue, or not its concurrency key.
        """
        jobs = self._runtime.binding.jobs
        binding = None if jobs is None else jobs.queues.get(self._spec.name)
        if binding is None:
            raise ConfigurationError(f'the binding has no queue "{self._spec.name}"')
        if self._spec.key is not None and binding.key_concurrency is None:
            raise ConfigurationError(
                f'queue "{self._spec.name}" has a concurrency key in the contract, and none in the binding: its control '
                "plane does not keep jobs of one key apart, so they would run at the same time; leave the key out of the "
                "contract, or run the service where keys are known"
            )
        return binding

    def connected_jobs(self) -> tuple[Connection, JobsBinding]:
        """Return the connection, and the binding of the service's queues.

        Raises:
            ConfigurationError: the runtime is not connected, or the binding has no queues.
            WrongEventLoop: the call does not run on the event loop that connected.
        """
        connection, jobs = self._runtime.connection, self._runtime.binding.jobs
        connection.require_own_loop()
        if jobs is None:
            raise ConfigurationError(f'the binding has no queue "{self._spec.name}"')
        return connection, jobs

    @cached_property
    def context(self) -> QueueContext[PayloadT, ResultT, UpdateT]:
        """What the queue's refs and workers share.

        Raises:
            ConfigurationError: the runtime is not connected, or the binding does not have the queue.
        """
        spec, runtime, binding = self._spec, self._runtime, self.binding
        timeout = self.request_timeout
        subjects = JobSubjects(binding.publish_prefix)
        event_log = EventLog(runtime.connection, subjects, digest=runtime.contract.digest, timeout=timeout)
        jobs = runtime.binding.jobs
        update = None if spec.update is None else Codec[UpdateT](spec.update, what=self._what("an update"))
        return QueueContext(
            runtime.connection,
            subjects,
            queue=spec.name,
            binding=binding,
            payload=self._payload,
            payloads=self.payloads,
            result=None
            if spec.result is None
            else Codec[ResultT](spec.result, what=self._what("the result")),
            updates=LiveUpdates(
                runtime.connection, queue=spec.name, prefix=binding.updates_prefix, codec=update
            ),
            event_log=event_log,
            batches=EventBatches(runtime.connection, event_log, timeout=timeout),
            reader=JobReader(runtime.connection, subjects, event_log, queue=spec.name),
            keys=None
            if jobs is None
            else build_queue_keys(
                runtime.connection,
                jobs,
                binding,
                event_log,
                build_liveness(runtime, jobs),
                timeout=timeout,
                upcast_json=self.payloads.upcast_json,
            ),
            clock=runtime.clock,
        )

    def _what(self, part: str) -> str:
        return f'{part} of a job in queue "{self._spec.name}"'
