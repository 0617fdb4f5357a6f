"""The concurrency limits of a queue's keys, from its contract, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from trellis_nats.binding import QueueBinding
from trellis_nats.clock import from_milliseconds
from trellis_nats.specs import (
    ACK_WAIT_DEFAULT,
    MAX_ACTIVE_DEFAULT,
    MAX_QUEUED_DEFAULT,
    STALE_POLICY_DEFAULT,
    WHEN_FULL_DEFAULT,
    StalePolicy,
    WhenFull,
)

__all__ = ["KeyPolicy", "StalePolicy", "WhenFull", "policy_of"]

_INTERVAL_MAX_MS: Final = 30_000
_INTERVALS_PER_LEASE: Final = 3


@dataclass(frozen=True, kw_only=True)
class KeyPolicy:
    """How many jobs of one key may be active, and what happens to the jobs beyond that."""

    template: tuple[str, ...]
    """Literals, and JSON pointers into the payload, which begin with `/`."""
    max_active: int = MAX_ACTIVE_DEFAULT
    max_queued: int = MAX_QUEUED_DEFAULT
    """How many may wait while every slot is taken."""
    when_full: WhenFull = WHEN_FULL_DEFAULT
    stale_policy: StalePolicy = STALE_POLICY_DEFAULT
    interval: timedelta = ACK_WAIT_DEFAULT / _INTERVALS_PER_LEASE
    """How often a slot is renewed."""
    lease: timedelta = ACK_WAIT_DEFAULT
    """How long a slot lasts without a renewal."""

    @cached_property
    def margin(self) -> timedelta:
        """How long before the end of its lease an owner counts its slot as lost, so that it stops before the next job starts."""
        return self.lease / 6


def policy_of(queue: QueueBinding) -> KeyPolicy | None:
    """Return the policy of a queue. None: the queue has no concurrency key.

    Defaults (jobs.md, "Keyed concurrency"): the interval is a third of the ack wait, at most 30 s; the lease is the ack
    wait, at least three intervals. Whatever the contract says, a slot is renewed at least three times within a lease.
    """
    declared, waiting = queue.key_concurrency, queue.queue
    if declared is None:
        return None
    default = from_milliseconds(max(1, min(_INTERVAL_MAX_MS, queue.ack_wait_ms // _INTERVALS_PER_LEASE)))
    requested, ttl = declared.heartbeat_interval_ms, declared.heartbeat_ttl_ms
    interval = default if requested is None else from_milliseconds(requested)
    lease = max(queue.ack_wait, _INTERVALS_PER_LEASE * default) if ttl is None else from_milliseconds(ttl)
    return KeyPolicy(
        template=declared.key,
        max_active=declared.max_active,
        max_queued=MAX_QUEUED_DEFAULT if waiting is None else waiting.max_queued_per_key,
        when_full=WHEN_FULL_DEFAULT if waiting is None else waiting.when_full,
        stale_policy=declared.stale_policy,
        interval=min(interval, lease / _INTERVALS_PER_LEASE),
        lease=lease,
    )
