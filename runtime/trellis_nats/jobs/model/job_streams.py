"""The streams and the consumers that jobs need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.clock import to_nanoseconds
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import (
    ADVISORIES_STREAM,
    DELAYED_PREFIX,
    DELAYED_STREAM,
    EVENTS_PREFIX,
    STREAM,
    WORK_PREFIX,
    JobSubjects,
)
from trellis_nats.provision.requirements import (
    BucketRequirement,
    ConsumerRequirement,
    Requirement,
    ServerFeature,
    StreamRequirement,
    platform_settings,
)

__all__ = ["SCHEDULES_SINCE", "due_consumer", "job_requirements", "work_consumer"]

SCHEDULES_SINCE: Final = (2, 12, 8)
"""The oldest server whose schedules were tried (nats-facts.md, section 1). They exist from 2.12.0 on; 2.11 is offline for a
stream with them, and 2.10 stores a schedule as a plain message."""

_JOBS_MAX_AGE: Final = timedelta(days=90)
"""How long the history of a job is kept at most: a backstop, at least as long as any retention of a state."""
_ADVISORIES_MAX_AGE: Final = timedelta(days=7)
_DUPLICATE_WINDOW: Final = timedelta(minutes=2)
"""The default of servers before 2.15, which has none for a stream with sources (measured). Without one, two instances
that rescue a job at the same time would enqueue it twice."""
_MAX_ACK_PENDING: Final = 100_000
"""Waiting retries count as pending acknowledgements: with the server's default of 1000 they would block new work. 100,000
cost a server 30 MiB, and 0.14 s of CPU in each second with acknowledgements (nats-facts.md, section 1)."""
_MAX_DELIVER: Final = -1
"""Unlimited: the worker counts attempts; the server would stop delivering the job."""
_ADVISORIES: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"

_FENCES: Final = ServerFeature(
    since=(2, 11, 0),
    price="does not fence job events: when two writers store one at the same instant, both are stored, and readers use "
    "the first one; servers from 2.11 on refuse the second",
)
_SCHEDULES: Final = ServerFeature(
    since=SCHEDULES_SINCE,
    price="has no reliable schedules: jobs that wait for a delay or a backoff hold deliveries, and a queue stalls "
    f"while {_MAX_ACK_PENDING} of them wait; servers from 2.12.8 on park them",
)


def job_requirements(jobs: JobsBinding) -> Iterator[Requirement]:
    """Return what the queues of a service share: four streams, and the bucket for what its instances agree on.

    Without concurrency keys, only the lease of the leader and paused queues are in the bucket: it is not needed to work.
    """
    yield _FENCES
    yield _SCHEDULES
    yield _events()
    yield _work(jobs)
    yield _delayed()
    yield _advisories(jobs)
    has_keys = any(queue.key_concurrency is not None for queue in jobs.queues.values())
    yield BucketRequirement(bucket=jobs.keys_bucket, must_keep=True, is_optional=not has_keys)


def work_consumer(work_stream: str, queue: QueueBinding) -> ConsumerRequirement:
    """Return the consumer that the workers of a queue pull from."""
    return ConsumerRequirement(
        stream=work_stream,
        name=queue.consumer_name,
        config=_consumer_config(queue, queue.work_subject),
        as_platform=platform_settings(queue),
    )


def due_consumer(queue: QueueBinding) -> ConsumerRequirement:
    """Return the consumer that the workers of a queue pull parked jobs from, once these are due."""
    return ConsumerRequirement(
        stream=DELAYED_STREAM,
        name=queue.consumer_name,
        config=_consumer_config(queue, JobSubjects(queue.publish_prefix).due),
        since=SCHEDULES_SINCE,
        is_optional=True,
    )


def _consumer_config(queue: QueueBinding, subject: str) -> dict[str, JsonValue]:
    return {
        "filter_subject": subject,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": to_nanoseconds(queue.ack_wait),
        "max_deliver": _MAX_DELIVER,
        "max_ack_pending": _MAX_ACK_PENDING,
    }


def _events() -> StreamRequirement:
    return StreamRequirement(
        name=STREAM,
        config={
            "subjects": [f"{EVENTS_PREFIX}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "max_age": to_nanoseconds(_JOBS_MAX_AGE),
            "allow_direct": True,
        },
        compared=("subjects", "retention", "storage", "allow_direct"),
        is_lossless=True,
        has_batches=True,
    )


def _work(jobs: JobsBinding) -> StreamRequirement:
    transforms: list[JsonValue] = [
        {"src": f"{EVENTS_PREFIX}.*.*.*.{event}", "dest": f"{WORK_PREFIX}.$1.$2"}
        for event in (EventType.CREATED, EventType.RETRIED)
    ]
    return StreamRequirement(
        name=jobs.work_stream,
        config={
            "subjects": [f"{WORK_PREFIX}.>"],
            "sources": [{"name": STREAM, "subject_transforms": transforms}],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "allow_direct": True,
            "duplicate_window": to_nanoseconds(_DUPLICATE_WINDOW),
        },
        is_lossless=True,
    )


def _delayed() -> StreamRequirement:
    # Schedules are only possible without sources, and cannot be switched off again; on JOBS, one that fires would stop
    # the sourcing of JOBS_WORK on servers 2.12 (nats-facts.md, section 0, B). So they have a stream of their own.
    return StreamRequirement(
        name=DELAYED_STREAM,
        config={
            "subjects": [f"{DELAYED_PREFIX}.>"],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "allow_direct": True,
            "allow_msg_schedules": True,
        },
        compared=("subjects", "retention", "storage", "discard", "allow_direct", "allow_msg_schedules"),
        is_lossless=True,
        since=SCHEDULES_SINCE,
        is_optional=True,
    )


def _advisories(jobs: JobsBinding) -> StreamRequirement:
    every, own = f"{_ADVISORIES}.>", f"{_ADVISORIES}.{jobs.work_stream}.>"
    return StreamRequirement(
        name=ADVISORIES_STREAM,
        config={
            "subjects": [every],
            "retention": "limits",
            "storage": "file",
            "max_age": to_nanoseconds(_ADVISORIES_MAX_AGE),
        },
        compared=("retention", "storage"),
        sufficient_subjects=(every, own),
    )
