"""A full store: creating jobs fails with an error, running jobs continue, and everything accepted is done later."""

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import TransportError
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.history import What, read_history
from tests.faults.harness.mill import Grain
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.injection.storage import filled, is_root, mounted_memory, storing_in
from tests.faults.injection.streams import change_stream
from tests.support.eventually import eventually

RUNNING: Final = 40
"""Jobs that run when the store becomes full."""
BEFORE: Final = 2_000
MIB: Final = 2**20
FULL_FOR: Final = 4.0
"""Seconds, longer than the handlers run."""


async def refused(it: Scenario) -> bool:
    """Return whether a new job is refused with an error of NATS."""
    try:
        await it.mill.jobs.grind.create(Grain(number=0))
    except TransportError:
        return True
    return False


async def with_jobs_under_way(it: Scenario) -> None:
    """Have jobs that run, each of them for two seconds, and wait until they do."""
    await it.crew.hire(2, request_timeout=1)
    await it.submit_many(BEFORE, ends=("completed",))
    await it.drained()
    await it.submit_many(RUNNING, seconds=2, ends=("completed",))

    def run() -> bool:
        said = read_history(it.history.path)
        return sum(each.what is What.ENTER for each in said) == BEFORE + RUNNING

    await eventually(run)


async def held(it: Scenario) -> None:
    """Be without room until every handler has returned, and a while longer; see that nothing is taken."""
    assert await refused(it)
    await it.submit_many(50, at_once=10)
    await asyncio.sleep(FULL_FOR)
    assert await refused(it)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("limit", ["max_bytes", "max_msgs"])
async def test_a_history_at_its_limit_holds_what_runs(
    limit: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario(f"JOBS full by {limit}", nats_server.url, tmp_path) as it:
        await with_jobs_under_way(it)
        it.nemesis(f"{limit} reached", LogEvent.OUTCOME_NOT_STORED)
        closed: dict[str, JsonValue] = {limit: 1, "discard": "new"}
        await change_stream(it.connection, "JOBS", **closed)
        await held(it)
        opened: dict[str, JsonValue] = {limit: -1, "discard": "old"}
        await change_stream(it.connection, "JOBS", **opened)
        await it.submit_many(100, ends=("completed",))
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == BEFORE + RUNNING + 100
    assert verdict.end_tries == {1: verdict.accepted}
    assert (verdict.duplicates, verdict.again) == (0, 0)


@pytest.mark.timeout(180)
async def test_an_account_without_room_tells_and_goes_on_when_it_has_some(tmp_path: Path) -> None:
    """The server itself may store 4 MiB; room is made by purging what ended."""
    with storing_in(tmp_path / "store", limits=f"max_file_store: {4 * MIB}") as server:
        async with scenario(
            "max_file_store reached", server.url, tmp_path, rescue_every=1, lost_after=1
        ) as it:
            await it.crew.hire(2, request_timeout=1)
            it.nemesis(
                "the account becomes full", LogEvent.OUTCOME_NOT_STORED, LogEvent.JOB_RETURNED, within=120
            )
            submitted = 0
            while submitted < 20_000:
                await it.submit_many(500, at_once=20, ends=("completed",))
                submitted += 500
                if len(it.refs) < submitted:
                    break
            accepted = len(it.refs)
            it.note = f"full after {accepted} accepted"
            assert accepted < submitted, "it became full"
            assert server.is_running
            await asyncio.to_thread(server.terminate)
            with_room = server.store / "server.conf"
            assert with_room.exists()
            server._config = server._config.replace(str(4 * MIB), str(64 * MIB))  # pyright: ignore[reportPrivateUsage] - only this test grows a server
            await asyncio.to_thread(server.start)
            await it.submit_many(200, ends=("completed",))
            verdict = await it.verdict(timedelta(seconds=90))

    assert verdict.is_clean, str(verdict)
    assert verdict.accepted == accepted + 200


@pytest.mark.timeout(180)
@pytest.mark.skipif(not is_root(), reason="needs root, to mount a small file system")
async def test_a_disk_without_a_free_byte_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """After a write failed, a server takes nothing more into that stream until it is started again."""
    try:
        mounting = mounted_memory(tmp_path / "memory", mebibytes=32)
        folder = mounting.__enter__()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"nothing can be mounted: {error.stderr}")
    server = storing_in(folder / "js", limits="max_file_store: 1GB")
    server.start()
    try:
        async with scenario("ENOSPC", server.url, tmp_path, rescue_every=1, lost_after=1) as it:
            await with_jobs_under_way(it)
            with filled(folder):
                it.nemesis("disk full", LogEvent.OUTCOME_NOT_STORED, LogEvent.JOB_RETURNED)
                submitting = asyncio.create_task(it.submit_many(20_000, at_once=20))
                await asyncio.sleep(FULL_FOR)
                submitting.cancel()
                await asyncio.gather(submitting, return_exceptions=True)
            accepted = len(it.refs)
            await asyncio.to_thread(server.restart)
            await it.submit_many(200, ends=("completed",))
            it.note = f"{accepted - BEFORE - RUNNING} accepted while full"
            verdict = await it.verdict(timedelta(seconds=90))
    finally:
        server.stop()
        mounting.__exit__(None, None, None)

    assert verdict.lost.all == (), str(verdict)
    assert verdict.accepted == accepted + 200
    assert (verdict.ended_twice, verdict.left, verdict.overlapping) == ((), (), ()), str(verdict)
