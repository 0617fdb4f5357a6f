"""The rows that folding makes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Job", "Pattern", "Worker"]


@dataclass(slots=True)
class Job:
    """The row of a job, with names instead of numbers. Instants are milliseconds since 1970."""

    created_seq: int
    id: str
    prefix: str
    service: str
    queue: str
    state: int
    state_seq: int
    last_seq: int
    created_at: int
    updated_at: int
    state_at: int
    tries: int
    max_tries: int
    started_at: int | None = None
    ended_at: int | None = None
    next_at: int | None = None
    deadline: int | None = None
    error: str | None = None
    error_type: str | None = None
    fingerprint: int | None = None
    key: str | None = None
    key_hash: str | None = None
    worker: str | None = None
    digest: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    trigger: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    progress: str | None = None
    bulk: str | None = None
    actor: str | None = None
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """The group that a fingerprint stands for."""

    error_type: str | None
    text: str


@dataclass(slots=True)
class Worker:
    """The newest heartbeat of a process for one of its queues."""

    instance: str
    prefix: str
    service: str
    queue: str
    sequence: int
    at: int
    first_at: int
    """When the first one was sent that was read."""
    concurrency: int
    version: str | None
    extension: str
    """The members that this version does not know, as JSON."""
