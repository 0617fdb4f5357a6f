"""What `submit` may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from trellis_nats.jobs.ref import JobRef

__all__ = ["Accepted", "Coalesced", "Rejected", "Replaced", "Submission"]

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted(Generic[PayloadT, ResultT]):
    """The job is stored and will run."""

    ref: JobRef[PayloadT, ResultT]
    key: str | None = None
    """The concurrency key, for queues that have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """The key is full, and nothing was stored."""

    key: str
    reason: Literal["active-limit", "queue-depth", "stale-blocked"]
    active: int
    queued: int
    limit: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Coalesced(Generic[PayloadT, ResultT]):
    """The key is full, and a job that is already there stands for this one."""

    existing: JobRef[PayloadT, ResultT]
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced(Generic[PayloadT, ResultT]):
    """The job is stored and took the place of the oldest one that waited."""

    ref: JobRef[PayloadT, ResultT]
    replaced: JobRef[PayloadT, ResultT]
    key: str


Submission = (
    Accepted[PayloadT, ResultT] | Rejected | Coalesced[PayloadT, ResultT] | Replaced[PayloadT, ResultT]
)
"""Match it. A queue without a concurrency key always accepts."""
