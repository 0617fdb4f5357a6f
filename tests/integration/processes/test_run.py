"""`python -m trellis_nats.run`, with real processes of a service."""

import asyncio
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


async def are_active(refs: list[JobRef[Parcel, Receipt]]) -> bool:
    return all([(await ref.get()).state is JobState.ACTIVE for ref in refs])


async def test_a_stop_lets_the_jobs_of_all_processes_end(nats_server: NatsServer) -> None:
    async with grouped_shop(nats_server.url, 2) as group, Shop.connect(nats_server.url) as shop:
        address = (await group.wait_for(r"answered on (\S+)"))[1]
        await eventually(lambda: is_ready(address), within=SOON)
        report = from_json((await probe(address, "/readyz")).body)
        refs = [await shop.jobs.pack.create(Parcel(number=SECONDS)) for _ in range(2)]
        await eventually(lambda: are_active(refs))
        group.process.terminate()
        receipts = await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))

        assert await group.process.wait() == 0
        await group.closed()
        assert [process["process"] for process in report["processes"]] == [1, 2]
        assert {receipt.total for receipt in receipts} == {1, 2}, "each process has worked one of them"
        assert [(await ref.get()).tries for ref in refs] == [1, 1]
