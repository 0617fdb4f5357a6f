"""Which rights each role needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Literal

from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Grant
from trellis_nats.jobs import grants
from trellis_nats.permissions import connection
from trellis_nats.permissions.config import Permissions
from trellis_nats.permissions.provisioning import provisioning, verifying
from trellis_nats.permissions.usage import Usage
from trellis_nats.provision.plan import plan

__all__ = ["Role", "permissions_for", "starting"]

Role = Literal["worker", "producer", "operator", "provisioner", "client"]

_ANSWER_WITHIN: Final = timedelta(minutes=10)
"""How long after a call its answer is allowed. The server's own default, 2 minutes, is short for a handler."""


def permissions_for(usage: Usage, role: Role) -> Permissions:
    """Return what a role needs, and nothing else."""
    answers = role == "worker" and (usage.jobs is not None or bool(usage.served))
    grants = (*connection.connecting(usage.inbox), *_ROLES[role](usage))
    return Permissions.of(grants, allow_responses=_ANSWER_WITHIN if answers else None)


def starting(usage: Usage) -> Iterator[Grant]:
    """Give what a service uses that starts with the handlers that it has."""
    for binding, queue in usage.queues:
        is_handled = queue.queue_type in usage.handled_queues
        for grant in _using(usage, binding, queue):
            yield grant if is_handled else replace(grant, is_needed=False)
        if is_handled:
            yield from _working(usage, binding, queue)
    for rpc in usage.served:
        if rpc.name in usage.handled_rpcs:
            yield from connection.serving(rpc)
    yield from _events_and_buckets(usage)
    for event in usage.heard:
        yield from connection.hearing(event)


def _worker(usage: Usage) -> Iterator[Grant]:
    for binding, queue in usage.queues:
        yield from _using(usage, binding, queue)
        yield from _working(usage, binding, queue)
    for rpc in usage.served:
        yield from connection.serving(rpc)
    yield from _events_and_buckets(usage)
    yield from _client(usage)


def _producer(usage: Usage) -> Iterator[Grant]:
    for binding, queue in usage.queues:
        yield from _using(usage, binding, queue)


def _operator(usage: Usage) -> Iterator[Grant]:
    for binding, queue in usage.queues:
        yield from grants.inspecting(binding, queue)
        if usage.is_keyed(queue):
            yield from grants.records(binding, queue)
    if usage.jobs is not None:
        yield from grants.duties(usage.jobs)
    yield from verifying(plan(usage.requirements, atomic=True))


def _provisioner(usage: Usage) -> Iterator[Grant]:
    wanted = plan(usage.requirements, atomic=True)
    yield from verifying(wanted)
    yield from provisioning(wanted)


def _client(usage: Usage) -> Iterator[Grant]:
    for rpc in usage.called:
        yield from connection.calling(rpc)
    for event in usage.heard:
        yield from connection.hearing(event)


def _using(usage: Usage, binding: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    yield from grants.creating(binding, queue)
    if usage.is_keyed(queue):
        yield from grants.keyed(binding, queue)


def _working(usage: Usage, binding: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    yield from grants.working(binding, queue)
    if usage.is_keyed(queue):
        yield from grants.awaiting(binding, queue)


def _events_and_buckets(usage: Usage) -> Iterator[Grant]:
    if usage.published or usage.jobs is not None:
        yield from connection.probing(usage.service)
    for event in usage.published:
        yield from connection.publishing(event)
    for bound in usage.buckets:
        yield from connection.bucket(bound, is_needed=bound.bucket not in usage.optional_buckets)


_ROLES: Final[Mapping[Role, Callable[[Usage], Iterator[Grant]]]] = MappingProxyType(
    {
        "worker": _worker,
        "producer": _producer,
        "operator": _operator,
        "provisioner": _provisioner,
        "client": _client,
    }
)
