"""A service or device whose contract uses `Health.Heartbeat` publishes it while it is connected."""

import logging
import platform
from datetime import UTC, datetime, timedelta

import pytest
from trellis_nats import Options, permissions
from trellis_nats._nats.jetstream.streams import create_stream, get_stream_info
from trellis_nats.clock import parse_timestamp
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.beacon import HEARTBEAT, Beacon, BeaconClient, BeaconDevice, beating, listening
from tests.support.depot import accounts, login
from tests.support.eventually import eventually
from tests.support.orders import OrdersService, greet


async def test_a_service_publishes_a_heartbeat_as_soon_as_it_is_connected(nats_server: NatsServer) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with listening(nats_server.url) as listener, Beacon.connect(nats_server.url) as beacon:
        await eventually(lambda: listener.messages)

        (message,), (body,) = listener.messages, listener.bodies
        started, time = body["service"].pop("startedAt"), body["header"].pop("time")
        latency = body["checks"][0].pop("latencyMs")
        assert body == {
            "service": {
                "name": "tower.beacon",
                "kind": "service",
                "instanceId": beacon.runtime.instance_id,
                "contractId": "tower.beacon@v1",
                "contractDigest": "b" * 43,
                "publishIntervalMs": 30_000,
                "runtime": "unknown",
                "runtimeVersion": f"Python {platform.python_version()}",
            },
            "status": "healthy",
            "checks": [{"name": "nats", "status": "ok"}],
            "header": {"id": message.headers["Nats-Msg-Id"]},
        }
        assert list(message.headers) == ["Nats-Msg-Id"]
        assert before < parse_timestamp(started) <= parse_timestamp(time) <= datetime.now(UTC)
        assert 0 < latency < 30_000
        stored = await eventually(lambda: get_stream_info(listener.connection, "trellis"))
        assert stored


async def test_heartbeats_have_the_status_and_the_checks_of_the_health_report(
    nats_server: NatsServer,
) -> None:
    async with (
        listening(nats_server.url) as listener,
        Beacon.connect(nats_server.url, options=beating()) as beacon,
    ):
        beacon.create.handle(greet)
        await beacon.start()
        await eventually(
            lambda: any("service" in {check["name"] for check in body["checks"]} for body in listener.bodies)
        )
        assert {body["status"] for body in listener.bodies} == {"healthy"}

        def fail() -> str:
            raise ConnectionError("cannot reach the database")

        beacon.health.check("db", fail, critical=False)
        await eventually(lambda: listener.newest["status"] == "degraded")
        degraded = listener.newest
        beacon.health.check("disk", lambda: False)
        await eventually(lambda: listener.newest["status"] == "unhealthy")
        unhealthy = listener.newest

    assert degraded["summary"] == "1 check failing"
    (db,) = [check for check in degraded["checks"] if check["name"] == "db"]
    assert (db["status"], db["error"]) == ("failed", "ConnectionError: cannot reach the database")
    assert unhealthy["summary"] == "2 checks failing"
    assert unhealthy["service"]["publishIntervalMs"] == 20


async def test_a_stopped_service_publishes_no_heartbeat_until_it_starts_again(
    nats_server: NatsServer,
) -> None:
    async with (
        listening(nats_server.url) as listener,
        Beacon.connect(nats_server.url, options=beating()) as beacon,
    ):
        await eventually(lambda: len(listener.messages) >= 3)
        await beacon.start()
        await beacon.stop()
        await beacon.runtime.connection.flush()
        await listener.connection.flush()
        last = len(listener.messages)
        await beacon.runtime.connection.publish(HEARTBEAT, b'"after the stop"')
        await eventually(lambda: len(listener.messages) > last)
        assert listener.messages[last].data == b'"after the stop"'

        await beacon.start()
        await eventually(lambda: len(listener.messages) >= last + 3)


async def test_a_disconnected_device_publishes_no_heartbeat(nats_server: NatsServer) -> None:
    async with listening(nats_server.url) as listener:
        # A client provisions nothing: the platform has created the stream.
        await create_stream(listener.connection, {"name": "trellis", "subjects": ["events.>"]})
        async with BeaconDevice.connect(nats_server.url, options=beating()) as device:
            await eventually(lambda: len(listener.messages) >= 3)
            instance = device.runtime.instance_id
        last = len(listener.messages)
        await listener.connection.publish(HEARTBEAT, b'"after the end"')
        await eventually(lambda: len(listener.messages) > last)

    body = listener.bodies[0]
    assert (body["service"]["kind"], body["service"]["name"]) == ("device", "buoy")
    assert (body["service"]["instanceId"], body["service"]["contractId"]) == (instance, "buoy@v2")
    assert [check["name"] for check in body["checks"]] == ["nats"]
    assert body["status"] == "healthy"
    assert listener.messages[-1].data == b'"after the end"'


