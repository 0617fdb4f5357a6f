"""What a service needs on the server: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from trellis_nats.binding import Binding
from trellis_nats.clock import from_milliseconds

__all__ = ["BucketNeed", "QueueNeed", "Requirements", "requirements_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNeed:
    """A job queue's consumer on the work stream."""

    consumer: str
    """Its durable name."""
    work_subject: str
    ack_wait: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketNeed:
    """A KV bucket."""

    bucket: str
    history: int = 1
    """How many values of a key are kept; 64 at most."""
    ttl: timedelta = timedelta(0)
    """How long a value is kept; 0 for ever."""
    max_value_bytes: int | None = None
    """None: as large as the server takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Everything one service or client needs."""

    queues: tuple[QueueNeed, ...] = ()
    buckets: tuple[BucketNeed, ...] = ()
    events: bool = False
    """Whether it publishes or consumes events."""
    replicas: int = 1
    """1 on a single server; 3 where at least three can store."""
    jobs_max_age: timedelta = timedelta(days=90)
    """How long the history of jobs is kept at most: a backstop, longer than any retention of a state."""


def requirements_of(binding: Binding, *, events: bool, replicas: int = 1) -> Requirements:
    """Return what a service with this binding needs. `events`: whether it publishes any."""
    jobs = binding.jobs
    return Requirements(
        queues=tuple(
            QueueNeed(consumer=each.consumer_name, work_subject=each.work_subject, ack_wait=each.ack_wait)
            for each in (() if jobs is None else jobs.queues.values())
        ),
        buckets=(
            *(
                BucketNeed(
                    bucket=each.bucket,
                    history=each.history,
                    ttl=from_milliseconds(each.ttl_ms),
                    max_value_bytes=each.max_value_bytes,
                )
                for each in binding.kv.values()
            ),
            *(() if jobs is None else (BucketNeed(bucket=jobs.keys_bucket),)),
        ),
        events=events,
        replicas=replicas,
    )
