"""Records, slots and entries of one key, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot

__all__ = ["AT", "LEASE", "LIMIT_BYTES", "entry", "record", "slot"]

AT: Final = datetime(2026, 7, 1, 10, tzinfo=UTC)
LEASE: Final = timedelta(seconds=30)
LIMIT_BYTES: Final = 2**20
"""Of a record: what servers take by default."""


def slot(job: str, token: str = "", *, renewed: datetime = AT, lease: timedelta = LEASE) -> Slot:
    """Return a slot of a job; its token is named after it."""
    return Slot(
        job_id=job,
        token=token or f"token-{job}",
        instance_id="worker",
        started_at=timestamp(AT),
        renewed_at=timestamp(renewed),
        expires_at=timestamp(renewed + lease),
        tries=1,
        context=None,
    )


def entry(job: str, *, retry_at: datetime | None = None, created: datetime = AT) -> QueueEntry:
    """Return the entry of a job that waits."""
    return QueueEntry(
        job_id=job,
        created_at=timestamp(created),
        request_id="request",
        context=None,
        retry_at=None if retry_at is None else timestamp(retry_at),
    )


def record(active: str | list[Slot] = "", queued: str | list[QueueEntry] = "") -> KeyRecord:
    """Return a record: `record("A", "BC")` has A active, and B and C waiting."""
    return KeyRecord(
        service="svc",
        queue="process",
        display="tenant:acme",
        hash="h",
        max_active=1,
        max_queued=0,
        active=tuple(slot(job) for job in active) if isinstance(active, str) else tuple(active),
        queued=tuple(entry(job) for job in queued) if isinstance(queued, str) else tuple(queued),
    )
