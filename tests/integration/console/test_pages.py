"""The pages of the console, as a browser without JavaScript asks for them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from orders_participant import OrdersService
from starlette.applications import Starlette
from starlette.routing import Mount
from trellis_admin.audit_log import Action, Phase, read_audit
from trellis_admin.payloads import PayloadContract
from trellis_admin.web import Identity, LocalAccess, Role, Settings, TokenAccess, app
from trellis_admin.web.protection import POLICY
from trellis_nats import Options
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import BIG, CHARGE, DEAD_ID, RUNNING_ID, SECRET, JobSeed, seed_jobs, store_job
from tests.support.console_pages import OpenConsole, open_console
from tests.support.eventually import eventually
from tests.support.operating import operator_connection

VIEWER: Final = LocalAccess(Identity("support-reader", Role.VIEWER))
QUEUE: Final = "/queues/orders-service/charge-payment"
PAGES: Final = (
    "/",
    "/?last=15m&sort=dead",
    "/jobs",
    "/jobs?q=state:dead&select=all",
    "/jobs?q=state:pending&select=page",
    "/jobs?q=nothing-has-this-word",
    f"/jobs/{RUNNING_ID}",
    f"/jobs/{DEAD_ID}",
    "/dead",
    "/dead?queue=charge-payment",
    QUEUE,
    "/queues/orders-service/sync-tickets",
    f"/queues/orders-service/sync-tickets/keys/{7:064x}",
    "/bulk",
    "/workers",
    "/workers?w=trouble",
    "/audit",
    "/keyboard",
)


@asynccontextmanager
async def browsing(
    server: NatsServer, tmp_path: Path, **settings: Any
) -> AsyncGenerator[tuple[httpx.AsyncClient, OpenConsole]]:
    """Open a console on jobs in every state, and a client that follows no redirect."""
    async with OrdersService.connect(server.url), operator_connection(server.url) as connection:
        await seed_jobs(connection)
    async with (
        open_console(server.url, tmp_path / "jobs.sqlite", **settings) as opened,
        httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
    ):
        yield browser, opened


def links_of(page: str) -> set[str]:
    return {unescape(link) for link in re.findall(r'<a [^>]*href="([^"]*)"', page)}


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"the page has no field {name}"
    return unescape(found[1])


def heading(answer: httpx.Response) -> str:
    found = re.search(r'role="alert">.*?<h2>(.*?)</h2>', answer.text, re.DOTALL)
    return unescape(found[1]) if found else ""


async def submit(browser: httpx.AsyncClient, question: str, **fields: str) -> httpx.Response:
    """Answer a question as its page asks it."""
    page = await browser.get(question)
    assert page.status_code == 200, page.text
    form = re.search(
        r'<form method="post" action="([^"]*)">(.*?)</form>',
        page.text.partition("data-question")[2],
        re.DOTALL,
    )
    assert form is not None
    hidden = {
        name: unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[2])
    }
    return await browser.post(unescape(form[1]), data=hidden | fields)


async def test_every_page_answers_with_the_policy_and_without_a_payload(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        for address in PAGES:
            page = await browser.get(address)

            assert page.status_code == 200, address
            assert page.headers["content-security-policy"] == POLICY
            assert SECRET not in page.text, address
            assert str(BIG) not in page.text, address
            assert "<script>" not in page.text, address


async def test_every_link_leads_somewhere(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        todo, seen = ["/"], set[str]()
        while todo and len(seen) < 150:
            address = todo.pop()
            shape = re.sub(r"[0-9A-Z]{26}", "ID", address)
            if shape in seen:
                continue
            seen.add(shape)
            page = await browser.get(address)
            assert page.status_code in {200, 303}, (address, page.status_code)
            if "html" not in page.headers["content-type"]:
                continue
            for link in links_of(page.text):
                absolute = urlsplit(urljoin(f"{opened.url}{address}", link))
                assert f"http://{absolute.netloc}" == opened.url, link
                todo.append(absolute.path + (f"?{absolute.query}" if absolute.query else ""))

        assert len(seen) > 30


async def test_it_can_be_mounted_below_a_path(nats_server: NatsServer, tmp_path: Path) -> None:
    async with OrdersService.connect(nats_server.url), operator_connection(nats_server.url) as connection:
        await seed_jobs(connection, dead=3)
    access = LocalAccess(Identity("anna", Role.OPERATOR))
    settings = Settings(
        server=nats_server.url, options=Options(open=True), database=tmp_path / "p", access=access
    )
    console = app(settings)
    site = Starlette(routes=[Mount("/ops/trellis", console)])
    try:
        transport = httpx.ASGITransport(site)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:

            async def has_read() -> bool:
                return DEAD_ID in (await browser.get("/ops/trellis/jobs?q=state:dead")).text

            await eventually(has_read)
            for address in PAGES:
                page = await browser.get(f"/ops/trellis{address}")
                assert page.status_code == 200, address
                rooted = re.findall(r'(?:href|src|action|data-live-url)="(/[^"]*)"', page.text)
                assert rooted
                assert [link for link in rooted if not link.startswith("/ops/trellis/")] == []
            assert (await browser.get("/ops/trellis/static/console.css")).status_code == 200
            cookies = [cookie.path for cookie in browser.cookies.jar]
            assert set(cookies) == {"/ops/trellis/"}
    finally:
        await console.state.console.stop()


async def test_a_viewer_sees_pages_without_buttons_and_is_refused(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path, access=VIEWER, whom_to_ask="orders-platform") as (
        browser,
        opened,
    ):
        for address in PAGES:
            page = await browser.get(address)
            assert page.status_code == 200
            forms = set(re.findall(r'<form [^>]*method="post" action="([^"]*)"', page.text))
            assert forms <= {"/preferences"}, address
            assert "data-ask" not in page.text
            assert "You can look, not change" in page.text
            assert "Ask orders-platform for it." in page.text
        csrf = field((await browser.get("/")).text, "csrf")
        refused = [
            await browser.post(f"/jobs/{DEAD_ID}/{action}", data={"csrf": csrf, "prefix": CHARGE})
            for action in ("replay", "reveal", "dismiss")
        ]
        refused.append(await browser.post(f"{QUEUE}/pause", data={"csrf": csrf, "reason": "why"}))
        asked = await browser.get(f"/jobs/{DEAD_ID}/replay")
        probed = await browser.get("/jobs", params={"q": f"arg:customerId={SECRET}"})
        entries = (await read_audit(opened.console.connection)).entries

    assert {answer.status_code for answer in [*refused, asked]} == {403}
    assert probed.status_code == 400
    assert {entry.record.action for entry in entries} == {
        Action.REPLAY,
        Action.REVEAL,
        Action.DISMISS,
        Action.PAUSE,
    }
    assert {entry.outcome.phase for entry in entries if entry.outcome is not None} == {Phase.DENIED}
    assert {entry.record.actor for entry in entries} == {"support-reader"}


async def test_a_payload_is_revealed_once_and_recorded(nats_server: NatsServer, tmp_path: Path) -> None:
    contract = PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(contract,)) as (browser, opened):
        page = await browser.get(f"/jobs/{RUNNING_ID}")
        fields = {"csrf": field(page.text, "csrf"), "prefix": CHARGE}
        revealed = await browser.post(f"/jobs/{RUNNING_ID}/reveal", data=fields)
        entries = (await read_audit(opened.console.connection)).entries

    assert revealed.status_code == 200
    assert revealed.headers["cache-control"] == "no-store"
    assert SECRET in revealed.text
    assert str(BIG) not in revealed.text, "the schema does not declare the member"
    assert [(entry.record.action, entry.record.actor) for entry in entries] == [(Action.REVEAL, "oncall-eu")]


async def test_without_a_contract_every_digit_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        page = await browser.get(f"/jobs/{RUNNING_ID}")
        fields = {"csrf": field(page.text, "csrf"), "prefix": CHARGE}
        revealed = await browser.post(f"/jobs/{RUNNING_ID}/reveal", data=fields)

    assert f'<span class="n">{BIG}</span>' in revealed.text
    assert "No contract says which fields are secret" in revealed.text


async def test_a_change_without_its_token_changes_nothing(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        await browser.get("/")
        answers = [
            await browser.post(
                f"/jobs/{DEAD_ID}/replay", data={"csrf": csrf, "prefix": CHARGE, "reason": "r"}
            )
            for csrf in ("", "0" * 64)
        ]
        other = await browser.post(
            f"/jobs/{DEAD_ID}/replay", data={}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        entries = (await read_audit(opened.console.connection)).entries

    assert {answer.status_code for answer in [*answers, other]} == {403}
    assert entries == ()


async def test_one_job_is_cancelled_with_a_reason(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        answer = await submit(
            browser, f"/jobs/{RUNNING_ID}/cancel?prefix={CHARGE}", reason="customer withdrew"
        )
        assert answer.status_code == 303
        await opened.catch_up()
        page = await browser.get(answer.headers["location"])
        again = await browser.get(answer.headers["location"])

        assert heading(page) == "The job is cancelled"
        assert "Cancelled</span>" in page.text
        assert "customer withdrew" in page.text
        assert heading(again) == "", "it is said once"


async def test_a_lost_race_is_said(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        question = await browser.get(f"/jobs/{RUNNING_ID}/cancel?prefix={CHARGE}")
        seen = field(question.text.partition("data-question")[2], "seen")
        ended = JobSeed(RUNNING_ID, events=[(EventType.COMPLETED, 500.0, {"tries": 2, "result": {}})])
        await store_job(opened.console.connection, JobSeed(f"{RUNNING_ID[:-1]}6"))
        await _append(opened, ended)
        fields = {"csrf": field(question.text, "csrf"), "prefix": CHARGE, "seen": seen, "reason": "late"}
        answer = await browser.post(f"/jobs/{RUNNING_ID}/cancel", data=fields)
        page = await browser.get(answer.headers["location"])

    assert heading(page).startswith("Not cancelled:")
    assert "completed" in heading(page)


async def _append(opened: OpenConsole, job: JobSeed) -> None:
    """Store only the events after the creation of a job that is stored already."""
    kind, _, fields = job.events[0]
    body: dict[str, Any] = {
        "jobId": job.id,
        "service": "orders-service",
        "jobType": "charge-payment",
        "eventType": kind.value,
        "state": "completed",
        "context": {
            "requestId": "r",
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-f86552fb9bf83cd5-01",
        },
        "timestamp": "2026-11-29T14:06:26.040Z",
        **fields,
    }
    await publish_acked(
        opened.console.connection, f"{job.prefix}.{job.id}.{kind.value}", json.dumps(body).encode()
    )


async def test_many_jobs_are_replayed_once_the_count_is_typed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        question = "/ask?q=state:dead&action=replay&all=1"
        page = await browser.get(question)
        assert "Replay 25 jobs?" in page.text
        wrong = await submit(browser, question, count="52", reason="gateway is back", rate="500", first="all")
        without_reason = await submit(browser, question, count="25", reason=" ", rate="500", first="all")
        too_fast = await submit(browser, question, count="25", reason="r", rate="0", first="all")
        assert (await read_audit(opened.console.connection)).entries == ()
        right = await submit(browser, question, count="25", reason="gateway is back", rate="500", first="all")
        assert right.status_code == 303
        bulk = right.headers["location"]

        async def is_done() -> bool:
            return "Done</span>" in (await browser.get(bulk)).text

        await eventually(is_done)
        await opened.catch_up()
        dead = await browser.get("/dead")
        shown = await browser.get(bulk)

    assert "you typed 52, the filter has 25 jobs." in unescape(wrong.text)
    assert "a reason is missing" in without_reason.text
    assert "the rate must be 1 to 5,000" in too_fast.text
    assert {answer.status_code for answer in (wrong, without_reason, too_fast)} == {422}
    assert "Nothing is dead" in dead.text
    assert "gateway is back" in shown.text


async def test_a_forged_plan_begins_nothing(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        page = await browser.get("/ask?q=state:dead&action=replay&all=1")
        plan = field(page.text, "plan")
        fields = {"csrf": field(page.text, "csrf"), "count": "25", "reason": "r", "rate": "20"}
        for forged in ("", plan[:-1] + ("0" if plan[-1] != "0" else "1"), f"x{plan}"):
            answer = await browser.post("/bulk", data=fields | {"plan": forged})
            assert answer.status_code == 303
            assert answer.headers["location"] == "/jobs"
        assert (await read_audit(opened.console.connection)).entries == ()


async def test_selected_rows_become_a_question_about_them(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        two = await browser.get(f"/ask?q=state:dead&id={DEAD_ID}&id=01M8KTDEAD{0:016}&action=dismiss")
        none = await browser.get("/ask?q=state:dead&action=dismiss")
        wrong = await browser.get("/ask?q=state:completed&action=replay&all=1")

    assert "Dismiss 2 jobs?" in two.text
    assert none.status_code == wrong.status_code == 303


async def test_a_filter_that_cannot_be_read_is_explained(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        unknown = await browser.get("/jobs?q=qeue:charge-payment")
        audit = await browser.get("/audit?q=acter:anna")
        empty = await browser.get("/jobs?q=state:stale%20error:OutOfStock")

    assert (unknown.status_code, audit.status_code) == (400, 400)
    assert "did you mean queue?" in unescape(unknown.text)
    assert "did you mean actor?" in unescape(audit.text)
    assert "No job matches" in empty.text
    assert "Without" in empty.text


@pytest.mark.parametrize("kind", ["csv", "json", "ids"])
async def test_lists_can_be_saved(nats_server: NatsServer, tmp_path: Path, kind: str) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        saved = await browser.get(f"/jobs?q=state:dead&format={kind}")
        others = [await browser.get(f"{page}?format={kind}") for page in ("/dead", "/workers", "/audit")]
        wrong = await browser.get("/jobs?format=exe")

    assert "attachment" in saved.headers["content-disposition"]
    assert {answer.status_code for answer in others} == {200}
    assert wrong.status_code == 400
    if kind == "json":
        ids = [job["id"] for job in json.loads(saved.text)]
    elif kind == "csv":
        ids = [row["id"] for row in csv.DictReader(saved.text.splitlines())]
    else:
        ids = saved.text.splitlines()
    assert len(ids) == 25
    assert DEAD_ID in ids


async def test_without_an_account_nothing_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    token = "a-token-of-the-console"  # noqa: S105 - made for the test
    access = TokenAccess({Role.VIEWER: token}, secret=b"s" * 32)
    async with browsing(nats_server, tmp_path, access=access) as (browser, _):
        sent = await browser.get("/jobs")
        changed = await browser.post("/preferences", data={})
        entrance = await browser.get("/enter")
        wrong = await browser.post("/enter", data={"csrf": field(entrance.text, "csrf"), "token": "wrong"})
        right = await browser.post("/enter", data={"csrf": field(entrance.text, "csrf"), "token": token})
        jobs = await browser.get("/jobs")
        browser.cookies.clear()
        by_header = await browser.get("/jobs", headers={"Authorization": f"Bearer {token}"})

    assert (sent.status_code, sent.headers["location"]) == (303, "/enter")
    assert changed.status_code == 401
    assert wrong.status_code == 401
    assert (right.status_code, jobs.status_code, by_header.status_code) == (303, 200, 200)
    assert "viewer" in jobs.text


async def test_what_is_not_there_is_said(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        answers = {
            address: await browser.get(address)
            for address in (
                "/nothing",
                "/jobs/01KB7T4Z0000000000000000ZZ",
                "/queues/no-service/no-queue",
                f"{QUEUE}/keys/{1:064x}",
                "/bulk/01KB7T4Z0000000000000000ZZ",
                "/dead/not-a-fingerprint",
                f"/jobs/{DEAD_ID}/explode",
                "/jobs/%3Cscript%3E",
            )
        }

    assert {answer.status_code for answer in answers.values()} == {404}
    assert all("<script>" not in answer.text for answer in answers.values())


async def test_a_change_reaches_open_pages(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        browsing(nats_server, tmp_path) as (browser, opened),
        browser.stream("GET", "/live") as stream,
    ):
        lines = stream.aiter_lines()
        first = await _next_event(lines)
        await store_job(opened.console.connection, JobSeed("01M8KTNEW0000000000000000X"))
        second = await _next_event(lines)

    assert first["changed"] is False
    assert second["changed"] is True
    assert int(second["sequence"].replace(",", "")) > int(first["sequence"].replace(",", ""))


async def _next_event(lines: Any) -> dict[str, Any]:
    async for line in lines:
        if line.startswith("data: "):
            found: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return found
    raise AssertionError("the stream of events has ended")
