"""The recorded frames of events: our service publishes them so, and our subscribers and groups read them.

The package is generated from the contract of the recording.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any, Final

import pytest
from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, cases_of, frames_of
from tests.support.eventually import eventually
from tests.support.generated import generated

pytestmark = NEEDS_RECORDINGS

PUBLISHED: Final = (
    "events.publish_ok",
    "events.publish_edge_tokens",
    "events.publish_empty_token",
    "events.prepare",
    "events.handler_error",
    "events.handler_throw",
)
"""What the recorded service published itself."""
READ: Final = (*PUBLISHED, "events.without_header", "events.duplicate_msg_id")
REMOVED: Final = ("events.undecodable_schema", "events.undecodable_json")
NOT_OURS: Final = {
    "events.listen_group": "our puller asks for more at once, and answers to the same API",
    "events.ephemeral_listen": "a subscription: see test_a_subscriber_listens_to_the_recorded_subject",
    "events.platform": "an event of another contract",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the package of the recorded contract, with the group that has its own events."""
    document: dict[str, JsonValue] = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    groups = document["eventConsumers"]
    assert isinstance(groups, dict)
    left = {name: member for name, member in document.items() if name != "uses"}
    return generated(
        {**left, "eventConsumers": {"mine": groups["mine"]}}, tmp_path_factory.mktemp("package")
    )[0]


def published(case: str) -> Recorded:
    return next(frame for frame in frames_of("events.json", case) if frame.subject.startswith("events."))


def members(body: bytes) -> dict[str, Any]:
    """Return the members of an event, without its header."""
    value: dict[str, Any] = json.loads(body)
    return {name: member for name, member in value.items() if name != "header"}


@pytest.mark.parametrize("case", PUBLISHED)
async def test_our_service_publishes_as_recorded(
    nats_server: NatsServer, package: ModuleType, case: str
) -> None:
    recorded = published(case)
    received: list[Message] = []
    listener = await Connection.open(nats_server.url, settings=ConnectionSettings())
    listener.subscribe("events.>", received.append)
    await listener.flush()
    async with package.WireService.connect(nats_server.url) as service:
        event = package.Happened(**members(recorded.body))
        stored = await service.events.wire.happened.publish(event)
        await eventually(lambda: received)
    await listener.close()

    (ours,) = received
    header, theirs = (json.loads(body)["header"] for body in (ours.data, recorded.body))
    assert ours.subject == recorded.subject
    assert members(ours.data) == members(recorded.body)
    assert header.keys() == theirs.keys()
    assert len(header["id"]) == len(theirs["id"])
    assert len(header["time"]) == len(theirs["time"])
    assert ours.headers["Nats-Msg-Id"] == header["id"] == stored.id
    assert recorded.headers["Nats-Msg-Id"] == theirs["id"]
    assert ours.reply, "it is published with an awaited acknowledgement"


@pytest.mark.parametrize("case", READ)
async def test_our_subscribers_and_groups_read_what_was_recorded(
    nats_server: NatsServer, package: ModuleType, case: str
) -> None:
    recorded = published(case)
    handled: list[Any] = []
    async with package.WireService.connect(nats_server.url) as service:

        async def happened(event: Any) -> None:
            handled.append(event)

        service.consumers.mine.wire_happened.handle(happened)
        await service.start()
        async with (
            package.WireClient.connect(nats_server.url) as client,
            client.events.wire.happened.subscribe() as events,
        ):
            publisher = await Connection.open(nats_server.url, settings=ConnectionSettings())
            for _ in range(2 if case == "events.duplicate_msg_id" else 1):
                await publish_acked(publisher, recorded.subject, recorded.body, headers=recorded.headers)
            received = await anext(events)
            await eventually(lambda: handled)
            await publish_acked(publisher, "events.v1.Wire.Happened.last.0", b'{"region":"last","n":0}')
            await eventually(lambda: handled[-1].event.region == "last")
            await publisher.close()

    expected = package.Happened(**members(recorded.body))
    assert len(handled) == 2, "the duplicate is stored once"
    header: dict[str, str] = json.loads(recorded.body).get("header", {})
    for each in (received, handled[0]):
        assert each.event == expected
        assert each.id == header.get("id")
        assert each.subject == recorded.subject


@pytest.mark.parametrize("case", REMOVED)
async def test_our_groups_remove_what_cannot_be_decoded(
    nats_server: NatsServer, package: ModuleType, case: str
) -> None:
    recorded = published(case)
    handled: list[Any] = []
    acks: list[Message] = []
    with LogSignals() as signals:
        async with package.WireService.connect(nats_server.url) as service:

            async def happened(event: Any) -> None:
                handled.append(event)

            service.consumers.mine.wire_happened.handle(happened)
            await service.start()
            publisher = await Connection.open(nats_server.url, settings=ConnectionSettings())
            publisher.subscribe("$JS.ACK.>", acks.append)
            await publisher.flush()
            await publish_acked(publisher, recorded.subject, recorded.body, headers=recorded.headers)
            await signals.wait_for(LogEvent.EVENT_REMOVED)
            await eventually(lambda: [ack for ack in acks if ack.data.startswith(b"+TERM")])
            await publisher.close()

    assert handled == []


def test_a_subscriber_listens_to_the_recorded_subject(package: ModuleType) -> None:
    document: dict[str, list[dict[str, str]]] = json.loads((WIRE / "events.json").read_text())
    (listen,) = [frame for frame in document["frames"] if frame["case"] == "events.ephemeral_listen"]

    assert package.events.WIRE_HAPPENED.filter == listen["subject"]


def test_every_case_is_covered() -> None:
    assert {*READ, *REMOVED, *NOT_OURS} == {*cases_of("events.json")}
