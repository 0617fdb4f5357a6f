"""Each fault of the keyed runtime that we can think of is found by the audit, and the runtime without it passes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import NatsServer

from tests.faults.harness.history import What, read_history
from tests.faults.injection.clocks import TurnedClock
from tests.faults.keys.audit import Audit
from tests.faults.keys.harbour import LEASE
from tests.faults.keys.mutants import MUTANTS
from tests.faults.keys.scenario import KeyedScenario, keyed_scenario

SHORT: Final = timedelta(seconds=8)
"""How long the queues may take to run dry; with a mutant they may never do so."""
_SECONDS: Final = LEASE.total_seconds()

Trial = Callable[[KeyedScenario], Awaitable[Audit]]


async def many_of_one_key(it: KeyedScenario) -> Audit:
    await asyncio.gather(it.hire(), it.hire())
    for _ in range(5):
        await it.submit("dock", "one", seconds=0.2)
    return await it.audit(SHORT)


async def longer_than_two_leases(it: KeyedScenario) -> Audit:
    """The two workers' clocks are two leases apart."""
    await asyncio.gather(it.hire(skew=LEASE), it.hire(skew=-LEASE))
    for _ in range(3):
        await it.submit("dock", "one", seconds=2 * _SECONDS)
    return await it.audit(timedelta(seconds=20))


async def one_after_another(it: KeyedScenario) -> Audit:
    await it.hire()
    for number in range(3):
        await it.submit("dock", f"b{number}")
    return await it.audit(SHORT)


async def frozen_while_it_works(it: KeyedScenario) -> Audit:
    """Its job is another one's meanwhile, and its handler is not due when it goes on."""
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
    "no_renewal": {"lost"},  # a slot that is not renewed is counted as lost in time, so no job ever ends
    "by_the_wall_clock": {"crowds"},
    "release_forgotten": {"left_slots"},
    "slot_after_started": {"without_slot"},
    "taken_over_at_once": {"crowds"},
    "loss_ignored": {"crowds"},
}
"""The violations by which each must be found, beside others."""


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
