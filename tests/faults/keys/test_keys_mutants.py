"""Each fault of the keyed runtime that we can think of is found by the audit, and the runtime without it passes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import NatsServer

from tests.faults.harness.handlings import AWAKE
from tests.faults.harness.history import What, read_history
from tests.faults.injection.clocks import TurnedClock
from tests.faults.keys.audit import Audit
from tests.faults.keys.crowding import stalls
from tests.faults.keys.harbour import LEASE
from tests.faults.keys.mutants import MUTANTS
from tests.faults.keys.scenario import KeyedScenario, keyed_scenario
from tests.support.eventually import eventually

SHORT: Final = timedelta(seconds=8)
"""How long the queues may take to run dry; with a mutant they may never do so."""
RENEWALS: Final = 3
"""In each lease (jobs.md, "Keyed concurrency")."""
_SECONDS: Final = LEASE.total_seconds()

Trial = Callable[[KeyedScenario], Awaitable[Audit]]


async def many_of_one_key(it: KeyedScenario) -> Audit:
    await asyncio.gather(it.hire(), it.hire())
    for _ in range(5):
        await it.submit("dock", "one", seconds=0.2)
    return await it.audit(SHORT)


async def longer_than_two_leases(it: KeyedScenario) -> Audit:
    """The second worker's clock is two leases ahead, and it takes over no slot of the first worker.

    The slots are renewed one after another: whenever the second jobs arrive, at least one slot is far from its next
    renewal, by which its owner would notice that it was taken over.
    """
    keys = [f"b{number}" for number in range(4)]
    # Its permits are all taken by then, so every second job goes to the other worker.
    await it.hire(skew=-LEASE, concurrency=len(keys), queues=("dock", "pier"))
    for key in keys:
        await it.submit("dock", key, seconds=6 * _SECONDS)
        await has_begun(it, "dock", key)
        await asyncio.sleep(_SECONDS / RENEWALS / len(keys))
    await it.hire(skew=LEASE, queues=("dock", "quay"))
    await both_are_awake(it)
    for key in keys:
        await it.submit("dock", key, seconds=2 * _SECONDS)
    return await it.audit(timedelta(seconds=25))


async def has_begun(it: KeyedScenario, queue: str, key: str) -> None:
    def is_written() -> bool:
        entered = [each for each in read_history(it.history.path) if each.what is What.ENTER]
        return any((each.text("queue"), each.text("key")) == (queue, key) for each in entered)

    await eventually(is_written)


async def both_are_awake(it: KeyedScenario) -> None:
    """Wait until both have just begun a job, and neither has stalled recently: then no violation is excused."""
    async with asyncio.timeout(4 * _SECONDS):  # the first jobs run for longer
        for number in count():
            for queue in ("pier", "quay"):  # each worker works one of the queues
                await it.submit(queue, f"call {number}")
                await has_begun(it, queue, f"call {number}")
            lately = time.monotonic_ns() - AWAKE
            if all(end.at < lately for end, _ in stalls(read_history(it.history.path))):
                return
            await asyncio.sleep(_SECONDS / 10)


async def one_after_another(it: KeyedScenario) -> Audit:
    await it.hire()
    for number in range(3):
        await it.submit("dock", f"b{number}")
    return await it.audit(SHORT)


async def frozen_while_it_works(it: KeyedScenario) -> Audit:
    """Another worker takes over its slot meanwhile, and its handler is not done when it continues."""
    frozen = await it.hire()
    await it.submit("dock", "one", seconds=5 * _SECONDS)
    await it.entered(1)
    await it.hire()
    frozen.freeze()
    await it.submit("dock", "one", seconds=5 * _SECONDS)
    await it.entered(2)
    frozen.thaw()
    return await it.audit(timedelta(seconds=25))


TRIALS: Final[dict[str, Trial]] = {
    "no_capacity": many_of_one_key,
    "no_renewal": longer_than_two_leases,
    "by_the_wall_clock": longer_than_two_leases,
    "release_forgotten": one_after_another,
    "slot_after_started": many_of_one_key,
    "taken_over_at_once": many_of_one_key,
    "loss_ignored": frozen_while_it_works,
}
BREAKS: Final = {
    "no_capacity": {"crowds", "slots_beyond"},
    "no_renewal": {"lost"},  # a slot without renewals counts as lost in time, so no job ever ends
    "by_the_wall_clock": {"crowds"},
    "release_forgotten": {"left_slots"},
    "slot_after_started": {"without_slot"},
    "taken_over_at_once": {"crowds"},
    "loss_ignored": {"crowds"},
}
"""The violations by which each mutant must be found; there may be others."""


def test_every_mutant_has_a_trial() -> None:
    assert TRIALS.keys() == MUTANTS.keys() == BREAKS.keys()


@pytest.mark.parametrize("trial", dict.fromkeys(TRIALS.values()), ids=lambda trial: trial.__name__)
async def test_the_runtime_passes_each_trial(nats_server: NatsServer, tmp_path: Path, trial: Trial) -> None:
    skip_without_clocks(trial, tmp_path)
    async with keyed_scenario("no mutant", nats_server, tmp_path) as it:
        audit = await trial(it)

    assert not audit.violations(), str(audit)


@pytest.mark.parametrize("mutant", TRIALS)
async def test_the_mutant_is_found(nats_server: NatsServer, tmp_path: Path, mutant: str) -> None:
    skip_without_clocks(TRIALS[mutant], tmp_path)
    async with keyed_scenario(f"mutant {mutant}", nats_server, tmp_path, mutant=mutant) as it:
        audit = await TRIALS[mutant](it)

    assert any(entry.what is What.ENTER for entry in read_history(tmp_path / "history.jsonl"))
    assert audit.violations().keys() >= BREAKS[mutant], str(audit)


def skip_without_clocks(trial: Trial, folder: Path) -> None:
    if trial is longer_than_two_leases and TurnedClock.at(folder / "clock") is None:
        pytest.skip("libfaketime is not installed")
