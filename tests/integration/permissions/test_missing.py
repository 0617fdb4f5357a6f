"""A missing permission is named before a service does anything, and the check has no effect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats import Maintenance, Options, Permissions, PermissionsMissing, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_last_message, get_stream_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.permissions import require_permissions
from trellis_nats.testing import LogEvent, NatsServer

from tests.support.depot import Depot, accounts, login, register, standing
from tests.support.eventually import eventually
from tests.support.orders import OrdersService, greet
from tests.support.proxy import Proxy
from tests.support.shop import Parcel
from tests.support.versions import VERSIONS, binary_of

WORKER = permissions(Depot, "worker")
LINES = [("publish", subject) for subject in WORKER.publish] + [
    ("subscribe", subject) for subject in WORKER.subscribe
]
DONE_WITHOUT = (
    *(".workers.", "probes", "feed_traces", "subscribe events", "job_claims", "$JS.ACK.*.*."),
    *("JOBS_DELAYED", "trellis.delayed.", "Health.Heartbeat", "$KV.JOBS_KEYS_depot.pause.", "job_stacks"),
    ".KV_depot_orders.>",
    ".KV_depot_orders.*",
    ".OBJ_depot_labels.>",
    ".OBJ_depot_labels.*",
    "STREAM.PURGE.KV_trellis_operations_depot",
)
PURGES = Maintenance(rescue_every=None)
STREAMS = (
    "JOBS",
    "JOBS_WORK",
    "trellis",
    "KV_depot_orders",
    "KV_JOBS_KEYS_depot",
    "KV_trellis_operations_depot",
    "OBJ_depot_labels",
)


def without(operation: str, subject: str) -> Permissions:
    if operation == "publish":
        return replace(WORKER, publish=tuple(line for line in WORKER.publish if line != subject))
    return replace(WORKER, subscribe=tuple(line for line in WORKER.subscribe if line != subject))


def only(*publish: str) -> Permissions:
    return Permissions(publish=publish, subscribe=("_INBOX_depot.>",))


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """Run a server with one user for each line that is left out, and some more."""
    users: dict[str, Permissions | None] = {f"lacks{n}": without(*line) for n, line in enumerate(LINES)}
    infos = [subject for subject in WORKER.publish if "CONSUMER.INFO" in subject]
    users |= {"root": None, "nothing": only(*infos), "silent": replace(WORKER, allow_responses=None)}
    with NatsServer(config=accounts(users)) as running:

        async def provision() -> None:
            async with Depot.connect(running.url, options=login("root")):
                pass

        asyncio.run(provision())
        yield running


async def started(server: NatsServer, user: str) -> None:
    async with Depot.connect(server.url, options=login(user, maintenance=PURGES)) as depot:
        register(depot)
        await depot.start()


async def test_each_permission_that_is_missing_is_named(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trellis_nats.permissions")
    outcomes = dict[tuple[str, str], str]()
    for number, (operation, subject) in enumerate(LINES):
        caplog.clear()
        refusal = ""
        try:
            await started(server, f"lacks{number}")
        except PermissionsMissing as missing:
            refusal = str(missing)
        line = f'{operation} to "{subject}"'
        if not refusal and line in caplog.text:
            outcomes[operation, subject] = "started, and said so"
        elif (
            line in refusal
            and "`trellis permissions worker PACKAGE` prints" in refusal
            and "preflight.py" not in caplog.text
        ):
            outcomes[operation, subject] = "refused"
        else:
            outcomes[operation, subject] = refusal or caplog.text

    assert outcomes == {
        (operation, subject): "started, and said so"
        if any(part in f"{operation} {subject}" for part in DONE_WITHOUT)
        else "refused"
        for operation, subject in LINES
    }


async def test_a_queue_without_a_handler_may_lack_its_permissions(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trellis_nats.permissions")
    user = f"lacks{LINES.index(('publish', 'trellis.jobs.depot.ship.*.*'))}"
    async with Depot.connect(server.url, options=login(user)) as depot:
        depot.create.handle(greet)
        await depot.start()

    assert 'publish to "trellis.jobs.depot.ship.*.created" (to create jobs of queue ship)' in caplog.text


async def test_all_that_is_missing_is_named_at_once(server: NatsServer) -> None:
    with pytest.raises(PermissionsMissing) as refused:
        await started(server, "nothing")

    expected = {
        f'{operation} to "{subject}"'
        for operation, subject in LINES
        if not any(
            part in f"{operation} {subject}" for part in ("CONSUMER.INFO", "_INBOX", "events.", *DONE_WITHOUT)
        )
    }
    assert {text.partition(" (")[0] for text in refused.value.missing} >= expected
    assert (
        'publish to "trellis.jobs.depot.pack.*.created" (to create jobs of queue pack)'
        in refused.value.missing
    )


async def test_a_worker_that_may_not_answer_does_not_start(server: NatsServer) -> None:
    with pytest.raises(PermissionsMissing) as refused:
        await started(server, "silent")

    assert refused.value.missing == ('answer requests, which is "allow_responses" of the user',)


async def is_pending(connection: Connection) -> bool:
    """Return whether the job is in the work stream: a new one is attached to JOBS after a moment."""
    info = await get_consumer_info(connection, "JOBS_WORK", "depot__pack")
    return info is not None and info.pending == 1


async def test_no_job_is_taken_by_a_worker_that_lacks_something(server: NatsServer) -> None:
    async with Depot.connect(server.url, options=login("root")) as root:
        await root.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_pending(root.jobs.runtime.connection))
        user = f"lacks{LINES.index(('subscribe', 'rpc.v1.Orders.Create'))}"

        async with Depot.connect(server.url, options=login(user)) as depot:
            register(depot)
            with pytest.raises(PermissionsMissing, match="serve rpc Orders"):
                await depot.start()
            with pytest.raises(PermissionsMissing, match="serve rpc Orders"):
                await depot.jobs.start_workers()
            assert not (await depot.health.report()).ready

        info = await get_consumer_info(root.jobs.runtime.connection, "JOBS_WORK", "depot__pack")
        assert info is not None
        assert (info.pending, info.ack_pending, info.waiting) == (1, 0, 0)


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_checking_permissions_has_no_effect(
    version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")
    binary = None if version is None else binary_of(version)
    async with NatsServer(binary=binary) as server, Depot.connect(server.url) as depot:
        register(depot)
        listener = await Connection.open(server.url, settings=ConnectionSettings())
        await depot.jobs.pack.create(Parcel(number=1))
        await depot.labels.put("o", b"x")
        # JOBS_WORK sources from JOBS after the creation was acknowledged: a snapshot before that would be too early.
        await eventually(lambda: has_messages(listener, "JOBS_WORK", 1))
        before = [await stored(listener, stream) for stream in STREAMS]
        received: list[Message] = []
        listener.subscribe(">", received.append)
        await listener.flush()
        caplog.clear()

        await require_permissions(depot.jobs.runtime)

        await listener.flush()
        assert [await stored(listener, stream) for stream in STREAMS] == before
        info = await get_consumer_info(listener, "JOBS_WORK", "depot__pack")
        assert info is not None
        assert (info.ack_pending, info.waiting) == (0, 0)
        subjects = {
            message.subject for message in received if not message.subject.startswith(("$JS.", "_INBOX"))
        }
        own_claim = f"trellis.job_claims.depot.{depot.jobs.runtime.instance_id}"
        named_as_probes = {subject for subject in subjects if "probe" in subject.split(".")}
        assert own_claim in subjects
        assert subjects - named_as_probes <= {own_claim, "trellis.probes.depot"}
        assert not [subject for subject in subjects if subject.startswith(("events.", "rpc."))]
        assert caplog.records == []
        assert "Violation" not in server.log
        await listener.close()


async def stored(connection: Connection, stream: str) -> object:
    info = await get_stream_info(connection, stream)
    assert info is not None
    return info["state"]


async def has_messages(connection: Connection, stream: str, count: int) -> bool:
    match await stored(connection, stream):
        case {"messages": int(messages)}:
            return messages == count
        case state:
            raise AssertionError(f"no stream {stream}: {state}")


async def test_checking_permissions_takes_two_round_trips(server: NatsServer) -> None:
    async with Proxy(server.port) as proxy, Depot.connect(proxy.url, options=login("root")) as depot:
        register(depot)
        await depot.jobs.runtime.connection.flush()
        before = bytes(proxy.sent_to_server).count(b"PING\r\n")

        await require_permissions(depot.jobs.runtime)

        # Only a pong shows that the server denied nothing, so there is one ping for each round trip.
        assert bytes(proxy.sent_to_server).count(b"PING\r\n") - before == 2


async def test_a_service_without_jobs_checks_only_what_it_serves() -> None:
    allowed = permissions(OrdersService, "worker")
    cut = replace(allowed, subscribe=tuple(subject for subject in allowed.subscribe if "Peek" not in subject))
    async with standing({"root": None, "cut": cut}) as server:
        async with OrdersService.connect(server.url, options=login("root")):
            pass
        async with OrdersService.connect(server.url, options=login("cut")) as service:
            service.create.handle(greet)
            await service.start()
        async with OrdersService.connect(server.url, options=login("cut")) as service:
            service.peek.handle(greet)
            with pytest.raises(PermissionsMissing, match=r'subscribe to "rpc.v1.Orders.Peek"'):
                await service.start()


async def test_an_account_that_may_not_receive_answers_fails_when_it_connects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    users = {"deaf": Permissions(publish=("a",), subscribe=("b",))}
    async with NatsServer(config=accounts(users)) as server:
        for options in (login("deaf"), replace_inbox(login("deaf"), "_INBOX.deaf")):
            prefix = options.inbox_prefix or "_INBOX_depot"
            with pytest.raises(PermissionsMissing) as refused:
                async with Depot.connect(server.url, options=options):
                    pass
            assert refused.value.missing == (f'subscribe to "{prefix}.>" (to receive answers)',)
    assert [record for record in caplog.records if record.name.startswith("trellis_nats")] == []


def replace_inbox(options: Options, prefix: str) -> Options:
    return replace(options, inbox_prefix=prefix)


PARKING = tuple(
    subject
    for subject in WORKER.publish
    if ("DELAYED" in subject or ".delayed." in subject) and "$JS.ACK.*" not in subject
)


async def test_without_the_permissions_to_park_jobs_wait_as_deliveries(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of them alone is enough to prevent it: what is parked must also be pulled and acknowledged."""
    users: dict[str, Permissions | None] = {
        f"lacks{number}": without("publish", subject) for number, subject in enumerate(PARKING)
    }
    caplog.set_level(logging.INFO, logger="trellis_nats")
    packing = [number for number, subject in enumerate(PARKING) if "pack" in subject]
    assert len(packing) == 4
    async with (
        standing({"root": None, **users}) as server,
        Depot.connect(server.url, options=login("root")) as root,
    ):
        connection = root.jobs.runtime.connection
        for turn, number in enumerate(packing, 1):
            async with Depot.connect(server.url, options=login(f"lacks{number}")) as depot:
                register(depot)
                await depot.start()
                await root.jobs.pack.create(Parcel(number=number), delay=timedelta(hours=1))

                async def is_held(count: int = turn) -> bool:
                    info = await get_consumer_info(connection, "JOBS_WORK", "depot__pack")
                    return info is not None and info.ack_pending == count

                await eventually(is_held)
                assert (await depot.health.report()).ready
        assert await get_last_message(connection, "JOBS_DELAYED", "trellis.delayed.>") is None
    off = [record for record in caplog.records if vars(record).get("event_name") == LogEvent.PARKING_OFF]
    assert len([record for record in off if vars(record)["queue"] == "pack"]) == len(packing)
