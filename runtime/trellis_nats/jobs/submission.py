"""What `submit` may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal

from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.ref import JobRef

__all__ = ["Accepted", "Coalesced", "Rejected", "Replaced", "Submission"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted(Generic[PayloadT, ResultT, UpdateT]):
    """The job is stored and will run."""

    ref: JobRef[PayloadT, ResultT, UpdateT]
    key: str | None = None
    """The concurrency key, for queues that have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """The key is full, and nothing was stored."""

    key: str
    """The display key."""
    reason: Literal["active-limit", "queue-depth", "stale-blocked"]
    """`active-limit`: every slot is taken, and the queue lets nobody wait. `queue-depth`: as many wait as may.
    `stale-blocked`: a slot's lease ran out under `stalePolicy: block`; its job or an operator must free it."""
    active: int
    """How many jobs of the key have a slot."""
    queued: int
    """How many wait for one."""
    limit: int
    """Of waiting jobs when the reason is `queue-depth`, else of active ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coalesced(Generic[PayloadT, ResultT, UpdateT]):
    """The key is full, and a job that is already there stands for this one."""

    existing: JobRef[PayloadT, ResultT, UpdateT]
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced(Generic[PayloadT, ResultT, UpdateT]):
    """The job is stored and took the place of the oldest one that waited."""

    ref: JobRef[PayloadT, ResultT, UpdateT]
    replaced: JobRef[PayloadT, ResultT, UpdateT]
    key: str


Submission = (
    Accepted[PayloadT, ResultT, UpdateT]
    | Rejected
    | Coalesced[PayloadT, ResultT, UpdateT]
    | Replaced[PayloadT, ResultT, UpdateT]
)
"""Match it. A queue without a concurrency key always accepts."""
