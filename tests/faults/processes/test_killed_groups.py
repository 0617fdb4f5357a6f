"""A process of a group, or the group itself, is killed: nothing that was left of it works on, and no job is lost."""

import asyncio
import os
import signal
from datetime import timedelta

from pydantic_core import from_json
from trellis_nats import JobRef, JobState, Options
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.grouped_shop import grouped_shop
from tests.support.probe import is_ready, probe
from tests.support.shop import Parcel, Receipt, Shop

SOON = timedelta(seconds=60)
GRACE = Options().shutdown_grace
LONG = 600
"""Seconds: a job that does not end in this test."""


async def is_active(ref: JobRef[Parcel, Receipt]) -> bool:
    return (await ref.get()).state is JobState.ACTIVE


async def pids_of(address: str) -> list[int]:
    return [process["pid"] for process in from_json((await probe(address, "/readyz")).body)["processes"]]


async def test_a_killed_process_is_replaced(nats_server: NatsServer) -> None:
    async with grouped_shop(nats_server.url, 2) as group, Shop.connect(nats_server.url) as shop:
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        first, second = await pids_of(address)
        os.kill(second, signal.SIGKILL)
        await group.wait_for(rf"process 2 \(pid {second}\) was ended by SIGKILL")
        await eventually(lambda: is_ready(address), within=SOON)
        replaced = await pids_of(address)
        refs = [await shop.jobs.pack.create(Parcel(number=1)) for _ in range(2)]
        receipts = await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))

        assert replaced[0] == first
        assert replaced[1] != second
        assert {receipt.total for receipt in receipts} == {1, 2}, "each process has worked one of them"


async def test_the_processes_of_a_killed_group_let_their_jobs_end(nats_server: NatsServer) -> None:
    async with grouped_shop(nats_server.url, 2) as group, Shop.connect(nats_server.url) as shop:
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        refs = [await shop.jobs.pack.create(Parcel(number=1)) for _ in range(2)]
        for ref in refs:
            await eventually(lambda: is_active(ref))  # noqa: B023 - called before the next turn
        group.process.kill()

        await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))
        async with asyncio.timeout(SOON.total_seconds()):
            await group.closed()
        assert [(await ref.get()).tries for ref in refs] == [1, 1]


async def test_a_process_of_a_killed_group_does_not_outlive_the_limit(nats_server: NatsServer) -> None:
    async with (
        grouped_shop(nats_server.url, 1, "--kill-after", "1") as group,
        Shop.connect(nats_server.url) as shop,
    ):
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await eventually(lambda: is_active(ref))
        group.process.kill()

        async with asyncio.timeout(GRACE.total_seconds() / 2):
            await group.closed()


async def test_a_process_that_is_stopped_like_ctrl_c_has_no_traceback(nats_server: NatsServer) -> None:
    async with grouped_shop(nats_server.url, 1) as group:
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        group.process.send_signal(signal.SIGINT)

        assert await group.process.wait() == 0
        await group.closed()
        assert "Traceback" not in "".join(group.log)


async def test_a_program_that_cannot_be_imported_is_named_once(nats_server: NatsServer) -> None:
    async with grouped_shop(nats_server.url, 3, target="no_such_module:main") as group:
        assert await group.process.wait() == 2
        await group.closed()

    errors = "".join(group.log)
    assert errors.count("python -m trellis_nats.run: there is no module no_such_module") == 1
    assert "Traceback" not in errors


async def test_a_program_that_cannot_start_says_why_and_is_tried_again() -> None:
    async with grouped_shop("nats://127.0.0.1:1", 1) as group:
        await group.wait_for("^CannotConnect: ")
        await group.wait_for(r"ended with code 1; it starts again in 1 s")
        group.process.terminate()

        assert await group.process.wait() == 0
        await group.closed()
        assert "Traceback" not in "".join(group.log)
