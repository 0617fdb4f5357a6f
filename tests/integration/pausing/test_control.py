"""Pausing and resuming with nothing but a connection: the record, and the hold of the consumers at the server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import ConfigurationError, PermissionDenied, Permissions, ProvisioningError, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.clock import now
from trellis_nats.jobs.maintenance.pause_holder import PauseHolder
from trellis_nats.jobs.pause import QueueConsumer, control, list_pauses, pause_queue, read_pause, resume_queue
from trellis_nats.jobs.pause.consumer_hold import ConsumerHold, hold_consumer, release_consumer
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.depot import Depot, login, register, standing, violations
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON: Final = timedelta(seconds=20)
BUCKET: Final = "JOBS_KEYS_shop"
BOTH: Final = (QueueConsumer("JOBS_WORK", "shop__pack"), QueueConsumer("JOBS_DELAYED", "shop__pack"))


@asynccontextmanager
async def provisioned(version: str | None = None) -> AsyncGenerator[tuple[NatsServer, Connection]]:
    """Run a server with everything that the shop needs, and a connection that may do everything."""
    binary = None if version is None else binary_of(version)
    async with NatsServer(binary=binary) as server:
        async with Shop.connect(server.url):
            pass
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        try:
            yield server, connection
        finally:
            await connection.close()


async def is_held(connection: Connection, consumer: QueueConsumer) -> bool:
    info = await get_consumer_info(connection, consumer.stream, consumer.name)
    return info is not None and info.is_paused


async def test_the_record_says_who_why_since_when_and_from_where() -> None:
    async with provisioned() as (_, connection):
        result = await pause_queue(
            connection, "shop", "pack", by="mara", reason="a «release»", source="command line"
        )
        stored = await KvBucket(connection, BUCKET).get("pause.pack")

        assert result.is_new
        assert stored is not None
        body = json.loads(stored.value)
        assert body.pop("since").endswith("Z")
        assert body == {"by": "mara", "reason": "a «release»", "source": "command line"}
        assert await read_pause(connection, "shop", "pack") == result.pause
        assert await read_pause(connection, "shop", "sort") is None
        assert await list_pauses(connection, "shop") == {"pack": result.pause}
        assert (await resume_queue(connection, "shop", "pack")).removed == result.pause
        assert await list_pauses(connection, "shop") == {}


async def test_a_second_pause_keeps_the_first_record_and_a_second_resume_does_nothing() -> None:
    async with provisioned() as (_, connection):
        results = await asyncio.gather(
            *(pause_queue(connection, "shop", "pack", by=f"u{n}", source="a test") for n in range(10))
        )
        assert [result.is_new for result in results].count(True) == 1
        assert len({result.pause for result in results}) == 1
        resumed = await asyncio.gather(*(resume_queue(connection, "shop", "pack") for _ in range(10)))

        assert [result.removed for result in resumed].count(None) == 9
        again = await pause_queue(connection, "shop", "pack", by="u", source="a test")
        assert again.is_new


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_the_consumers_are_held_for_workers_that_do_not_read_the_record(version: str | None) -> None:
    async with provisioned(version) as (server, connection):
        holds_exist = connection.server_version >= (2, 11, 0)
        has_due = connection.server_version >= (2, 12, 8)
        expected = BOTH if has_due else BOTH[:1]
        result = await pause_queue(connection, "shop", "pack", by="mara", source="a test")
        held = [hold.consumer for hold in result.holds if hold.until is not None]
        assert held == (list(expected) if holds_exist else [])
        assert [hold.problem for hold in result.holds if hold.problem] == []
        for hold in result.holds:
            assert hold.until is None or timedelta(minutes=59) < hold.until - now() <= timedelta(hours=1)
        if holds_exist:
            assert [await is_held(connection, consumer) for consumer in expected] == [True] * len(expected)
            received: list[Delivery] = []
            foreign = Pull(connection, stream="JOBS_WORK", consumer="shop__pack", deliver=received.append)
            foreign.start()
            foreign.set_capacity(5)
            async with Shop.connect(server.url) as shop:
                await shop.jobs.pack.create(Parcel(number=1))

                async def waits() -> bool:
                    info = await get_consumer_info(connection, "JOBS_WORK", "shop__pack")
                    return info is not None and info.pending == 1 and info.waiting == 1

                await eventually(waits)
                assert received == []
            await resume_queue(connection, "shop", "pack")
            await eventually(lambda: received)
            await foreign.stop()
            assert [await is_held(connection, consumer) for consumer in expected] == [False] * len(expected)
        else:
            assert "CONSUMER.PAUSE" not in server.log


async def test_a_consumer_of_another_name_is_found_by_its_subject() -> None:
    async with provisioned() as (_, connection):
        await call(connection, "CONSUMER.DELETE.JOBS_WORK.shop__pack")
        config = {
            "durable_name": "foreign",
            "filter_subject": "trellis.work.shop.pack",
            "ack_policy": "explicit",
        }
        await call(
            connection,
            "CONSUMER.CREATE.JOBS_WORK.foreign.trellis.work.shop.pack",
            {"stream_name": "JOBS_WORK", "config": {**config, "name": "foreign"}},
        )
        result = await pause_queue(connection, "shop", "pack", by="mara", source="a test")

        held = [hold.consumer for hold in result.holds if hold.until is not None]
        assert held == [QueueConsumer("JOBS_WORK", "foreign"), BOTH[1]]


async def test_the_leader_extends_the_holds_of_paused_queues_only() -> None:
    async with provisioned() as (server, connection), Shop.connect(server.url) as shop:
        jobs = shop.jobs.runtime.binding.jobs
        assert jobs is not None
        await pause_queue(connection, "shop", "pack", by="mara", source="a test", consumers=())
        assert not await is_held(connection, BOTH[0])

        await PauseHolder(connection, jobs).run(lambda: True)

        assert [await is_held(connection, consumer) for consumer in BOTH] == [True, True]
        assert not await is_held(connection, QueueConsumer("JOBS_WORK", "shop__sort"))


async def test_a_queue_that_is_resumed_while_it_is_being_paused_is_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with provisioned() as (_, connection):

        async def resume_first(
            connection: Connection, consumer: QueueConsumer, *, timeout: timedelta
        ) -> ConsumerHold:
            monkeypatch.undo()
            await resume_queue(connection, "shop", "pack", consumers=BOTH)
            return await hold_consumer(connection, consumer, timeout=timeout)

        monkeypatch.setattr(control, "hold_consumer", resume_first)
        await pause_queue(connection, "shop", "pack", by="mara", source="test", consumers=BOTH)

        assert await read_pause(connection, "shop", "pack") is None
        assert [await is_held(connection, consumer) for consumer in BOTH] == [False, False]


async def test_a_queue_that_is_paused_while_it_is_being_resumed_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with provisioned() as (_, connection):
        await pause_queue(connection, "shop", "pack", by="mara", source="test", consumers=BOTH)

        async def pause_first(
            connection: Connection, consumer: QueueConsumer, *, timeout: timedelta
        ) -> ConsumerHold:
            if await read_pause(connection, "shop", "pack") is None:
                monkeypatch.undo()
                await pause_queue(connection, "shop", "pack", by="ben", source="test", consumers=BOTH)
            return await release_consumer(connection, consumer, timeout=timeout)

        monkeypatch.setattr(control, "release_consumer", pause_first)
        await resume_queue(connection, "shop", "pack", consumers=BOTH)

        found = await read_pause(connection, "shop", "pack")
        assert found is not None
        assert found.by == "ben"
        assert [await is_held(connection, consumer) for consumer in BOTH] == [True, True]


async def test_any_value_pauses_a_queue() -> None:
    async with provisioned() as (server, connection), Shop.connect(server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        with LogSignals() as signals:
            await KvBucket(connection, BUCKET).put("pause.pack", b"\xff{")
            record = await signals.wait_for(LogEvent.QUEUE_PAUSED, queue="pack")

        assert record.getMessage().startswith("queue pack: paused by unknown since ")
        pause = await read_pause(connection, "shop", "pack")
        assert pause is not None
        assert (pause.by, pause.reason, pause.source) == ("unknown", None, "unknown")


async def test_an_announcement_that_is_not_stored_pauses_nothing() -> None:
    """A write that the stream refuses reaches subscribers too."""
    async with provisioned() as (server, connection), Shop.connect(server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        with LogSignals() as signals:
            with pytest.raises(Exception, match="wrong last sequence"):
                await publish_acked(
                    connection, f"$KV.{BUCKET}.pause.pack", b"{}", expected_last_on_subject=1_000
                )
            ref = await shop.jobs.pack.create(Parcel(number=1))
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            assert not signals.of(LogEvent.QUEUE_PAUSED)


async def test_without_its_bucket_a_queue_is_worked_and_cannot_be_paused() -> None:
    async with provisioned() as (server, connection), Shop.connect(server.url) as shop:
        await call(connection, f"STREAM.DELETE.KV_{BUCKET}")

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        with LogSignals() as signals:
            await shop.jobs.start_workers()
            await signals.wait_for(LogEvent.PAUSE_NOT_FOLLOWED, queue="pack")
            ref = await shop.jobs.pack.create(Parcel(number=1))
            assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert await read_pause(connection, "shop", "pack") is None
        assert await list_pauses(connection, "shop") == {}
        with pytest.raises(ProvisioningError, match=f'bucket "{BUCKET}" does not exist'):
            await shop.jobs.pack.pause()


async def test_a_queue_whose_bucket_is_deleted_stays_paused_and_says_so() -> None:
    async with provisioned() as (server, connection), Shop.connect(server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        with LogSignals() as signals:
            await shop.jobs.start_workers()
            await shop.jobs.pack.pause()
            await signals.wait_for(LogEvent.QUEUE_PAUSED, queue="pack")
            await call(connection, f"STREAM.DELETE.KV_{BUCKET}")
            connection.send(f"$KV.{BUCKET}.pause.pack", b"look again")
            said = await signals.wait_for(LogEvent.PAUSE_NOT_FOLLOWED, queue="pack")

        assert (said.levelname, said.getMessage().split(":")[0]) == ("WARNING", "queue pack stays paused")


@pytest.mark.parametrize(
    ("by", "reason", "source"), [("", None, "a test"), ("u", "r" * 2_001, "a test"), ("u", None, " ")]
)
async def test_texts_are_checked(by: str, reason: str | None, source: str) -> None:
    async with provisioned() as (_, connection):
        with pytest.raises(ConfigurationError, match="a text of 1 to 2000 characters"):
            await pause_queue(connection, "shop", "pack", by=by, reason=reason, source=source)
        with pytest.raises(ConfigurationError, match=r'queue "a\.b"'):
            await read_pause(connection, "shop", "a.b")


async def test_an_operator_alone_may_pause_and_a_worker_obeys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("worker")) as worker,
        Depot.connect(server.url, options=login("operator")) as operator,
    ):
        register(worker)
        await worker.start()
        before = len(violations(server))
        connection = operator.jobs.runtime.connection
        with LogSignals() as signals:
            for queue in ("pack", "ship"):
                result = await pause_queue(connection, "depot", queue, by="mara", source="a test")
                assert [hold.problem for hold in result.holds] == [None, None]
                await signals.wait_for(LogEvent.QUEUE_PAUSED, queue=queue)
            assert list(await list_pauses(connection, "depot")) == ["pack", "ship"]
            ref = await worker.jobs.ship.create(Parcel(number=1))
            for queue in ("pack", "ship"):
                assert (await resume_queue(connection, "depot", queue)).removed is not None
                await signals.wait_for(LogEvent.QUEUE_RESUMED, queue=queue)
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert violations(server)[before:] == []
        with pytest.raises(PermissionDenied, match=r"pause\.pack"):
            await worker.jobs.pack.pause()


def cut(part: str) -> Permissions:
    worker = permissions(Depot, "worker")
    return replace(
        worker,
        publish=tuple(line for line in worker.publish if part not in line),
        subscribe=tuple(line for line in worker.subscribe if part not in line),
    )


async def test_a_worker_that_may_not_notice_a_pause_works_and_is_held_at_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="trellis_nats")
    users = {"root": None, "worker": cut(".pause.")}
    async with (
        standing(users) as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=login("worker")) as worker,
    ):

        @worker.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await worker.jobs.start_workers()
        assert "to notice that queue pack is paused" in caplog.text
        await root.jobs.pack.pause()
        ref = await root.jobs.pack.create(Parcel(number=1))

        async def waits() -> bool:
            info = await get_consumer_info(root.jobs.runtime.connection, "JOBS_WORK", "depot__pack")
            return info is not None and info.pending == 1 and info.waiting > 0

        await eventually(waits)
        assert (await ref.get()).tries == 0
        await root.jobs.pack.resume()
        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_an_account_that_may_not_end_a_hold_resumes_nothing() -> None:
    operator = permissions(Depot, "operator")
    users = {
        "root": None,
        "operator": replace(
            operator, publish=tuple(s for s in operator.publish if "CONSUMER.PAUSE" not in s)
        ),
    }
    async with (
        standing(users) as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=login("operator")) as limited,
    ):
        connection = limited.jobs.runtime.connection
        result = await pause_queue(connection, "depot", "pack", by="mara", source="a test")
        assert [hold.until for hold in result.holds] == [None, None]
        assert all(hold.problem and "may not" in hold.problem for hold in result.holds)
        assert (await resume_queue(connection, "depot", "pack")).removed == result.pause
        await root.jobs.pack.pause()
        with pytest.raises(PermissionDenied, match=r"CONSUMER\.PAUSE"):
            await resume_queue(connection, "depot", "pack")
        assert await root.jobs.pack.paused() is not None
