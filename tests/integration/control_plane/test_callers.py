"""A service in a deployment asks the control plane who calls: once for each call, and it forwards what that says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import (
    AuthError,
    Options,
    RemoteError,
    RpcContext,
    RpcError,
)
from trellis_nats.auth import Caller, SessionKey, Signer
from trellis_nats.codec import decode_json
from trellis_nats.ids import new_id
from trellis_nats.runtime import runtime_of
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.members import MemberClient, MemberService
from tests.support.orders import CONTRACT, ORDERS_CREATE, REQUEST, CreateRequest, CreateResponse, raw_call
from tests.support.validate import Judge

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
CALLER: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
SIGNED: Final = Options(session_key=CALLER)


class Deployment:
    """A service that has joined, its callers as its handler saw them, and the control plane."""

    def __init__(self, service: MemberService, judge: Judge) -> None:
        self.service = service
        self.judge = judge
        self.seen: list[Caller | None] = []

    async def create(self, context: RpcContext, request: CreateRequest) -> CreateResponse:
        self.seen.append(context.caller)
        return CreateResponse(order_id=request.customer_id)


@asynccontextmanager
async def deployment(
    server: NatsServer, options: Options | None = None, *, clock_ahead: float = 0.0
) -> AsyncGenerator[Deployment]:
    plane = ControlPlane(
        servers=[server.url], provisioned={KEY.public}, digests={CONTRACT.digest}, clock_ahead=clock_ahead
    )
    judge = Judge(services={KEY.public}, clock_ahead=clock_ahead)
    async with plane.standing(), MemberService.join(plane.url, key=KEY, options=options) as service:
        joined = Deployment(service, judge)
        service.create.handle(joined.create)
        service.secret.handle(joined.create)
        await service.start()
        yield joined


async def test_a_caller_is_asked_about_once_and_known_to_the_handler(nats_server: NatsServer) -> None:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.let_in(CALLER.public, "orders.secret")
        for _ in range(3):
            assert (await client.create(REQUEST)).order_id == "c1"
        await client.secret(REQUEST)

    capabilities = frozenset({"orders.secret"})
    caller = Caller(session_key=CALLER.public, id=CALLER.public, name="shop", capabilities=capabilities)
    assert joined.seen == [caller] * 4
    assert len(set(joined.judge.request_ids)) == len(joined.judge.asked) == 4
    assert [each["capabilities"] for each in joined.judge.asked] == [[], [], [], ["orders.secret"]]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (
            {
                "type": "device",
                "deviceId": "dev_1",
                "deviceType": "gadget",
                "runtimePublicKey": CALLER.public,
                "capabilities": ["a"],
                "new": 1,
            },
            Caller(
                session_key=CALLER.public,
                kind="device",
                id="dev_1",
                name="gadget",
                capabilities=frozenset({"a"}),
            ),
        ),
        (
            {"type": "user", "userId": "usr_1", "name": "Ann", "email": "a@b", "capabilities": []},
            Caller(session_key=CALLER.public, kind="user", id="usr_1", name="Ann"),
        ),
        (
            {"type": "user", "id": "usr_2", "active": True, "capabilities": []},
            Caller(session_key=CALLER.public, kind="user", id="usr_2", name="usr_2"),
        ),
    ],
)
async def test_every_kind_of_caller_is_read(
    nats_server: NatsServer, described: dict[str, object], expected: Caller
) -> None:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.callers[CALLER.public] = described  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
        await client.create(REQUEST)
    assert joined.seen == [expected]


async def test_a_missing_capability_is_refused_with_what_is_held(nats_server: NatsServer) -> None:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.let_in(CALLER.public, "service")
        with pytest.raises(AuthError) as refused:
            await client.secret(REQUEST)

    assert refused.value.reason == "insufficient_permissions"
    assert refused.value.context["requiredCapabilities"] == ["orders.secret"]
    assert refused.value.context["userCapabilities"] == ["service"]
    assert joined.seen == []


async def test_an_error_of_the_control_plane_is_forwarded_whole(nats_server: NatsServer) -> None:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        with pytest.raises(AuthError) as refused:
            await client.create(REQUEST)

    assert refused.value.reason == "session_not_found"
    assert refused.value.context["method"] == "Auth.Requests.Validate"
    assert refused.value.context["service"] == "trellis"
    assert len(joined.judge.asked) == 1


async def test_a_replay_is_refused_by_the_control_plane(nats_server: NatsServer) -> None:
    body = b'{"customerId":"c1"}'
    async with deployment(nats_server) as joined, joined.judge.answering(nats_server.url):
        joined.judge.let_in(CALLER.public)
        headers = sign(Signer(CALLER), body)
        answers = [await raw_call_as_caller(nats_server, body, headers) for _ in range(2)]

    assert answers[0]["orderId"] == "c1"
    assert answers[1]["reason"] == "invalid_signature"
    assert len(joined.seen) == 1


async def raw_call_as_caller(server: NatsServer, body: bytes, headers: dict[str, str]) -> dict[str, object]:
    answer = decode_json((await raw_call(server, body, headers, inbox_prefix=CALLER.inbox_prefix)).data)
    assert isinstance(answer, dict)
    return dict(answer)


def sign(signer: Signer, body: bytes) -> dict[str, str]:
    request_id = new_id()
    return {**signer.headers(ORDERS_CREATE.subject, body, request_id), "request-id": request_id}


async def failure(client: MemberClient) -> dict[str, object]:
    with pytest.raises(RpcError) as refused:
        await client.create(REQUEST)
    assert isinstance(refused.value, RemoteError)
    return refused.value.error


async def test_without_a_control_plane_callers_get_a_transport_error(nats_server: NatsServer) -> None:
    async with (
        deployment(nats_server) as joined,
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        with LogSignals() as signals:
            error = await failure(client)
        (logged,) = signals.of(LogEvent.CALLERS_NOT_CHECKED)

    assert (error["type"], error["code"]) == ("TransportError", "trellis.request.unavailable")
    assert "no control plane" in logged.getMessage()
    assert joined.seen == []


async def test_a_slow_control_plane_is_asked_once_and_the_caller_gets_a_transport_error(
    nats_server: NatsServer,
) -> None:
    short = Options(request_timeout=timedelta(milliseconds=100))
    async with (
        deployment(nats_server, short) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.may_answer.clear()
        error = await failure(client)
        asked = len(joined.judge.asked)
        joined.judge.may_answer.set()

    assert (error["type"], error["code"]) == ("TransportError", "trellis.request.failed")
    assert asked == 1
    assert joined.seen == []


async def test_a_question_is_not_repeated_when_the_connection_is_lost(nats_server: NatsServer) -> None:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.let_in(CALLER.public)
        joined.judge.may_answer.clear()
        call = asyncio.create_task(client.create(REQUEST))
        await eventually(lambda: joined.judge.asked)
        connection = runtime_of(joined.service).connection
        assert connection.link is not None
        connection.link.shut("test")
        await connection.flush()  # the new link listens for answers
        joined.judge.may_answer.set()
        assert (await call).order_id == "c1"

    assert len(joined.judge.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"null",
        b"<html>",
        b'{"allowed":"yes","inboxPrefix":"_INBOX.x","caller":{"type":"service","id":"a","name":"b"}}',
        b'{"allowed":true,"inboxPrefix":"","caller":{"type":"service","id":"a","name":"b"}}',
        b'{"allowed":true,"inboxPrefix":"_INBOX.x","caller":{"type":"ghost"}}',
        b'{"allowed":true,"inboxPrefix":"_INBOX.x"}',
    ],
)
async def test_a_malformed_answer_is_a_refusal(
    joined_once: tuple[Deployment, MemberClient], answer: bytes
) -> None:
    joined, client = joined_once
    joined.judge.raw = answer

    error = await failure(client)

    assert error["code"] == "trellis.request.invalid_response"
    assert joined.seen == []


@pytest.fixture
async def joined_once(nats_server: NatsServer) -> AsyncGenerator[tuple[Deployment, MemberClient]]:
    async with (
        deployment(nats_server) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        yield joined, client


async def test_a_service_with_a_wrong_clock_serves_and_asks_by_that_of_the_control_plane(
    nats_server: NatsServer,
) -> None:
    async with (
        deployment(nats_server, clock_ahead=400) as joined,
        joined.judge.answering(nats_server.url),
        MemberClient.connect(nats_server.url, options=SIGNED) as client,
    ):
        joined.judge.let_in(CALLER.public)
        with pytest.raises(AuthError) as refused:  # the caller has another clock
            await client.create(REQUEST)
        assert refused.value.reason == "iat_out_of_range"
        signer, body = Signer(CALLER, lambda: time.time() + 400), b'{"customerId":"c1"}'
        answer = await raw_call_as_caller(nats_server, body, sign(signer, body))
    assert answer["orderId"] == "c1"


async def test_an_invalid_request_is_answered_before_anyone_is_asked(nats_server: NatsServer) -> None:
    async with deployment(nats_server) as joined, joined.judge.answering(nats_server.url):
        answer = decode_json((await raw_call(nats_server, b'{"items":[]}')).data)
    assert isinstance(answer, dict)
    assert answer["type"] == "ValidationError"
    assert joined.judge.asked == []
