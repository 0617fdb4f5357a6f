"""Streams and consumers that a person edits while the service runs: no job is lost, and /readyz names the edit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from trellis_nats import DeliveredEvent
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject
from trellis_nats._nats.jetstream.streams import get_consumer_info, update_consumer, update_stream
from trellis_nats._support.log_events import LogEvent
from trellis_nats.errors import ProvisioningError
from trellis_nats.jobs.maintenance import write_health
from trellis_nats.testing import LogSignals, NatsServer

from tests.integration.health.test_unwritable import config_of, is_ready, is_unready, reason, working
from tests.support.audit import AuditService
from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.orders import Moved, Shipped
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)
BODIES = "headers_only is true, so that messages arrive without their bodies"


async def leave_out_bodies(connection: Connection, *, is_on: bool) -> None:
    info = await get_consumer_info(connection, "JOBS_WORK", "shop__pack")
    assert info is not None
    await update_consumer(connection, "JOBS_WORK", {**info.config, "headers_only": is_on})


@pytest.mark.parametrize("is_probed", [True, False])
async def test_a_consumer_that_leaves_out_bodies_is_not_pulled_from_and_loses_no_job(
    nats_server: NatsServer, *, is_probed: bool
) -> None:
    """A probe notices it; without one, the first message does."""
    async with working(nats_server.url) as shop:
        connection = connection_of(shop)
        with LogSignals() as signals:
            await leave_out_bodies(connection, is_on=True)
            if is_probed:
                await eventually(lambda: is_unready(shop), within=SOON)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await eventually(lambda: is_unready(shop), within=SOON)
            assert BODIES in await reason(shop)

            await leave_out_bodies(connection, is_on=False)
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            await eventually(lambda: is_ready(shop), within=SOON)

        assert [BODIES in line.getMessage() for line in signals.of(LogEvent.CONSUMER_REFUSED)] == [True]
        assert signals.of(LogEvent.WORK_MESSAGE_REMOVED) == []


async def test_no_worker_starts_on_a_consumer_that_leaves_out_bodies(nats_server: NatsServer) -> None:
    async with working(nats_server.url) as shop:
        await leave_out_bodies(connection_of(shop), is_on=True)
        async with Shop.connect(nats_server.url) as late:

            @late.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            with pytest.raises(ProvisioningError, match=BODIES):
                await late.jobs.start_workers()


TRANSFORM: JsonObject = {"src": "trellis.jobs.>", "dest": "elsewhere.>"}


@pytest.mark.parametrize(
    ("stream", "edit", "named"),
    [
        (
            "JOBS",
            {"subject_transform": TRANSFORM},
            'stores "trellis.jobs.>" as "elsewhere.>": what is published there is',
        ),
        ("JOBS", {"allow_direct": False}, "allow_direct is false"),
        (
            "JOBS_WORK",
            {"subject_transform": {"src": "trellis.work.>", "dest": "else.>"}},
            'stores "trellis.work.>"',
        ),
        (
            "JOBS_WORK",
            {"sources": [{"name": "JOBS", "filter_subject": "trellis.jobs.x"}]},
            "it has no source JOBS",
        ),
        ("JOBS_WORK", {"sealed": True}, "sealed is true"),
        (
            "KV_JOBS_KEYS_shop",
            {"allow_direct": False},
            'bucket "JOBS_KEYS_shop" differs: allow_direct is false',
        ),
    ],
)
async def test_a_stream_that_loses_jobs_since_it_was_edited_is_named(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, stream: str, edit: JsonObject, named: str
) -> None:
    monkeypatch.setattr(write_health, "_FRESH", 0.0)
    async with working(nats_server.url) as shop:
        connection = connection_of(shop)
        before = await config_of(connection, stream)
        with LogSignals() as signals:
            await update_stream(connection, {**before, **edit})
            await eventually(lambda: is_unready(shop), within=SOON)
            assert named in await reason(shop)
            assert [named in line.getMessage() for line in signals.of(LogEvent.WRITES_FAIL)] == [True]

            if "sealed" not in edit:  # a seal cannot be taken off
                await update_stream(connection, before)
                await eventually(lambda: is_ready(shop), within=SOON)


async def ignore(event: DeliveredEvent[Moved]) -> None:
    pass


async def test_an_event_that_arrives_without_its_body_is_kept_until_the_consumer_is_put_right(
    nats_server: NatsServer,
) -> None:
    seen: list[str] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event.event.order_id)

    async with AuditService.connect(nats_server.url) as service:
        service.audit.shipped.handle(record)
        service.audit.moved.handle(ignore)
        await service.start()
        connection = service.runtime.connection
        info = await get_consumer_info(connection, "trellis", "audit__audit")
        assert info is not None
        with LogSignals() as signals:
            await update_consumer(connection, "trellis", {**info.config, "headers_only": True})
            await service.shipped.publish(Shipped(order_id="1"))
            await signals.wait_for(LogEvent.CONSUMER_REFUSED, consumer="audit__audit")
            await update_consumer(connection, "trellis", {**info.config, "headers_only": False})
            await eventually(lambda: seen)

    assert seen == ["1"]
    assert signals.of(LogEvent.EVENT_REMOVED) == []


async def test_an_event_that_says_so_of_itself_holds_up_no_other(nats_server: NatsServer) -> None:
    seen: list[str] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event.event.order_id)

    async with AuditService.connect(nats_server.url) as service:
        service.audit.shipped.handle(record)
        service.audit.moved.handle(ignore)
        await service.start()
        forged = {"Nats-Msg-Size": "5"}
        await service.runtime.connection.publish("events.v1.Orders.Shipped", b"", headers=forged)
        await service.shipped.publish(Shipped(order_id="1"))
        await eventually(lambda: seen)

    assert seen == ["1"]
