"""100,000 delayed jobs hold nothing up, and none is lost, early or run twice, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_stream_info
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.dump import number_at
from tests.faults.harness.handlings import Handling
from tests.faults.harness.history import What, read_history
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.servers import leader_of
from tests.support.cluster import running_cluster
from tests.support.eventually import eventually

DELAYED: Final = 100_000
HELD: Final = timedelta(seconds=60)
"""A job that waits no longer than this holds a delivery."""
DELAY_LONGEST: Final = timedelta(minutes=8)
CANCELLED: Final = 200
KILLS: Final = 6
"""Of workers while jobs are parked, and as many while they are due."""
IN_CLUSTER: Final = 3_000
CLUSTER_DELAY: Final = timedelta(seconds=90)
LONG: Final = 1_500
DUE_JOB_WITHIN: Final = timedelta(seconds=60)
"""A job without a delay, also one that was created while the server restarts: less than the jobs that wait have left."""
DUE_WITHIN: Final = timedelta(minutes=10)
"""The handlers of 100,000 jobs on a busy machine."""


async def submit_delayed(it: Scenario, count: int, delay: timedelta) -> dict[str, float]:
    """Create jobs in batches. Return before which monotonic time each must not begin."""
    due: dict[str, float] = {}
    for number in range(0, count, 1_000):
        earliest = time.monotonic() + delay.total_seconds()
        for ref in await it.submit_batch(
            min(1_000, count - number), delay=delay, ends=("completed", "cancelled")
        ):
            due[ref.id] = earliest
    return due


async def measured_delay(it: Scenario) -> timedelta:
    """Return a delay by which the machine has parked the jobs: parking costs about as much as running one."""
    began = time.monotonic()
    await it.submit_batch(1_000, ends=("completed",))
    for ref in it.refs:
        await ref.wait(timeout=HELD)
    needed = timedelta(seconds=(time.monotonic() - began) * DELAYED / 1_000)
    return min(HELD + timedelta(seconds=30) + needed, DELAY_LONGEST)


async def count_messages(connection: Connection, stream: str) -> int:
    info = await get_stream_info(connection, stream)
    assert info is not None
    return number_at(info, "state", "messages")


async def is_parked(it: Scenario, count: int) -> bool:
    return await count_messages(it.connection, "JOBS_DELAYED") >= count


async def have_begun(it: Scenario, count: int) -> bool:
    return await count_messages(it.connection, "JOBS_DELAYED") < count


async def holds_no_delivery(it: Scenario) -> bool:
    """Return whether every delivery is acknowledged: the last due job's is, a moment after its result."""
    info = await get_consumer_info(it.connection, "JOBS_WORK", "mill__grind")
    return info is not None and info.ack_pending == 0


async def run_due_job(it: Scenario) -> float:
    """Run a job without a delay, next to those that wait for minutes; return how many seconds that took."""
    began = time.monotonic()
    submitted = await it.submit(ends=("completed",))
    assert submitted is not None
    await submitted.result(timeout=DUE_JOB_WITHIN)
    return time.monotonic() - began


def early(it: Scenario, due: dict[str, float]) -> list[str]:
    """Return the jobs whose handler began before they were due, by more than the clocks may differ."""
    return [
        entry.job
        for entry in read_history(it.history.path)
        if entry.what is What.ENTER and entry.at / 1e9 < due.get(entry.job, 0) - 0.05
    ]


def repeated_without_a_kill(it: Scenario, runs: Sequence[Handling]) -> list[str]:
    """Return the jobs that ran again, although no process of an earlier run was killed: it could store its outcome."""
    killed = {entry.pid for entry in read_history(it.history.path) if entry.what is What.KILLED}
    newest: dict[str, Handling] = {}
    repeated: list[str] = []
    for run in runs:
        earlier = newest.get(run.job)
        if earlier is not None and earlier.pid not in killed:
            repeated.append(run.job)
        newest[run.job] = run
    return repeated


async def kill_workers(it: Scenario, times: int) -> None:
    for _ in range(times):
        await it.crew.replace(it.chance.choice(it.crew.workers))
        await asyncio.sleep(it.chance.uniform(0.5, 2))


@pytest.mark.timeout(LONG)
async def test_a_hundred_thousand_delayed_jobs_next_to_due_ones(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario(
        "100,000 delayed jobs; kills of workers and the server",
        nats_server.url,
        tmp_path,
        rescue_every=5,
        lost_after=20,
        lease=3,
    ) as it:
        await it.crew.hire(3)
        delay = await measured_delay(it)
        due = await submit_delayed(it, DELAYED, delay)
        await kill_workers(it, KILLS)
        for ref in it.refs[-CANCELLED:]:
            assert await it.cancel(ref)
        await eventually(lambda: is_parked(it, DELAYED - CANCELLED), within=delay)

        it.nemesis("server SIGKILL", LogEvent.CONNECTION_LOST)
        await asyncio.to_thread(nats_server.kill)
        await asyncio.to_thread(nats_server.start)
        taken = [await run_due_job(it) for _ in range(200)]
        await eventually(lambda: holds_no_delivery(it))
        await eventually(lambda: have_begun(it, DELAYED - CANCELLED), within=delay)
        await kill_workers(it, KILLS)
        it.note = (
            f"{2 * KILLS} worker kills, 1 server kill; due jobs: the first one after the restart {taken[0]:.2f} s, "
            f"the slowest other one {max(taken[1:]):.2f} s, seed {it.seed}"
        )
        verdict = await it.verdict(DUE_WITHIN)
        left = await count_messages(it.connection, "JOBS_DELAYED")
        began_early = early(it, due)
        repeated = repeated_without_a_kill(it, verdict.runs)

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": DELAYED + 1_200 - CANCELLED, "cancelled": CANCELLED}
    assert repeated == []
    assert began_early == []
    assert left == 0


@pytest.mark.timeout(LONG)
async def test_delayed_jobs_in_a_cluster_that_loses_the_leader_of_their_stream(tmp_path: Path) -> None:
    async with (
        running_cluster() as cluster,
        scenario("3,000 delayed jobs; leader of JOBS_DELAYED killed", cluster.url, tmp_path) as it,
    ):
        await it.crew.hire(2)
        due = await submit_delayed(it, IN_CLUSTER, CLUSTER_DELAY)
        await eventually(lambda: is_parked(it, IN_CLUSTER), within=CLUSTER_DELAY)
        for _ in range(2):
            leader = await leader_of(it.connection, "JOBS_DELAYED")
            it.nemesis("leader of JOBS_DELAYED SIGKILL")
            await asyncio.to_thread(cluster.servers[leader].kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(cluster.servers[leader].start)
            await asyncio.sleep(5)
        verdict = await it.verdict(DUE_WITHIN)
        left = await count_messages(it.connection, "JOBS_DELAYED")
        began_early = early(it, due)

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": IN_CLUSTER}
    assert verdict.duplicates == 0
    assert began_early == []
    assert left == 0
