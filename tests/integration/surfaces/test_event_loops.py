"""Calls from other threads, other event loops and forked children; and programs without an event loop."""

import asyncio
import inspect
import multiprocessing
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe

import pytest
import trellis_nats
from trellis_nats import (
    CannotConnect,
    Download,
    Entry,
    JobFailed,
    SignalCall,
    StoredObject,
    WrongEventLoop,
)
from trellis_nats._nats.link.link import Link
from trellis_nats.jobs.queue import setup_of
from trellis_nats.testing import NatsServer

from tests.support.downloads import FileRequest, WireClient, WireService, serve_files
from tests.support.eventually import eventually
from tests.support.gadget import Gadget, Note, Pref
from tests.support.live import Count, CountFrom, LiveClient, LiveService, Source
from tests.support.orders import (
    REQUEST,
    CreateResponse,
    NotFoundError,
    Order,
    OrdersClient,
    OrdersService,
    Shipped,
    greet,
)
from tests.support.processing import (
    Approval,
    ApproveSignal,
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessProgress,
    ProcessRun,
    ProcessService,
    running,
)
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop, WeighJob, Weight
from tests.support.uploading import UploadClient, UploadInput

SOON = timedelta(seconds=10)
OWN = {
    *("Service.connect", "Service.join", "Client.connect"),  # the event loop that calls them is theirs
    "AttachableJob.result",  # a protocol
    *("CallersFile.judge", "CallersFile.check"),  # one file may serve several event loops, and sends nothing
}
ORDER = Order(order_id="o1", total=3)

Calls = dict[str, Callable[[], Awaitable[object]]]


def public_coroutines() -> set[str]:
    """Return the coroutine functions, asynchronous generators and context managers of the public classes."""
    found: set[str] = set()
    for name in trellis_nats.__all__:
        value: object = getattr(trellis_nats, name)
        if not inspect.isclass(value):
            continue
        for member, attribute in tuple(vars(value).items()):
            function = getattr(attribute, "__func__", attribute)
            function = getattr(function, "__wrapped__", function)
            if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
                continue
            if not member.startswith("_") or member in {"__call__", "__anext__"}:
                found.add(f"{name}.{member}")
    return found


