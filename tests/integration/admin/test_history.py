"""One job's history, read from a real stream."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest
from trellis_admin.projection import job_events
from trellis_admin.projection.job_events import JobEvents, read_job_events
from trellis_admin.queries import AttemptEnd, follow_history, history, read_history
from trellis_nats import JobFailed
from trellis_nats._nats.connection import Connection
from trellis_nats.errors import JobNotFound
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.operating import operator_connection
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stored_jobs import store_jobs

PACK = "trellis.jobs.shop.pack"


async def test_a_job_of_a_service_is_read_with_its_attempts(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.log("packing")
            if job.payload.number == 2:
                raise JobFailed("it does not fit")
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        packed, refused = await shop.jobs.pack.create_many([Parcel(number=1), Parcel(number=2)])
        await packed.wait()
        await refused.wait()
        async with operator_connection(nats_server.url) as connection:
            good = await read_history(connection, PACK, packed.id)
            bad = await read_history(connection, PACK, refused.id)

    assert (good.state, good.queue, good.payload_size, good.result_size) == (
        JobState.COMPLETED,
        "pack",
        len(b'{"number":1}'),
        len(b'{"total":1}'),
    )
    assert [(attempt.number, attempt.end) for attempt in good.attempts] == [(1, AttemptEnd.COMPLETED)]
    assert [line.message for line in good.logs] == ["packing"]
    assert good.attempts[0].worker is not None
    assert (bad.state, bad.error, bad.attempts[0].end) == (
        JobState.FAILED,
        "it does not fit",
        AttemptEnd.FAILED,
    )
    assert bad.events[-1].sequence == bad.last_sequence == bad.state_sequence


@pytest.mark.parametrize("job_id", ["01M8KT1SQRNGY82PMCC50CW60P", "*", "a.b", ""])
async def test_a_job_that_does_not_exist_is_not_found(nats_server: NatsServer, job_id: str) -> None:
    async with operator_connection(nats_server.url) as connection:
        with pytest.raises(JobNotFound, match=r"is stored under trellis\.jobs\.shop\.pack"):
            await read_history(connection, PACK, job_id)


async def test_a_job_is_followed_without_reading_it_again(nats_server: NatsServer) -> None:
    read: list[int] = []

    async def reading(connection: Connection, prefix: str, job_id: str, *, after: int) -> JobEvents:
        events = await read_job_events(connection, prefix, job_id, after=after)
        read.append(len(events.messages))
        return events

    async with Shop.connect(nats_server.url) as shop, operator_connection(nats_server.url) as connection:
        (job_id,) = await store_jobs(shop.jobs.runtime.connection, 1, "pending")
        with patch.object(history, "read_job_events", reading), patch.object(history, "_POLL", 0.01):
            following = follow_history(connection, PACK, job_id)
            first = await anext(following)
            later = asyncio.ensure_future(anext(following))
            await shop.jobs.pack.ref(job_id).cancel("enough")
            second = await later
            await following.aclose()

    assert (first.state, second.state) == (JobState.PENDING, JobState.CANCELLED)
    assert [event.kind for event in second.events] == ["created", "cancelled"]
    assert read == [1, 1]


async def test_of_a_very_long_history_the_newest_reports_are_read(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            for number in range(12):
                await job.log(f"line {number}")
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        packed = await shop.jobs.pack.create(Parcel(number=1))
        await packed.wait()
        async with operator_connection(nats_server.url) as connection:
            with patch.object(job_events, "_REPORTS_MAX", 3):
                cut = await read_history(connection, PACK, packed.id)

    assert cut.is_cut
    assert [line.message for line in cut.logs] == ["line 9", "line 10", "line 11"]
    assert (cut.payload_size, cut.state) == (len(b'{"number":1}'), JobState.COMPLETED)


async def test_a_job_with_very_many_attempts_keeps_what_began_and_ended_it(nats_server: NatsServer) -> None:
    job_id = "01M8KT1SQRNGY82PMCC50CW60P"
    again = [EventType.STARTED, EventType.RETRY] * 3
    async with Shop.connect(nats_server.url) as shop, operator_connection(nats_server.url) as connection:
        for kind in [EventType.CREATED, EventType.CHECKPOINT, EventType.STARTED, EventType.DEAD]:
            fields = {"maxTries": 7} if kind is EventType.CREATED else {}
            await publish_foreign(shop, kind, job_id, fields)
        await publish_foreign(shop, EventType.RETRIED, job_id, {"maxTries": 9}, without="payload")
        for kind in [*again, EventType.LOGGED, EventType.STARTED]:
            await publish_foreign(shop, kind, job_id)
        with patch.object(job_events, "_STATES_MAX", 3), patch.object(job_events, "_REPORTS_MAX", 1):
            cut = await read_history(connection, PACK, job_id)

    kinds = "created checkpoint dead retried started retry logged started"
    assert [event.kind for event in cut.events] == kinds.split()
    assert all(event.is_counted for event in cut.events)
    assert (cut.is_cut, cut.state, cut.max_tries, cut.payload_size) == (
        True,
        JobState.ACTIVE,
        9,
        len(b'{"number": 1}'),
    )
