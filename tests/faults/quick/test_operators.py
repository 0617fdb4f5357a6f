"""Two operators replay the same dead jobs while workers are killed: each job begins again once, and ends once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from trellis_nats import ActionRefused, DeadJob, JobEvent, JobState
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, Receipt, Shop
from tests.support.shop_process import shop_process

JOBS: Final = 30
SOON: Final = timedelta(seconds=60)

Dead = DeadJob[Parcel, Receipt]


async def replay_all(jobs: list[Dead]) -> int:
    """Replay the jobs as they were seen, and return how many this operator won."""
    won = 0
    for job in jobs:
        try:
            await job.replay(reason="it works again")
        except ActionRefused as refused:
            if refused.why != "changed":
                raise
        else:
            won += 1
    return won


def check(events: list[JobEvent]) -> None:
    """Check the history of one job: after it died, it was sent again once, tried from the first attempt on, and ended once."""
    kinds = [event.event for event in events]
    assert kinds.count("retried") == 1, kinds
    life = events[kinds.index("retried") + 1 :]
    assert [event.tries for event in life if event.event == "started"] == list(
        range(1, 1 + sum(event.event == "started" for event in life))
    ), kinds
    assert [event.event for event in life if event.event in TERMINAL_EVENTS] == ["completed"], kinds


async def test_jobs_that_two_operators_replay_while_workers_die_end_once(nats_server: NatsServer) -> None:
    url = nats_server.url
    async with Shop.connect(url) as shop, Shop.connect(url) as other, AsyncExitStack() as workers:
        refs = await shop.jobs.pack.create_many([Parcel(number=0)] * JOBS)
        for ref in refs:
            for kind in (EventType.STARTED, EventType.DEAD):
                await publish_foreign(shop, kind, ref.id)
        seen = [[job async for job in each.jobs.pack.dead()] for each in (shop, other)]
        assert [len(jobs) for jobs in seen] == [JOBS, JOBS]

        doomed = [await workers.enter_async_context(shop_process(url)) for _ in range(2)]
        replaying = asyncio.gather(replay_all(seen[0]), replay_all(list(reversed(seen[1]))))
        for worker in doomed:
            await worker.wait_for("began")
            worker.process.kill()
        assert sum(await replaying) == JOBS, "each job has one winner"

        await workers.enter_async_context(shop_process(url))
        ended = await asyncio.gather(*(ref.wait(timeout=SOON) for ref in refs))
        assert Counter(snapshot.state for snapshot in ended) == {JobState.COMPLETED: JOBS}
        for ref in refs:
            check([event async for event in ref.events()])
