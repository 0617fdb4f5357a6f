"""What a service needs on the server: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["BucketNeed", "QueueNeed", "Requirements"]


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
