"""The places where a service reads what others send, for the tests of bad input: one context manager each, listed in TARGETS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from types import MappingProxyType
from typing import Final

from trellis_nats import (
    DeliveredEvent,
    Entry,
    FeedContext,
    InvalidObjectKey,
    Maintenance,
    Options,
    RpcContext,
    StoredObject,
)
from trellis_nats._nats.jetstream.object_names import meta_subject
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.ids import new_id
from trellis_nats.testing import NatsServer

from tests.faults.harness.mill import Flour, Grain, GrainJob, Mill
from tests.faults.injection.forging import EVENTS, WORK, created
from tests.support.audit import AuditService
from tests.support.downloads import DOWNLOAD, FileRequest, MissingFile, WireClient, WireService
from tests.support.eventually import eventually
from tests.support.files import BUCKET, FilesService
from tests.support.live import LIVE, Count, CountFrom, LiveClient, LiveService
from tests.support.orders import (
    ORDERS_CREATE,
    ORDERS_SHIPPED,
    REQUEST,
    Moved,
    Order,
    OrdersClient,
    OrdersService,
    Shipped,
    greet,
)
from tests.support.processing import (
    FIXED,
    FixedOperation,
    ProcessClient,
    ProcessInput,
    ProcessOutput,
    ProcessService,
)

__all__ = ["TARGETS", "Target", "TargetFactory"]

_SOON: Final = timedelta(seconds=30)
_JOB: Final = new_id()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place where a service reads what others send."""

    address: Callable[[bytes], tuple[bytes, bytes]]
    """Returns where the bad message with this body goes, and the body, which may have to name the same thing."""
    body: bytes
    """A valid body."""
    do_good: Callable[[], Awaitable[None]]
    """Sends one honest message, and returns when it is dealt with as it must be."""
    effort: int = 1
    """How many times as long a message takes as a call: so many times fewer are sent."""
    is_answered: bool = False
    """Whether each message gets an answer."""
    wait_drained: Callable[[], Awaitable[object]] = field(default=lambda: asyncio.sleep(0))
    """Returns when nothing that was stored is left to be worked."""


TargetFactory = Callable[[NatsServer], AbstractAsyncContextManager[Target]]


@asynccontextmanager
async def rpc(server: NatsServer) -> AsyncGenerator[Target]:
    async with OrdersService.connect(server.url) as service, OrdersClient.connect(server.url) as client:
        service.create.handle(greet)
        await service.start()

        async def do_good() -> None:
            assert (await client.create(REQUEST, timeout=_SOON)).order_id == "c1-1"

        yield Target(
            address=lambda body: (ORDERS_CREATE.subject.encode(), body),
            body=b'{"customerId":"c1","items":[{"productId":"p1","quantity":2}]}',
            do_good=do_good,
            is_answered=True,
        )


