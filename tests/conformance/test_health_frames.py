"""The recorded heartbeats: ours have the same members, and a subscriber of ours reads both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, cast

import pytest
from pydantic import JsonValue
from trellis_nats import RUNTIME_API, Client, Contract, EventSource, EventSpec, Runtime
from trellis_nats.testing import NatsServer

from tests.conformance.folders import SHARED
from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, cases_of, frames_of
from tests.support.beacon import HEARTBEAT, Beacon, beating, listening
from tests.support.eventually import eventually
from tests.support.generated import adapter, generated

pytestmark = NEEDS_RECORDINGS

MANIFEST: Final = SHARED / "manifests" / "trellis.health@v1.json"
CASES: Final = ("health.first", "health.with_failed_check", "health.0_11")


def heartbeats(case: str) -> list[Recorded]:
    return [frame for frame in frames_of("health.json", case) if frame.subject == HEARTBEAT]


def parsed(body: bytes) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", json.loads(body))


def paths(value: JsonValue, at: str = "") -> set[str]:
    """Return the place of each member, without the positions in lists."""
    match value:
        case dict():
            below = {place for name, member in value.items() for place in paths(member, f"{at}.{name}")}
            return below | ({at} if at else set())
        case list():
            return {at}.union(*(paths(element, at) for element in value))
        case _:
            return {at}


def places(body: Mapping[str, JsonValue]) -> set[str]:
    return {place.removeprefix(".") for place in paths(dict(body))} - {""}


async def test_the_first_heartbeat_of_a_service_is_as_recorded(nats_server: NatsServer) -> None:
    (recorded,) = heartbeats("health.first")
    async with listening(nats_server.url) as listener, Beacon.connect(nats_server.url):
        await eventually(lambda: listener.messages)

    (ours,) = listener.messages
    theirs, body = parsed(recorded.body), parsed(ours.data)
    assert ours.subject == recorded.subject
    assert ours.reply, "it is published with an awaited acknowledgement"
    assert ours.headers.keys() == recorded.headers.keys()
    assert places(body) == places(theirs)
    assert body["status"] == theirs["status"] == "healthy"
    assert cast("dict[str, JsonValue]", body["header"])["id"] == ours.headers["Nats-Msg-Id"]
    service, other = (cast("dict[str, JsonValue]", each["service"]) for each in (body, theirs))
    same = ("kind", "publishIntervalMs")
    assert [service[name] for name in same] == [other[name] for name in same]
    assert service["runtime"] == "unknown"
    assert {name: type(value) for name, value in service.items()} == {
        name: type(value) for name, value in other.items()
    }


async def test_a_heartbeat_with_a_failed_check_is_as_recorded(nats_server: NatsServer) -> None:
    recorded = parsed(heartbeats("health.with_failed_check")[1].body)
    async with (
        listening(nats_server.url) as listener,
        Beacon.connect(nats_server.url, options=beating()) as beacon,
    ):
        beacon.health.check("db", lambda: False, critical=False)
        await eventually(lambda: listener.newest["status"] == "degraded")
        body = listener.newest

    assert places(recorded) - places(body) == {"service.info", "service.info.region", "checks.summary"} | {
        place for place in places(recorded) if place.startswith("checks.info")
    }
    assert places(body) - places(recorded) == {"checks.error"}
    assert [body[name] for name in ("status", "summary")] == [
        recorded[name] for name in ("status", "summary")
    ]


@pytest.mark.parametrize("case", CASES)
async def test_a_subscriber_of_ours_reads_every_recorded_heartbeat(
    nats_server: NatsServer, case: str, tmp_path: Path
) -> None:
    package, _ = generated(json.loads(MANIFEST.read_text()), tmp_path)
    spec: EventSpec = package.events.HEALTH_HEARTBEAT

    class Console(Client):
        contract: ClassVar[Contract] = Contract(
            id="console@v1", digest="c" * 43, generator="0", runtime_api=RUNTIME_API
        )

        def __init__(self, runtime: Runtime) -> None:
            super().__init__(runtime)
            self.heartbeat: Final = EventSource[object](runtime, spec)

    async with (
        Console.connect(nats_server.url) as console,
        console.heartbeat.subscribe() as events,
        listening(nats_server.url) as publisher,
    ):
        for frame in heartbeats(case):
            await publisher.connection.publish(frame.subject, frame.body, headers=frame.headers)
            received = await anext(events)

            assert received.id == frame.headers["Nats-Msg-Id"]
            written: dict[str, JsonValue] = adapter(package, "HealthHeartbeat").dump_python(
                received.event, mode="json", by_alias=True, exclude_unset=True
            )
            recorded = parsed(frame.body)
            assert places(written) == places(recorded)
            assert [written[name] for name in ("status", "checks")] == [
                recorded[name] for name in ("status", "checks")
            ]


def test_every_case_is_covered() -> None:
    assert cases_of("health.json") == list(CASES)


async def test_our_heartbeats_match_the_schema_of_the_platform(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    package, _ = generated(json.loads(MANIFEST.read_text()), tmp_path)
    model = adapter(package, "HealthHeartbeat")
    async with (
        listening(nats_server.url) as listener,
        Beacon.connect(nats_server.url, options=beating()) as beacon,
    ):
        await beacon.start()
        beacon.health.check("db", lambda: "3 ms")
        beacon.health.check("disk", lambda: False)
        await eventually(lambda: listener.newest["status"] == "unhealthy")

    for message in listener.messages:
        model.validate_json(message.data, strict=True)
