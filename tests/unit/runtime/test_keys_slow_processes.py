"""No key stands still because a process is slow, or because a notification is lost, and slowness does not feed on itself."""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.slowdown import Slowdown

from tests.support.keyed_simulation import Pace, Process, Server, simulate
from tests.support.keyed_world import LEASE, policy

POLL = 1.0
"""Seconds between two checks of a key that a process waits for, without any notification."""
STEPS = 16
"""Messages between a process and the server from a free slot to a handler: several reads and writes, one of which is
refused because another process was faster."""
SEEDS = range(40 if "KEYED_HISTORIES" in os.environ else 12)
"""All 40 by `make faults`."""


@dataclass(frozen=True)
class Load:
    """What is submitted, and which processes work it."""

    keys: int
    jobs: int
    """Of each key."""
    seconds: float
    """How long each handler takes."""
    processes: int
    concurrency: int
    lease: timedelta = LEASE

    async def work(self, pace: Pace, *, seed: int = 1, within: float = 600.0) -> tuple[Server, float]:
        """Submit the jobs over a moment, and return when all have ended; fail if they have not within so many seconds."""
        limits = policy(max_queued=self.jobs, lease=self.lease, interval=self.lease / 3)
        server = Server(limits, pace, seed=seed)
        workers = [
            Process(server, f"p{number}", concurrency=self.concurrency) for number in range(self.processes)
        ]
        names = [(f"{key:064x}", f"{key}-{job}") for key in range(self.keys) for job in range(self.jobs)]
        server.chance.shuffle(names)
        for key, job in names:
            server.submit(JobKey(key, key), job, seconds=self.seconds)
            server.chance.choice(workers).pull()
            await asyncio.sleep(server.chance.uniform(0, 0.05))
        for worker in workers:
            worker.pull()
        async with asyncio.timeout(within):
            return server, await server.all_ended()


@pytest.mark.parametrize(
    "pace",
    [
        Pace(),
        Pace(step=0.01, notice=0.01, lost_notices=0.5),
        Pace(step=0.01, lost_notices=1),
        Pace(step=0.05, notice=5),
    ],
    ids=str,
)
def test_a_key_is_idle_for_one_check_at_most(pace: Pace) -> None:
    load = Load(keys=2, jobs=8, seconds=0.5, processes=3, concurrency=8)
    for seed in SEEDS:
        server, _ = simulate(partial(load.work, pace, seed=seed))

        slowest_check = (
            9 * 4 * pace.step
        )  # the pause is nine times as long as the two reads and their answers
        assert server.longest_idle <= max(POLL, slowest_check) + STEPS * pace.step, f"seed {seed}"
        assert server.most_active == 1, f"seed {seed}"


def test_an_overloaded_machine_works_off_its_jobs() -> None:
    """Jobs arrive at 1.3 times the rate that the processor can work. Unless the processes slow down, each slot is lost
    before its attempt begins, and no job ever ends."""
    load = Load(keys=100, jobs=5, seconds=0.03, processes=4, concurrency=24, lease=timedelta(seconds=2))

    server, seconds = simulate(lambda: load.work(Pace(step=0.002, notice=0.002, work=0.003), within=200))

    assert seconds <= 4 * (11 * 0.003) * load.keys * load.jobs  # eleven steps for each job
    assert server.most_active == 1


def test_checks_of_waiting_keys_leave_the_processor_to_the_jobs() -> None:
    """Three processes wait for each of 50 keys for a minute."""
    load = Load(keys=50, jobs=3, seconds=20, processes=3, concurrency=100, lease=timedelta(seconds=30))

    server, _ = simulate(lambda: load.work(Pace(work=0.005)))

    assert server.steps <= 60 * load.keys * load.jobs


def test_the_pause_of_a_slow_process_doubles_up_to_a_limit_and_shrinks_with_each_slot_in_time() -> None:
    slowdown = Slowdown(timedelta(seconds=2))

    assert [slowdown.on_too_late().total_seconds() for _ in range(7)] == [2, 4, 8, 16, 30, 30, 30]
    slowdown.on_in_time()
    assert slowdown.on_too_late() == timedelta(seconds=16)
    for _ in range(9):
        slowdown.on_in_time()
    assert slowdown.on_too_late() == timedelta(seconds=2)
    assert Slowdown(timedelta(minutes=5)).on_too_late() == timedelta(seconds=30)