@asynccontextmanager
async def feed(server: NatsServer) -> AsyncGenerator[Target]:
    async with LiveService.connect(server.url) as service, LiveClient.connect(server.url) as client:

        @service.count.handle
        async def count_up(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
            assert isinstance(request, CountFrom)
            yield Count(n=request.first, customer=request.customer)

        await service.start()

        async def do_good() -> None:
            async with client.count(CountFrom(customer="good", first=7), timeout=_SOON) as events:
                assert [event.n async for event in events] == [7]

        yield Target(
            address=lambda body: (LIVE.subject.encode(), body),
            body=b'{"customer":"c1","first":1}',
            do_good=do_good,
            is_answered=True,
        )


@asynccontextmanager
async def event(server: NatsServer) -> AsyncGenerator[Target]:
    numbers = count()
    async with (
        OrdersService.connect(server.url) as service,
        OrdersClient.connect(server.url) as client,
        client.shipped.subscribe() as events,
    ):
        arrived: set[str] = set()

        async def read() -> None:
            async for received in events:
                assert isinstance(received.event, Shipped)
                arrived.add(received.event.order_id)

        async def do_good() -> None:
            name = f"good {next(numbers)}"
            await service.shipped.publish(Shipped(order_id=name))
            await eventually(lambda: name in arrived, within=_SOON)

        reader = asyncio.create_task(read())
        yield Target(
            address=lambda body: (ORDERS_SHIPPED.subject.encode(), body),
            body=b'{"orderId":"o1"}',
            do_good=do_good,
        )
        reader.cancel()
        assert events.dropped == 0


@asynccontextmanager
async def group(server: NatsServer) -> AsyncGenerator[Target]:
    numbers = count()
    handled: set[str] = set()
    async with AuditService.connect(server.url) as service:

        @service.audit.shipped.handle
        async def on_shipped(event: DeliveredEvent[Shipped]) -> None:
            assert isinstance(event.event, Shipped)
            handled.add(event.event.order_id)

        @service.audit.moved.handle
        async def on_moved(event: DeliveredEvent[Moved]) -> None:
            assert isinstance(event.event, Moved)

        await service.start()

        async def do_good() -> None:
            name = f"good {next(numbers)}"
            await service.shipped.publish(Shipped(order_id=name))
            await eventually(lambda: name in handled, within=_SOON)

        async def is_drained() -> bool:
            info = await get_consumer_info(service.runtime.connection, "trellis", "audit__audit")
            return info is not None and (info.pending, info.ack_pending) == (0, 0)

        yield Target(
            address=lambda body: (b"events.v1.Orders.Moved.%d\xff" % next(numbers), body),
            body=b'{"orderId":"o1","region":"eu"}',
            do_good=do_good,
            wait_drained=lambda: eventually(is_drained, within=_SOON),
        )


@asynccontextmanager
async def bucket(server: NatsServer) -> AsyncGenerator[Target]:
    numbers = count()
    async with OrdersService.connect(server.url) as service:
        await service.start()
        seen: set[str] = set()

        async def watch() -> None:
            async for entry in service.orders.watch():
                assert not isinstance(entry, Entry) or isinstance(entry.value, Order)
                seen.add(entry.key)

        async def do_good() -> None:
            key = f"good-{next(numbers)}"
            written = await service.orders.put(key, Order(order_id=key))
            assert await service.orders.get(key) is not None
            await service.orders.update(written, Order(order_id=key, total=1))
            await eventually(lambda: key in seen, within=_SOON)

        watcher = asyncio.create_task(watch())
        yield Target(
            address=lambda body: (b"$KV.orders-service_orders.bad.%d" % next(numbers), body),
            body=b'{"orderId":"o1","total":1}',
            do_good=do_good,
        )
        watcher.cancel()


@asynccontextmanager
async def store(server: NatsServer) -> AsyncGenerator[Target]:
    numbers = count()
    body = {"name": "bad", "bucket": BUCKET, "nuid": "x" * 22, "size": 7, "chunks": 1, "digest": "SHA-256=x"}
    async with FilesService.connect(server.url) as service:
        await service.start()

        async def do_good() -> None:
            key = f"good-{next(numbers)}"
            await service.files.put(key, b"content")
            stored = await service.files.get(key)
            assert stored is not None
            assert await stored.read() == b"content"
            assert key in {info.key for info in await service.files.list("good")}

        yield Target(
            address=lambda body: (meta_subject(BUCKET, f"bad-{next(numbers)}").encode(), body),
            body=json.dumps(body).encode(),
            do_good=do_good,
        )


@asynccontextmanager
async def download(server: NatsServer) -> AsyncGenerator[Target]:
    async with WireService.connect(server.url) as service, WireClient.connect(server.url) as client:

        @service.download.handle
        async def serve(context: RpcContext, request: FileRequest) -> StoredObject:
            try:
                stored = await service.uploads.get(request.key)
            except InvalidObjectKey:
                stored = None
            if stored is None:
                raise MissingFile("not found", resource="file")
            return stored

        await service.start()
        await service.uploads.put("o", b"content")

        async def do_good() -> None:
            content = await client.download(FileRequest(key="o"), timeout=_SOON)
            assert await content.read() == b"content"

        yield Target(
            address=lambda body: (DOWNLOAD.subject.encode(), body),
            body=b'{"key":"o"}',
            do_good=do_good,
            is_answered=True,
        )


@asynccontextmanager
async def _operations(
    server: NatsServer, address: Callable[[bytes], tuple[bytes, bytes]], body: bytes
) -> AsyncGenerator[Target]:
    async with ProcessService.connect(server.url) as service, ProcessClient.connect(server.url) as client:

        @service.fixed.handle
        async def process(operation: FixedOperation) -> ProcessOutput:
            assert isinstance(operation.input, ProcessInput)
            return ProcessOutput(order_id=operation.input.order_id, status="done")

        await service.start()

        async def do_good() -> None:
            run = await client.fixed.start(ProcessInput(order_id="good"))
            assert (await run.result(timeout=_SOON)).status == "done"

        yield Target(address=address, effort=10, body=body, do_good=do_good, is_answered=True)


def operation_start(server: NatsServer) -> AbstractAsyncContextManager[Target]:
    return _operations(server, lambda body: (FIXED.subject.encode(), body), b'{"order_id":"o1"}')


def operation_control(server: NatsServer) -> AbstractAsyncContextManager[Target]:
    body = json.dumps({"action": "get", "operationId": _JOB}).encode()
    return _operations(server, lambda body: (FIXED.control_subject.encode(), body), body)


@asynccontextmanager
async def _jobs(
    server: NatsServer, address: Callable[[bytes], tuple[bytes, bytes]]
) -> AsyncGenerator[Target]:
    options = Options(maintenance=Maintenance(rescue_every=None, purge_every=None))
    async with Mill.connect(server.url, options=options) as mill:

        @mill.jobs.grind.handle
        async def grind(job: GrainJob) -> Flour:
            assert isinstance(job.payload, Grain)
            return Flour(tries=job.tries)

        await mill.start()

        async def do_good() -> None:
            ref = await mill.jobs.grind.create(Grain(number=1))
            assert await ref.result(timeout=_SOON) == Flour(tries=1)

        async def is_drained() -> bool:
            info = await get_consumer_info(mill.jobs.runtime.connection, "JOBS_WORK", "mill__grind")
            return info is not None and (info.pending, info.ack_pending) == (0, 0)

        yield Target(
            address=address,
            effort=10,
            body=json.dumps(created(_JOB)).encode(),
            do_good=do_good,
            wait_drained=lambda: eventually(is_drained, within=_SOON),
        )


def work_message(server: NatsServer) -> AbstractAsyncContextManager[Target]:
    return _jobs(server, lambda body: (WORK.encode(), body))


def job_event(server: NatsServer) -> AbstractAsyncContextManager[Target]:
    def address(body: bytes) -> tuple[bytes, bytes]:
        job = new_id()
        return f"{EVENTS}.{job}.created".encode(), body.replace(_JOB.encode(), job.encode())

    return _jobs(server, address)


TARGETS: Final[Mapping[str, TargetFactory]] = MappingProxyType(
    {
        "rpc": rpc,
        "feed": feed,
        "event": event,
        "group": group,
        "bucket": bucket,
        "store": store,
        "download": download,
        "operation start": operation_start,
        "operation control": operation_control,
        "work message": work_message,
        "job event": job_event,
    }
)
"""Every surface that reads what others send."""
