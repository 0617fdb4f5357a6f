"""From what a service needs to how its streams, consumers and buckets must look. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats.clock import to_nanoseconds
from trellis_nats.provision.requirements import BucketNeed, QueueNeed, Requirements

__all__ = [
    "JOBS",
    "JOBS_ADVISORIES",
    "JOBS_WORK",
    "WORK_TRANSFORMS",
    "ConsumerPlan",
    "Plan",
    "StreamPlan",
    "plan",
]

JOBS: Final = "JOBS"
JOBS_WORK: Final = "JOBS_WORK"
JOBS_ADVISORIES: Final = "JOBS_ADVISORIES"
_EVENTS: Final = "trellis"

WORK_TRANSFORMS: Final = (
    ("trellis.jobs.*.*.*.created", "trellis.work.$1.$2"),
    ("trellis.jobs.*.*.*.retried", "trellis.work.$1.$2"),
)
"""Which events of JOBS become work, and on which subject."""

_ADVISORIES_MAX_AGE: Final = timedelta(days=7)
_MAX_ACK_PENDING: Final = 10_000
"""Retries that wait hold slots, so the server's default of 1000 would let them block new work."""
_UNLIMITED: Final = -1
_DUPLICATE_WINDOW: Final = timedelta(minutes=2)
"""The default of servers before 2.15, which has none for a stream with sources (measured): without one, two
reconcilers at once would enqueue a job twice."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A stream as the server's interface has it."""

    name: str
    config: Mapping[str, JsonValue]
    bucket: str | None = None
    """The KV bucket that it is, if it is one."""


@dataclass(frozen=True, slots=True)
class ConsumerPlan:
    """A durable consumer as the server's interface has it."""

    stream: str
    name: str
    config: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that must exist, in the order in which it can be created."""

    streams: tuple[StreamPlan, ...]
    consumers: tuple[ConsumerPlan, ...]


def plan(requirements: Requirements, *, atomic: bool) -> Plan:
    """Say what must exist. `atomic`: whether the server knows atomic batches (2.12); older ones refuse the word."""
    streams: list[StreamPlan] = []
    if requirements.queues:
        streams += [
            _jobs(requirements, atomic=atomic),
            _jobs_work(requirements),
            _jobs_advisories(requirements),
        ]
    if requirements.events:
        streams.append(_events(requirements))
    streams += [_bucket(need, requirements.replicas) for need in requirements.buckets]
    return Plan(tuple(streams), tuple(_consumer(need) for need in requirements.queues))


def _jobs(requirements: Requirements, *, atomic: bool) -> StreamPlan:
    config: dict[str, JsonValue] = {
        "name": JOBS,
        "subjects": ["trellis.jobs.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": to_nanoseconds(requirements.jobs_max_age),
        "allow_direct": True,
        "num_replicas": requirements.replicas,
    }
    if atomic:
        config["allow_atomic"] = True
    return StreamPlan(JOBS, config)


def _jobs_work(requirements: Requirements) -> StreamPlan:
    transforms: list[JsonValue] = [{"src": source, "dest": target} for source, target in WORK_TRANSFORMS]
    return StreamPlan(
        JOBS_WORK,
        {
            "name": JOBS_WORK,
            "subjects": ["trellis.work.>"],
            "sources": [{"name": JOBS, "subject_transforms": transforms}],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "allow_direct": True,
            "duplicate_window": to_nanoseconds(_DUPLICATE_WINDOW),
            "num_replicas": requirements.replicas,
        },
    )


def _jobs_advisories(requirements: Requirements) -> StreamPlan:
    return StreamPlan(
        JOBS_ADVISORIES,
        {
            "name": JOBS_ADVISORIES,
            "subjects": ["$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"],
            "retention": "limits",
            "storage": "file",
            "max_age": to_nanoseconds(_ADVISORIES_MAX_AGE),
            "num_replicas": requirements.replicas,
        },
    )


def _events(requirements: Requirements) -> StreamPlan:
    return StreamPlan(
        _EVENTS,
        {
            "name": _EVENTS,
            "subjects": ["events.>"],
            "retention": "limits",
            "storage": "file",
            "num_replicas": requirements.replicas,
        },
    )


def _bucket(need: BucketNeed, replicas: int) -> StreamPlan:
    # As NATS' own clients make a bucket, so that theirs can use it.
    name = f"KV_{need.bucket}"
    return StreamPlan(
        name,
        {
            "name": name,
            "subjects": [f"$KV.{need.bucket}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": need.history,
            "max_age": to_nanoseconds(need.ttl),
            "max_msg_size": _UNLIMITED if need.max_value_bytes is None else need.max_value_bytes,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "num_replicas": replicas,
        },
        bucket=need.bucket,
    )


def _consumer(need: QueueNeed) -> ConsumerPlan:
    return ConsumerPlan(
        JOBS_WORK,
        need.consumer,
        {
            "durable_name": need.consumer,
            "filter_subject": need.work_subject,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": to_nanoseconds(need.ack_wait),
            "max_deliver": _UNLIMITED,
            "max_ack_pending": _MAX_ACK_PENDING,
        },
    )
