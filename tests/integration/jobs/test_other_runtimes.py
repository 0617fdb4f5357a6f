"""Jobs that another runtime creates, works or ends: every reader sees what is stored, and every waiter is answered."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import (
    InvalidPayload,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobState,
    MalformedJobEvent,
)
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop, up_to

SOON: Final = timedelta(seconds=20)


async def events_of(shop: Shop, job_id: str) -> list[str]:
    async with asyncio.timeout(SOON.total_seconds()):
        return [event.event async for event in shop.jobs.pack.ref(job_id).events()]


async def store(shop: Shop, kinds: str, job_id: str) -> None:
    for kind in kinds.split():
        await publish_foreign(shop, EventType(kind), job_id)


async def test_a_job_retried_here_and_finished_by_another_runtime_ends_for_every_reader(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.charge.handle
        async def charge(job: ParcelJob) -> Receipt:
            raise ConnectionError("no answer")

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.charge.create(Parcel(number=1))
        seen = [event.event async for event in up_to("retry", ref.events())]
        await host.stop()
        assert seen == ["created", "started", "retry"]

        for kind in (EventType.STARTED, EventType.COMPLETED):
            await publish_foreign(shop, kind, ref.id, queue="charge")

        async with asyncio.timeout(SOON.total_seconds()):
            events = [event.event async for event in ref.events()]
        assert events == ["created", "started", "retry", "started", "completed"]
        assert (await ref.get()).state is JobState.COMPLETED
        assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED
        assert await ref.result(timeout=SOON) == Receipt(total=1)


@pytest.mark.parametrize("report", [EventType.PROGRESS, EventType.LOGGED, EventType.STARTED])
async def test_a_report_behind_the_end_does_not_hide_it(nats_server: NatsServer, report: EventType) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.cancel("no longer wanted")
        await publish_foreign(shop, report, ref.id)

        assert (await ref.wait(timeout=SOON)).state is JobState.CANCELLED
        with pytest.raises(JobCancelled, match="no longer wanted"):
            await ref.result(timeout=SOON)
        assert (await ref.get()).state is JobState.CANCELLED
        assert await events_of(shop, ref.id) == ["created", "cancelled"]


@pytest.mark.parametrize("kinds", ["created started", "created started completed"])
async def test_an_event_of_a_newer_generation_does_not_hide_the_state(
    nats_server: NatsServer, kinds: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await store(shop, kinds, job_id)
        body = f'{{"jobId":"{job_id}","eventType":"archived","state":"archived"}}'.encode()
        ref = shop.jobs.pack.ref(job_id)
        connection = shop.jobs.runtime.connection
        await publish_acked(
            connection, f"trellis.jobs.shop.pack.{job_id}.archived", body, headers={}, timeout=SOON
        )

        ended = kinds.endswith("completed")
        assert (await ref.get()).state is (JobState.COMPLETED if ended else JobState.ACTIVE)
        if ended:
            assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED
            assert await events_of(shop, job_id) == ["created", "started", "completed"]


async def test_an_event_of_another_job_on_a_jobs_subject_is_named(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await store(shop, "created started", job_id)
        body = b'{"jobId":"another","eventType":"completed","state":"completed"}'
        await publish_acked(
            shop.jobs.runtime.connection,
            f"trellis.jobs.shop.pack.{job_id}.completed",
            body,
            headers={},
            timeout=SOON,
        )

        with pytest.raises(MalformedJobEvent, match=job_id):
            await shop.jobs.pack.ref(job_id).get()
        with pytest.raises(MalformedJobEvent, match=job_id):
            await events_of(shop, job_id)


async def test_a_waiter_ends_when_a_report_is_stored_right_behind_the_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await store(shop, "created started", job_id)
        ref = shop.jobs.pack.ref(job_id)
        waiting = [asyncio.create_task(ref.wait(timeout=SOON)) for _ in range(3)]
        events = asyncio.create_task(events_of(shop, job_id))

        await store(shop, "completed progress logged started", job_id)

        assert {snapshot.state for snapshot in await asyncio.gather(*waiting)} == {JobState.COMPLETED}
        assert await events == ["created", "started", "completed"]


async def test_a_job_that_an_operator_sent_again_is_followed_to_its_newest_end(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await store(shop, "created started failed retried started completed", job_id)
        ref = shop.jobs.pack.ref(job_id)

        assert (await ref.get()).state is JobState.COMPLETED
        assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED
        assert (await events_of(shop, job_id))[-1] == "completed"


BAD: Final[dict[str, JsonValue]] = {"payload": {"nummer": "eins"}}


async def test_a_payload_of_another_shape_hides_nothing_but_itself(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await publish_foreign(shop, EventType.CREATED, job_id, BAD)
        ref = shop.jobs.pack.ref(job_id)

        pending = await ref.get()
        cancelled = await ref.cancel("not ours")

        assert (pending.state, pending.max_tries) == (JobState.PENDING, 3)
        assert pending.raw_payload == {"nummer": "eins"}
        with pytest.raises(InvalidPayload, match="the payload of a job"):
            _ = pending.payload
        assert cancelled.state is JobState.CANCELLED
        assert (await ref.wait(timeout=SOON)).raw_payload == {"nummer": "eins"}


async def test_a_failed_job_raises_job_failed_whatever_its_payload_is(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await publish_foreign(shop, EventType.CREATED, job_id, BAD)
        await store(shop, "started failed", job_id)
        ref = shop.jobs.pack.ref(job_id)

        with pytest.raises(JobFailed, match="failed by another runtime"):
            await ref.result(timeout=SOON)
        assert (await ref.wait(timeout=SOON)).last_error == "failed by another runtime"


@pytest.mark.parametrize(
    ("fields", "without"), [({"result": {"nope": 1}}, None), ({"result": None}, None), ({}, "result")]
)
async def test_a_result_of_another_shape_hides_nothing_but_itself(
    nats_server: NatsServer, fields: dict[str, JsonValue], without: str | None
) -> None:
    """The TypeScript runtime does not validate results (recorded: jobs.badresult)."""
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        await store(shop, "created started", job_id)
        await publish_foreign(shop, EventType.COMPLETED, job_id, fields, without=without)
        ref = shop.jobs.pack.ref(job_id)

        snapshot = await ref.wait(timeout=SOON)

        assert (snapshot.state, snapshot.raw_result) == (JobState.COMPLETED, fields.get("result"))
        assert snapshot.payload == Parcel(number=1)
        with pytest.raises(InvalidPayload, match="the result of a job"):
            _ = snapshot.result
        with pytest.raises(InvalidPayload, match="the result of a job"):
            await ref.result(timeout=SOON)


def nested(depth: int) -> JsonValue:
    """Return a value that is nested more deeply than pydantic parses."""
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("odd", ["\ud800", nested(300)], ids=["lone surrogate", "deep"])
@pytest.mark.parametrize("queue", ["pack", "ship"])
async def test_a_payload_that_cannot_be_parsed_hides_nothing_but_itself(
    nats_server: NatsServer, queue: str, odd: JsonValue
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        job_id = new_id()
        fields: dict[str, JsonValue] = {"payload": {"number": 1, "note": odd}}
        await publish_foreign(shop, EventType.CREATED, job_id, fields, queue=queue)
        ref = (shop.jobs.pack if queue == "pack" else shop.jobs.ship).ref(job_id)
        pending = await ref.get()
        assert (pending.state, pending.raw_payload) == (JobState.PENDING, fields["payload"])

        await shop.jobs.start_workers()
        with pytest.raises(JobFailed, match="the payload of a job"):
            await ref.result(timeout=SOON)
        with pytest.raises(InvalidPayload, match="the payload of a job"):
            _ = (await ref.get()).payload


@pytest.mark.parametrize(
    ("queue", "fields", "without"),
    [
        ("pack", {"payload": None}, None),
        ("pack", {}, "payload"),
        ("ship", {"payload": None}, None),
        ("ship", {}, "payload"),
    ],
)
async def test_a_job_with_a_payload_of_null_fails_and_its_creator_gets_an_end(
    nats_server: NatsServer,
    queue: str,
    fields: dict[str, JsonValue],
    without: str | None,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        worked = list[int]()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            worked.append(job.payload.number)
            return Receipt(total=1)

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            worked.append(job.payload.number)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        job_id = new_id()
        await publish_foreign(shop, EventType.CREATED, job_id, fields, queue=queue, without=without)
        ref = (shop.jobs.pack if queue == "pack" else shop.jobs.ship).ref(job_id)

        with pytest.raises(JobFailed, match="the payload of a job"):
            await ref.result(timeout=SOON)
        snapshot = await ref.get()
        assert (snapshot.state, snapshot.raw_payload) == (JobState.FAILED, None)
        events = [event.event async for event in ref.events()]
        assert events == ["created", "started", "failed"]
        assert not worked


async def test_a_job_whose_id_arrives_before_its_event_is_found(nats_server: NatsServer) -> None:
    """Other runtimes return an id before the server has acknowledged the job."""
    async with Shop.connect(nats_server.url) as shop:
        job_ids = [new_id() for _ in range(4)]
        first, second, third, fourth = (shop.jobs.pack.ref(job_id) for job_id in job_ids)
        calls: list[asyncio.Task[object]] = [
            asyncio.create_task(first.wait(timeout=SOON)),
            asyncio.create_task(second.get()),
            asyncio.create_task(third.cancel()),
            asyncio.create_task(events_of(shop, fourth.id)),
        ]
        await asyncio.sleep(0)  # every call is under way
        for job_id in job_ids:
            await store(shop, "created started completed", job_id)

        await asyncio.gather(*calls)  # none of them raises


async def test_a_job_that_never_existed_is_not_found_within_a_moment(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = shop.jobs.pack.ref(new_id())

        for call in (ref.get, ref.wait, ref.result, ref.cancel):
            with pytest.raises(JobNotFound):
                async with asyncio.timeout(SOON.total_seconds()):
                    await call()
        with pytest.raises(JobNotFound):
            await events_of(shop, ref.id)


@pytest.mark.parametrize(
    "kinds", ["created started dead dismissed", "created cancelled", "created started completed"]
)
async def test_a_job_that_ended_for_good_does_not_run_when_another_runtime_retries_it(
    nats_server: NatsServer, kinds: str
) -> None:
    """No reader counts such a `retried`, which an operator's tool without a fence may store behind a dismissal."""
    async with Shop.connect(nats_server.url) as shop:
        ran: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            ran.append(job.id)
            return Receipt(total=1)

        ended, failed = new_id(), new_id()
        await store(shop, f"{kinds} retried", ended)
        await store(shop, "created started failed retried", failed)
        await shop.jobs.start_workers()
        assert await shop.jobs.pack.ref(failed).result(timeout=SOON) == Receipt(total=1)

        async def is_empty() -> bool:
            stats = await shop.jobs.pack.stats()
            return stats.waiting == stats.delivered == 0

        await eventually(is_empty)
        assert ran == [failed]
        assert (await shop.jobs.pack.ref(ended).get()).state is not JobState.PENDING
