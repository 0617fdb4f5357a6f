"""Keyed queues under everything at once: no key has too many handlers, and none is stuck."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.history import What, read_history
from tests.faults.harness.wiretap import Step, Wiretap
from tests.faults.injection.clocks import TurnedClock
from tests.faults.keys.audit import Audit
from tests.faults.keys.fleet import Ship
from tests.faults.keys.harbour import LEASE, QUEUES, limits_of
from tests.faults.keys.scenario import KeyedScenario, keyed_scenario

JOBS: Final = 10_000
JOBS_WHEN_STARVED: Final = 2_500
SUBMITTERS: Final = 2
KEYS: Final = 120
WORKERS: Final = 4
SKEWS: Final = (LEASE, -LEASE, timedelta(0), LEASE / 2)
"""How far the clocks of workers are off, one after another: two leases between the first two."""
PAUSE: Final = 0.8
"""In seconds, which makes 50 submissions per second: two cores can handle them and other work. With less CPU, the submitters
wait for the workers."""
BEYOND: Final = 4
"""How many more jobs of a key than it has room for are submitted at the same time."""


@pytest.fixture(autouse=True)
def clock(tmp_path: Path) -> None:
    if TurnedClock.at(tmp_path / "clock") is None:
        pytest.skip("libfaketime is not installed")


@pytest.mark.timeout(600)
async def test_no_limit_is_exceeded_and_no_key_is_stuck_whatever_dies(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with keyed_scenario("keys under everything", nats_server, tmp_path) as it:
        audit = await everything(it, jobs=JOBS)
        logged = {
            entry.text("event_name") for entry in read_history(it.history.path) if entry.what is What.LOGGED
        }

    assert not audit.violations(), str(audit)
    assert audit.verdict.accepted >= JOBS
    assert audit.keys >= KEYS
    assert audit.takeovers > 0
    assert audit.rejected > 0
    assert audit.coalesced > 0
    assert audit.replaced > 0
    assert LogEvent.SLOT_LOST in logged, "a worker that was frozen for a lease logs that it lost its slot"


@pytest.mark.timeout(1200)
async def test_a_starved_machine_stops_no_key(nats_server: NatsServer, tmp_path: Path) -> None:
    """The same next to as many endless loops as there are processors."""
    async with keyed_scenario("starved keys", nats_server, tmp_path) as it, busy_loops():
        audit = await everything(it, jobs=JOBS_WHEN_STARVED)

    assert not audit.violations(), str(audit)
    assert audit.verdict.accepted >= JOBS_WHEN_STARVED
    assert audit.starved > 0, "the observer must see what it excuses"


async def everything(it: KeyedScenario, *, jobs: int) -> Audit:
    """Submit and work jobs while processes are killed and frozen, and the server is killed."""
    workers = [await it.hire(skew=skew) for skew in SKEWS[:WORKERS]]
    await crowd(it)
    submitters = [
        await it.submitter(jobs=jobs // SUBMITTERS, keys=KEYS, at_once=20, pause=PAUSE)
        for _ in range(SUBMITTERS)
    ]
    async with doomed_submitter(it):
        working = asyncio.gather(*(each.ended() for each in submitters))
        while not working.done():
            await one_fault(it, workers)
    assert await working == [0] * SUBMITTERS
    return await it.audit()


@asynccontextmanager
async def busy_loops() -> AsyncGenerator[None]:
    """Take every processor's time with processes that compute."""
    loops = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            await loop.wait()


async def crowd(it: KeyedScenario) -> None:
    """Submit more jobs of one key of each queue than it has room for, none of which ends before the last is submitted.

    The jobs of the submitters alone do not fill a key if the workers are fast.
    """
    seconds = 2 * LEASE.total_seconds()
    for queue in QUEUES:
        count = sum(limits_of(queue)) + BEYOND
        await asyncio.gather(*(it.submit(queue, "b0", seconds=seconds) for _ in range(count)))


async def one_fault(it: KeyedScenario, workers: list[Ship]) -> None:
    """Let something fail, and heal it after a while."""
    await asyncio.sleep(it.chance.uniform(0.5, 2))
    victim = it.chance.choice(workers)
    match it.chance.choices(("kill", "freeze", "server"), (6, 3, 1))[0]:
        case "kill":
            workers.remove(victim)
            victim.kill()
            await victim.ended()
            await asyncio.sleep(it.chance.uniform(0, 1))
            workers.append(await it.hire(skew=it.chance.choice(SKEWS)))
        case "freeze":
            victim.freeze()
            await asyncio.sleep(LEASE.total_seconds() * it.chance.uniform(1.1, 2))
            victim.thaw()
        case _:
            await it.kill_server(away=it.chance.uniform(0, 3))


@asynccontextmanager
async def doomed_submitter(it: KeyedScenario) -> AsyncGenerator[None]:
    """Kill a submitter whenever it has a place for a job and is about to store it; there is a new one then."""

    async def again_and_again() -> None:
        while True:
            async with Wiretap(it.server.port) as tap:
                doomed = await it.submitter(url=tap.url, jobs=1_000_000, keys=KEYS, at_once=2)

                def kill(doomed: Ship = doomed) -> bool:
                    doomed.kill()
                    return False

                tap.at(Step.CREATED_SENT, kill, skip=it.chance.randrange(100))
                try:
                    await doomed.ended()
                finally:
                    await doomed.end()

    dying = asyncio.create_task(again_and_again())
    try:
        yield
        assert not dying.done(), dying.exception()
    finally:
        dying.cancel()
        await asyncio.wait([dying])
