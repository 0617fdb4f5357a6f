"""Joining a deployment: what follows from each answer of the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats import RUNTIME_API, BootstrapFailed, Contract
from trellis_nats.auth import SessionKey
from trellis_nats.control_plane.answers import Ready, Waiting, read_answer
from trellis_nats.control_plane.bootstrap import Bootstrap, pause_before
from trellis_nats.control_plane.http_post import HttpAnswer
from trellis_nats.testing import LogEvent, LogSignals

from tests.support.control_plane import ControlPlane, HttpReply
from tests.support.eventually import eventually
from tests.support.listening import listening
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.reading import read_manifest

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
MANIFEST: Final[JsonValue] = {
    "format": "trellis.contract.v1",
    "id": "orders@v1",
    "displayName": "Orders",
    "description": "Orders.",
    "kind": "service",
}
CONTRACT: Final = Contract(
    id="orders@v1",
    digest=compute_digest(read_manifest(json.dumps(MANIFEST).encode()).manifest),
    generator="0",
    runtime_api=RUNTIME_API,
)
SHORT: Final = timedelta(milliseconds=1)


@pytest.fixture
async def plane() -> AsyncGenerator[ControlPlane]:
    plane = ControlPlane(provisioned={KEY.public}, digests={CONTRACT.digest})
    async with plane.standing():
        yield plane


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """The pauses that were made: each is over at once."""
    made: list[timedelta] = []

    def pause(waiting: Waiting, failures: int) -> timedelta:
        made.append(pause_before(waiting, failures))
        return SHORT

    monkeypatch.setattr("trellis_nats.control_plane.bootstrap.pause_before", pause)
    return made


def bootstrap(plane: ControlPlane, key: SessionKey = KEY) -> Bootstrap:
    return Bootstrap(plane.url, key, CONTRACT, lambda: MANIFEST)


async def refusal(plane: ControlPlane, key: SessionKey = KEY) -> BootstrapFailed:
    with pytest.raises(BootstrapFailed) as refused:
        await bootstrap(plane, key).until_ready()
    return refused.value


async def test_a_known_instance_may_connect_at_once(plane: ControlPlane) -> None:
    ready = await bootstrap(plane).until_ready()

    assert (ready.servers, ready.jwt, ready.seed) == (tuple(plane.servers), plane.jwt, plane.seed)
    assert plane.jwt not in repr(ready)
    assert plane.seed not in repr(ready)
    (request,) = plane.requests
    assert list(request) == ["sessionKey", "contractId", "contractDigest", "iat", "sig"]


async def test_an_unknown_key_is_named_as_what_must_be_provisioned(plane: ControlPlane) -> None:
    stranger = SessionKey.generate()

    error = await refusal(plane, stranger)

    assert error.reason == "unknown_service"
    assert f"provision the session key {stranger.public}" in str(error)
    assert "orders@v1" in str(error)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("service_disabled", f"enable the instance with the session key {KEY.public}"),
        ("service_deployment_disabled", "enable the deployment depot of orders@v1"),
    ],
)
async def test_what_is_disabled_is_named(plane: ControlPlane, reason: str, remedy: str) -> None:
    plane.scripted.append(HttpReply(403, {"reason": reason, "message": "No.", "deploymentId": "depot"}))

    error = await refusal(plane)

    assert error.reason == reason
    assert remedy in str(error)


@pytest.mark.parametrize("ahead", [100, -100, 86_400])
async def test_a_wrong_clock_is_corrected_by_that_of_the_control_plane(
    plane: ControlPlane, ahead: int
) -> None:
    plane.clock_ahead = ahead
    joining = bootstrap(plane)

    await joining.until_ready()

    assert plane.answers == {"iat_out_of_range": 1, "ready": 1}
    token = json.loads(joining.connect_token())
    assert abs(token["iat"] - plane.now) <= 1


async def test_a_clock_that_is_right_is_used(plane: ControlPlane) -> None:
    plane.clock_ahead = 3
    joining = bootstrap(plane)

    await joining.until_ready()

    assert abs(joining.clock.now() - time.time()) <= 1


async def test_a_second_wrong_time_is_an_error(plane: ControlPlane) -> None:
    wrong = HttpReply(400, {"reason": "iat_out_of_range", "serverNow": 1_795_960_884})
    plane.scripted.extend([wrong, wrong])

    error = await refusal(plane)

    assert error.reason == "iat_out_of_range"
    assert [request["iat"] for request in plane.requests][1] == 1_795_960_884


async def test_the_manifest_is_sent_when_it_is_asked_for(plane: ControlPlane) -> None:
    plane.digests.clear()

    await bootstrap(plane).until_ready()

    without, with_manifest = plane.requests
    assert "contract" not in without
    assert with_manifest["contract"] == MANIFEST


async def test_a_manifest_that_is_asked_for_twice_is_an_error(plane: ControlPlane) -> None:
    asked = HttpReply(409, {"reason": "manifest_required"})
    plane.scripted.extend([asked, asked])

    assert (await refusal(plane)).reason == "manifest_required"


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        ("authority_update_required", logging.WARNING),
        ("authority_migration_required", logging.WARNING),
        ("authority_reconciliation_pending", logging.INFO),
        ("authority_reconciliation_failed", logging.WARNING),
        ("contract_activation_pending", logging.INFO),
        ("something_new", logging.INFO),
    ],
)
async def test_a_pending_state_is_waited_for(
    plane: ControlPlane, pauses: list[timedelta], reason: str, level: int
) -> None:
    plane.waits_for = reason
    joining = bootstrap(plane)

    with LogSignals() as signals:
        ready = asyncio.create_task(joining.until_ready())
        await eventually(lambda: len(plane.requests) > 3)
        check = joining.progress.check()
        plane.waits_for = None
        assert isinstance(await ready, Ready)

    assert (check.ok, check.needed, check.critical) == (False, True, True)
    assert f"{reason}: A plan is pending." in (check.error or "")
    assert set(pauses) == {timedelta(seconds=5)}
    (logged,) = signals.of(LogEvent.JOIN_WAITS)
    assert (logged.levelno, reason in logged.getMessage()) == (level, True)
    assert len(signals.of(LogEvent.JOINED)) == 1
    assert joining.progress.check().ok


async def test_a_plan_without_a_name_gives_a_command_to_fill_in(plane: ControlPlane) -> None:
    plane.scripted.append(HttpReply(202, {"reason": "authority_update_required", "message": "Soon."}))
    with LogSignals() as signals:
        await bootstrap(plane).until_ready()
    (logged,) = signals.of(LogEvent.JOIN_WAITS)
    assert "svc DEPLOYMENT authority accept-update PLAN" in logged.getMessage()


async def test_each_state_is_logged_once_and_then_each_minute(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10_000, 25))
    monkeypatch.setattr("trellis_nats.control_plane.progress.monotonic", lambda: next(seconds))
    waiting = {"reason": "authority_reconciliation_pending", "message": "Soon."}
    plane.scripted.extend([HttpReply(202, dict[str, JsonValue](waiting))] * 7)

    with LogSignals() as signals:
        await bootstrap(plane).until_ready()

    texts = [record.getMessage() for record in signals.of(LogEvent.JOIN_WAITS)]
    assert [text.partition("for ")[2].partition(" s")[0] for text in texts] == ["0", "75", "150"]


async def test_the_plan_that_an_administrator_accepts_is_named(plane: ControlPlane) -> None:
    plane.scripted.append(
        HttpReply(
            202,
            {
                "reason": "authority_migration_required",
                "message": "Pending.",
                "planId": "01M8",
                "deploymentId": "wire",
            },
        )
    )

    with LogSignals() as signals:
        await bootstrap(plane).until_ready()

    (logged,) = signals.of(LogEvent.JOIN_WAITS)
    assert "svc wire authority accept-migration 01M8" in logged.getMessage()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", 7), ("0", 1), ("3600", 60), ("nonsense", 5), ("", 5), ("-4", 5)],
)
async def test_retry_after_is_honoured(
    plane: ControlPlane, pauses: list[timedelta], text: str, expected: int
) -> None:
    reply = HttpReply(202, {"reason": "contract_activation_pending"}, {"Retry-After": text})
    plane.scripted.append(reply)

    await bootstrap(plane).until_ready()

    assert pauses == [timedelta(seconds=expected)]


async def test_retry_after_may_be_a_date(plane: ControlPlane, pauses: list[timedelta]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    plane.scripted.append(HttpReply(503, b"<html>", {"Retry-After": at}))

    await bootstrap(plane).until_ready()

    assert timedelta(seconds=20) < pauses[0] <= timedelta(seconds=40)


async def test_a_control_plane_that_is_away_is_asked_less_and_less_often(pauses: list[timedelta]) -> None:
    plane = ControlPlane(provisioned={KEY.public}, digests={CONTRACT.digest})

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close without an answer."""

    async with listening(hang_up) as port:
        plane.url = f"http://127.0.0.1:{port}"
        joining = bootstrap(plane)
        ready = asyncio.create_task(joining.until_ready())
        await eventually(lambda: len(pauses) >= 4)
        assert "cannot be reached" in (joining.progress.check().error or "")
    await eventually(lambda: len(pauses) >= 8)  # now the port is closed
    async with plane.standing(port):
        await ready

    assert [pause.total_seconds() for pause in pauses[:8]] == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_gateway_without_its_control_plane_is_waited_for(
    plane: ControlPlane, pauses: list[timedelta], status: int
) -> None:
    plane.scripted.append(HttpReply(status, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}))

    await bootstrap(plane).until_ready()

    assert pauses == [timedelta(seconds=1)]


