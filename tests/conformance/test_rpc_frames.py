"""The recorded frames of RPCs: our client reads every recorded answer, and our service answers as the recorded one did.

The package is generated from the contract of the recording. Requests are not signed yet: what concerns proofs is read only.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any, Final, cast

import pytest
from pydantic import JsonValue
from trellis_nats import AuthError, RemoteError, RpcContext, RpcError, UnexpectedError, ValidationError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, frames_of, without_extensions
from tests.support.eventually import eventually
from tests.support.generated import generated

pytestmark = NEEDS_RECORDINGS

SUBJECT: Final = "rpc.v1.Wire.Echo"
VARYING: Final = {"id", "traceId", "message", "issues"}
"""Ids, and texts that each runtime words itself."""

ANSWERED: Final = (
    "rpc.success",
    "rpc.success_unicode",
    "rpc.declared_error",
    "rpc.unexpected_error_thrown",
    "rpc.bad_output",
    "rpc.validation_error",
    "rpc.validation_error_required",
    "rpc.validation_error_unsigned",
    "rpc.bad_json",
    "rpc.empty_body",
    "rpc.extra_member",
)
"""What a service without signatures answers too."""
READ: Final = (
    *ANSWERED,
    "rpc.success_by_device",
    "rpc.undeclared_error_returned",
    "rpc.missing_session_key",
    "rpc.missing_proof",
    "rpc.missing_request_id",
    "rpc.missing_iat",
    "rpc.invalid_signature_body_changed",
    "rpc.invalid_signature_other_subject",
    "rpc.iat_out_of_range",
    "rpc.replay_second",
    "rpc.insufficient_capability",
)
BUILT_IN: Final[dict[str, type[RpcError]]] = {
    "AuthError": AuthError,
    "KVError": RemoteError,
    "UnexpectedError": UnexpectedError,
    "ValidationError": ValidationError,
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the package of the recorded contract, without what it uses of others."""
    document: dict[str, JsonValue] = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    left = {name: member for name, member in document.items() if name not in {"uses", "eventConsumers"}}
    return generated(left, tmp_path_factory.mktemp("package"))[0]


def answer_of(case: str) -> Recorded:
    return [frame for frame in frames_of("rpc.json", case) if frame.direction.startswith("service->")][-1]


def request_of(case: str) -> Recorded:
    return frames_of("rpc.json", case)[0]


@pytest.mark.parametrize("case", READ)
async def test_our_client_reads_every_recorded_answer(
    nats_server: NatsServer, package: ModuleType, case: str
) -> None:
    recorded = answer_of(case)
    service = await Connection.open(nats_server.url, settings=ConnectionSettings())
    calls: list[Message] = []

    def answer(call: Message) -> None:
        calls.append(call)
        service.send(call.reply, recorded.body, headers=recorded.headers)

    service.subscribe(SUBJECT, answer)
    await service.flush()
    body = json.loads(recorded.body)
    async with package.WireClient.connect(nats_server.url) as client:
        request = package.EchoIn(mode="ok", text="hi", n=1)
        if "status" not in recorded.headers:
            assert await client.rpc.wire.echo(request) == package.EchoOut(**body)
        else:
            with pytest.raises(RpcError) as raised:
                await client.rpc.wire.echo(request)
            assert type(raised.value) is {**BUILT_IN, "NotFoundError": package.NotFoundError}[body["type"]]
            assert_same(raised.value, body)
    await service.close()

    (call,) = calls
    sent = request_of("rpc.success")
    assert (call.subject, json.loads(call.data)) == (sent.subject, json.loads(sent.body))
    assert call.headers["request-id"]


def assert_same(error: RpcError, body: dict[str, Any]) -> None:
    """Compare what an error has with its recorded body."""
    if isinstance(error, RemoteError):
        assert error.error == body
        return
    assert cast("Any", error).id == body["id"]
    if isinstance(error, ValidationError):
        assert error.issues == tuple((issue["path"], issue["message"]) for issue in body["issues"])
    if isinstance(error, AuthError):
        assert error.reason == body["reason"]
    if body["type"] == "NotFoundError":
        assert cast("Any", error).fields == {name: body[name] for name in ("resource", "resourceId")}


@pytest.mark.parametrize("case", ANSWERED)
async def test_our_service_answers_as_recorded(
    nats_server: NatsServer, package: ModuleType, case: str
) -> None:
    call, expected = request_of(case), answer_of(case)
    answers: list[Message] = []
    async with package.WireService.connect(nats_server.url) as service:
        service.rpc.wire.echo.handle(handler_of(package))
        await service.start()
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        inbox = caller.new_inbox()
        caller.subscribe(inbox, answers.append)
        caller.send(call.subject, call.body, headers=call.headers, reply=inbox)
        await eventually(lambda: answers)
        await caller.close()

    (ours,) = answers
    assert without_extensions(ours.headers) == expected.headers
    assert comparable(json.loads(ours.data), like=json.loads(expected.body)) == comparable(
        json.loads(expected.body), like=json.loads(expected.body)
    )
    assert b"secret inside" not in ours.data, "the text of an exception stays in the service"


def handler_of(package: ModuleType) -> Any:
    """Return a handler that does what the recorded one did."""

    async def echo(context: RpcContext, request: Any) -> Any:
        match request.mode:
            case "notfound":
                text = f"customer {request.text} not found"
                raise package.NotFoundError(text, resource="customer", resource_id=request.text)
            case "throw":
                raise RuntimeError("secret inside")
            case "badoutput":
                return package.EchoOut.model_construct(text=5)
            case _:
                return package.EchoOut(text=f"{request.text}!", n=(request.n or 0) + 1)

    return echo


def comparable(body: dict[str, Any], *, like: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs from one call to the next, and of the context what the recorded one does not have."""
    kept = {name: member for name, member in body.items() if name not in VARYING}
    recorded: dict[str, object] = like.get("context") or {}
    shared = [name for name in ("method", "requestId", "service", "contractId") if name in recorded]
    if "context" in kept:
        kept["context"] = {name: kept["context"][name] for name in shared}
    return kept
