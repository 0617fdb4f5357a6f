"""The pages of the console, as a browser without JavaScript asks for them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx
from orders_participant import OrdersService
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.routing import Mount
from trellis_admin.audit_log import Action, Phase, read_audit
from trellis_admin.payloads import PayloadContract
from trellis_admin.web import Identity, LocalAccess, Role, Settings, app
from trellis_admin.web.protection import POLICY
from trellis_nats import Options
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import kv_stream
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import purge_stream
from trellis_nats.binding import keys_bucket_of
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import (
    BIG,
    CHARGE,
    DEAD_ID,
    RUNNING_ID,
    SECRET,
    SYNC,
    JobSeed,
    append_events,
    seed_jobs,
    store_job,
)
from tests.support.console_requests import browsing, field, heading, links_of, submit
from tests.support.eventually import eventually
from tests.support.operating import operator_connection
from tests.support.projected import heartbeat

DIED: Final[list[tuple[EventType, float, dict[str, JsonValue]]]] = [
    (EventType.STARTED, 1.0, {"tries": 1}),
    (EventType.DEAD, 2.0, {"error": "ValueError: no"}),
]
VIEWER: Final = LocalAccess(Identity("support-reader", Role.VIEWER))
TROUBLES: Final = re.compile(r"(?:In trouble|Older contract) \d+")
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


async def test_a_job_that_was_purged_leaves_the_lists(nats_server: NatsServer, tmp_path: Path) -> None:
    purged = "01M8KTPURGED00000000000000"
    async with browsing(nats_server, tmp_path) as (browser, opened):
        events = [(EventType.FAILED, 1.0, {"error": "no"})]
        await store_job(opened.console.connection, JobSeed(purged, age=timedelta(minutes=1), events=events))
        await opened.catch_up()
        assert purged in (await browser.get("/jobs?q=state:failed")).text
        await purge_stream(opened.console.connection, "JOBS", f"{CHARGE}.{purged}.>")

        assert (await browser.get(f"/jobs/{purged}")).status_code == 404
        assert purged not in (await browser.get("/jobs?q=state:failed")).text


async def test_queues_of_other_clients_may_have_any_name(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        await store_job(
            opened.console.connection, JobSeed("01M8KTHHQ2M9S346Q3D25VT4F6", "trellis.jobs.cheese+wine.stir")
        )
        await opened.catch_up()

        for address in ("/", "/jobs", "/workers", "/queues/orders-service/stir"):
            assert (await browser.get(address)).status_code == 200, address


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
            # The list of keys opens in place, for viewers too.
            assert "data-ask" not in re.sub(r'<a [^>]*href="/keyboard"[^>]*>', "", page.text)
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


async def test_a_queue_that_is_already_as_asked_is_said(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        fields = {"csrf": field((await browser.get(QUEUE)).text, "csrf"), "reason": "INC-1"}
        said: list[str] = []
        for action in ("pause", "pause", "resume", "resume", "drop", "resume"):
            if action == "drop":
                bucket = kv_stream(keys_bucket_of("orders-service"))
                await call(opened.console.connection, f"STREAM.DELETE.{bucket}", {})
                continue
            await browser.post(f"{QUEUE}/{action}", data=fields)
            said.append(heading(await browser.get(QUEUE)))

    name = QUEUE.rpartition("/")[2]
    assert said == [
        f"{name} is paused",
        f"{name} was paused already, by oncall-eu",
        f"{name} is resumed",
        f"{name} was not paused",
        f"{name} has no record of a pause",
    ]


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


async def test_a_payload_is_edited_as_it_is_stored(nats_server: NatsServer, tmp_path: Path) -> None:
    stored: dict[str, JsonValue] = {"orderId": "two  spaces\u3000", "customerId": "<b>", "amountCents": 1}
    job = JobSeed("01M8KTED1T0000000000000000", events=DIED, created={"payload": stored})
    contract = PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(contract,)) as (browser, opened):
        await store_job(opened.console.connection, job)
        await opened.catch_up()
        asked = await browser.get(f"/jobs/{job.id}/edit")
        before = (await read_audit(opened.console.connection)).entries
        page = await submit(browser, f"/jobs/{job.id}/edit")
        after = (await read_audit(opened.console.connection)).entries

    assert "two  spaces" not in asked.text, "a browser may fetch a link ahead"
    assert before == ()
    assert [entry.record.action for entry in after] == [Action.REVEAL]
    shown = re.search(r"<textarea[^>]*>(.*?)</textarea>", page.text, re.DOTALL)
    assert shown is not None
    assert json.loads(unescape(shown[1])) == stored


async def test_a_stale_job_is_created_again(nats_server: NatsServer, tmp_path: Path) -> None:
    events: tuple[tuple[EventType, float, dict[str, JsonValue]], ...] = (
        (EventType.STARTED, 1.0, {}),
        (EventType.STALE, 40.0, {"error": "the lease of its concurrency key ran out"}),
    )
    job = JobSeed("01M8KTSTA1E000000000000000", SYNC, events=events, created={"payload": {"origin": "acme"}})
    contract = PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(contract,)) as (browser, opened):
        await store_job(opened.console.connection, job)
        await opened.catch_up()
        queue = await browser.get("/queues/orders-service/sync-tickets")
        done = await submit(browser, f"/jobs/{job.id}/recreate", reason="still wanted")
        await opened.catch_up()
        page = await browser.get(done.headers["location"])
        old = await browser.get(f"/jobs/{job.id}")
        counted = await browser.get("/queues/orders-service/sync-tickets")
        again = await browser.get((await submit(browser, f"/jobs/{job.id}/recreate")).headers["location"])
        entries = (await read_audit(opened.console.connection)).entries

    assert re.search(r"Stale 1</a>", queue.text)
    assert "Created again as a new job" in page.text
    assert job.id in page.text
    assert "Not created again" in again.text
    assert re.search(r"created again as <a href", old.text)
    assert f"/jobs/{job.id}/recreate" not in old.text
    assert not re.search(r"Stale \d+</a>", counted.text), "it is no longer counted"
    assert [entry.record.action for entry in entries] == [Action.RECREATE, Action.RECREATE]


async def test_a_payload_that_is_not_shown_whole_is_not_edited(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    contract = PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(contract,)) as (browser, _):
        refused = await submit(browser, f"/jobs/{DEAD_ID}/edit")
        page = await browser.get(refused.headers["location"])

    assert refused.status_code == 303
    assert "The payload cannot be edited here" in page.text


async def test_selected_jobs_are_these_and_no_others(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        for job in (JobSeed("PAIR1", events=DIED), JobSeed("PAIR10", events=DIED)):
            await store_job(opened.console.connection, job)
        await store_job(opened.console.connection, JobSeed("PAIR1", prefix=SYNC, events=DIED))
        await opened.catch_up()
        page = await browser.get(f"/jobs?q=id:PAIR1%20queue:{CHARGE}")
        names = re.findall(r'name="id" value="([^"]*)"', page.text)
        asked = await browser.get("/ask", params={"q": "", "id": names[1], "action": "dismiss"})
        odd = await browser.get("/ask", params={"q": "", "id": f"{CHARGE}.a,PAIR1", "action": "dismiss"})

    assert names == [f"{CHARGE}.PAIR10", f"{CHARGE}.PAIR1"]
    assert "Dismiss 1 job?" in asked.text
    assert odd.status_code == 303


async def test_without_a_contract_every_digit_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        page = await browser.get(f"/jobs/{RUNNING_ID}")
        fields = {"csrf": field(page.text, "csrf"), "prefix": CHARGE}
        revealed = await browser.post(f"/jobs/{RUNNING_ID}/reveal", data=fields)

    assert f'<span class="n">{BIG}</span>' in revealed.text
    assert "No contract says which fields are secret" in revealed.text


async def test_the_rules_of_a_queue_come_from_its_contract(nats_server: NatsServer, tmp_path: Path) -> None:
    contract = PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(contract,)) as (browser, _):
        page = (await browser.get("/queues/orders-service/sync-tickets")).text

    words = re.findall(r"<dt>([^<]*)</dt>", page.partition("Rules of this queue")[2].partition("</dl>")[0])
    assert words[:3] == ["Contract", "Attempts", "Concurrency"]
    assert words[-5:] == ["Key", "At a time", "When full", "Owner gone", "Lease"]
    assert contract.id in page
    assert contract.digest[:8] in page
    assert "--contract" not in page


async def test_without_a_contract_the_page_says_what_workers_show(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        page = (await browser.get(QUEUE)).text

    assert "Rules of this queue" not in page
    assert "How it runs" in page
    assert "--contract PACKAGE" in page


async def test_a_worker_that_has_stopped_is_not_in_trouble(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        before = TROUBLES.findall((await browser.get("/workers")).text)
        sent = [timestamp(now() - timedelta(seconds=age)) for age in (9, 1)]
        old = heartbeat(1, "w1", contractDigest="a" * 43, timestamp=sent[0], stopping=True, stopped=True)
        new = heartbeat(2, "w2", contractDigest="b" * 43, timestamp=sent[1])
        for beat in (old, new):
            await publish_acked(opened.console.connection, beat.subject, beat.data)
        await opened.catch_up()
        page = (await browser.get("/workers")).text

    assert page.index(">w2<") < page.index(">w1<")
    assert "stopped <time" in page
    assert len(before) == 2
    assert TROUBLES.findall(page) == before


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
        await append_events(opened.console.connection, ended)
        fields = {"csrf": field(question.text, "csrf"), "prefix": CHARGE, "seen": seen, "reason": "late"}
        answer = await browser.post(f"/jobs/{RUNNING_ID}/cancel", data=fields)
        page = await browser.get(answer.headers["location"])

    assert heading(page).startswith("Not cancelled:")
    assert "completed" in heading(page)


async def test_selected_rows_become_a_question_about_them(nats_server: NatsServer, tmp_path: Path) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        two = await browser.get(f"/ask?q=state:dead&id={DEAD_ID}&id=01M8KTDEAD{0:016}&action=dismiss")
        none = await browser.get("/ask?q=state:dead&action=dismiss")
        wrong = await browser.get("/ask?q=state:completed&action=replay&all=1")

    assert "Dismiss 2 jobs?" in two.text
    assert none.status_code == wrong.status_code == 303