async def in_another_loop(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    """Await a call on an event loop in another thread, and return what it raised."""

    async def limited() -> None:
        async with asyncio.timeout(SOON.total_seconds()):
            await call()

    def run() -> BaseException | None:
        try:
            asyncio.run(limited())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error
        return None

    return await asyncio.to_thread(run)


@pytest.fixture
def sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the commands that other threads than this one send."""
    commands: list[bytes] = []
    own, send = threading.get_ident(), Link.send

    def record(link: Link, command: bytes) -> None:
        if threading.get_ident() != own and not threading.current_thread().name.endswith("heartbeat"):
            commands.append(command)
        send(link, command)

    monkeypatch.setattr(Link, "send", record)
    return commands


def calls_of_jobs(
    shop: Shop,
    job: WeighJob,
    host: trellis_nats.WorkerHost,
    ended: trellis_nats.JobSnapshot[Parcel, Receipt],
) -> Calls:
    ref = shop.jobs.weigh.ref(job.id)
    dead = trellis_nats.DeadJob(setup_of(shop.jobs.pack).context, ended, sequence=1)
    return {
        "ActiveJob.checkpoint": lambda: job.checkpoint({"page": 1}),
        "ActiveJob.emit_update": lambda: job.emit_update(Weight(grams=1)),
        "ActiveJob.heartbeat": job.heartbeat,
        "ActiveJob.log": lambda: job.log("a line"),
        "ActiveJob.progress": lambda: job.progress(current=1),
        "DeadJob.dismiss": dead.dismiss,
        "DeadJob.replay": dead.replay,
        "Health.report": shop.health.report,
        "Health.report_connected": shop.health.report_connected,
        "JobQueue.create": lambda: shop.jobs.pack.create(Parcel(number=1)),
        "JobQueue.create_many": lambda: shop.jobs.pack.create_many([Parcel(number=1)]),
        "JobQueue.dead": lambda: anext(shop.jobs.pack.dead()),
        "JobQueue.pause": shop.jobs.pack.pause,
        "JobQueue.paused": shop.jobs.pack.paused,
        "JobQueue.resume": shop.jobs.pack.resume,
        "JobQueue.stats": shop.jobs.pack.stats,
        "JobQueue.submit": lambda: shop.jobs.pack.submit(Parcel(number=1)),
        "JobRef.cancel": ref.cancel,
        "JobRef.dismiss": ref.dismiss,
        "JobRef.events": lambda: anext(ref.events()),
        "JobRef.get": ref.get,
        "JobRef.release_key": ref.release_key,
        "JobRef.replay_edited": lambda: ref.replay_edited(Parcel(number=1)),
        "JobRef.recreate": ref.recreate,
        "JobRef.result": ref.result,
        "JobRef.retry": ref.retry,
        "JobRef.updates": lambda: anext(ref.updates()),
        "JobRef.wait": ref.wait,
        "Jobs.dead": lambda: anext(shop.jobs.dead()),
        "Jobs.follow": lambda: shop.jobs.follow().__aenter__(),
        "Jobs.purge_ended": shop.jobs.purge_ended,
        "Jobs.rescue_lost": shop.jobs.rescue_lost,
        "Jobs.start_workers": shop.jobs.start_workers,
        "Runtime.check_permissions": shop.jobs.runtime.check_permissions,
        "Runtime.close": shop.jobs.runtime.close,
        "Runtime.open": shop.jobs.runtime.open,
        "Runtime.start": lambda: shop.jobs.runtime.start(shop.jobs.runtime.open),
        "Runtime.stop": lambda: shop.jobs.runtime.stop(timedelta(0)),
        "Service.run": shop.run,
        "Service.start": shop.start,
        "Service.stop": shop.stop,
        "WorkerHost.stop": host.stop,
    }


def calls_of_feeds(client: LiveClient, events: trellis_nats.FeedSubscription[Count]) -> Calls:
    return {
        "FeedCall.__call__": lambda: client.count(CountFrom(customer="c1")).__aenter__(),
        "FeedSubscription.__anext__": lambda: anext(events),
    }


def calls_of_state(gadget: Gadget) -> Calls:
    return {
        "StateMap.create": lambda: gadget.notes.create("a", Note(text="x")),
        "StateMap.delete": lambda: gadget.notes.delete("a"),
        "StateMap.get": lambda: gadget.notes.get("a"),
        "StateMap.list": lambda: anext(gadget.notes.list()),
        "StateMap.put": lambda: gadget.notes.put("a", Note(text="x")),
        "StateValue.create": lambda: gadget.prefs.create(Pref(theme="dark")),
        "StateValue.delete": gadget.prefs.delete,
        "StateValue.get": gadget.prefs.get,
        "StateValue.put": lambda: gadget.prefs.put(Pref(theme="dark")),
    }


def calls_of_orders(
    service: OrdersService, client: OrdersClient, events: trellis_nats.EventSubscription[Shipped]
) -> Calls:
    entry = Entry(key="o1", value=ORDER, revision=1)
    return {
        "Bucket.create": lambda: service.orders.create("o1", ORDER),
        "Bucket.delete": lambda: service.orders.delete("o1"),
        "Bucket.get": lambda: service.orders.get("o1"),
        "Bucket.history": lambda: service.orders.history("o1"),
        "Bucket.keys": service.orders.keys,
        "Bucket.put": lambda: service.orders.put("o1", ORDER),
        "Bucket.update": lambda: service.orders.update(entry, ORDER),
        "Bucket.watch": lambda: anext(service.orders.watch()),
        "EventOutlet.publish": lambda: service.shipped.publish(Shipped(order_id="o1")),
        "EventSource.subscribe": lambda: client.shipped.subscribe().__aenter__(),
        "EventSubscription.__anext__": lambda: anext(events),
        "RpcCall.__call__": lambda: client.create(REQUEST),
    }


def calls_of_files(
    service: WireService, client: WireClient, uploader: UploadClient, stored: StoredObject, download: Download
) -> Calls:
    store = service.uploads
    return {
        "Download.read": download.read,
        "DownloadCall.__call__": lambda: client.download(FileRequest(key="a")),
        "Store.create": lambda: store.create("b", b"b"),
        "Store.delete": lambda: store.delete("a"),
        "Store.get": lambda: store.get("a"),
        "Store.info": lambda: store.info("a"),
        "Store.list": store.list,
        "Store.put": lambda: store.put("a", b"b"),
        "Store.wait_for": lambda: store.wait_for("a"),
        "StoredObject.read": stored.read,
        "UploadCall.start": lambda: uploader.upload.start(UploadInput(name="c"), upload=b"c"),
    }


class FinishedJob:
    """A job to attach to."""

    id = "j1"
    queue = "weigh"

    async def result(self) -> ProcessOutput:
        return ProcessOutput(order_id="o1", status="done")


def calls_of_operations(
    service: ProcessService, client: ProcessClient, run: ProcessRun, operation: ProcessOperation
) -> Calls:
    ref = service.process.ref(run.id)
    output = ProcessOutput(order_id="o1", status="done")
    return {
        "ActiveOperation.attach": lambda: operation.attach(FinishedJob()),
        "ActiveOperation.defer": operation.defer,
        "ActiveOperation.progress": lambda: operation.progress(ProcessProgress(step=1)),
        "ActiveOperation.signals": lambda: anext(operation.signals()),
        "OperationCall.start": lambda: client.process.start(ProcessInput(order_id="o1")),
        "OperationRef.cancel": ref.cancel,
        "OperationRef.complete": lambda: ref.complete(output),
        "OperationRef.fail": lambda: ref.fail(NotFoundError(resource="order", resource_id="o1")),
        "OperationRef.get": ref.get,
        "OperationRef.progress": lambda: ref.progress(ProcessProgress(step=1)),
        "OperationRun.cancel": run.cancel,
        "OperationRun.get": run.get,
        "OperationRun.result": run.result,
        "OperationRun.send_signal": lambda: run.send_signal(ApproveSignal, Approval(by="me")),
        "OperationRun.watch": lambda: anext(run.watch()),
        "SignalCall.__call__": lambda: SignalCall[Approval](run, ApproveSignal)(Approval(by="me")),
    }


async def refused(calls: Calls) -> dict[str, type[BaseException] | None]:
    """Make each call on another event loop, and return what it raised where that is not the right error."""
    wrong: dict[str, type[BaseException] | None] = {}
    for name, call in calls.items():
        error = await in_another_loop(call)
        if not isinstance(error, WrongEventLoop) or "asyncio.run_coroutine_threadsafe" not in str(error):
            wrong[name] = None if error is None else type(error)
    return wrong


async def test_every_call_from_another_event_loop_is_refused_and_sends_nothing(
    nats_server: NatsServer, sent_elsewhere: list[bytes]
) -> None:
    async with (
        Shop.connect(nats_server.url) as shop,
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
        client.shipped.subscribe() as events,
        LiveService.connect(nats_server.url) as live,
        LiveClient.connect(nats_server.url) as reader,
        Gadget.connect(nats_server.url) as gadget,
        WireService.connect(nats_server.url) as wire,
        WireClient.connect(nats_server.url) as wire_client,
        UploadClient.connect(nats_server.url) as uploader,
        running(nats_server.url) as (processes, process, starter),
    ):
        live.count.handle(Source().handle)
        await live.start()
        await wire.uploads.put("a", b"a")
        await serve_files(wire)
        stored = await wire.uploads.get("a")
        assert stored is not None
        run = await starter.process.start(ProcessInput(order_id="o1"))
        await eventually(lambda: run.id in process.operations)
        began: asyncio.Future[WeighJob] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        @shop.jobs.weigh.handle
        async def weigh(job: WeighJob) -> Receipt:
            began.set_result(job)
            await done.wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.weigh.create(Parcel(number=1))
        ended = await (await shop.jobs.pack.create(Parcel(number=1))).cancel()
        calls = calls_of_jobs(shop, await began, host, ended) | calls_of_orders(service, client, events)
        calls |= calls_of_state(gadget)
        calls |= calls_of_files(
            wire, wire_client, uploader, stored, await wire_client.download(FileRequest(key="a"))
        )
        calls |= calls_of_operations(processes, starter, run, process.operations[run.id])

        async with reader.count(CountFrom(customer="c1")) as counts:
            calls |= calls_of_feeds(reader, counts)
            assert await refused(calls) == {}
            assert sent_elsewhere == []
        assert set(calls) | OWN == public_coroutines()
        done.set()
        assert await ref.result(timeout=SOON) == Receipt(total=1), "the refused calls broke nothing"
        await service.orders.put("o1", ORDER)
        process.put(run.id, ProcessOutput(order_id="o1", status="done"))
        assert (await run.result(timeout=SOON)).status == "done"


async def test_threads_call_a_service_through_blocking(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number < 0:
                raise JobFailed("negative")
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()

        def produce() -> tuple[int, str]:
            run = shop.blocking.run
            good, bad = (run(shop.jobs.pack.create(Parcel(number=number))) for number in (7, -7))
            total = run(good.result(timeout=SOON)).total
            with pytest.raises(JobFailed) as failed:
                run(bad.result(timeout=SOON))
            with pytest.raises(TimeoutError):
                run(asyncio.wait_for(asyncio.sleep(60), 0))
            return total, str(failed.value)

        assert await asyncio.to_thread(produce) == (7, "negative")
        with pytest.raises(WrongEventLoop, match="use await"):
            shop.blocking.run(shop.jobs.pack.create(Parcel(number=1)))


def test_a_program_without_an_event_loop_uses_a_service_and_a_client(nats_server: NatsServer) -> None:
    with OrdersService.connect_blocking(nats_server.url) as service:
        service.create.handle(greet)
        service.blocking.run(service.start())
        with OrdersClient.connect_blocking(nats_server.url) as client:
            response = client.blocking.run(client.create(REQUEST))
        entry = service.blocking.run(service.orders.put("o1", ORDER))

    assert response == CreateResponse(order_id="c1-1")
    assert entry.revision == 1
    with pytest.raises(WrongEventLoop, match="is no longer running"):
        service.blocking.run(service.orders.get("o1"))


def test_connecting_without_an_event_loop_raises_what_connect_raises() -> None:
    with (
        pytest.raises(CannotConnect),
        Shop.connect_blocking(
            "nats://127.0.0.1:1",
            options=trellis_nats.Options(connect_timeout=timedelta(milliseconds=100)),
        ),
    ):
        pytest.fail("it connected")


def test_a_program_without_an_event_loop_may_raise_in_its_block(nats_server: NatsServer) -> None:
    with pytest.raises(KeyError, match="mine"), Shop.connect_blocking(nats_server.url):
        raise KeyError("mine")


def test_an_exit_in_a_blocking_call_does_not_end_the_event_loop(nats_server: NatsServer) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with Shop.connect_blocking(nats_server.url) as shop:
        with pytest.raises(SystemExit):
            shop.blocking.run(leave())
        shop.blocking.run(create(shop))


def create_in_child(shop: Shop, connections: ExitStack, pipe: Pipe) -> None:
    """Try every way to create a job in a forked child, report the errors, and end as `atexit` may."""
    errors: list[str] = []
    ways: list[Callable[[], object]] = [
        lambda: asyncio.run(create(shop)),
        lambda: shop.blocking.run(create(shop)),
    ]
    for way in ways:
        try:
            way()
        except WrongEventLoop as error:
            errors.append(str(error))
    connections.close()
    pipe.send(errors)


async def create(shop: Shop) -> None:
    await shop.jobs.pack.create(Parcel(number=1))


def test_a_forked_child_cannot_use_the_connection_of_its_parent(nats_server: NatsServer) -> None:
    """As with a web server that loads the program before it forks its workers."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    with ExitStack() as connections:
        shop = connections.enter_context(Shop.connect_blocking(nats_server.url))
        child = context.Process(target=create_in_child, args=(shop, connections, writer), daemon=True)
        child.start()
        child.join(10)
        assert child.exitcode == 0
        errors = reader.recv()

        shop.blocking.run(shop.jobs.pack.create(Parcel(number=1)))
    assert len(errors) == 2
    assert all("forked" in error for error in errors)
