"""Each role can do all of its work with an account that may do nothing else."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats import (
    Accepted,
    JobCancelled,
    JobSnapshot,
    JobState,
    Maintenance,
    NoResponders,
    Options,
    PermissionDenied,
    Rejected,
    Retention,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._support.log_events import LogEvent
from trellis_nats.testing import LogSignals

from tests.support.delays import PARKING_VERSIONS
from tests.support.depot import Depot, DepotClient, login, register, role_accounts, standing, violations
from tests.support.eventually import eventually
from tests.support.live import CountFrom
from tests.support.orders import REQUEST, CreateResponse, Order
from tests.support.processing import ProcessInput
from tests.support.shop import Parcel, ParcelJob, Receipt, Weight, up_to
from tests.support.versions import VERSIONS

SOON = timedelta(seconds=10)
LOOKED_UP_AT_CONNECT = [
    f"$JS.API.STREAM.INFO.{name}" for name in ("JOBS", "JOBS_WORK", "JOBS_DELAYED", "JOBS_ADVISORIES")
] + [
    f"$JS.API.STREAM.INFO.{name}"
    for name in ("trellis", "KV_depot_orders", "KV_JOBS_KEYS_depot", "KV_trellis_operations_depot")
]
OF_A_WORKER = [
    "$JS.API.DIRECT.GET.KV_depot_orders.$KV.depot_orders.>",
    "$JS.API.DIRECT.GET.KV_trellis_operations_depot.$KV.trellis_operations_depot.>",
    "$JS.API.STREAM.INFO.OBJ_depot_labels",
]


def lookups(version: str | None) -> list[str]:
    """Return what a service looks up on a server of a version; older ones cannot park jobs."""
    if version is None or version in PARKING_VERSIONS:
        return LOOKED_UP_AT_CONNECT
    return [subject for subject in LOOKED_UP_AT_CONNECT if "JOBS_DELAYED" not in subject]


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "may not" in record.getMessage()]


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_the_whole_life_of_jobs_needs_only_the_roles(
    version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")
    async with (
        standing(version=version) as server,
        Depot.connect(server.url, options=login("worker")) as worker,
        Depot.connect(server.url, options=login("producer")) as producer,
        DepotClient.connect(server.url, options=login("client")) as client,
    ):
        register(worker)
        await worker.start()
        async with client.shipped.subscribe() as shipped, client.moved.subscribe() as moved:
            ref = await producer.jobs.pack.create(Parcel(number=7), idempotency_key="seven")
            assert await ref.result(timeout=SOON) == Receipt(total=7)
            assert (await anext(shipped)).event.order_id == "7"
            assert (await anext(moved)).event.region == "eu"

        snapshot: JobSnapshot[Parcel, Receipt] = await ref.get()
        assert (snapshot.state, snapshot.tries) == (JobState.COMPLETED, 2)
        entry = await worker.orders.get("order-7")
        assert entry is not None
        assert (await worker.orders.update(entry, Order(order_id="7", total=8))).value.total == 8
        await worker.orders.delete("order-7")

        await worker.labels.put("seven", b"label")
        label = await worker.labels.get("seven")
        assert label is not None
        assert await label.read() == b"label"
        assert await worker.labels.wait_for("seven") == label.info == (await worker.labels.list())[0]
        await worker.labels.delete("seven")

        keyed = [await producer.jobs.ship.create(Parcel(number=number)) for number in (1, 2)]
        assert [(await ref.result(timeout=SOON)).total for ref in keyed] == [1, 2]
        many = await producer.jobs.weigh.create_many([Parcel(number=number) for number in range(3)])
        assert [(await ref.result(timeout=SOON)).total for ref in many] == [0, 1, 2]
        charged = await producer.jobs.charge.create(Parcel(number=1))

        async def is_active() -> bool:
            return (await charged.get()).state is JobState.ACTIVE

        await eventually(is_active)
        assert (await charged.cancel("enough")).state is JobState.CANCELLED
        with pytest.raises(JobCancelled, match="enough"):
            await charged.result(timeout=SOON)
        assert await client.create(REQUEST) == CreateResponse(order_id="c1-1")
        assert await (await client.label(REQUEST)).read() == REQUEST.customer_id.encode()
        async with client.count(CountFrom(customer="c1", first=3)) as counts:
            assert [count.n async for count in counts] == [3]
        run = await client.fixed.start(ProcessInput(order_id="o1"))
        assert (await run.result(timeout=SOON)).status == "done"
        printed = await client.print.start(ProcessInput(order_id="o1"), upload=bytes(300_000))
        assert (await printed.result(timeout=SOON)).status == "300000"
        assert (await worker.health.report()).ready

        # Only an operator may look up streams, which each service attempts when it connects.
        looked_up = lookups(version)
        assert sorted(violations(server)) == sorted([*looked_up * 2, *OF_A_WORKER])
    assert complaints(caplog) == []


async def test_a_producer_may_create_jobs_of_a_queue_with_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("producer")) as producer,
    ):
        first = await producer.jobs.ship.submit(Parcel(number=7))
        second = await producer.jobs.ship.submit(Parcel(number=7))

        assert isinstance(first, Accepted)
        assert isinstance(second, Rejected)
        assert (await first.ref.cancel()).state is JobState.CANCELLED
        third = await producer.jobs.ship.submit(Parcel(number=7))
        assert isinstance(third, Accepted)
        assert sorted(violations(server)) == sorted([*LOOKED_UP_AT_CONNECT, *OF_A_WORKER])
    assert complaints(caplog) == []


async def test_updates_reach_a_producer() -> None:
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("worker")) as worker,
        Depot.connect(server.url, options=login("producer")) as producer,
    ):
        register(worker)
        ref = await producer.jobs.weigh.create(Parcel(number=1))
        async with aclosing(ref.updates()) as updates:
            first = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)  # it has subscribed when it first waits
            await producer.jobs.runtime.connection.flush()
            await worker.start()
            assert await asyncio.wait_for(first, 10) == Weight(grams=100)


async def test_the_duties_and_a_worker_together_have_all_that_they_need(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")
    often = Maintenance(rescue_every=timedelta(milliseconds=50), purge_every=timedelta(milliseconds=50))
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("maintainer", maintenance=often)) as depot,
    ):
        register(depot)
        with LogSignals() as signals:
            await depot.start()
            await signals.wait_for(LogEvent.LOST_JOBS_SEARCHED)
        assert depot.jobs.is_leader
        async with depot.jobs.follow() as events:
            ref = await depot.jobs.weigh.create(Parcel(number=1))
            assert [event.event async for event in up_to("completed", events)][-1] == "completed"
        assert await anext(event.event async for event in ref.events()) == "created"
        assert await depot.jobs.purge_ended(Retention(completed=timedelta(0))) == 1
        assert (await depot.jobs.rescue_lost()).enqueued == 0

        assert violations(server) == []
    assert complaints(caplog) == []


async def test_an_operator_alone_finds_lost_jobs_and_purges_ended_ones() -> None:
    at_once = login("operator", maintenance=Maintenance(lost_after=timedelta(0)))
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=at_once) as operator,
    ):
        lost = await root.jobs.weigh.create(Parcel(number=1))
        connection = root.jobs.runtime.connection

        async def is_sourced() -> bool:
            info = await get_consumer_info(connection, "JOBS_WORK", "depot__weigh")
            return info is not None and info.pending == 1

        await eventually(is_sourced)
        await request(connection, "$JS.API.STREAM.PURGE.JOBS_WORK", timeout=SOON)
        assert (await operator.jobs.rescue_lost()).enqueued == 1
        register(root)
        await root.start()
        assert (await lost.result(timeout=SOON)).total == 1
        assert await operator.jobs.purge_ended(Retention(completed=timedelta(0))) == 1

        assert violations(server) == []


async def test_a_worker_does_no_maintenance_and_logs_why() -> None:
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("worker", maintenance=Maintenance())) as worker,
    ):
        register(worker)
        with LogSignals() as signals:
            await worker.start()
            await signals.wait_for(LogEvent.MAINTENANCE_OFF, count=2)

        assert not worker.jobs.is_leader


async def test_each_program_may_have_an_inbox_of_its_own() -> None:
    users = role_accounts()
    users["shop"] = permissions(DepotClient, "client", inbox_prefix="_INBOX.shop")
    async with standing(users) as server:
        options = Options(credentials=login("shop").credentials, inbox_prefix="_INBOX.shop")
        async with DepotClient.connect(server.url, options=options) as shop:
            with pytest.raises(NoResponders):
                await shop.create(REQUEST)
        user = "shop"
        connection = await Connection.open(
            server.url, settings=ConnectionSettings(user=user, password=user, inbox_prefix="_INBOX.shop")
        )
        connection.subscribe("_INBOX_depot.client.>", lambda _: None)
        with pytest.raises(PermissionDenied, match="_INBOX_depot"):
            await connection.flush()
        await connection.close()


async def test_the_roles_are_enough_where_acknowledgements_have_longer_subjects() -> None:
    """Servers from 2.14 on put the domain and the account into them, if they are told to.

    `allow_responses` would permit the first answer to each message, and hide a missing grant.
    """
    maintainer = permissions(Depot, "worker") | permissions(Depot, "operator")
    users = {"worker": replace(maintainer, allow_responses=None)}
    async with (
        standing(users, config="feature_flags { js_ack_fc_v2: true }") as server,
        Depot.connect(server.url, options=login("worker")) as depot,
        depot.jobs.follow() as events,
    ):

        @depot.jobs.charge.handle
        async def charge(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise ConnectionError("the belt stands still")
            return Receipt(total=job.payload.number)

        await depot.jobs.start_workers()
        ref = await depot.jobs.charge.create(Parcel(number=7))
        assert await ref.result(timeout=SOON) == Receipt(total=7)
        assert [event.event async for event in up_to("completed", events)][-1] == "completed"

        async def is_acknowledged() -> bool:
            info = await get_consumer_info(depot.jobs.runtime.connection, "JOBS_WORK", "depot__charge")
            return info is not None and (info.pending, info.ack_pending) == (0, 0)

        await eventually(is_acknowledged)
        assert not [subject for subject in violations(server) if "$JS.ACK" in subject]
