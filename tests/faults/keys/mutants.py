"""Faults of the keyed runtime, given to a worker process. Each one breaks a promise, and the audit must find that out.

They reach into private names; where one no longer fits the runtime, it raises, and its test fails.
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

__all__ = ["MUTANTS"]

# Any: a mutation passes on whatever the runtime passes, and shall outlive its changes.


def no_capacity(patch: pytest.MonkeyPatch) -> None:
    """Take a slot whether one is free or not."""
    acquire: Any = vars(acquire_module)["acquire"]

    def mutated(record: Any, slot: Any, policy: Any, **others: Any) -> Any:
        return acquire(record, slot, replace(policy, max_active=len(record.active) + 1), **others)

    patch.setattr(acquire_module, "acquire", mutated)


def no_renewal(patch: pytest.MonkeyPatch) -> None:
    """Never renew a slot."""

    async def mutated(*_: object) -> None:
        """Send nothing."""

    patch.setattr(SlotLease, "_beat", mutated)


def by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    """Count a lease as over when this machine's wall clock says so."""

    def mutated(_: LeaseObservations, record: Any, *, at: float) -> set[str]:
        del at
        return {slot.token for slot in record.active if parse_timestamp(slot.expires_at) <= now()}

    patch.setattr(LeaseObservations, "expired", mutated)


def release_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Do not give a slot back."""

    async def mutated(*_: object, **__: object) -> None:
        """Do nothing."""

    patch.setattr(SlotAcquirer, "give_back", mutated)


def slot_after_started(patch: pytest.MonkeyPatch) -> None:
    """Write `started`, and only then take a slot."""

    async def mutated_try(
        self: Any, message: Any, event: Any, newest: Any, identity: Any, start: Any, hand: Any
    ) -> bool:
        started = identity.started(
            previous=start.previous,
            tries=start.tries,
            instance_id=self._claims.instance_id,
            at=now(),
            keyed=NOT_KEYED,
        )
        attempt: Any = Attempt(self._history, identity, tries=start.tries, after=newest.sequence)
        await attempt.begin(started)
        held = None
        while not isinstance(held, SlotLease):
            held = await self._keyed.slot_for(event, started.read(), tries=start.tries, hand=hand)

        async def begun(_: object) -> None:
            """It has begun already."""

        attempt.begin = begun
        try:
            settlement = await self._tries.run(message, event, attempt, started, held, hand)
        finally:
            await self._keyed.give_back(held, retry_after=None, began=True)
        await acknowledge(message, settlement, self.delivery, what=event.job_id)
        return True

    patch.setattr(Executor, "_try", mutated_try)


def taken_over_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take over whatever slot another job has."""

    def mutated(_: LeaseObservations, record: Any, *, at: float) -> set[str]:
        del at
        return {slot.token for slot in record.active}

    patch.setattr(LeaseObservations, "expired", mutated)


def loss_ignored(patch: pytest.MonkeyPatch) -> None:
    """Let a handler go on that has lost its slot."""

    def mutated(_: Attempt) -> None:
        """Tell nobody."""

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
