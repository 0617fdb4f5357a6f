"""A job that runs longer than its ack wait and the JWTs of its worker, while other jobs come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import pytest
from trellis_nats import JobRef, JobState, Options
from trellis_nats._support.log_events import LogEvent
from trellis_nats.testing import LogSignals

from tests.support.depot import NO_MAINTENANCE, Depot, SortJob
from tests.support.realm import CalloutRealm, Realm, running
from tests.support.shop import Parcel, ParcelJob, Receipt, WeighJob

LIFETIME: Final = timedelta(seconds=15)
RUN_TIME: Final = timedelta(seconds=44)
ACK_WAIT: Final = timedelta(seconds=30)
"""That of the queues `ship` and `weigh`."""
SOON: Final = timedelta(seconds=90)
IN_FLIGHT: Final = 20
"""How many short jobs are created, and waited for, at a time."""


def callout() -> Realm:
    return CalloutRealm(LIFETIME, rights={"worker": None})


@pytest.mark.parametrize("make_realm", [partial(Realm, LIFETIME), callout], ids=["own JWTs", "callout"])
@pytest.mark.parametrize("blocks", [False, True], ids=["awaits", "blocks the event loop"])
async def test_a_job_of_44_seconds_keeps_its_one_attempt(
    make_realm: Callable[[], Realm], *, blocks: bool
) -> None:
    realm, handled, began = make_realm(), list[int](), list[str]()
    options = Options(credentials=partial(realm.login, "worker"), maintenance=NO_MAINTENANCE)
    with LogSignals() as signals:
        async with running(realm) as server, Depot.connect(server.url, options=options) as depot:
            assert depot.jobs.ship.spec.ack_wait == depot.jobs.weigh.spec.ack_wait == ACK_WAIT

            async def work(name: str) -> Receipt:
                began.append(name)
                if blocks:
                    time.sleep(RUN_TIME.total_seconds())  # noqa: ASYNC251 - blocking is the point
                else:
                    await asyncio.sleep(RUN_TIME.total_seconds())  # its length is the point
                return Receipt(total=1)

            @depot.jobs.ship.handle
            async def ship(_: ParcelJob) -> Receipt:
                return await work("keyed")

            @depot.jobs.weigh.handle
            async def weigh(_: WeighJob) -> Receipt:
                return Receipt(total=0) if blocks else await work("unkeyed")

            @depot.jobs.sort.handle
            async def sort(job: SortJob) -> None:
                handled.append(job.payload.number)

            await depot.start()
            keyed = await depot.jobs.ship.create(Parcel(number=7))
            unkeyed = await depot.jobs.weigh.create(Parcel(number=1))
            short: list[JobRef[Parcel, None]] = []
            until = time.monotonic() + RUN_TIME.total_seconds()
            while time.monotonic() < until:
                numbers = range(len(short), len(short) + IN_FLIGHT)
                created = await asyncio.gather(*(depot.jobs.sort.create(Parcel(number=n)) for n in numbers))
                short += created
                await asyncio.gather(*(ref.wait(timeout=SOON) for ref in created))
            ended = [await keyed.wait(timeout=SOON), await unkeyed.wait(timeout=SOON)]

    lost = len(signals.of(LogEvent.CONNECTION_LOST))
    twice = len(handled) - len(set(handled))
    counts = (
        f"{lost} expiries, {realm.logins['worker']} logins, {len(short)} short jobs, {twice} handled twice"
    )
    print(counts)  # noqa: T201 - the numbers are the point
    assert lost >= (3 if blocks else 4)
    assert [(job.state, job.tries) for job in ended] == [(JobState.COMPLETED, 1)] * 2
    assert began.count("keyed") == 1
    assert set(handled) == set(range(len(short)))
