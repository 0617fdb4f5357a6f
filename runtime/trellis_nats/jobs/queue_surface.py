"""The surfaces of jobs: one for each queue, and one for what all queues of a service share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding, JobsBinding, QueueBinding
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.jobs.admin_grants import (
    act_grants,
    act_on_queue_grants,
    view_grants,
    view_queue_grants,
)
from trellis_nats.jobs.grants import (
    audit_grants,
    create_grants,
    inspect_grants,
    key_record_grants,
    maintenance_grants,
    parking_grants,
    pause_grants,
    pausing_grants,
    read_stack_grants,
    stack_grants,
    work_grants,
)
from trellis_nats.jobs.local_queue import local_queue
from trellis_nats.jobs.model.job_streams import due_consumer, job_requirements, work_consumer
from trellis_nats.jobs.model.payload_reader import PayloadReader
from trellis_nats.provision.requirements import Requirement
from trellis_nats.specs import JobSpec
from trellis_nats.surface import Surface

__all__ = ["JobsSurface", "QueueSurface"]


@dataclass(frozen=True)
class QueueSurface(Surface):
    """One queue: its consumer, and the permissions to use it. `JobsSurface` starts its worker."""

    spec: JobSpec
    instance_id: str
    has_handler: Callable[[], bool]
    payloads: PayloadReader[Any]  # Any: a surface never looks at a payload
    """Reads stored payloads, with the upcasters of the queue."""

    @override
    def is_served(self) -> bool:
        """Return whether the queue has a handler."""
        return self.has_handler()

    @override
    def local_binding(self, service: str) -> Binding:
        """Return the names of the queue."""
        return Binding(jobs=local_queue(service, self.spec))

    @override
    def requirements(self, binding: Binding) -> Iterator[Requirement]:
        """Return the consumers."""
        for jobs, queue in self._bound(binding):
            yield work_consumer(jobs.work_stream, queue)
            yield due_consumer(queue)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what the role needs; where there is no handler, the start requires none of it."""
        for jobs, queue in self._bound(binding):
            has_keys = queue.key_concurrency is not None
            if role in {"worker", "producer"}:
                for grant in create_grants(jobs, queue, has_keys=has_keys):
                    yield grant if self.has_handler() else replace(grant, at_start=StartCheck.OPTIONAL)
            if role == "worker":
                for grant in (
                    *work_grants(jobs, queue, has_keys=has_keys, instance_id=self.instance_id),
                    *parking_grants(queue),
                    *pause_grants(jobs, queue),
                    *stack_grants(jobs, queue),
                ):
                    yield grant if self.has_handler() else replace(grant, at_start=StartCheck.SKIPPED)
            if role in {"operator", "viewer"}:
                yield from view_queue_grants(jobs, queue)
            if role == "operator":
                yield from inspect_grants(queue)
                yield from pause_grants(jobs, queue)
                yield from pausing_grants(jobs, queue)
                yield from act_on_queue_grants(queue)
                yield from read_stack_grants(jobs, queue)
                if has_keys:
                    yield from key_record_grants(jobs, queue)

    def _bound(self, binding: Binding) -> Iterator[tuple[JobsBinding, QueueBinding]]:
        jobs = binding.jobs
        if jobs is not None and self.spec.name in jobs.queues:
            yield jobs, jobs.queues[self.spec.name]


@dataclass(frozen=True)
class JobsSurface(Surface):
    """What all queues of a service share: the streams, the maintenance, and the workers of this process."""

    start_workers: Callable[[], Awaitable[None]]
    stop_workers: Callable[[GracePeriod], Awaitable[None]]
    release_jobs: Callable[[], Awaitable[None]]

    @override
    def requirements(self, binding: Binding) -> Iterator[Requirement]:
        """Return the streams."""
        if binding.jobs is not None:
            yield from job_requirements(binding.jobs)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what maintenance needs, and what operators, viewers and an audit need."""
        if binding.jobs is not None and role in {"operator", "viewer"}:
            yield from view_grants(binding.jobs)
        if binding.jobs is not None and role == "operator":
            yield from act_grants()
            yield from maintenance_grants(binding.jobs)
        if role == "auditor":
            yield from audit_grants()

    @override
    async def start(self) -> None:
        """Start the workers."""
        await self.start_workers()

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """Stop the workers."""
        await self.stop_workers(grace)

    @override
    async def release(self) -> None:
        """Give back the jobs of handlers that cannot be stopped."""
        await self.release_jobs()
