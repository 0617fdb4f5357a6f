"""`python -m trellis_nats.run`, with real processes of a service."""

import asyncio
import os
import signal
from datetime import timedelta

from pydantic_core import from_json
from trellis_nats import JobRef, JobState
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.grouped_shop import grouped_shop
from tests.support.probe import is_ready, probe
from tests.support.shop import Parcel, Receipt, Shop

SOON = timedelta(seconds=60)
"""Three processes import the runtime, on a machine that may be busy."""
SECONDS = 1
"""What a job takes: longer than the test needs to send a signal once it is active."""


async def pids_of(address: str) -> list[int]:
    return [process["pid"] for process in from_json((await probe(address, "/readyz")).body)["processes"]]


async def are_active(refs: list[JobRef[Parcel, Receipt]]) -> bool:
    return all([(await ref.get()).state is JobState.ACTIVE for ref in refs])


async def test_a_killed_process_is_replaced_and_a_stop_lets_the_jobs_of_all_end(
    nats_server: NatsServer,
) -> None:
    async with grouped_shop(nats_server.url, 2) as group, Shop.connect(nats_server.url) as shop:
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        first, second = await pids_of(address)
        os.kill(second, signal.SIGKILL)
        await group.wait_for(rf"process 2 \(pid {second}\) was ended by SIGKILL")
        await eventually(lambda: is_ready(address), within=SOON)
        replaced = await pids_of(address)
        refs = [await shop.jobs.pack.create(Parcel(number=SECONDS)) for _ in range(2)]
        await eventually(lambda: are_active(refs))
        group.process.terminate()
        receipts = await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))

        assert await group.process.wait() == 0
        await group.closed()
        assert replaced[0] == first
        assert replaced[1] != second
        assert {receipt.total for receipt in receipts} == {1, 2}, "each process has worked one of them"
        assert [(await ref.get()).tries for ref in refs] == [1, 1]
