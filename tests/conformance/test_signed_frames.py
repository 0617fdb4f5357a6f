"""The recorded frames of callers that sign: ours sends the same headers, bit for bit, and our service refuses as the recorded one did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, Final, cast

import pytest
from trellis_nats import (
    Client,
    Contract,
    FeedEndpoint,
    Model,
    OperationEndpoint,
    Options,
    RpcCall,
    RpcContext,
    RpcEndpoint,
    RpcSpec,
    Runtime,
    Service,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.auth import SessionKey, Signer
from trellis_nats.auth.replays import ReplayCache
from trellis_nats.operations.host import host_of
from trellis_nats.operations.model.record import OperationRecord, SnapshotRecord
from trellis_nats.testing import NatsServer
from trellis_nats.transfers import Download
from trellis_nats.transfers.upload import send_upload

from tests.conformance import test_feed_frames as feeds
from tests.conformance import test_operation_frames as operations
from tests.conformance import test_transfer_frames as transfers
from tests.conformance.test_state_frames import DONE as STATE_CALLS
from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, frames_of
from tests.support.callers import KnownKeys
from tests.support.eventually import eventually
from tests.support.gadget import Gadget

pytestmark = NEEDS_RECORDINGS

SOON: Final = timedelta(seconds=5)
PROOF: Final = ("session-key", "proof", "iat", "request-id")
OPERATION: Final = "operation.start_and_watch"


class EchoIn(Model):
    """The request."""

    mode: str
    text: str
    n: int | None = None


class EchoOut(Model):
    """The response."""

    text: str
    n: int


ECHO: Final = RpcSpec(name="Wire.Echo", subject="rpc.v1.Wire.Echo", input=EchoIn, output=EchoOut)
SECRET: Final = RpcSpec(
    name="Wire.Secret",
    subject="rpc.v1.Wire.Secret",
    input=EchoIn,
    output=EchoOut,
    capabilities=("wire::secret.call",),
)


class EchoClient(Client):
    """The client of the procedure."""

    contract: ClassVar[Contract] = feeds.CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.echo: Final = RpcCall[EchoIn, EchoOut](runtime, ECHO)


def key_of(file: str, name: str) -> SessionKey:
    return SessionKey.from_seed(json.loads((WIRE / file).read_text())["keys"][name]["seed"])


def request_of(file: str, case: str, number: int = 0) -> Recorded:
    """Return one of the requests of a case that are not the service's own."""
    frames = frames_of(file, case)
    return [frame for frame in frames if frame.direction.endswith(("client->service", "device->platform"))][
        number
    ]


async def open_feed(client: feeds.WireClient) -> None:
    async with client.live(feeds.LiveRequest(customer="c1", mode="long")):
        pass


async def watch(client: operations.WireClient, operation_id: str) -> None:
    await anext(client.process.ref(operation_id).watch())


def operation_of(frame: Recorded) -> str:
    return str(json.loads(frame.body)["operationId"])


async def upload(client: EchoClient, case: str) -> None:
    grant, chunks, _ = transfers.upload_frames(case)
    connection, signer = client.runtime.connection, client.runtime.signer
    await send_upload(connection, grant, chunks[0].body, timeout=SOON, signer=signer)


async def download(client: EchoClient) -> None:
    granted = frames_of("transfer.json", "transfer.download")[1]
    grant = transfers.GRANT.decode(granted.body)
    await Download(client.runtime.connection, grant, client.runtime.signer, timeout=SOON).read()


async def call_state(case: str, client: Gadget, _: Recorded) -> None:
    await STATE_CALLS[case](client)


