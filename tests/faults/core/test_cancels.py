"""A job is cancelled at every moment of its life. It ends once, and the caller learns how."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.scenario import scenario
from tests.faults.harness.wiretap import Step, Wiretap

JOBS: Final = 10_000
LASTS: Final = 0.01
"""Seconds that a handler takes."""
LONG: Final = 120
"""Seconds."""
EITHER: Final = ("completed", "cancelled")


async def test_cancelled_at_any_moment(nats_server: NatsServer, tmp_path: Path) -> None:
    """From before it is visible to the moment of its completion, by two who ask at the same time."""
    async with scenario("cancelled at any moment", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        it.nemesis("cancellations", LogEvent.JOB_CANCELLED, within=LONG)
        answers: list[tuple[bool | None, bool | None]] = []

        async def one() -> None:
            ref = await it.submit(seconds=LASTS, ends=EITHER)
            assert ref is not None
            await asyncio.sleep(it.chance.choice([0, it.chance.uniform(0, 0.1), it.chance.gauss(0.03, 0.01)]))
            answers.append(await asyncio.gather(it.cancel(ref), it.cancel(ref)))

        for _ in range(JOBS // 50):
            await asyncio.gather(*(one() for _ in range(50)))
        it.note = f"seed {it.seed}"
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert all(first is second for first, second in answers), "both receive the same"
    assert verdict.ends["cancelled"] == sum(first is True for first, _ in answers)
    assert min(verdict.ends[each] for each in EITHER) > JOBS / 20, (
        "both happened often enough to mean something"
    )


async def test_cancelled_between_delivery_and_start(nats_server: NatsServer, tmp_path: Path) -> None:
    """The `started` event is lost on its way, and meanwhile the job is cancelled: it never runs."""
    async with (
        Wiretap(nats_server.port) as tap,
        scenario("cancelled before its start", nats_server.url, tmp_path, request_timeout=1) as it,
    ):
        await it.crew.hire(url=tap.url)
        for _ in range(5):
            lost = asyncio.Event()

            def lose(lost: asyncio.Event = lost) -> bool:
                lost.set()
                return False

            tap.at(Step.STARTED_SENT, lose)
            ref = await it.submit(ends=("cancelled",))
            assert ref is not None
            await lost.wait()
            assert await it.cancel(ref)
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.runs == ()


async def test_cancelled_while_it_waits_for_its_time(nats_server: NatsServer, tmp_path: Path) -> None:
    """Cancelled while delayed, it never runs; the work message of each is acknowledged."""
    async with scenario("cancelled while delayed", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        refs = [await it.submit(delay=timedelta(seconds=1), ends=("cancelled",)) for _ in range(200)]
        assert all(await asyncio.gather(*(it.cancel(ref) for ref in refs if ref is not None)))
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.runs == ()
