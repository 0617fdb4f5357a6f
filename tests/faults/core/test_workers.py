"""Worker processes are killed, frozen and stopped under load."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.crew import WorkerProcess
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.wiretap import Step, Wiretap, acked_too_early

JOBS: Final = 10_000
WORKERS: Final = 3
STEPS: Final = (
    *(Step.DELIVERED, Step.STARTED_SENT, Step.STARTED_STORED, Step.OUTCOME_SENT, Step.OUTCOME_STORED),
    *(Step.ACK_SENT, Step.ACK_CONFIRMED),
)
ROUNDS: Final = 3
"""Kills at each step."""
RANDOM_KILLS: Final = 20
FREEZES: Final = 6
FROZEN_FOR: Final = 5.0
"""Seconds: longer than the ack wait of 2 s and the 2 s that a question to another worker may take."""
STOPS: Final = 15
LONG: Final = 600
"""Seconds: longer than a scenario. Its faults are asked for once for all, because not each finds a job in a hand."""


async def test_without_a_fault_nothing_happens_twice(nats_server: NatsServer, tmp_path: Path) -> None:
    """And by the wire, no message is acknowledged before its outcome is known to be stored."""
    async with (
        Wiretap(nats_server.port) as tap,
        scenario("no fault, 3 workers", nats_server.url, tmp_path) as it,
    ):
        await it.crew.hire(2)
        await it.crew.hire(url=tap.url)
        await it.submit_many(JOBS, ends=("completed",))
        verdict = await it.verdict()
        stored = sum(passage.step is Step.OUTCOME_STORED for passage in tap.seen)
        early = acked_too_early(tap.seen)

    assert verdict.is_quiet, str(verdict)
    assert verdict.end_tries == {1: JOBS}
    assert stored > 0
    assert early == []


@dataclass
class Post:
    """A place for a worker behind a tap of its own."""

    tap: Wiretap
    worker: WorkerProcess

    def kill(self) -> bool:
        self.worker.kill()
        return False


async def posts(it: Scenario, stack: AsyncExitStack, port: int) -> list[Post]:
    taps = [await stack.enter_async_context(Wiretap(port)) for _ in range(WORKERS)]
    return [Post(tap, (await it.crew.hire(url=tap.url))[0]) for tap in taps]


async def submit_until(enough: asyncio.Event, it: Scenario) -> None:
    """However slow the machine is, no kill waits for a job."""
    while len(it.refs) < JOBS or not enough.is_set():
        await it.submit_many(200, at_once=20, pause=0.05, ends=("completed",))


async def test_workers_killed_at_every_step_under_load(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        scenario("workers killed at every step", nats_server.url, tmp_path) as it,
        AsyncExitStack() as stack,
    ):
        at = await posts(it, stack, nats_server.port)
        enough = asyncio.Event()
        submitting = asyncio.create_task(submit_until(enough, it))
        killed = 0
        it.nemesis("kills", LogEvent.JOB_REDELIVERED_LOST, within=LONG)
        for step in STEPS * ROUNDS:
            post = it.chance.choice(at)
            post.tap.at(step, post.kill, skip=it.chance.randrange(100))
            async with asyncio.timeout(30):
                await post.worker.ended()
            killed += 1
            it.crew.workers.remove(post.worker)
            (post.worker,) = await it.crew.hire(url=post.tap.url)
        it.note = f"{killed} kills, seed {it.seed}"
        enough.set()
        await submitting
        verdict = await it.verdict()
        early = [job for post in at for job in acked_too_early(post.tap.seen)]

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal >= JOBS
    assert early == []


async def test_workers_killed_at_random_moments(nats_server: NatsServer, tmp_path: Path) -> None:
    async with scenario("workers killed at random", nats_server.url, tmp_path) as it:
        await it.crew.hire(WORKERS)
        submitting = asyncio.create_task(
            it.submit_many(JOBS, at_once=20, pause=0.04, seconds=0.002, ends=("completed",))
        )
        it.nemesis("kills", LogEvent.JOB_REDELIVERED_LOST, within=LONG)
        for _ in range(RANDOM_KILLS):
            await asyncio.sleep(it.chance.uniform(0, 0.5))
            await it.crew.replace(it.chance.choice(it.crew.workers))
        it.note = f"{RANDOM_KILLS} kills, seed {it.seed}"
        await submitting
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS


async def test_workers_that_stand_still_longer_than_the_ack_wait(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Their jobs are taken over; what they write when they wake is refused."""
    async with scenario("workers frozen by SIGSTOP", nats_server.url, tmp_path) as it:
        await it.crew.hire(WORKERS)
        submitting = asyncio.create_task(
            it.submit_many(JOBS, at_once=150, pause=0.5, seconds=0.1, ends=("completed",))
        )
        it.nemesis("freezes", LogEvent.JOB_SUPERSEDED, within=LONG)
        it.nemesis("freezes", LogEvent.JOB_REDELIVERED_LOST, within=LONG)
        for _ in range(FREEZES):
            victim = it.chance.choice(it.crew.workers)
            await asyncio.sleep(it.chance.uniform(0, 0.5))
            victim.freeze()
            await asyncio.sleep(FROZEN_FOR)
            victim.thaw()
        it.note = f"{FREEZES} times {FROZEN_FOR} s, seed {it.seed}"
        await submitting
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS
    assert verdict.cut_off_overlaps > 0, "otherwise nothing was refused"


@pytest.mark.parametrize("second", [None, signal.SIGTERM, signal.SIGINT])
async def test_workers_stopped_at_random_moments_use_up_no_attempt(
    nats_server: NatsServer, tmp_path: Path, second: signal.Signals | None
) -> None:
    """As by deploys, some of them impatient. Handlers are cut short by the grace."""
    name = "workers stopped by SIGTERM" + ("" if second is None else f" and {second.name}")
    async with scenario(name, nats_server.url, tmp_path, grace=0.05) as it:
        await it.crew.hire(WORKERS)
        submitting = asyncio.create_task(
            it.submit_many(JOBS, at_once=100, pause=0.2, seconds=0.1, ends=("completed",))
        )
        it.nemesis("stops", LogEvent.JOB_RELEASED, within=LONG)
        codes: list[int] = []
        for _ in range(STOPS):
            await asyncio.sleep(it.chance.uniform(0, 0.4))
            victim = it.chance.choice(it.crew.workers)
            victim.terminate()
            if second is not None:
                await asyncio.sleep(it.chance.uniform(0, 0.3))
                victim.terminate(second)
            codes.append(await victim.ended())
            it.crew.workers.remove(victim)
            await it.crew.hire()
        it.note = f"{STOPS} stops, seed {it.seed}"
        await submitting
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.end_tries == {1: JOBS}, "a stop uses up no attempt"
    assert verdict.duplicates == 0
    assert codes == [0] * STOPS


async def test_a_job_of_a_stopped_worker_is_taken_within_a_second(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario(
        "work goes over at SIGTERM", nats_server.url, tmp_path, queue="brief", grace=0.05
    ) as it:
        (first,) = await it.crew.hire(concurrency=1)
        ref = await it.submit(seconds=4, ends=("completed",))
        await it.entered(ref)
        await it.crew.hire(concurrency=1)
        await it.crew.dismiss(first)
        verdict = await it.verdict(within=timedelta(seconds=20))

    assert verdict.is_clean, str(verdict)
    interrupted, taken = verdict.runs
    assert (interrupted.how, taken.how) == ("interrupted", "returned")
    assert taken.enter - interrupted.end < 1_000_000_000
