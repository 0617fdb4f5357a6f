"""Handlers that return while the server is away: their outcomes are held, and no other worker may run the jobs again."""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.history import What, read_history
from tests.faults.harness.scenario import scenario
from tests.support.eventually import eventually

ROUNDS: Final = 6
JOBS: Final = 40
"""In each round: as many as both workers can run at a time."""
AWAY: Final = 3.0
"""Seconds: longer than the handlers run, and than the ack wait of two seconds."""


@pytest.mark.timeout(180)
async def test_what_returned_during_an_outage_is_not_run_again_by_the_first_to_reconnect(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("outcomes held in an outage", nats_server.url, tmp_path, request_timeout=1) as it:
        await it.crew.hire(2)
        for number in range(1, ROUNDS + 1):
            await it.submit_many(JOBS, seconds=1, ends=("completed",))

            def all_run(begun: int = number * JOBS) -> bool:
                said = read_history(it.history.path)
                return sum(each.what is What.ENTER for each in said) >= begun

            await eventually(all_run)
            it.nemesis("server killed", LogEvent.CONNECTION_LOST)
            nats_server.kill()
            await asyncio.sleep(AWAY)
            await asyncio.to_thread(nats_server.start)
            await it.drained()
        it.note = f"{ROUNDS} outages of {AWAY:g} s"
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.duplicates == 0
