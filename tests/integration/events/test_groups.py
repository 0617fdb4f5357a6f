"""Event consumer groups: durable, in order, each event handled by one instance until it is done."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import (
    Binding,
    ConfigurationError,
    DeliveredEvent,
    HandlerConflict,
    ProvisioningError,
    parse_binding,
)
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    delete_consumer,
    get_consumer_info,
    update_consumer,
)
from trellis_nats.codec import decode_json
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.audit import AuditService
from tests.support.eventually import eventually
from tests.support.orders import Moved, Shipped
from tests.support.proxy import Proxy

ShippedHandler = Callable[[DeliveredEvent[Shipped]], Awaitable[None]]


async def ignore(event: DeliveredEvent[Moved]) -> None:
    pass


def register(service: AuditService, handler: ShippedHandler) -> None:
    service.audit.shipped.handle(handler)
    service.audit.moved.handle(ignore)


async def is_done(service: AuditService) -> bool:
    info = await get_consumer_info(service.runtime.connection, "trellis", "audit__audit")
    return info is not None and (info.pending, info.ack_pending) == (0, 0)


async def test_events_are_handled_in_order_with_their_context(nats_server: NatsServer) -> None:
    seen: list[DeliveredEvent[Shipped]] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event)

    async with AuditService.connect(nats_server.url) as service:
        register(service, record)
        before = [await service.shipped.publish(Shipped(order_id=str(n))) for n in range(10)]
        await service.start()
        after = await service.shipped.publish(Shipped(order_id="10"))
        await eventually(lambda: is_done(service))

    assert [event.event.order_id for event in seen] == [str(n) for n in range(11)]
    assert [event.id for event in seen] == [published.id for published in (*before, after)]
    assert [event.sequence for event in seen] == [published.sequence for published in (*before, after)]
    assert {event.attempt for event in seen} == {1}


async def test_events_with_parameters_reach_their_handler(nats_server: NatsServer) -> None:
    moved: list[str] = []

    async with AuditService.connect(nats_server.url) as service:

        @service.audit.moved.handle
        async def record(event: DeliveredEvent[Moved]) -> None:
            moved.append(event.event.region)

        @service.audit.shipped.handle
        async def never(event: DeliveredEvent[Shipped]) -> None:
            raise AssertionError("not this one")

        await service.start()
        await service.moved.publish(Moved(order_id="1", region="us east.1"))
        await eventually(lambda: moved)

    assert moved == ["us east.1"]


async def test_a_failed_event_is_tried_again_after_its_backoff_and_blocks_the_next(
    nats_server: NatsServer,
) -> None:
    loop = asyncio.get_running_loop()
    attempts: list[tuple[str, int, float]] = []

    async def fail_twice(event: DeliveredEvent[Shipped]) -> None:
        attempts.append((event.event.order_id, event.attempt, loop.time()))
        if event.event.order_id == "1" and event.attempt < 3:
            raise ConnectionError("the archive is away")

    async with AuditService.connect(nats_server.url) as service:
        register(service, fail_twice)
        await service.start()
        with LogSignals() as signals:
            await service.shipped.publish(Shipped(order_id="1"))
            await service.shipped.publish(Shipped(order_id="2"))
            await signals.wait_for(LogEvent.EVENT_RETRIED, count=2, group="audit")
            await eventually(lambda: is_done(service))

    assert [(order, attempt) for order, attempt, _ in attempts] == [("1", 1), ("1", 2), ("1", 3), ("2", 1)]
    assert attempts[1][2] - attempts[0][2] >= 0.1
    assert attempts[2][2] - attempts[1][2] >= 0.3


async def test_an_event_that_always_fails_is_given_up_and_the_group_goes_on(nats_server: NatsServer) -> None:
    seen: list[str] = []

    async def fail(event: DeliveredEvent[Shipped]) -> None:
        if event.event.order_id == "bad":
            raise ValueError("cannot be archived")
        seen.append(event.event.order_id)

    async with AuditService.connect(nats_server.url) as service:
        register(service, fail)
        await service.start()
        with LogSignals() as signals:
            await service.shipped.publish(Shipped(order_id="bad"))
            await service.shipped.publish(Shipped(order_id="good"))
            record = await signals.wait_for(LogEvent.EVENT_GIVEN_UP, group="audit", attempt=3)
            await eventually(lambda: is_done(service))

    assert seen == ["good"]
    assert "cannot be archived" in str(record.exc_info)


class Aborted(BaseException):
    """No `Exception`, as the errors by which test and task libraries abort."""


@pytest.mark.parametrize(
    "error",
    [
        Aborted("stop"),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError("a scope of its own"),
        BaseExceptionGroup("tasks", [Aborted("stop"), ValueError("and this")]),
    ],
)
async def test_whatever_a_handler_raises_counts_as_an_attempt(
    nats_server: NatsServer, error: BaseException
) -> None:
    seen: list[str] = []

    async def fail(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event.event.order_id)
        if event.event.order_id == "bad":
            raise error

    async with AuditService.connect(nats_server.url) as service:
        register(service, fail)
        await service.start()
        with LogSignals() as signals:
            await service.shipped.publish(Shipped(order_id="bad"))
            await service.shipped.publish(Shipped(order_id="good"))
            await signals.wait_for(LogEvent.EVENT_GIVEN_UP, group="audit", attempt=3)
            await eventually(lambda: is_done(service))

    assert seen == ["bad", "bad", "bad", "good"]


async def test_an_event_that_cannot_be_read_is_removed(nats_server: NatsServer) -> None:
    seen: list[str] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event.event.order_id)

    async with AuditService.connect(nats_server.url) as service:
        register(service, record)
        await service.start()
        with LogSignals() as signals:
            for data in (b"{", b'{"orderId":5}', b"", b'"' + 100_000 * b"x" + b'"'):
                service.runtime.connection.send("events.v1.Orders.Shipped", data)
            await service.shipped.publish(Shipped(order_id="1"))
            await signals.wait_for(LogEvent.EVENT_REMOVED, count=4, group="audit")
            await eventually(lambda: is_done(service))

    assert seen == ["1"]
    assert all(len(record.getMessage()) < 500 for record in signals.of(LogEvent.EVENT_REMOVED))


async def test_an_event_without_a_header_is_handled(nats_server: NatsServer) -> None:
    seen: list[DeliveredEvent[Shipped]] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event)

    async with AuditService.connect(nats_server.url) as service:
        register(service, record)
        await service.start()
        service.runtime.connection.send("events.v1.Orders.Shipped", b'{"orderId":"1"}')
        await eventually(lambda: seen)

    assert (seen[0].event.order_id, seen[0].id, seen[0].time) == ("1", None, None)


async def test_a_handler_may_run_longer_than_the_ack_wait(nats_server: NatsServer) -> None:
    attempts: list[int] = []
    release = asyncio.Event()

    async def wait(event: DeliveredEvent[Shipped]) -> None:
        attempts.append(event.attempt)
        await release.wait()

    async with AuditService.connect(nats_server.url) as service:
        register(service, wait)
        await service.start()
        await service.shipped.publish(Shipped(order_id="1"))
        await eventually(lambda: attempts)
        asyncio.get_running_loop().call_later(3, release.set)  # the ack wait is 2 s
        await release.wait()
        await eventually(lambda: is_done(service))

    assert attempts == [1]


async def test_instances_share_a_group_and_keep_its_order(nats_server: NatsServer) -> None:
    seen: list[int] = []
    running = 0

    async def record(event: DeliveredEvent[Shipped]) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        seen.append(int(event.event.order_id))
        running -= 1

    async with (
        AuditService.connect(nats_server.url) as first,
        AuditService.connect(nats_server.url) as second,
    ):
        for service in (first, second):
            register(service, record)
            await service.start()
        for n in range(200):
            await first.shipped.publish(Shipped(order_id=str(n)))
        await eventually(lambda: is_done(first))

    assert seen == list(range(200))


async def test_a_stop_returns_the_event_to_another_instance(nats_server: NatsServer) -> None:
    attempts: list[tuple[str, int]] = []

    async def hang(event: DeliveredEvent[Shipped]) -> None:
        attempts.append(("first", event.attempt))
        await asyncio.Event().wait()

    async def finish(event: DeliveredEvent[Shipped]) -> None:
        attempts.append(("second", event.attempt))

    async with AuditService.connect(nats_server.url) as second:
        async with AuditService.connect(nats_server.url) as first:
            register(first, hang)
            await first.start()
            await first.shipped.publish(Shipped(order_id="1"))
            await eventually(lambda: attempts)
            register(second, finish)
            await second.start()
            await first.stop(grace=timedelta(0))
        await eventually(lambda: is_done(second))

    assert attempts == [("first", 1), ("second", 2)]


async def test_nothing_is_lost_through_an_outage(nats_server: NatsServer) -> None:
    seen: list[int] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(int(event.event.order_id))

    async with (
        Proxy(nats_server.port) as proxy,
        AuditService.connect(nats_server.url) as publisher,
        AuditService.connect(proxy.url) as service,
    ):
        register(service, record)
        await service.start()
        for n in range(300):
            await publisher.shipped.publish(Shipped(order_id=str(n)))
            if n % 100 == 50:
                proxy.cut()
        await eventually(lambda: is_done(publisher), within=timedelta(seconds=30))

    assert list(dict.fromkeys(seen)) == list(range(300))


async def test_a_group_that_lacks_a_handler_does_not_start(nats_server: NatsServer) -> None:
    async with AuditService.connect(nats_server.url) as service:
        service.audit.moved.handle(ignore)
        with pytest.raises(
            ConfigurationError, match=r'"audit" has no handler for Orders\.Shipped: .*leave_to_others'
        ):
            await service.start()


async def test_a_process_may_leave_a_group_to_others(nats_server: NatsServer) -> None:
    async with AuditService.connect(nats_server.url) as service:
        service.audit.leave_to_others()
        with pytest.raises(HandlerConflict, match="leaves the group to others"):
            service.audit.moved.handle(ignore)
        await service.start()
        await service.shipped.publish(Shipped(order_id="1"))
        # The stream tells its consumers of an event after it has acknowledged it.
        info = await eventually(lambda: find_pending(service))

    assert info is not None
    assert (info.pending, info.waiting) == (1, 0)


async def find_pending(service: AuditService) -> ConsumerInfo | None:
    """Return the state of the group's consumer once it has pending events."""
    info = await get_consumer_info(service.runtime.connection, "trellis", "audit__audit")
    return info if info is not None and info.pending else None


