"""Faults of the keyed runtime, applied in a worker process. Each one breaks a promise, and the audit must find it.

They patch private names: if a name does not exist any longer, the patch raises and its test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from trellis_nats.clock import now, parse_timestamp
from trellis_nats.jobs.keys import acquire as acquire_module
from trellis_nats.jobs.keys.acquire import SlotAcquirer
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.model.lease_observer import LeaseObservations
from trellis_nats.jobs.model.event_factory import NOT_KEYED
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.executor import Executor
from trellis_nats.jobs.work.finish import acknowledge
from trellis_nats.jobs.work.work_item import slot_request

__all__ = ["MUTANTS"]

# Any: a mutant passes on whatever the runtime passes, whatever its types are.


def no_capacity(patch: pytest.MonkeyPatch) -> None:
    """Acquire a slot even when none is free."""
    acquire: Any = vars(acquire_module)["acquire"]

    def mutated(record: Any, slot: Any, policy: Any, **others: Any) -> Any:
        return acquire(record, slot, replace(policy, max_active=len(record.active) + 1), **others)

    patch.setattr(acquire_module, "acquire", mutated)


def no_renewal(patch: pytest.MonkeyPatch) -> None:
    """Never renew a lease."""

    async def mutated(*_: object) -> None:
        """Send nothing."""

    patch.setattr(SlotLease, "_renew_in_thread", mutated)


def by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    """Let a lease expire by this machine's wall clock."""

    def mutated(_: LeaseObservations, record: Any, *, at: float) -> set[str]:
        del at
        return {slot.token for slot in record.active if parse_timestamp(slot.expires_at) <= now()}

    patch.setattr(LeaseObservations, "expired", mutated)


def release_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Never release a slot."""

    async def mutated(*_: object, **__: object) -> None:
        """Do nothing."""

    patch.setattr(SlotAcquirer, "release", mutated)


def slot_after_started(patch: pytest.MonkeyPatch) -> None:
    """Store `started`, and acquire a slot only then."""

    run: Any = vars(Executor)["_run"]

    async def mutated(self: Any, item: Any, start: Any) -> bool:
        started = item.identity.started(
            previous=start.previous,
            tries=start.tries,
            instance_id=self._liveness.instance_id,
            at=now(),
            keyed=NOT_KEYED,
        )
        attempt: Any = Attempt(
            self._event_log, item.identity, self._clock, tries=start.tries, after=item.newest.sequence
        )
        await attempt.begin(started, grace_over=self._grace_over)
        lease = None
        while not isinstance(lease, SlotLease):
            request = slot_request(item, started.read(), start)
            lease = await self._slots.acquire(item.key, request, item.permit)
        item.lease = lease

        async def begun(*_: object, **__: object) -> None:
            """Do nothing: the attempt has begun."""

        attempt.begin = begun
        try:
            settlement = await run(self, item, None, attempt, start)
        finally:
            await self._slots.release(lease, retry_after=None, began=True)
        await acknowledge(item, settlement, attempt)
        return True

    patch.setattr(Executor, "_attempt", mutated)


def taken_over_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take over any slot of another job."""

    def mutated(_: LeaseObservations, record: Any, *, at: float) -> set[str]:
        del at
        return {slot.token for slot in record.active}

    patch.setattr(LeaseObservations, "expired", mutated)


def loss_ignored(patch: pytest.MonkeyPatch) -> None:
    """Let a handler that has lost its slot continue."""

    def mutated(_: Attempt) -> None:
        """Do not cancel the handler."""

    patch.setattr(Attempt, "lose_slot", mutated)


MUTANTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    each.__name__: each
    for each in (
        no_capacity,
        no_renewal,
        by_the_wall_clock,
        release_forgotten,
        slot_after_started,
        taken_over_at_once,
        loss_ignored,
    )
}
