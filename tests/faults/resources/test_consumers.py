"""The consumer deleted, changed, paused or used up while workers run; advisories that no stream keeps."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import Options
from trellis_nats.clock import to_nanoseconds
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.mill import Flour, GrainJob, Mill
from tests.faults.harness.scenario import scenario
from tests.faults.injection.streams import (
    CONSUMER,
    delete_stream,
    pause_consumer,
    replace_consumer,
)
from tests.support.eventually import eventually

JOBS: Final = 10_000
TIMES: Final = 5


@pytest.mark.timeout(240)
async def test_a_consumer_recreated_under_load_runs_nothing_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Everything that is in hand is delivered again at once, counted from 1."""
    async with scenario("consumer recreated", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, seconds=0.01, ends=("completed",)))
        for _ in range(TIMES):
            await asyncio.sleep(it.chance.uniform(0.3, 1.5))
            it.nemesis(
                "consumer recreated",
                LogEvent.CONSUMER_MISSING,
                LogEvent.CONSUMER_UNAVAILABLE,
                LogEvent.JOB_REDELIVERED_LIVE,
                LogEvent.ACK_NOT_CONFIRMED,
            )
            await replace_consumer(it.connection)
        await submitting
        it.note = f"{TIMES} times"
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": JOBS}
    assert verdict.end_tries == {1: JOBS}
    assert (verdict.duplicates, verdict.again) == (0, 0)


@pytest.mark.timeout(120)
async def test_a_consumer_that_comes_back_with_a_shorter_ack_wait_runs_nothing_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Heartbeats are then too rare, and the server redelivers running jobs to the other worker, which asks first."""
    async with scenario("ack wait shortened", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        await it.submit_many(400, seconds=0.5, ends=("completed",))
        it.nemesis("ack wait shortened", LogEvent.JOB_REDELIVERED_LIVE)
        await replace_consumer(it.connection, ack_wait=to_nanoseconds(timedelta(milliseconds=100)))
        verdict = await it.verdict()
        it.note = f"{verdict.again_delivered} delivered again"

    assert verdict.again_delivered > 0
    assert verdict.is_clean, str(verdict)
    assert (verdict.duplicates, verdict.again) == (0, 0)


async def test_a_consumer_that_comes_back_changed_is_named(nats_server: NatsServer, tmp_path: Path) -> None:
    async with scenario("consumer changed", nats_server.url, tmp_path) as it:
        (worker,) = await it.crew.hire()
        await replace_consumer(it.connection, max_deliver=1)
        await eventually(lambda: CONSUMER in worker.log.read_text(), within=timedelta(seconds=3))


@pytest.mark.timeout(120)
async def test_a_pause_is_reported_as_the_reason_and_ends_with_every_job_done(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("consumer paused", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)  # a worker that is hired into a pause is not ready before its end
        async with Mill.connect(nats_server.url, options=Options(health_listen=None)) as watcher:

            @watcher.jobs.grind.handle
            async def grind(job: GrainJob) -> Flour:
                return Flour(tries=job.tries)

            await watcher.start()
            await pause_consumer(it.connection, timedelta(minutes=1))

            async def says_so() -> bool:
                checks = (await watcher.health.report()).checks
                return any("paused" in (check.error or "") for check in checks)

            await eventually(says_so, within=timedelta(seconds=15))
        await it.submit_many(1000, ends=("completed",))
        await pause_consumer(it.connection, timedelta(0))
        verdict = await it.verdict()

    assert verdict.is_quiet, str(verdict)


@pytest.mark.timeout(120)
async def test_jobs_end_as_dead_where_no_stream_keeps_advisories(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("JOBS_ADVISORIES missing", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        await delete_stream(it.connection, "JOBS_ADVISORIES")
        await it.submit_many(1000, raises=3, ends=("completed",))
        await it.submit_many(100, raises=99, ends=("dead",))
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": 1000, "dead": 100}
    assert verdict.end_tries == {4: 1000, 30: 100}
    assert (verdict.duplicates, verdict.again) == (0, 0)