Act = Callable[[Any, Recorded], Awaitable[object]]  # Any: each has its own client
REQUESTS: Final[Mapping[str, tuple[str, int, type[Client], Act]]] = {
    "rpc.success": (
        "rpc.json",
        0,
        EchoClient,
        lambda client, _: client.echo(EchoIn(mode="ok", text="hi", n=1)),
    ),
    "rpc.success_unicode": (
        "rpc.json",
        0,
        EchoClient,
        lambda client, frame: client.echo(EchoIn.model_validate_json(frame.body)),
    ),
    "feed.normal": ("feed.json", 0, feeds.WireClient, lambda client, _: open_feed(client)),
    OPERATION: (
        "operation.json",
        0,
        operations.WireClient,
        lambda client, frame: client.process.start(operations.ProcessIn.model_validate_json(frame.body)),
    ),
    "operation.get_completed": (
        "operation.json",
        0,
        operations.WireClient,
        lambda client, frame: client.process.ref(operation_of(frame)).get(),
    ),
    "operation.watch_completed": (
        "operation.json",
        0,
        operations.WireClient,
        lambda client, frame: watch(client, operation_of(frame)),
    ),
    "operation.cancel_terminal": (
        "operation.json",
        0,
        operations.WireClient,
        lambda client, frame: client.process.ref(operation_of(frame)).cancel(),
    ),
    "operation.signal_terminal": (
        "operation.json",
        0,
        operations.WireClient,
        lambda client, frame: client.process.ref(operation_of(frame)).send_signal(
            operations.PokeSignal, operations.Poke(by="me")
        ),
    ),
    "upload.small_watched": (
        "operation.json",
        2,
        EchoClient,
        lambda client, _: upload(client, "upload.small_watched"),
    ),
    "upload.empty_file": (
        "operation.json",
        1,
        EchoClient,
        lambda client, _: upload(client, "upload.empty_file"),
    ),
    "transfer.download": ("transfer.json", 1, EchoClient, lambda client, _: download(client)),
    **{
        case: ("state.json", 0, Gadget, partial(call_state, case))
        for case in ("state.get_missing", "state.put", "state.list", "state.delete")
    },
}
"""The case → its file, which of its requests, our client, and what it does."""