async def test_handlers_are_registered_once_and_before_the_start(nats_server: NatsServer) -> None:
    async with AuditService.connect(nats_server.url) as service:

        def plain(event: DeliveredEvent[Moved]) -> None:
            pass

        with pytest.raises(ConfigurationError, match="async def"):
            service.audit.moved.handle(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - it is refused
        service.audit.moved.handle(ignore)
        with pytest.raises(HandlerConflict, match="already has a handler"):
            service.audit.moved.handle(ignore)
        with pytest.raises(HandlerConflict, match="it has handlers"):
            service.audit.leave_to_others()


async def test_an_event_that_no_handler_is_for_is_kept(nats_server: NatsServer) -> None:
    """A binding of a newer contract may have more events than this version handles."""
    binding: Binding = parse_binding(
        b'{"eventConsumers":{"audit":{"alias":"audit","stream":"trellis","consumerName":"tr_cons_2",'
        b'"filterSubjects":["events.v1.Orders.>"],"replay":"all"}}}'
    )
    async with AuditService.connect(nats_server.url) as provisioner:
        connection = provisioner.runtime.connection
        config: dict[str, JsonValue] = {
            "durable_name": "tr_cons_2",
            "filter_subject": "events.v1.Orders.>",
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "max_ack_pending": 1,
        }
        await create_consumer(connection, "trellis", config)
        async with AuditService.connect(nats_server.url, binding=binding) as service:
            register(service, ignore_shipped)
            await service.start()
            with LogSignals() as signals:
                connection.send("events.v1.Orders.Archived", b"{}")
                await signals.wait_for(LogEvent.EVENT_POSTPONED, subject="events.v1.Orders.Archived")
            info = await get_consumer_info(connection, "trellis", "tr_cons_2")

    assert info is not None
    assert info.ack_pending == 1


async def test_an_event_that_no_handler_is_for_uses_no_attempt(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance of a newer version, which has the handler, learns that these deliveries are not attempts."""
    monkeypatch.setattr(
        "trellis_nats.events.groups.group_worker._UNKNOWN_AGAIN_AFTER", timedelta(milliseconds=10)
    )
    notices: list[JsonValue] = []
    async with AuditService.connect(nats_server.url) as service:
        register(service, ignore_shipped)
        await service.start()
        connection = service.runtime.connection
        connection.subscribe(
            "trellis.groups.audit__audit", lambda message: notices.append(decode_json(message.data))
        )
        info = await get_consumer_info(connection, "trellis", "audit__audit")
        assert info is not None
        wider: dict[str, JsonValue] = {**info.config, "filter_subjects": ["events.v1.Orders.>"]}
        await update_consumer(connection, "trellis", wider)
        connection.send("events.v1.Orders.Archived", b"{}")
        await eventually(lambda: len(notices) >= 3)

    assert notices[:3] == [{"sequence": 1, "postponed": count} for count in (1, 2, 3)]


async def test_a_consumer_that_would_break_the_order_is_refused(nats_server: NatsServer) -> None:
    binding: Binding = parse_binding(
        b'{"eventConsumers":{"audit":{"alias":"audit","stream":"trellis","consumerName":"tr_cons_1",'
        b'"filterSubjects":["events.v1.Orders.Moved.*","events.v1.Orders.Shipped"],"replay":"all","ordering":"strict"}}}'
    )
    async with AuditService.connect(nats_server.url) as provisioner:
        config: dict[str, JsonValue] = {
            "durable_name": "tr_cons_1",
            "filter_subjects": ["events.v1.Orders.Moved.*", "events.v1.Orders.Shipped"],
            "deliver_policy": "all",
            "ack_policy": "explicit",
        }
        await create_consumer(provisioner.runtime.connection, "trellis", config)
        async with AuditService.connect(nats_server.url, binding=binding) as service:
            register(service, ignore_shipped)
            with pytest.raises(ProvisioningError, match="max_ack_pending is 1000, not 1"):
                await service.start()


async def ignore_shipped(event: DeliveredEvent[Shipped]) -> None:
    pass


async def test_a_consumer_that_is_deleted_and_made_again_is_worked(nats_server: NatsServer) -> None:
    seen: list[str] = []

    async def record(event: DeliveredEvent[Shipped]) -> None:
        seen.append(event.event.order_id)

    async with AuditService.connect(nats_server.url) as service:
        register(service, record)
        await service.start()
        with LogSignals() as signals:
            await delete_consumer(service.runtime.connection, "trellis", "audit__audit")
            await signals.wait_for(LogEvent.CONSUMER_MISSING)
        async with AuditService.connect(nats_server.url) as other:
            await other.shipped.publish(Shipped(order_id="1"))
        await eventually(lambda: seen)

    assert seen == ["1"]
