"""The recorded frames of feeds: our client reads what other services send, and our service sends what they would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, ClassVar, Final, Literal, cast

import pytest
from pydantic import Field, JsonValue
from trellis_nats import (
    RUNTIME_API,
    Client,
    Contract,
    DeclaredError,
    FeedCall,
    FeedContext,
    FeedEndpoint,
    FeedSpec,
    FeedSubscription,
    Model,
    RpcError,
    Runtime,
    Service,
    UnexpectedError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, frames_of, without_extensions
from tests.support.eventually import eventually

pytestmark = NEEDS_RECORDINGS

CONTRACT: Final = Contract(id="wire@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API)
VARYING: Final = {"id", "traceId", "message", "issues"}
"""Ids, and texts that each runtime words itself."""


class LiveRequest(Model):
    """The request."""

    customer: str
    mode: str | None = None


class LiveEvent(Model):
    """An event."""

    n: int
    customer: str


class NotFoundErrorData(Model):
    """The data of the error."""

    id: str
    type: Literal["NotFoundError"]
    message: str
    resource: str
    resource_id: Annotated[str, Field(alias="resourceId")]


class NotFoundError(DeclaredError):
    """The error."""

    error_type: ClassVar[str] = "NotFoundError"
    data_type: ClassVar[object] = NotFoundErrorData

    def __init__(self, message: str, *, resource: str, resource_id: str) -> None:
        super().__init__(message, resource=resource, resourceId=resource_id)


LIVE: Final = FeedSpec(
    name="Wire.Live",
    subject="feeds.v1.Wire.Live",
    input=LiveRequest,
    event=LiveEvent,
    errors=(NotFoundError,),
)


class WireService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.live: Final = FeedEndpoint[LiveRequest, LiveEvent](runtime, LIVE)


class WireClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.live: Final = FeedCall[LiveRequest, LiveEvent](runtime, LIVE)


@pytest.mark.parametrize(
    ("case", "events", "error"),
    [
        ("feed.refused", 0, NotFoundError),
        ("feed.error_after_events", 3, NotFoundError),
        ("feed.throw_after_events", 3, UnexpectedError),
    ],
)
async def test_our_client_reads_what_other_services_send(
    nats_server: NatsServer, case: str, events: int, error: type[RpcError]
) -> None:
    sent = [frame for frame in frames_of("feed.json", case) if frame.direction == "service->client"]
    service = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def serve(call: Message) -> None:
        for frame in sent:
            service.send(call.reply, frame.body, headers=frame.headers)

    service.subscribe(LIVE.subject, serve)
    await service.flush()
    async with WireClient.connect(nats_server.url) as client, client.live(LiveRequest(customer="c1")) as feed:
        received, ended_with = await read_all(feed)
    await service.close()

    assert [event.n for event in received] == list(range(1, events + 1))
    assert isinstance(ended_with, error)


async def read_all(feed: FeedSubscription[LiveEvent]) -> tuple[list[LiveEvent], RpcError]:
    """Read until the feed ends with an error; return the events and the error."""
    received: list[LiveEvent] = []
    try:
        while True:
            received.append(await anext(feed))
    except RpcError as error:
        return received, error


async def live(context: FeedContext, request: LiveRequest) -> AsyncIterator[LiveEvent]:
    """Do what the recorded service did."""
    missing = NotFoundError("customer c1 not found", resource="customer", resource_id="c1")
    if request.mode == "refuse":
        raise missing
    for n in (1, 2, 3):
        yield LiveEvent(n=n, customer=request.customer)
    if request.mode == "fail":
        raise missing
    if request.mode == "throw":
        raise RuntimeError("feed broke")


@pytest.mark.parametrize(
    "case",
    ["feed.refused", "feed.error_after_events", "feed.throw_after_events", "feed.validation_error"],
)
async def test_our_service_sends_what_other_services_would(nats_server: NatsServer, case: str) -> None:
    recorded = frames_of("feed.json", case)
    (call,) = [frame for frame in recorded if frame.direction == "client->service"]
    expected = [frame for frame in recorded if frame.direction == "service->client"]
    frames: list[Message] = []

    async with WireService.connect(nats_server.url) as service:
        service.live.handle(live)
        await service.start()
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        inbox = caller.new_inbox()
        caller.subscribe(inbox, frames.append)
        caller.send(call.subject, call.body, headers=call.headers, reply=inbox)
        await eventually(lambda: len(frames) == len(expected))
        await caller.close()

    assert [without_extensions(frame.headers) for frame in frames] == [frame.headers for frame in expected]
    for ours, theirs in zip(frames, expected, strict=True):
        assert comparable(ours.data, like=theirs.body) == comparable(theirs.body, like=theirs.body)


def comparable(body: bytes, *, like: bytes) -> object:
    """Leave out what differs from one call to the next, and the context where the recorded frame has none."""
    value = parsed(body)
    if not isinstance(value, dict):
        return value
    kept: dict[str, object] = {name: member for name, member in value.items() if name not in VARYING}
    match parsed(like):
        case {"context": {"feed": _}}:
            kept["context"] = {
                name: cast("dict[str, object]", value["context"])[name]
                for name in ("feed", "service", "contractId")
            }
        case _:
            kept.pop("context", None)
    return kept


def parsed(body: bytes) -> JsonValue:
    """Parse a frame; None for an empty one."""
    value: JsonValue = json.loads(body) if body else None
    return value