@pytest.mark.parametrize(
    ("reply", "reason", "text"),
    [
        (HttpReply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}), "invalid_response", "text/html"),
        (HttpReply(404, b"not here", {"Content-Type": "text/plain"}), "invalid_response", "does not lead to a control plane"),
        (HttpReply(202, b"\xff\xfe"), "invalid_response", "HTTP status 202"),
        (HttpReply(202, {}), "invalid_response", "without a reason"),
        (HttpReply(200, {"status": "ready"}), "invalid_response", "#/connectInfo"),
        (HttpReply(302, b"", {"Location": "https://else.where/x"}), "redirected", "https://else.where/x"),
        (HttpReply(400, {"reason": "invalid_signature"}), "invalid_signature", "check its URL"),
        (HttpReply(400, {"reason": "invalid_request"}), "invalid_request", "0.10"),
        (HttpReply(409, {"reason": "presented_contract_digest_mismatch"}), "presented_contract_digest_mismatch", "generate"),
        (HttpReply(409, {"reason": "presented_contract_id_mismatch"}), "presented_contract_id_mismatch", "generate"),
        (HttpReply(409, {"reason": "presented_contract_invalid", "message": "no\x1b[31m\nname"}), "presented_contract_invalid", "no [31m name"),
        (HttpReply(409, {"reason": "contract_catalog_issue"}), "contract_catalog_issue", "catalog"),
        (HttpReply(418, {"reason": "teapot", "message": "x" * 5000}), "teapot", "ask the administrator"),
        (HttpReply(200, b"{" + b" " * 1_100_000), "invalid_response", "more than 1048576 bytes"),
    ],
)  # fmt: skip
async def test_every_other_answer_is_an_error_with_reason_and_remedy(
    plane: ControlPlane, reply: HttpReply, reason: str, text: str
) -> None:
    plane.scripted.append(reply)

    error = await refusal(plane)

    assert error.reason == reason
    assert text in str(error)
    assert len(str(error)) < 1000
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)


