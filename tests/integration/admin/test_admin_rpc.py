"""The admin RPCs, called by a client that is generated from the same contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_admin.payloads import PayloadContract
from trellis_admin.rpc.process import AdminOptions, AdminProcess, admin_process
from trellis_admin.rpc.trellis_jobs_participant import (
    Empty,
    JobsCancelRequest,
    JobsDismissDLQRequest,
    JobsGetKeyRequest,
    JobsGetRequest,
    JobsListDLQRequest,
    JobsListRequest,
    JobsListServicesRequest,
    JobsReplayDLQRequest,
    JobsRetryRequest,
    NotFoundError,
    TrellisJobsClient,
)
from trellis_nats import AuthError, JobFailed, JobState, Options, ValidationError
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.callers import OTHER, SHOP, KnownKeys
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stored_jobs import store_jobs

SOON: Final = timedelta(seconds=30)
LARGE: Final = 2**63 + 1


@asynccontextmanager
async def serving(
    server: NatsServer, folder: Path, **wanted: Any
) -> AsyncGenerator[tuple[AdminProcess, TrellisJobsClient]]:
    options = AdminOptions(db=folder / "jobs.sqlite", duties=None, **wanted)
    async with (
        admin_process(server.url, Options(open=True, provision="off"), options) as process,
        TrellisJobsClient.connect(server.url) as client,
    ):
        assert process.rpc is None
        yield process, client


async def fail_and_die(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        if job.payload.number == 13:
            raise ConnectionError("the scale does not answer")
        if job.payload.number == 7:
            await job.log("number 7 is not packed")
            raise JobFailed("we do not pack this")
        return Receipt(total=job.payload.number)

    await shop.jobs.start_workers()


async def is_read(client: TrellisJobsClient, job_id: str, state: str) -> bool:
    return (await client.rpc.jobs.get(JobsGetRequest(id=job_id))).job.state == state


async def test_jobs_are_listed_and_read(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        await fail_and_die(shop)
        refs = [await shop.jobs.pack.create(Parcel(number=number)) for number in (1, 7, 13)]
        done, failed, dead = [await ref.wait(timeout=SOON) for ref in refs]
        # The rows of a list are read from the stream, and the projection, which selects them, may be behind.
        await eventually(lambda: is_listed(client, 2, state=["failed", "completed"]))
        await eventually(lambda: is_listed(client, 1, state=["dead"]))

        page = await client.rpc.jobs.list(JobsListRequest(limit=10))
        dlq = await client.rpc.jobs.list_dlq(JobsListDLQRequest(limit=10, service="shop", type="pack"))
        only = await client.rpc.jobs.list(JobsListRequest(limit=10, state=["failed", "completed"]))
        none = await client.rpc.jobs.list(JobsListRequest(limit=10, service="other"))
        job = (await client.rpc.jobs.get(JobsGetRequest(id=refs[1].id))).job

    assert [entry.id for entry in page.entries] == [ref.id for ref in reversed(refs)]
    assert (page.count, page.offset, page.limit, page.next_offset) == (3, 0, 10, None)
    assert [entry.id for entry in dlq.entries] == [refs[2].id]
    assert dlq.entries[0].state == "dead"
    assert dlq.entries[0].tries == 3
    assert "the scale does not answer" in (dlq.entries[0].last_error or "")
    assert {entry.id for entry in only.entries} == {refs[0].id, refs[1].id}
    assert (none.entries, none.count) == ([], 0)
    assert (job.state, job.service, job.type, job.payload) == ("failed", "shop", "pack", {"number": 7})
    assert [entry.payload for entry in page.entries] == [None] * 3, (
        "only Jobs.Get is recorded, and shows values"
    )
    assert [line.message for line in job.logs or ()] == ["number 7 is not packed"]
    assert (done.state, failed.state, dead.state) == (JobState.COMPLETED, JobState.FAILED, JobState.DEAD)


async def is_listed(client: TrellisJobsClient, count: int, **wanted: Any) -> bool:
    page = await client.rpc.jobs.list(JobsListRequest(limit=100, **wanted))
    return page.count == count and all(
        entry.state in {"completed", "failed", "dead"} for entry in page.entries
    )


async def test_pages_cover_a_list_once(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        created = [(await shop.jobs.pack.create(Parcel(number=number))).id for number in range(25)]

        async def are_known() -> bool:
            return (await client.rpc.jobs.list(JobsListRequest(limit=1))).count == 25

        await eventually(are_known)
        listed: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await client.rpc.jobs.list(JobsListRequest(limit=10, offset=offset))
            assert (page.count, page.offset, page.limit) == (25, offset, 10)
            listed += [entry.id for entry in page.entries]
            offset = page.next_offset
        beyond = await client.rpc.jobs.list(JobsListRequest(limit=10, offset=100))

    assert listed == created[::-1]
    assert (beyond.entries, beyond.count, beyond.next_offset) == ([], 25, None)


async def test_a_page_of_large_jobs_is_shorter(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        for number in range(6):
            await publish_foreign(shop, EventType.CREATED, f"job{number}")
            await publish_foreign(shop, EventType.FAILED, f"job{number}", {"error": "x" * 300_000})

        async def are_known() -> bool:
            return (await client.rpc.jobs.list(JobsListRequest(limit=1))).count == 6

        await eventually(are_known)
        listed: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await client.rpc.jobs.list(JobsListRequest(limit=10, offset=offset))
            assert 0 < len(page.entries) < 6
            listed += [entry.id for entry in page.entries]
            offset = page.next_offset

    assert listed == [f"job{number}" for number in reversed(range(6))]


async def test_a_dead_job_is_replayed_and_keeps_its_payload_exactly(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        await publish_foreign(shop, EventType.CREATED, "dead1", {"payload": {"number": LARGE}})
        await publish_foreign(shop, EventType.DEAD, "dead1", {"previousState": "pending"})
        await eventually(lambda: is_read(client, "dead1", "dead"))

        job = (await client.rpc.jobs.replay_dlq(JobsReplayDLQRequest(id="dead1"))).job
        message = await get_last_message(connection_of(shop), "JOBS", "trellis.jobs.shop.pack.dead1.retried")

    assert (job.state, job.tries, job.payload) == ("pending", 0, None)
    assert message is not None
    body = json.loads(message.data)
    assert body["payload"] == {"number": LARGE}
    assert body["trigger"] == {"kind": "manualReplay"}
    assert body["adminAction"] == {"actor": "admin RPC", "source": "RPC"}


async def test_a_payload_that_the_contract_does_not_read_is_not_sent_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    contract = PayloadContract.of(OrdersService)
    charges: dict[str, Any] = {"service": "orders-service", "queue": "charge-payment"}
    async with (
        OrdersService.connect(nats_server.url) as orders,
        serving(nats_server, tmp_path, contracts=(contract,)) as (_, client),
    ):
        connection = orders.jobs.runtime.connection
        wrong: dict[str, JsonValue] = {"payload": {"orderId": "o-1"}}
        (dead,) = await store_jobs(connection, 1, "dead", created=wrong, **charges)
        (failed,) = await store_jobs(connection, 1, "failed", created=wrong, **charges)
        (other,) = await store_jobs(connection, 1, "dead")
        await eventually(lambda: is_read(client, other, "dead"))

        for call in (
            client.rpc.jobs.replay_dlq(JobsReplayDLQRequest(id=dead)),
            client.rpc.jobs.retry(JobsRetryRequest(id=failed)),
        ):
            with pytest.raises(ValidationError, match=f"contract {contract.digest[:8]} does not read it"):
                await call
        assert await is_read(client, dead, "dead")
        replayed = await client.rpc.jobs.replay_dlq(JobsReplayDLQRequest(id=other))

    assert replayed.job.state == "pending", "no contract has its queue"


async def test_jobs_are_cancelled_retried_and_dismissed(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        for name in ("waits", "failed", "dead"):
            await publish_foreign(shop, EventType.CREATED, name)
        await publish_foreign(shop, EventType.FAILED, "failed")
        await publish_foreign(shop, EventType.DEAD, "dead")
        await eventually(lambda: is_read(client, "dead", "dead"))

        cancelled = await client.rpc.jobs.cancel(JobsCancelRequest(id="waits"))
        retried = await client.rpc.jobs.retry(JobsRetryRequest(id="failed"))
        dismissed = await client.rpc.jobs.dismiss_dlq(JobsDismissDLQRequest(id="dead"))

    assert (cancelled.job.state, retried.job.state, dismissed.job.state) == (
        "cancelled",
        "pending",
        "dismissed",
    )


async def test_a_wrong_state_is_refused_as_the_wire_says(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        await publish_foreign(shop, EventType.CREATED, "done")
        await publish_foreign(shop, EventType.COMPLETED, "done")
        await eventually(lambda: is_read(client, "done", "completed"))
        calls = {
            "pending|retry|active": client.rpc.jobs.cancel(JobsCancelRequest(id="done")),
            "failed": client.rpc.jobs.retry(JobsRetryRequest(id="done")),
            "dead": client.rpc.jobs.replay_dlq(JobsReplayDLQRequest(id="done")),
            "dead ": client.rpc.jobs.dismiss_dlq(JobsDismissDLQRequest(id="done")),
        }
        refused = dict(zip(calls, await asyncio.gather(*calls.values(), return_exceptions=True), strict=True))

    for expected, error in refused.items():
        assert isinstance(error, ValidationError)
        text = f"Job 'shop/pack/done' is in state 'completed', expected {expected.strip()}"
        assert text in str(error)
        assert ("/state", text) in error.issues


@pytest.mark.parametrize("job_id", ["none", "a.b", "*", ">", "x" * 500, " ", "%", "'"])
async def test_a_job_that_does_not_exist(nats_server: NatsServer, tmp_path: Path, job_id: str) -> None:
    async with Shop.connect(nats_server.url), serving(nats_server, tmp_path) as (_, client):
        jobs = client.rpc.jobs
        for call in (
            jobs.get(JobsGetRequest(id=job_id)),
            jobs.cancel(JobsCancelRequest(id=job_id)),
            jobs.retry(JobsRetryRequest(id=job_id)),
            jobs.replay_dlq(JobsReplayDLQRequest(id=job_id)),
            jobs.dismiss_dlq(JobsDismissDLQRequest(id=job_id)),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.resource, caught.value.job_id) == ("Job", job_id)
            assert f"Job '{job_id}' not found" in str(caught.value)


async def test_services_are_listed_with_their_workers(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        await publish_foreign(shop, EventType.CREATED, "job1", {"service": "asleep"}, queue="charge")
        await fail_and_die(shop)

        async def is_healthy() -> bool:
            page = await client.rpc.jobs.list_services(JobsListServicesRequest(limit=10))
            return any(entry.name == "shop" and entry.healthy for entry in page.entries)

        await eventually(is_healthy)
        page = await client.rpc.jobs.list_services(JobsListServicesRequest(limit=10))
        first = await client.rpc.jobs.list_services(JobsListServicesRequest(limit=1))

    shop_entry = next(entry for entry in page.entries if entry.name == "shop")
    assert [worker.job_type for worker in shop_entry.workers] == ["pack"]
    assert shop_entry.workers[0].service == "shop"
    assert [entry.name for entry in page.entries] == sorted(entry.name for entry in page.entries)
    assert len(first.entries) == 1
    assert (first.count, first.next_offset) == (page.count, 1 if page.count > 1 else None)


async def test_a_key_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        began, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            began.set()
            await go_on.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.ship.create(Parcel(number=4))
        await began.wait()
        await eventually(lambda: is_read(client, ref.id, "active"))
        listed = await client.rpc.jobs.get(JobsGetRequest(id=ref.id))
        display = await display_key(shop, ref.id)
        key = await client.rpc.jobs.get_key(JobsGetKeyRequest(service="shop", type="ship", key=display))
        for queue, name in (("ship", "none"), ("shipp", display)):
            with pytest.raises(NotFoundError):
                await client.rpc.jobs.get_key(JobsGetKeyRequest(service="shop", type=queue, key=name))
        go_on.set()
        await ref.result(timeout=SOON)

    assert listed.job.state == "active"
    assert [holder.job_id for holder in key.active] == [ref.id]
    assert (key.key, key.queued, key.queued_depth, key.stale_takeover_count) == (display, [], 0, 0)
    assert len(key.key_hash) == 64


async def display_key(shop: Shop, job_id: str) -> str:
    message = await get_last_message(connection_of(shop), "JOBS", f"trellis.jobs.shop.ship.{job_id}.started")
    assert message is not None
    concurrency: dict[str, JsonValue] = json.loads(message.data)["concurrency"]
    return str(concurrency["key"])


async def test_health_says_how_far_the_projection_is(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, serving(nats_server, tmp_path) as (_, client):
        await publish_foreign(shop, EventType.CREATED, "job1")
        await eventually(lambda: is_read(client, "job1", "pending"))

        async def is_healthy() -> bool:
            return (await client.rpc.jobs.health(Empty())).status == "healthy"

        await eventually(is_healthy)
        health = await client.rpc.jobs.health(Empty())

    assert health.service == "trellis.jobs"
    assert health.checks[0]["name"] == "projection"


async def test_callers_read_and_act_as_their_capabilities_allow(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    read, mutate = "trellis.jobs::admin.read", "trellis.jobs::admin.mutate"
    callers = KnownKeys({SHOP.public: frozenset({read}), OTHER.public: frozenset({read, mutate})})
    options = Options(callers=callers, provision="off")
    async with (
        Shop.connect(nats_server.url) as shop,
        admin_process(nats_server.url, options, AdminOptions(db=tmp_path / "jobs.sqlite", duties=None)),
        TrellisJobsClient.connect(nats_server.url) as stranger,
        TrellisJobsClient.connect(nats_server.url, options=Options(session_key=SHOP)) as reader,
        TrellisJobsClient.connect(nats_server.url, options=Options(session_key=OTHER)) as operator,
    ):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        with pytest.raises(AuthError, match="missing_session_key"):
            await stranger.rpc.jobs.get(JobsGetRequest(id=ref.id))
        await eventually(lambda: is_read(reader, ref.id, "pending"))
        with pytest.raises(AuthError, match="insufficient_permissions"):
            await reader.rpc.jobs.cancel(JobsCancelRequest(id=ref.id))
        assert (await ref.get()).state is JobState.PENDING

        await operator.rpc.jobs.cancel(JobsCancelRequest(id=ref.id))
        event = await get_last_message(
            connection_of(shop), "JOBS", f"trellis.jobs.shop.pack.{ref.id}.{EventType.CANCELLED}"
        )
    assert event is not None
    assert json.loads(event.data)["adminAction"] == {"actor": "shop", "source": "RPC"}