async def test_a_device_adds_checks_of_its_own(nats_server: NatsServer) -> None:
    async with listening(nats_server.url) as listener:
        await create_stream(listener.connection, {"name": "trellis", "subjects": ["events.>"]})
        async with BeaconDevice.connect(nats_server.url, options=beating()) as device:
            device.health.check("camera", lambda: "3 frames/s")
            await eventually(lambda: len(listener.newest["checks"]) == 2)
            report = await device.health.report()

    assert listener.newest["status"] == "healthy"
    assert listener.newest["checks"][1]["summary"] == "3 frames/s"
    assert report.ready, "a client is ready when it is connected"
    assert [check.name for check in report.checks] == ["nats", "camera"]


async def test_heartbeats_continue_after_an_outage(nats_server: NatsServer) -> None:
    async with Beacon.connect(nats_server.url, options=beating()):
        nats_server.kill()
        nats_server.restart()
        async with listening(nats_server.url) as listener:
            await eventually(lambda: len(listener.messages) >= 3)


async def test_a_service_works_without_the_stream_of_events(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Beacon.connect(nats_server.url, options=beating(provision="verify")) as beacon:
            beacon.create.handle(greet)
            await beacon.start()
            record = await signals.wait_for(LogEvent.HEARTBEAT_NOT_SENT)
            await eventually(
                lambda: len([each for each in signals.records if each.msg.startswith("a heartbeat")]) >= 3
            )

            async with listening(nats_server.url) as listener:
                await create_stream(listener.connection, {"name": "trellis", "subjects": ["events.>"]})
                await eventually(lambda: len(listener.messages) >= 3)

    levels = [
        each.levelno for each in signals.records if each.__dict__["event_name"] == LogEvent.HEARTBEAT_NOT_SENT
    ]
    assert record.__dict__["subject"] == HEARTBEAT
    assert levels[0] == logging.WARNING
    assert {*levels[1:]} == {logging.INFO}, "what lasts is not a WARNING each time"


async def test_a_text_that_is_not_unicode_is_sent_without_what_is_not(nats_server: NatsServer) -> None:
    async with (
        listening(nats_server.url) as listener,
        Beacon.connect(nats_server.url, options=beating()) as beacon,
    ):
        beacon.health.check("disk", lambda: "no file \udcff")
        await eventually(lambda: len(listener.newest["checks"]) == 2)

    assert listener.newest["checks"][1]["summary"] == "no file ?"


async def test_an_account_that_may_not_publish_heartbeats_still_serves() -> None:
    allowed = permissions(Beacon, "worker")
    assert HEARTBEAT in allowed.publish
    publish = tuple(subject for subject in allowed.publish if subject != HEARTBEAT)
    worker = type(allowed)(
        publish=publish, subscribe=allowed.subscribe, allow_responses=allowed.allow_responses
    )
    with NatsServer(config=accounts({"worker": worker})) as server, LogSignals() as signals:
        options = login("worker")
        async with Beacon.connect(server.url, options=options) as beacon:
            record = await signals.wait_for(LogEvent.HEARTBEAT_NOT_SENT)
            beacon.create.handle(greet)
            await beacon.start()
            report = await beacon.health.report()

    assert report.ready
    assert f'may not publish to "{HEARTBEAT}"' in record.getMessage()


@pytest.mark.parametrize(
    ("package", "role", "expected"),
    [(Beacon, "worker", True), (BeaconDevice, "client", True), (BeaconClient, "client", False)],
)
def test_the_permission_is_part_of_the_role(
    package: type[Beacon | BeaconDevice | BeaconClient], role: str, *, expected: bool
) -> None:
    allowed = permissions(package, "worker" if role == "worker" else "client")

    assert (HEARTBEAT in allowed.publish) is expected


async def test_a_contract_that_does_not_use_heartbeats_has_none(nats_server: NatsServer) -> None:
    async with (
        listening(nats_server.url) as listener,
        OrdersService.connect(nats_server.url, options=beating()) as service,
        BeaconClient.connect(nats_server.url, options=beating()),
    ):
        await service.start()
        await service.runtime.connection.publish(HEARTBEAT, b'"the only one"')
        await eventually(lambda: listener.messages)

    assert [message.data for message in listener.messages] == [b'"the only one"']


def test_the_interval_is_that_of_the_reference() -> None:
    assert Options().maintenance.heartbeat_every == timedelta(seconds=30)