@pytest.mark.parametrize("case", REQUESTS)
async def test_our_client_signs_as_the_recorded_one(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    file, number, client_class, act = REQUESTS[case]
    recorded = request_of(file, case, number)
    key = key_of(file, "device" if file == "state.json" else "client")
    sign_as(monkeypatch, recorded)
    received: list[Message] = []
    peer = await Connection.open(nats_server.url, settings=ConnectionSettings())
    peer.subscribe(recorded.subject, received.append)
    await peer.flush()
    connecting = cast(
        "AbstractAsyncContextManager[Any]",
        client_class.connect(nats_server.url, options=Options(session_key=key)),
    )
    async with connecting as client:
        acting = asyncio.ensure_future(act(client, recorded))
        await eventually(lambda: received)
        acting.cancel()
        await asyncio.wait([acting])
    await peer.close()

    ours = received[0]
    assert ours.data == recorded.body
    assert {name: ours.headers[name] for name in PROOF} == {name: recorded.headers[name] for name in PROOF}
    assert ours.reply.startswith(f"{key.inbox_prefix}.")
    added = ours.headers.keys() - recorded.headers.keys()
    assert all(name == "traceparent" or name.startswith("trellis-") for name in added)


def sign_as(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    """Let our client sign at the recorded time, with the recorded id of the request."""
    at = float(recorded.headers["iat"])
    monkeypatch.setattr("trellis_nats.runtime.Signer", partial(Signer, clock=lambda: at))
    for module in ("context", "_calls.outgoing"):
        monkeypatch.setattr(f"trellis_nats.{module}.new_id", lambda: recorded.headers["request-id"])


class WireService(Service):
    """A service that checks its callers."""

    contract: ClassVar[Contract] = feeds.CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.echo: Final = RpcEndpoint[EchoIn, EchoOut](runtime, ECHO)
        self.secret: Final = RpcEndpoint[EchoIn, EchoOut](runtime, SECRET)
        self.live: Final = FeedEndpoint[feeds.LiveRequest, feeds.LiveEvent](runtime, feeds.LIVE)
        self.process: Final = OperationEndpoint[
            operations.ProcessIn, operations.ProcessProgress, operations.ProcessOut, operations.PokeSignal
        ](runtime, operations.PROCESS)


async def echo(context: RpcContext, request: EchoIn) -> EchoOut:
    """Do what the recorded service did."""
    return EchoOut(text=f"{request.text}!", n=(request.n or 0) + 1)


@pytest.mark.parametrize(
    "case",
    [
        "rpc.success",
        "rpc.success_unicode",
        "rpc.validation_error_unsigned",
        "rpc.missing_session_key",
        "rpc.missing_proof",
        "rpc.missing_request_id",
        "rpc.missing_iat",
        "rpc.invalid_signature_body_changed",
        "rpc.invalid_signature_other_subject",
        "rpc.iat_out_of_range",
        "rpc.replay_second",
        "rpc.reply_subject_mismatch",
        "rpc.reply_subject_prefix_only",
        "rpc.insufficient_capability",
        "feed.validation_error",
        "feed.missing_session_key",
        "feed.invalid_signature",
        "feed.reply_subject_mismatch",
        "operation.start_validation_error",
        "operation.start_missing_session_key",
        "operation.start_reply_subject_mismatch",
        "operation.control_unknown_id",
        "operation.control_missing_session_key",
        "operation.control_invalid_signature",
        "operation.other_caller_get",
        "operation.other_caller_watch",
        "operation.other_caller_cancel",
        "operation.other_caller_signal",
    ],
)
async def test_our_service_answers_a_signed_request_as_the_recorded_one(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    file = f"{case.partition('.')[0]}.json"
    recorded = request_of(file, case)
    expected = [frame for frame in frames_of(file, case) if frame.subject == recorded.reply][-1]
    monkeypatch.setattr("trellis_nats.auth.admission.REPLAYS", ReplayCache())
    at = int(recorded.headers.get("iat", "0")) + (100 if case == "rpc.iat_out_of_range" else 0)
    monkeypatch.setattr("trellis_nats.auth.admission.time", SimpleNamespace(time=lambda: at))
    keys = [key_of("operation.json", name) for name in ("client", "other_client")]
    callers = KnownKeys.of(*keys, capabilities=("service",))
    async with WireService.connect(nats_server.url, options=Options(callers=callers)) as service:
        service.echo.handle(echo)
        service.secret.handle(echo)
        service.live.handle(feeds.live)
        service.process.handle(operations.process)
        await service.start()
        if ".other_caller" in case:
            await host_of(service.runtime).store.create(running_operation())
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        if case == "rpc.replay_second":
            await ask(caller, request_of(file, "rpc.replay_first"))
        answer = await ask(caller, recorded)
        await caller.close()

    assert facts(answer.headers, answer.data) == facts(expected.headers, expected.body)


async def ask(caller: Connection, recorded: Recorded) -> Message:
    """Send a recorded request as it is, and return its answer."""
    answers: list[Message] = []
    assert recorded.reply is not None
    caller.subscribe(recorded.reply, answers.append)
    caller.send(recorded.subject, recorded.body, headers=recorded.headers, reply=recorded.reply)
    await eventually(lambda: answers)
    return answers[0]


def running_operation() -> OperationRecord:
    """Return the recorded operation that others than its starter ask for."""
    (answer,) = (
        frame
        for frame in frames_of("operation.json", "operation.after_restart_get")
        if frame.direction == "service->client"
    )
    return OperationRecord(
        owner_session_key=key_of("operation.json", "client").public,
        sequence=1,
        snapshot=SnapshotRecord.model_validate(json.loads(answer.body)["snapshot"]),
    )


def facts(headers: Mapping[str, str], data: bytes) -> object:
    """Return what an answer says about why it is one."""
    body = json.loads(data)
    if headers.get("status") != "error" and body.get("kind") != "error":
        return body
    error = body.get("error", body)
    named = (
        "sessionKey",
        "expected",
        "actual",
        "requiredCapabilities",
        "userCapabilities",
        "ownerSessionKey",
    )
    context = {name: error["context"][name] for name in named if name in error.get("context", {})}
    return (headers.get("status"), body.get("kind"), error["type"], error.get("reason"), context)
