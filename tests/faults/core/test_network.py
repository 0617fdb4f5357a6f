"""The network between workers and server is cut, stalls, or loses the server's answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.faults.harness.dump import created_event
from tests.faults.harness.history import What
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.wiretap import Step, Wiretap, acked_too_early
from tests.support.eventually import eventually
from tests.support.proxy import Direction

JOBS: Final = 10_000
WORKERS: Final = 3
CUTS: Final = 30
STALLS: Final = 3
STALLED_FOR: Final = 8.0
"""Seconds: longer than the ack wait of 2 s, the 2 s that a question to another worker may take, and the 6 s after which
a worker misses the server's heartbeats."""
LOST: Final = 20
"""Answers of each kind that are lost."""


@asynccontextmanager
async def tapped(
    name: str, server: NatsServer, folder: Path, *, request_timeout: float = 5
) -> AsyncGenerator[tuple[Scenario, list[Wiretap]]]:
    """Run a scenario whose workers each have a tap of their own."""
    async with AsyncExitStack() as stack:
        taps = [await stack.enter_async_context(Wiretap(server.port)) for _ in range(WORKERS)]
        it = await stack.enter_async_context(
            scenario(name, server.url, folder, request_timeout=request_timeout)
        )
        for tap in taps:
            await it.crew.hire(url=tap.url)
        yield it, taps
        assert [job for tap in taps for job in acked_too_early(tap.seen)] == []


async def test_connections_that_are_reset_again_and_again(nats_server: NatsServer, tmp_path: Path) -> None:
    async with tapped("connections reset", nats_server, tmp_path) as (it, taps):
        submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, pause=0.02, ends=("completed",)))
        for _ in range(CUTS):
            await asyncio.sleep(it.chance.uniform(0.05, 0.6))
            it.nemesis("reset", LogEvent.CONNECTION_LOST)
            it.chance.choice(taps).cut()
        it.note = f"{CUTS} resets, seed {it.seed}"
        await submitting
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS
    assert verdict.duplicates == 0, "a worker whose link was reset is alive, and says so when asked"


@pytest.mark.parametrize("directions", [(), ("to_server",), ("to_client",)], ids=["both", "up", "down"])
async def test_connections_that_stall_longer_than_the_ack_wait(
    nats_server: NatsServer, tmp_path: Path, directions: tuple[Direction, ...]
) -> None:
    """The stalled worker cannot be asked and counts as dead; what it writes afterwards is refused."""
    name = f"connections stalled {' '.join(directions) or 'both ways'}"
    async with tapped(name, nats_server, tmp_path) as (it, taps):
        submitting = asyncio.create_task(
            it.submit_many(JOBS, at_once=100, pause=0.3, seconds=0.02, ends=("completed",))
        )
        for _ in range(STALLS):
            at = it.chance.randrange(len(taps))
            it.history.write(What.CUT_OFF, pid=it.crew.workers[at].pid)
            it.nemesis("stall", LogEvent.CONSUMER_SILENT, LogEvent.WRITE_REPEATED)
            taps[at].blackhole(*directions)
            await asyncio.sleep(STALLED_FOR)
            taps[at].heal()
            it.history.write(What.BACK, pid=it.crew.workers[at].pid)
            await asyncio.sleep(1)
        it.note = f"{STALLS} times {STALLED_FOR:g} s, seed {it.seed}"
        await submitting
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS


@pytest.mark.parametrize("step", [Step.STARTED_STORED, Step.OUTCOME_STORED, Step.ACK_CONFIRMED])
async def test_answers_that_are_lost_after_the_server_did_what_it_was_asked(
    nats_server: NatsServer, tmp_path: Path, step: Step
) -> None:
    async with tapped(f"answer lost: {step}", nats_server, tmp_path, request_timeout=1) as (it, taps):
        it.nemesis(
            "answers lost",
            LogEvent.ACK_NOT_CONFIRMED if step is Step.ACK_CONFIRMED else LogEvent.WRITE_REPEATED,
            within=120,
        )
        for tap in taps:
            for _ in range(LOST // len(taps) + 1):
                tap.drop(step, skip=it.chance.randrange(300))
        await it.submit_many(JOBS, at_once=10, ends=("completed",))
        lost = sum(not each.forwarded for tap in taps for each in tap.seen)
        it.note = f"{lost} lost, seed {it.seed}"
        if step is Step.ACK_CONFIRMED:  # that is missed after 5 s, and all may be over by then
            await eventually(lambda: "is not confirmed yet" in it.crew.logs(), within=timedelta(seconds=10))
        verdict = await it.verdict()

    assert lost > LOST / 2
    assert verdict.is_clean, str(verdict)
    assert verdict.end_tries == {1: JOBS}
    assert (verdict.duplicates, verdict.again) == (0, 0)


async def test_the_answer_to_a_creation_is_lost(nats_server: NatsServer, tmp_path: Path) -> None:
    """The creation is repeated under the same id: the job exists once, and `create` says so."""
    signals = LogSignals()
    async with (
        Wiretap(nats_server.port) as tap,
        scenario("answer lost: created stored", tap.url, tmp_path, work_url=nats_server.url) as it,
    ):
        await it.crew.hire(2)
        for _ in range(LOST):
            tap.drop(Step.CREATED_STORED, skip=it.chance.randrange(1_000))
        with signals:
            await it.submit_many(JOBS, at_once=100, ends=("completed",))
        lost = sum(not each.forwarded for each in tap.seen)
        it.note = f"{lost} lost, seed {it.seed}"
        verdict = await it.verdict()
        assert not tap.waits

    assert verdict.is_quiet, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS
    assert len(signals.of(LogEvent.WRITE_REPEATED)) >= lost > LOST / 2, "every repeat is logged"


async def test_messages_that_are_delivered_twice(nats_server: NatsServer, tmp_path: Path) -> None:
    """While the job waits, while it runs, and after it ended."""
    async with scenario("delivered twice", nats_server.url, tmp_path) as it:
        await it.crew.hire(2, concurrency=5)

        async def one() -> None:
            ref = await it.submit(seconds=it.chance.uniform(0, 0.02), ends=("completed",))
            assert ref is not None
            created = await created_event(it.connection, it.queue, ref.id)
            for _ in range(2):
                await asyncio.sleep(it.chance.uniform(0, 0.1))
                await publish_acked(it.connection, f"trellis.work.mill.{it.queue}", created)

        for _ in range(JOBS // 100):
            await asyncio.gather(*(one() for _ in range(100)))
        it.note = f"{2 * JOBS} messages too many, seed {it.seed}"
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert len(verdict.runs) == verdict.accepted == JOBS
