"""An operator's process is killed at the moment when its event is on the way: a second one leaves each job acted upon once."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from trellis_nats import JobState
from trellis_nats._nats.jetstream.streams import count_by_subject, get_last_message
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.operator_process import as_arguments, operate, operator_process
from tests.support.shop import Parcel, Shop

JOBS: Final = 12


async def bury(shop: Shop) -> dict[str, int]:
    """Return dead jobs, each with the sequence of the event by which it died."""
    seen: dict[str, int] = {}
    for ref in await shop.jobs.pack.create_many([Parcel(number=1)] * JOBS):
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, ref.id)
        dead = await get_last_message(
            shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.pack.{ref.id}.dead"
        )
        assert dead is not None
        seen[ref.id] = dead.sequence
    return seen


async def run_and_kill(shop: Shop, url: str, kind: str, jobs: dict[str, int], *, on: str, after: int) -> None:
    """Let an operator act, and kill it when its n-th event of a type is on the way."""
    connection, arrived = shop.jobs.runtime.connection, asyncio.Event()
    left = after
    async with operator_process(url, kind, jobs) as process:

        def kill() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                process.kill()
                arrived.set()

        subscription = connection.subscribe(f"trellis.jobs.shop.pack.*.{on}", lambda _: kill())
        await connection.flush()
        async with asyncio.timeout(30):
            await arrived.wait()
            await process.wait()
        await subscription.unsubscribe()


async def run(url: str, kind: str, jobs: dict[str, int], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Let an operator act that is not killed, and needs no process of its own."""
    await operate(url, kind, as_arguments(jobs))
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


async def counts(shop: Shop, event: str) -> list[int]:
    found = await count_by_subject(shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.pack.*.{event}")
    return list(found.values())


@pytest.mark.parametrize("after", [1, 5, JOBS])
async def test_a_killed_operator_leaves_each_job_acted_upon_once(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str], after: int
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jobs = await bury(shop)
        await run_and_kill(shop, nats_server.url, "replay", jobs, on="retried", after=after)

        replayed = await counts(shop, "retried")
        assert len(replayed) >= after - 1, "the last event may be stored or not, and others before it dies"
        said = await run(nats_server.url, "replay", jobs, capsys)
        assert said.count("refused") == len(replayed)
        assert await counts(shop, "retried") == [1] * JOBS


@pytest.mark.parametrize("on", ["created", "dismissed"])
async def test_a_killed_operator_leaves_one_job_with_the_edited_payload(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str], on: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jobs = await bury(shop)
        await run_and_kill(shop, nats_server.url, "edit", jobs, on=on, after=4)

        assert await run(nats_server.url, "edit", jobs, capsys) == ["done"] * JOBS, "a repetition continues"
        assert await counts(shop, "created") == [1] * 2 * JOBS
        assert await counts(shop, "dismissed") == [1] * JOBS
        for job_id in jobs:
            assert (await shop.jobs.pack.ref(job_id).get()).state is JobState.DISMISSED
