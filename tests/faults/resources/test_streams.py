"""Streams purged, recreated, detached, sealed and deleted under load: accepted jobs are done, and done once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats._nats.jetstream.streams import create_stream
from trellis_nats.clock import to_nanoseconds
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.checker import Verdict
from tests.faults.harness.history import What, read_history
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.signs import silent
from tests.faults.injection.streams import (
    attach_work,
    change_stream,
    count_work_messages,
    delete_stream,
    detach_work,
    purge_work,
    recreate_work,
    stream_config,
)
from tests.support.eventually import eventually

JOBS: Final = 10_000
FAULTS: Final = 8
SOON: Final = 1
"""Seconds after which a job without a message is lost, and between two searches."""


async def under_load(
    it: Scenario, fault: Callable[[], Awaitable[object]], *seen: LogEvent, times: int = FAULTS
) -> None:
    """Submit all jobs, and inject the fault again and again meanwhile; each time it is seen by one of the signs."""
    submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, ends=("completed",)))
    for _ in range(times):
        # A worker writes one line of a kind in a second: faults that follow each other faster would share it.
        await asyncio.sleep(it.chance.uniform(1.1, 1.6))
        it.nemesis(it.name, *seen)
        await fault()
    await submitting


def kept(verdict: Verdict, again: int = 0) -> None:
    """Say that every promise was kept: no handler that had returned was called again."""
    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal
    assert (verdict.duplicates, verdict.again) == (0, again), str(verdict)


@pytest.mark.timeout(240)
async def test_work_that_is_purged_under_load_is_done(nats_server: NatsServer, tmp_path: Path) -> None:
    purged = 0
    async with scenario(
        "JOBS_WORK purged", nats_server.url, tmp_path, rescue_every=SOON, lost_after=SOON, lease=3
    ) as it:
        # What is lost twice within the duplicate window, two minutes, is enqueued again only after it.
        await change_stream(it.connection, "JOBS_WORK", duplicate_window=to_nanoseconds(timedelta(seconds=1)))
        await it.crew.hire(2, concurrency=5)

        async def purge() -> None:
            nonlocal purged
            purged += await purge_work(it.connection)

        await it.submit_many(1000, at_once=100, seconds=0.02, ends=("completed",))
        await under_load(it, purge, LogEvent.JOB_RESCUED)
        it.note = f"{purged} messages purged"
        verdict = await it.verdict()

    assert purged > 0
    kept(verdict)


@pytest.mark.timeout(240)
async def test_work_streams_recreated_under_load_run_nothing_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The server replays every job that ever was, each time."""
    async with scenario(
        "JOBS_WORK recreated", nats_server.url, tmp_path, rescue_every=SOON, lost_after=SOON, lease=3
    ) as it:
        await it.crew.hire(2)
        seen = (LogEvent.CONSUMER_MISSING, LogEvent.CONSUMER_UNAVAILABLE)
        await under_load(it, lambda: recreate_work(it.connection), *seen, times=4)
        verdict = await it.verdict(timedelta(seconds=90))
        it.note = "4 times"

    kept(verdict)


@pytest.mark.timeout(240)
async def test_a_source_that_is_detached_and_attached_loses_nothing(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Attached again while the work stream is empty, the server goes on by time and skips what it had not copied."""
    async with scenario(
        "source detached", nats_server.url, tmp_path, rescue_every=SOON, lost_after=SOON, lease=3
    ) as it:
        await it.crew.hire(2)

        async def off_and_on() -> None:
            sources = await detach_work(it.connection)
            await asyncio.sleep(it.chance.uniform(0.05, 0.3))
            await attach_work(it.connection, sources)

        await under_load(it, off_and_on)  # no worker notices it where nothing was lost
        verdict = await it.verdict()
        rescued = sum(
            entry.text("event_name") == LogEvent.JOB_RESCUED
            for entry in read_history(it.history.path)
            if entry.what is What.LOGGED
        )
        it.note = f"{FAULTS} times"
        print(f"rescued jobs that were logged: {rescued}")  # noqa: T201 - the count is the point

    kept(verdict)


@pytest.mark.timeout(240)
async def test_a_sealed_history_takes_no_job_and_no_end(nats_server: NatsServer, tmp_path: Path) -> None:
    """A seal cannot be taken off, so the stream is filled to its brim instead, by its own limit, and freed again."""
    async with scenario(
        "JOBS takes nothing for 4 s",
        nats_server.url,
        tmp_path,
        rescue_every=SOON,
        lost_after=SOON,
        lease=3,
    ) as it:
        await it.crew.hire(2, request_timeout=1)

        async def closed() -> None:
            slow = await it.submit(seconds=1.5, ends=("completed",))
            await it.entered(slow)  # so that there is an end to be held, and a line about it
            free = (await stream_config(it.connection, "JOBS"))["max_msgs"]
            await change_stream(it.connection, "JOBS", max_msgs=1, discard="new")
            await asyncio.sleep(2)
            await change_stream(it.connection, "JOBS", max_msgs=free, discard="old")

        await under_load(it, closed, LogEvent.OUTCOME_NOT_STORED, LogEvent.JOB_RETURNED, times=2)
        verdict = await it.verdict()

    kept(verdict)


async def test_nothing_is_acknowledged_without_an_outcome_once_the_history_is_deleted(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The jobs that run then stay in hand: their messages are there until their ends are stored."""
    async with scenario("JOBS deleted", nats_server.url, tmp_path, request_timeout=1) as it:
        await it.crew.hire(concurrency=20)
        for _ in range(20):
            await it.submit(seconds=1)

        async def all_run() -> bool:
            return it.history.path.read_text().count('"enter"') == 20

        await eventually(all_run)
        it.nemesis("JOBS deleted", LogEvent.OUTCOME_NOT_STORED)
        config = await delete_stream(it.connection, "JOBS")
        await asyncio.sleep(3)
        left = await count_work_messages(it.connection)
        await create_stream(it.connection, config)
        history = read_history(it.history.path)

    returned = sum(each.text("how") == "returned" for each in history)
    assert silent(history) == []
    assert returned == 20
    assert left == 20, "an acknowledged job has its end stored"
