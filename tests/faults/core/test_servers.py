"""The server is killed, restarted and upgraded under load; a cluster loses its leaders."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.servers import ChangingServer, leader_of
from tests.support.cluster import running_cluster
from tests.support.versions import VERSIONS, binary_of

JOBS: Final = 10_000
KILLS: Final = 8
RESTARTS: Final = 5
LEADER_KILLS: Final = 4
OLD_JOBS: Final = 200
"""Finished before the restart, behind one that is not."""


async def test_a_server_killed_under_load(nats_server: NatsServer, tmp_path: Path) -> None:
    async with scenario("server SIGKILL", nats_server.url, tmp_path) as it:
        await it.crew.hire(3)
        submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, pause=0.04, ends=("completed",)))
        for _ in range(KILLS):
            await asyncio.sleep(it.chance.uniform(0.5, 1.5))
            it.nemesis("server SIGKILL", LogEvent.CONNECTION_LOST)
            await asyncio.to_thread(nats_server.kill)
            await asyncio.sleep(it.chance.uniform(0, 0.5))
            await asyncio.to_thread(nats_server.start)
        it.note = f"{KILLS} kills, seed {it.seed}"
        await submitting
        verdict = await it.verdict(within=timedelta(seconds=120))

    assert verdict.is_clean, str(verdict)
    assert verdict.terminal == verdict.accepted + verdict.recovered


async def test_a_server_restarted_under_load(nats_server: NatsServer, tmp_path: Path) -> None:
    """As by its own deploys, with SIGTERM: no handler runs twice."""
    async with scenario("server SIGTERM", nats_server.url, tmp_path) as it:
        await it.crew.hire(3)
        submitting = asyncio.create_task(it.submit_many(JOBS, at_once=20, pause=0.02, ends=("completed",)))
        for _ in range(RESTARTS):
            await asyncio.sleep(it.chance.uniform(0.5, 1.5))
            it.nemesis("server SIGTERM", LogEvent.CONNECTION_LOST)
            await asyncio.to_thread(nats_server.restart)
        it.note = f"{RESTARTS} restarts, seed {it.seed}"
        await submitting
        verdict = await it.verdict(within=timedelta(seconds=120))

    assert verdict.is_clean, str(verdict)
    assert verdict.terminal == verdict.accepted + verdict.recovered
    assert verdict.duplicates == 0


@pytest.mark.timeout(400)
async def test_a_cluster_that_loses_its_leaders_under_load(tmp_path: Path) -> None:
    async with running_cluster() as cluster, scenario("cluster leader SIGKILL", cluster.url, tmp_path) as it:
        await it.crew.hire(2)
        submitting = asyncio.create_task(it.submit_many(3_000, at_once=20, pause=0.25, ends=("completed",)))
        killed: list[str] = []
        for number in range(LEADER_KILLS):
            await asyncio.sleep(it.chance.uniform(1, 2))
            stream = ("JOBS", "JOBS_WORK")[number % 2]
            leader = await leader_of(it.connection, stream)
            # No sign is asked for: who is connected elsewhere outlasts a short election without a line in its log.
            it.nemesis(f"leader of {stream} SIGKILL")
            await asyncio.to_thread(cluster.servers[leader].kill)
            killed.append(leader)
            await asyncio.sleep(it.chance.uniform(2, 4))
            await asyncio.to_thread(cluster.servers[leader].start)
        it.note = f"{len(killed)} leaders, seed {it.seed}"
        await submitting
        verdict = await it.verdict(within=timedelta(seconds=150))

    assert verdict.is_clean, str(verdict)
    assert verdict.terminal == verdict.accepted + verdict.recovered


async def old_job_in_hand(it: Scenario) -> None:
    """Hold one job while many behind it finish: then older servers redeliver the finished ones."""
    await it.crew.hire(1)
    slow = await it.submit(seconds=8, ends=("completed",))
    await it.entered(slow)
    await it.submit_many(OLD_JOBS, ends=("completed",))
    for ref in it.refs[1:]:
        await ref.wait(timeout=timedelta(seconds=30))


@pytest.mark.parametrize("version", [*VERSIONS, "newest"])
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
async def test_finished_jobs_that_a_restart_brings_back_do_not_run_again(
    version: str, how: str, tmp_path: Path
) -> None:
    binary = None if version == "newest" else binary_of(version)
    async with (
        NatsServer(binary=binary) as server,
        scenario(f"{how} with an old job, {version}", server.url, tmp_path) as it,
    ):
        await old_job_in_hand(it)
        it.nemesis(f"server {how}", LogEvent.CONNECTION_LOST)
        await asyncio.to_thread(server.kill if how == "SIGKILL" else server.terminate)
        await asyncio.to_thread(server.start)
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert len(verdict.runs) == OLD_JOBS + 1


async def test_an_upgrade_on_the_same_store_runs_nothing_twice(tmp_path: Path) -> None:
    """From 2.12 to the newest server, which brings finished jobs back once."""
    server = ChangingServer(tmp_path / "store")
    try:
        url = await asyncio.to_thread(server.run, binary_of("2.12.8"))
        async with scenario("upgrade from 2.12 to newest", url, tmp_path) as it:
            await old_job_in_hand(it)
            it.nemesis("upgrade", LogEvent.CONNECTION_LOST)
            await asyncio.to_thread(server.run, None)
            await it.submit_many(OLD_JOBS, ends=("completed",))
            verdict = await it.verdict()
    finally:
        server.stop()

    assert verdict.is_clean, str(verdict)
    assert len(verdict.runs) == 2 * OLD_JOBS + 1
