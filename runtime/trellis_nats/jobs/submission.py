"""The outcomes of `submit`."""

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
    """The concurrency key in its readable form."""
    reason: Literal["active-limit", "queue-depth", "stale-blocked"]
    """`active-limit`: every slot is taken, and no job of the queue may wait. `queue-depth`: the queue of the key is full.
    `stale-blocked`: the lease of a slot expired under `stalePolicy: block`; its job or an operator must free it."""
    active: int
    """How many jobs of the key hold a slot."""
    queued: int
    """How many wait for one."""
    limit: int
    """The limit of waiting jobs when the reason is `queue-depth`, else of active ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coalesced(Generic[PayloadT, ResultT, UpdateT]):
    """The key is full, and an existing job of the key takes the place of this one."""

    existing: JobRef[PayloadT, ResultT, UpdateT]
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced(Generic[PayloadT, ResultT, UpdateT]):
    """The job is stored and replaced the one that had waited longest."""

    ref: JobRef[PayloadT, ResultT, UpdateT]
    replaced: JobRef[PayloadT, ResultT, UpdateT]
    key: str


Submission = (
    Accepted[PayloadT, ResultT, UpdateT]
    | Rejected
    | Coalesced[PayloadT, ResultT, UpdateT]
    | Replaced[PayloadT, ResultT, UpdateT]
)
"""What `submit` returns: use `match`. A queue without a concurrency key always accepts."""
