"""Secrets in payloads, results and checkpoints, and tokens: what the admin tools show, and that they log none of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import pytest
import trellis_admin
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_admin.audit_log import read_audit
from trellis_admin.payloads import PayloadContract
from trellis_admin.rpc.process import AdminOptions, admin_process
from trellis_admin.rpc.trellis_jobs_participant import JobsGetRequest, JobsListRequest, TrellisJobsClient
from trellis_admin.web import Role, TokenAccess
from trellis_nats import Options
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.console_jobs import CHARGE, JobSeed, store_job
from tests.support.console_pages import open_console
from tests.support.console_requests import field
from tests.support.eventually import eventually
from tests.support.operating import operator_connection
from tests.support.trellis_command import run_trellis_here

PACKAGE: Final = ROOT / "examples/orders_service/orders_participant"
DONE: Final = "01M8KTSECRETD0NE0000000000"
DIED: Final = "01M8KTSECRETDEAD0000000000"
IN_PAYLOAD: Final = "4111-payload"
IN_RESULT: Final = "4222-result"
IN_CHECKPOINT: Final = "4333-checkpoint"
IN_ERROR: Final = "4444-error"
IN_LOG: Final = "4555-log"
IN_EDIT: Final = "4666-edit"
TOKEN: Final = "4777-token-of-operators"  # noqa: S105 - of this test
VALUES: Final = (IN_PAYLOAD, IN_RESULT, IN_CHECKPOINT)
SECRETS: Final = (*VALUES, IN_ERROR, IN_LOG, IN_EDIT, TOKEN)
PAID: Final[Mapping[str, JsonValue]] = {"orderId": "o-1", "customerId": "c-1", "amountCents": 12990}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRELLIS_ACTOR", "ada")


async def seed(server: NatsServer) -> None:
    """Store a completed job and a dead one, with a secret wherever a job may have one that the contract does not declare."""
    created: Mapping[str, JsonValue] = {"payload": {**PAID, "card": IN_PAYLOAD}}
    line: JsonValue = {"timestamp": "2026-11-29T14:00:01.000Z", "level": "info", "message": IN_LOG}
    result: JsonValue = {"chargeId": "ch_1", "token": IN_RESULT}
    checkpoint: Mapping[str, JsonValue] = {
        "jobId": DONE, "service": "orders-service", "jobType": "charge-payment", "eventType": "logged", "state": "active",
        "context": {"requestId": "r", "traceId": "0" * 31 + "1", "traceparent": f"00-{'0' * 31}1-{'0' * 15}1-01"},
        "tries": 1, "timestamp": "2026-11-29T14:00:02.000Z", "logs": [], "checkpoint": {"card": IN_CHECKPOINT},
    }  # fmt: skip
    async with OrdersService.connect(server.url), operator_connection(server.url) as connection:
        begun: list[tuple[EventType, float, Mapping[str, JsonValue]]] = [
            (EventType.STARTED, 1.0, {"tries": 1}),
            (EventType.LOGGED, 1.5, {"logs": [line]}),
        ]
        await store_job(connection, JobSeed(DONE, events=begun, created=created))
        await publish_acked(connection, f"{CHARGE}.{DONE}.checkpoint", json.dumps(checkpoint).encode())
        ended = f"{CHARGE}.{DONE}.completed"
        body: Mapping[str, JsonValue] = {
            **checkpoint,
            "eventType": "completed",
            "state": "completed",
            "result": result,
        }
        await publish_acked(
            connection, ended, json.dumps({**body, "logs": None, "checkpoint": None}).encode()
        )
        died: Mapping[str, JsonValue] = {"error": f"ValueError: card {IN_ERROR} is refused"}
        await store_job(
            connection, JobSeed(DIED, events=[*begun, (EventType.DEAD, 2.0, died)], created=created)
        )


async def test_no_tool_shows_what_the_contract_does_not_declare(
    nats_server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await seed(nats_server)
    shown: dict[str, str] = {}
    async with trellis_admin.connect(
        nats_server.url, actor="ada", db=tmp_path / "jobs.sqlite", contract=OrdersService
    ) as operator:
        history = await operator.history(DONE)
        revealed = await operator.reveal(DONE)
        with pytest.raises(InvalidPayload) as refused:
            await operator.replay_edited(DIED, json.dumps({**PAID, "amountCents": IN_EDIT}).encode())
        shown["Python"] = f"{revealed}{history}{refused.value}"
        assert json.loads(revealed.text) == {**PAID, "card": "redacted"}
        assert revealed.hidden == ("/card",)
        assert revealed.result is not None
        assert json.loads(revealed.result.text) == {"chargeId": "ch_1", "token": "redacted"}
        assert revealed.result.hidden == ("/token",)
        assert history.checkpoint is not None
        assert [*revealed.checkpoints.values()] == [revealed.checkpoints[history.checkpoint.sequence]]
    for name, options in {"text": [], "json": ["--json"]}.items():
        command = ["jobs", "show", DONE, "--payload", *options, "--contract", str(PACKAGE)]
        ended = await run_trellis_here(*command, "--server", nats_server.url)
        assert (ended.code, "ch_1" in ended.out) == (0, True), ended.error
        shown[name] = ended.out
    shown |= await look_at_pages(nats_server, tmp_path)
    shown |= await ask_rpcs(nats_server, tmp_path)
    async with operator_connection(nats_server.url) as connection:
        entries = (await read_audit(connection)).entries
    shown["audit log"] = str(entries)

    leaks = [(name, secret) for name, text in shown.items() for secret in VALUES if secret in text]
    assert leaks == []
    actors = ["ada", "ada", "ada", "token operator", "admin RPC"]
    assert sorted(entry.record.actor for entry in entries if entry.record.action == "reveal") == sorted(
        actors
    )
    own = [
        f"{record.getMessage()} {record.__dict__}"
        for record in caplog.records
        if not record.name.startswith("http")
    ]
    assert [(secret, text) for text in own for secret in SECRETS if secret in text] == []
    assert own, "the runtime logs that it connects"


async def look_at_pages(server: NatsServer, folder: Path) -> dict[str, str]:
    """Return what a console shows to an operator with a token, with the values of a job."""
    access = TokenAccess({Role.OPERATOR: TOKEN}, b"s" * 32)
    assert TOKEN not in repr(access)
    contracts = (PayloadContract.of(OrdersService),)
    async with (
        open_console(server.url, folder / "web.sqlite", access=access, contracts=contracts) as opened,
        httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
    ):
        login = await browser.get("/enter")
        await browser.post("/enter", data={"csrf": field(login.text, "csrf"), "token": TOKEN})
        page = await browser.get(f"/jobs/{DONE}")
        fields = {"csrf": field(page.text, "csrf"), "prefix": CHARGE}
        revealed = await browser.post(f"/jobs/{DONE}/reveal", data=fields)
        died = await browser.get(f"/jobs/{DIED}")
        saved = [await browser.get(f"/jobs?format={kind}") for kind in ("csv", "json", "ids")]
    assert "ch_1" in revealed.text
    assert IN_ERROR in died.text, "an error is the text of a handler, which is shown"
    return {
        "page": page.text,
        "revealed": revealed.text,
        "dead": died.text,
        "files": "".join(file.text for file in saved),
    }


async def ask_rpcs(server: NatsServer, folder: Path) -> dict[str, str]:
    """Return what the admin RPCs answer."""
    contracts = (PayloadContract.of(OrdersService),)
    wanted = AdminOptions(db=folder / "rpc.sqlite", duties=None, contracts=contracts)
    async with (
        admin_process(server.url, Options(open=True, provision="off"), wanted),
        TrellisJobsClient.connect(server.url) as client,
    ):

        async def are_read() -> bool:
            return (await client.rpc.jobs.list(JobsListRequest(limit=1))).count == 2

        await eventually(are_read)
        listed = await client.rpc.jobs.list(JobsListRequest(limit=10))
        job = (await client.rpc.jobs.get(JobsGetRequest(id=DONE))).job
    assert job.payload == {**PAID, "card": "redacted"}
    assert job.result == {"chargeId": "ch_1", "token": "redacted"}
    return {"list": listed.model_dump_json(), "get": job.model_dump_json()}
