"""Wall clocks that jump or differ: no job is lost or run twice, and there is one leader at a time."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.crew import WorkerProcess
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.injection.clocks import TurnedClock

JOBS: Final = 10_000
HOUR: Final = timedelta(hours=1)
SKEW: Final = timedelta(minutes=5)
DELAY: Final = timedelta(seconds=2)
LEASE: Final = 3.0
LONG: Final = 600
"""Seconds."""


@pytest.fixture
def clock(tmp_path: Path) -> TurnedClock:
    found = TurnedClock.at(tmp_path / "clock")
    if found is None:
        pytest.skip("libfaketime is not installed")
    return found


async def hired_with(it: Scenario, clock: TurnedClock, patch: pytest.MonkeyPatch) -> WorkerProcess:
    with patch.context() as environment:
        for name, value in clock.environment.items():
            environment.setenv(name, value)
        (worker,) = await it.crew.hire()
    return worker


async def test_the_clock_that_is_turned_is_the_wall_clock_alone(clock: TurnedClock) -> None:
    clock.turn(HOUR)
    script = "import time; print(time.time(), time.monotonic())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=dict(clock.environment), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    right = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    expected, _ = await right.communicate()
    (wall, monotonic), (right_wall, right_monotonic) = (map(float, each.split()) for each in (told, expected))
    assert abs(wall - right_wall - HOUR.total_seconds()) < 10
    assert abs(monotonic - right_monotonic) < 10


@pytest.mark.timeout(180)
async def test_jumps_of_an_hour_lose_nothing_and_run_nothing_twice(
    nats_server: NatsServer, tmp_path: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two workers is an hour ahead, right, an hour behind, right, and so on; every job raises once."""
    async with scenario("clock jumps 1 h", nats_server.url, tmp_path, lease=LEASE, rescue_every=1) as it:
        await it.crew.hire()
        await hired_with(it, clock, monkeypatch)
        submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, raises=1, ends=("completed",)))
        jumps = 0
        it.nemesis("clock jumps", LogEvent.CLOCK_JUMPED, within=LONG)
        it.nemesis("clock jumps", LogEvent.CLOCK_SKEWED, within=LONG)
        while not submitting.done():
            for away in (HOUR, timedelta(0), -HOUR, timedelta(0)):
                clock.turn(away)
                jumps += 1
                await asyncio.sleep(it.chance.uniform(0.1, 0.5))
        await submitting
        it.note = f"{jumps} jumps"
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": JOBS}
    assert verdict.end_tries == {2: JOBS}
    assert (verdict.duplicates, verdict.again) == (0, 0)


@pytest.mark.timeout(180)
async def test_two_workers_ten_minutes_apart_lose_nothing_and_run_nothing_twice(
    nats_server: NatsServer, tmp_path: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TurnedClock.at(tmp_path / "other clock")
    assert other is not None
    clock.turn(SKEW)
    other.turn(-SKEW)
    async with scenario("clocks 10 min apart", nats_server.url, tmp_path, lease=LEASE, rescue_every=1) as it:
        it.nemesis("clocks apart", LogEvent.CLOCK_SKEWED)
        await hired_with(it, clock, monkeypatch)
        await hired_with(it, other, monkeypatch)
        await it.submit_many(JOBS, at_once=20, raises=1, ends=("completed",))
        verdict = await it.verdict()
        logged = it.logged_events()

    assert verdict.is_clean, str(verdict)
    assert verdict.end_tries == {2: JOBS}
    assert (verdict.duplicates, verdict.again) == (0, 0)
    assert LogEvent.JOB_RESCUED not in logged, (
        "ages are by the server's clock, so no recent job counts as lost"
    )


async def test_a_delayed_job_waits_by_the_clock_of_its_worker(
    nats_server: NatsServer, tmp_path: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a wrong clock may do, and no more: a delay shrinks. Turned back while it waits, it does not grow."""
    async with scenario("delays under a clock that jumps", nats_server.url, tmp_path) as it:
        await hired_with(it, clock, monkeypatch)
        for _ in range(100):
            await it.submit(delay=DELAY, ends=("completed",))
        clock.turn(-timedelta(seconds=1))
        for _ in range(100):
            await it.submit(delay=DELAY, ends=("completed",))
        clock.turn(HOUR)
        for _ in range(100):
            await it.submit(delay=HOUR / 2, ends=("completed",))
        verdict = await it.verdict(timedelta(seconds=20))

    assert verdict.is_clean, str(verdict)
    assert verdict.end_tries == {1: 300}
    assert not verdict.duplicates
