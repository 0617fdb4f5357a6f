"""The recorded frames of operations: our client reads what other services send, and our service sends what they would.

Uploads are left out, and so are the cases about who a caller is: requests are served unsigned. Places in a value stand for
the recorded places in its schema, as everywhere.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Final, cast

import pytest
from pydantic import Field, JsonValue
from trellis_nats import (
    RUNTIME_API,
    ActiveOperation,
    AuthError,
    Client,
    Contract,
    Model,
    OperationAlreadyTerminal,
    OperationCall,
    OperationEndpoint,
    OperationMismatch,
    OperationNotFound,
    OperationRun,
    OperationSignal,
    OperationSpec,
    RpcError,
    Runtime,
    Service,
    UnexpectedError,
    ValidationError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.operations.host import host_of
from trellis_nats.testing import NatsServer

from tests.conformance.test_feed_frames import NotFoundError
from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, frames_of, without_extensions
from tests.support.eventually import eventually

pytestmark = NEEDS_RECORDINGS

CONTRACT: Final = Contract(id="wire@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API)
START: Final = "operations.v1.Wire.Process"
CONTROL: Final = f"{START}.control"
VARYING: Final = {
    *("id", "traceId", "context", "createdAt", "updatedAt", "completedAt", "acceptedAt"),
    *("operationId", "requestId", "execution", "ownerSessionKey"),
}
"""Ids and times, what each runtime adds to an error, and what ours adds to a record."""


class ProcessIn(Model):
    """The request."""

    order_id: Annotated[str, Field(alias="orderId")]
    mode: str


class ProcessOut(Model):
    """The result."""

    order_id: Annotated[str, Field(alias="orderId")]
    status: str


class ProcessProgress(Model):
    """The progress."""

    step: str
    done: int


class Poke(Model):
    """The input of the signal."""

    by: str


class PokeSignal(OperationSignal[Poke]):
    """The signal."""

    name: ClassVar[str] = "poke"
    input_type: ClassVar[object] = Poke


PROCESS: Final = OperationSpec(
    name="Wire.Process",
    subject=START,
    input=ProcessIn,
    output=ProcessOut,
    progress=ProcessProgress,
    signals=(PokeSignal,),
    cancel=True,
    errors=(NotFoundError,),
)
FIXED: Final = OperationSpec(
    name="Wire.Fixed", subject="operations.v1.Wire.Fixed", input=ProcessIn, output=ProcessOut
)


class WireService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.process: Final = OperationEndpoint[ProcessIn, ProcessProgress, ProcessOut, PokeSignal](
            runtime, PROCESS
        )
        self.fixed: Final = OperationEndpoint[ProcessIn, None, ProcessOut, None](runtime, FIXED)


class WireClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.process: Final = OperationCall[ProcessIn, OperationRun[ProcessProgress, ProcessOut]](
            runtime, PROCESS, OperationRun
        )


def answers(case: str) -> tuple[list[Recorded], list[Recorded]]:
    """Return what the recorded service sent in a case: on the inboxes of single requests, and of the watch."""
    frames = frames_of("operation.json", case)
    watches = {
        frame.reply for frame in frames if frame.subject.endswith(".control") and b'"watch"' in frame.body
    }
    sent = [
        frame for frame in frames if frame.direction.startswith("service->") and "_INBOX" in frame.subject
    ]
    sent = [frame for frame in sent if b'"kind"' in frame.body or b'"type"' in frame.body]
    return (
        [frame for frame in sent if frame.subject not in watches],
        [frame for frame in sent if frame.subject in watches],
    )


async def replaying(server: NatsServer, case: str) -> Connection:
    """Serve what was recorded: each request gets the next answer, a watch all of its frames."""
    singles, watched = answers(case)
    service = await Connection.open(server.url, settings=ConnectionSettings())

    def serve(call: Message) -> None:
        frames = watched if b'"watch"' in call.data else [singles.pop(0)]
        for frame in frames:
            service.send(call.reply, frame.body, headers=frame.headers)

    service.subscribe(START, serve)
    service.subscribe(CONTROL, serve)
    await service.flush()
    return service


@pytest.mark.parametrize(
    ("case", "types", "outcome"),
    [
        ("operation.start_and_watch", ["snapshot", "started", "progress", "progress", "completed"], None),
        ("operation.fail_declared", ["snapshot", "started", "failed"], NotFoundError),
        ("operation.fail_thrown", ["snapshot", "started", "failed"], UnexpectedError),
        ("operation.late_complete_by_service", ["snapshot", "completed"], None),
    ],
)
async def test_our_client_reads_what_other_services_send(
    nats_server: NatsServer, case: str, types: list[str], outcome: type[RpcError] | None
) -> None:
    service = await replaying(nats_server, case)
    async with WireClient.connect(nats_server.url) as client:
        run = await client.process.start(ProcessIn(order_id="o1", mode="x"))
        updates = [update async for update in run.watch()]
    await service.close()

    assert [update.type for update in updates] == types
    assert updates[0].snapshot.id == run.id
    last = updates[-1].snapshot
    if outcome is None:
        assert last.output.status in {"done", "late"}
    else:
        assert isinstance(last.error, outcome)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("operation.control_unknown_id", OperationNotFound),
        ("operation.cancel_terminal", OperationAlreadyTerminal),
        ("operation.mismatch", OperationMismatch),
        ("operation.cancel_not_cancelable", ValidationError),
        ("operation.control_unknown_action", UnexpectedError),
        ("operation.other_caller_get", AuthError),
        ("operation.start_validation_error", ValidationError),  # the form of RPCs, with a header
    ],
)
async def test_our_client_raises_what_other_services_refuse(
    nats_server: NatsServer, case: str, error: type[RpcError]
) -> None:
    singles, _ = answers(case)
    refusal = singles[-1]
    service = await Connection.open(nats_server.url, settings=ConnectionSettings())
    service.subscribe(CONTROL, lambda call: service.send(call.reply, refusal.body, headers=refusal.headers))
    await service.flush()
    async with WireClient.connect(nats_server.url) as client:
        with pytest.raises(error):
            await client.process.ref("01M8KSY3PMB72EDH6WWV0TQQCQ").get()
    await service.close()


async def process(
    operation: ActiveOperation[ProcessIn, ProcessProgress, ProcessOut, PokeSignal],
) -> ProcessOut:
    """Do what the recorded service did."""
    status = "done"
    match operation.input.mode:
        case "progress":
            await operation.progress(ProcessProgress(step="a", done=1))
            await operation.progress(ProcessProgress(step="b", done=2))
        case "fail":
            raise NotFoundError("order o5 not found", resource="order", resource_id="o5")
        case "throw":
            raise RuntimeError("op broke")
        case "signal":
            async for signal in operation.signals():
                status = f"poked by {signal.input.by}"
                break
        case "hold":
            await operation.cancelled.wait()
        case _:
            pass
    return ProcessOut(order_id=operation.input.order_id, status=status)


@pytest.mark.parametrize(
    "case",
    [
        "operation.start_and_watch",
        "operation.immediate",
        "operation.fail_declared",
        "operation.fail_thrown",
        "operation.signal",
        "operation.cancel",
        "operation.wait_action",
        "operation.start_validation_error",
        "operation.control_unknown_id",
        "operation.control_unknown_id_watch",
        "operation.control_unknown_action",
        "operation.control_missing_id",
        "operation.control_bad_json",
    ],
)
async def test_our_service_sends_what_other_services_would(nats_server: NatsServer, case: str) -> None:
    recorded = frames_of("operation.json", case)
    singles, watched = answers(case)
    async with WireService.connect(nats_server.url) as service:
        service.process.handle(process)
        await service.start()
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        ours, watching, operation_id = await replay(caller, recorded)
        if watched:
            await eventually(lambda: watching and is_last(watching[-1]))
        stored = None
        if operation_id:
            stored = await host_of(service.runtime).store.require(operation_id)
        await caller.close()

    assert [comparable(frame.data) for frame in ours if not is_running(frame)] == [
        comparable(frame.body) for frame in singles if not is_running_body(frame.body)
    ]
    assert [without_extensions(frame.headers) for frame in ours] == [frame.headers for frame in singles]
    expected = [comparable(frame.body) for frame in watched][1:]
    events = [comparable(frame.data) for frame in watching][1:]
    assert events == expected[len(expected) - len(events) :]
    writes = [frame for frame in recorded if frame.subject.startswith("$KV.")]
    if writes and stored is not None and case != "operation.immediate":  # ours stores that its handler begins
        assert comparable(stored.record.encode()) == comparable(writes[-1].body)


async def replay(caller: Connection, recorded: list[Recorded]) -> tuple[list[Message], list[Message], str]:
    """Send the recorded requests with our operation's id; return the answers, the frames of the watch, and the id."""
    ours: list[Message] = []
    watching: list[Message] = []
    operation_id = ""
    for frame in recorded:
        if not frame.subject.startswith(START):
            continue
        body = frame.body
        if operation_id and frame.subject == CONTROL:
            asked = cast("dict[str, JsonValue]", json.loads(body))
            body = json.dumps({**asked, "operationId": operation_id}).encode()
        headers = {name: text for name, text in frame.headers.items() if name != "request-id"}
        if b'"watch"' in body:
            inbox = caller.new_inbox()
            caller.subscribe(inbox, watching.append)
            caller.send(frame.subject, body, headers=headers, reply=inbox)
            await eventually(lambda: watching)
            continue
        answer = await request(
            caller, frame.subject, body, headers=headers, timeout=caller.settings.connect_timeout
        )
        ours.append(answer)
        match json.loads(answer.data):
            case {"kind": "accepted", "ref": {"id": str(operation_id)}}:
                pass
            case _:
                pass
    return ours, watching, operation_id


def is_last(frame: Message) -> bool:
    """Return whether a frame of a watch is its last."""
    match json.loads(frame.data):
        case {"kind": "event", "event": {"type": "completed" | "failed" | "cancelled"}} | {"kind": "error"}:
            return True
        case {"kind": "snapshot", "snapshot": {"state": "completed" | "failed" | "cancelled"}}:
            return True
        case _:
            return False


def is_running(frame: Message) -> bool:
    """Return whether a frame has a snapshot whose state depends on the moment."""
    return is_running_body(frame.data)


def is_running_body(body: bytes) -> bool:
    """Return whether a body has a snapshot whose state depends on the moment."""
    match json.loads(body):
        case {"kind": "snapshot" | "signal-accepted"}:
            return True
        case _:
            return False


def comparable(body: bytes) -> object:
    """Leave out what differs from one call to the next."""
    return _without(json.loads(body))


def _without(value: object) -> object:
    match value:
        case dict():
            members = cast("dict[str, object]", value)
            worded = {"message", "issues"} if members.get("type") == "ValidationError" else set[str]()
            return {
                name: _without(member)
                for name, member in members.items()
                if name not in VARYING and name not in worded
            }
        case list():
            return [_without(each) for each in cast("list[object]", value)]
        case _:
            return value
