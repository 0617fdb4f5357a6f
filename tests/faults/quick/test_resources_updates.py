"""A burst of live updates to a reader that does not read: the oldest are dropped, and no job is affected."""

import asyncio
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats.testing import NatsServer

from tests.faults.injection.press import Press, PressJob, Sheet, pressing

BURST: Final = 2_000
KEPT: Final = 1_000
"""How many wait for a slow reader (trellis_nats.jobs.store.live_updates)."""
SOON: Final = timedelta(seconds=20)


@pytest.mark.timeout(60)
async def test_a_reader_that_sleeps_through_a_burst_gets_the_newest_in_order(nats_server: NatsServer) -> None:
    async def odd(job: PressJob) -> Sheet:
        await job.emit_update(Sheet(text="-1"))
        await asyncio.wait_for(awake.wait(), SOON.total_seconds())
        for number in range(BURST):
            await job.emit_update(Sheet(text=str(number)))
        return job.payload

    awake = asyncio.Event()
    async with Press.connect(nats_server.url) as press, Press.connect(nats_server.url) as reader:
        ref = await press.jobs.press.create(Sheet(text="odd"))

        updates = reader.jobs.press.ref(ref.id).updates()
        first = asyncio.ensure_future(anext(updates))
        await reader.jobs.runtime.connection.flush()
        await pressing(press, odd)
        assert (await first).text == "-1"
        awake.set()
        plain = [await press.jobs.press.create(Sheet(text="plain")) for _ in range(200)]
        for each in plain:
            assert (await each.result(timeout=SOON)).text == "done"
        assert (await ref.result(timeout=SOON)).text == "odd"
        seen = [int(update.text) async for update in updates]

    assert seen == sorted(seen)
    assert seen[-1] == BURST - 1, "what is dropped is the oldest"
    assert KEPT <= len(seen) < BURST
