"""Workers publish heartbeats as other runtimes expect them."""

import asyncio
import json
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

from trellis_nats import Maintenance, Options
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import parse_timestamp
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process

SOON: Final = timedelta(seconds=10)
OFTEN: Final = timedelta(milliseconds=30)
HEARTBEATS: Final = "trellis.jobs.workers.>"


def options_of(every: timedelta) -> Options:
    return Options(maintenance=Maintenance(heartbeat_every=every, rescue_every=None, purge_every=None))


async def work_two_queues(shop: Shop) -> None:
    @shop.jobs.pack.handle(concurrency=7)
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=1)

    @shop.jobs.sort.handle
    async def sort(job: object) -> None: ...

    await shop.jobs.start_workers()


async def watch_pack(watcher: Shop) -> list[dict[str, object]]:
    """Receive the heartbeats of queue `pack`."""
    received: list[dict[str, object]] = []

    def receive(message: Message) -> None:
        if ".pack." in message.subject:
            received.append(json.loads(message.data))

    connection_of(watcher).subscribe(HEARTBEATS, receive)
    await connection_of(watcher).flush()
    return received


async def test_every_queue_publishes_a_complete_heartbeat_at_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as watcher, Shop.connect(nats_server.url) as shop:
        received: list[Message] = []
        connection_of(watcher).subscribe(HEARTBEATS, received.append)
        await connection_of(watcher).flush()
        before = datetime.now(UTC)
        await work_two_queues(shop)
        await eventually(lambda: len(received) == 2)

        instance = shop.jobs.runtime.instance_id
        by_queue = {message.subject.split(".")[4]: message for message in received}
        assert {message.subject for message in received} == {
            f"trellis.jobs.workers.shop.pack.{instance}.heartbeat",
            f"trellis.jobs.workers.shop.sort.{instance}.heartbeat",
        }
        body = json.loads(by_queue["pack"].data)
        sent_at, started_at = body.pop("timestamp"), body.pop("startedAt")
        assert body.pop("memoryBytes") > 1_000_000
        assert body.pop("threads") >= 2
        assert 0 <= body.pop("loopLagMs") < 10_000
        assert body == {
            "service": "shop",
            "jobType": "pack",
            "instanceId": instance,
            "concurrency": 7,
            "version": version("trellis-nats"),
            "contract": "shop@v1",
            "contractDigest": "x" * 43,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "running": 0,
            "paused": False,
        }
        assert started_at <= sent_at
        assert before - timedelta(seconds=1) < parse_timestamp(sent_at) <= datetime.now(UTC)
        assert len(sent_at) == len("2026-01-01T00:00:00.000Z")
        assert json.loads(by_queue["sort"].data)["concurrency"] == 3, "the contract's number"
        assert by_queue["pack"].headers == {}
        assert by_queue["pack"].reply == ""


async def test_heartbeats_continue_until_the_workers_stop(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as watcher:
        received: list[Message] = []
        connection_of(watcher).subscribe(HEARTBEATS, received.append)
        await connection_of(watcher).flush()
        async with Shop.connect(nats_server.url, options=options_of(OFTEN)) as shop:
            await work_two_queues(shop)
            await eventually(lambda: len(received) >= 8)
            await shop.stop()
            await connection_of(shop).flush()
            await connection_of(watcher).flush()
            last = len(received)
            await connection_of(shop).publish("trellis.jobs.workers.shop.pack.x.heartbeat", b"{}")
            await eventually(lambda: len(received) > last)

        assert received[-1].data == b"{}", "no heartbeat is published after the stop"


async def test_the_last_heartbeats_say_that_the_process_stops_and_has_stopped(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as watcher:
        received = await watch_pack(watcher)
        async with Shop.connect(nats_server.url) as shop:
            running, go_on = asyncio.Event(), asyncio.Event()

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                running.set()
                await go_on.wait()
                return Receipt(total=1)

            host = await shop.jobs.start_workers()
            await shop.jobs.pack.create(Parcel(number=1))
            await running.wait()
            before = datetime.now(UTC)
            stopping = asyncio.create_task(host.stop(grace=timedelta(seconds=30)))
            await eventually(lambda: received and received[-1].get("stopping"))
            stops = received[-1]
            assert stops["running"] == 1
            assert "stopped" not in stops
            left = parse_timestamp(str(stops["graceEndsAt"])) - before
            assert timedelta(seconds=29) < left < timedelta(seconds=60)
            go_on.set()
            await stopping
            await connection_of(shop).flush()
            await connection_of(watcher).flush()

        assert received[-1]["stopped"] is True
        assert received[-1]["running"] == 0


async def test_a_change_of_the_pause_is_confirmed_at_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as watcher, Shop.connect(nats_server.url) as shop:
        received = await watch_pack(watcher)
        await work_two_queues(shop)
        await eventually(lambda: len(received) == 1)
        began = time.monotonic()
        await shop.jobs.pack.pause()
        await eventually(lambda: len(received) == 2)
        assert received[-1]["paused"] is True
        await shop.jobs.pack.resume()
        await eventually(lambda: len(received) == 3)

        assert received[-1]["paused"] is False
        assert time.monotonic() - began < 2


async def test_heartbeats_continue_while_a_handler_blocks_the_event_loop(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as watcher:
        received = await watch_pack(watcher)
        async with shop_process(nats_server.url, heartbeat_every=OFTEN) as worker:
            await watcher.jobs.pack.create(Parcel(number=-60))  # it blocks for a minute
            await worker.wait_for("began")

            def shows_the_block() -> bool:
                # A slow machine may be late before the handler began.
                newest = received[-1] if received else {}
                return newest.get("running") == 1 and int(str(newest["loopLagMs"])) > 1_000

            await eventually(shows_the_block)

        assert received[-1]["pid"] == worker.process.pid


async def test_heartbeats_continue_during_a_handler_and_after_an_outage(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=options_of(OFTEN)) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        nats_server.kill()
        nats_server.restart()
        async with Shop.connect(nats_server.url) as watcher:
            received: list[Message] = []
            connection_of(watcher).subscribe(HEARTBEATS, received.append)
            await eventually(lambda: len(received) >= 2)
        go_on.set()

        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_an_account_that_may_not_publish_heartbeats_still_works_jobs() -> None:
    config = """
        authorization { users: [
            { user: worker, password: none, permissions: { publish: { deny: ["trellis.jobs.workers.>"] } } },
        ] }
    """
    with NatsServer(config=config) as server:
        url = server.url.replace("://", "://worker:none@")
        async with Shop.connect(url, options=options_of(OFTEN)) as shop:
            await work_two_queues(shop)

            ref = await shop.jobs.pack.create(Parcel(number=1))

            assert await ref.result(timeout=SOON) == Receipt(total=1)


def test_the_defaults_are_those_of_the_reference() -> None:
    assert Options().maintenance.heartbeat_every == timedelta(seconds=30)