async def test_an_answer_for_another_instance_is_an_error(plane: ControlPlane) -> None:
    other = SessionKey.generate().public
    plane.scripted.append(HttpReply(200, plane.ready(other, CONTRACT.id, CONTRACT.digest)))

    assert "another session key" in str(await refusal(plane))


async def test_members_that_are_not_known_are_ignored(plane: ControlPlane) -> None:
    body = plane.ready(KEY.public, CONTRACT.id, CONTRACT.digest) | {"new": "member"}
    plane.scripted.append(HttpReply(200, body))

    await bootstrap(plane).until_ready()


@pytest.mark.parametrize("time", [10**400, -1, 0, True, 1.5, "now", None])
async def test_a_time_that_is_none_is_an_error(plane: ControlPlane, time: JsonValue) -> None:
    plane.scripted.append(HttpReply(400, {"reason": "iat_out_of_range", "serverNow": time}))
    assert (await refusal(plane)).reason == "iat_out_of_range"


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "does-not-exist.invalid"])
async def test_a_name_that_no_host_has_is_asked_again(host: str, pauses: list[timedelta]) -> None:
    joining = asyncio.create_task(bootstrap(ControlPlane(url=f"http://{host}")).until_ready())
    await eventually(lambda: pauses)
    joining.cancel()
    await asyncio.wait([joining])
    assert pauses[0] == timedelta(seconds=1)


VALUE: Final = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON: Final = st.dictionaries(
    st.sampled_from(["reason", "message", "serverNow", "connectInfo", "binding", "planId"]),
    VALUE | st.dictionaries(st.sampled_from(["resources", "transport", "contractId"]), VALUE),
)


@given(
    st.sampled_from([200, 202, 302, 400, 403, 404, 409, 500]),
    JSON.map(json.dumps).map(str.encode) | st.binary(),
)
def test_whatever_is_answered_is_a_state_or_an_error(status: int, body: bytes) -> None:
    answer = HttpAnswer(status, "application/json", None, None, body)
    with contextlib.suppress(BootstrapFailed):
        read_answer(answer, CONTRACT, KEY.public)


async def test_a_wait_is_cancelled_at_once(plane: ControlPlane) -> None:
    plane.waits_for = "contract_activation_pending"
    joining = asyncio.create_task(bootstrap(plane).until_ready())
    await eventually(lambda: plane.requests)

    joining.cancel()

    with pytest.raises(asyncio.CancelledError):
        await joining
