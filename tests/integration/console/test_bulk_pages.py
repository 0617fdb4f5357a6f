"""The pages of bulk actions, as a browser without JavaScript asks for them."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
from everything_participant import EverythingService
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_admin.audit_log import read_audit
from trellis_admin.bulk import BulkAction, BulkRecord
from trellis_admin.bulk.store import BulkStore
from trellis_admin.payloads import PayloadContract
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import JobSeed, append_events
from tests.support.console_requests import browsing, field, submit
from tests.support.eventually import eventually
from tests.support.stored_jobs import store_jobs


async def newest_are_read(store: BulkStore, replayed: str) -> None:
    """The page of dead jobs shows the newest actions on dead jobs, behind others."""
    record = await store.read(replayed)
    for later in ("Z1", "Z2", "Z3"):
        await store.create(replace(record, id=later, action=BulkAction.CANCEL))

    assert await store.list_newest({BulkAction.REPLAY, BulkAction.DISMISS}, limit=1) == [record]
    newest = await store.list_newest({BulkAction.CANCEL}, limit=2)
    assert [found.id for found in newest] == ["Z3", "Z2"]
    assert await store.list_newest({BulkAction.DISMISS}, limit=5) == []


async def all_are_listed_in_pages(browser: httpx.AsyncClient, store: BulkStore, replayed: str) -> None:
    """A page reads the records that it shows."""
    record = await store.read(replayed)
    for number in range(60):
        await store.create(replace(record, id=f"Y{number:02}"))
    first = await browser.get("/bulk")
    (older,) = re.findall(r'href="(/bulk\?before=\w+)"', first.text)
    last = await browser.get(older)

    shown = [re.findall(r'href="/bulk/(\w+)"', page.text) for page in (first, last)]
    assert [len(page) for page in shown] == [50, 14]
    assert shown[0] + shown[1] == ["Z3", "Z2", "Z1", *(f"Y{n:02}" for n in reversed(range(60))), replayed]
    assert "64 actions" in first.text
    assert "before=" not in last.text
    assert (await browser.get("/bulk?before=%2A%20.")).status_code == 200


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
        store, replayed = BulkStore(opened.console.connection), bulk.rpartition("/")[2]
        await newest_are_read(store, replayed)
        await all_are_listed_in_pages(browser, store, replayed)

    assert "you typed 52, the filter has 25 jobs." in unescape(wrong.text)
    assert "a reason is missing" in without_reason.text
    assert "the rate must be 1 to 5,000" in too_fast.text
    assert {answer.status_code for answer in (wrong, without_reason, too_fast)} == {422}
    assert "Nothing is dead" in dead.text
    assert "gateway is back" in shown.text


async def test_many_jobs_are_checked_against_the_contracts_of_their_queues(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    other, contract = PayloadContract.of(EverythingService), PayloadContract.of(OrdersService)
    async with browsing(nats_server, tmp_path, contracts=(other, contract)) as (browser, opened):
        connection = opened.console.connection
        payloads: list[JsonValue] = [
            {"orderId": "o-1"},
            {"orderId": "o-1", "customerId": "c-1", "amountCents": 1},
        ]
        for payload in payloads:
            await store_jobs(
                connection,
                1,
                service="orders-service",
                queue="charge-payment",
                error="Checked: no",
                created={"payload": payload},
            )
        for album in (1, "a"):
            await store_jobs(
                connection,
                1,
                service="everything",
                queue="clean",
                error="Checked: no",
                created={"payload": {"album": album}},
            )
        await opened.catch_up()
        store, records = BulkStore(connection), list[BulkRecord]()
        question = "/ask?q=error:Checked&action=replay&all=1"
        asked = unescape((await browser.get(question)).text)
        for count, narrowed in (
            ("2", question.replace("Checked", "Checked+service:everything")),
            ("3", question),
        ):
            begun = await submit(browser, narrowed, count=count, reason="r", rate="500", first="all")
            bulk_id = begun.headers["location"].rpartition("/")[2]

            async def is_settled(bulk_id: str = bulk_id) -> bool:
                return (await store.read(bulk_id)).is_settled

            await eventually(is_settled)
            await opened.catch_up()
            records.append(await store.read(bulk_id))

    for named in (contract, other):
        assert f"would be refused: contract {named.digest[:8]} does not read it" in asked
    assert [(record.contracts, record.sent, record.refused) for record in records] == [
        ((other.digest,), 1, 1),
        ((other.digest, contract.digest), 1, 2),
    ]


async def test_a_bulk_action_that_waits_says_what_came_of_its_first_jobs(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path) as (browser, opened):
        question = "/ask?q=state:dead&action=replay&all=1"
        begun = await submit(browser, question, count="25", reason="gateway is back", rate="500", first="10")
        bulk = begun.headers["location"]

        async def waits() -> bool:
            return "It began with 10 jobs" in (await browser.get(bulk)).text

        await eventually(waits)
        await opened.catch_up()
        sent = (await browser.get(f"/jobs?q=bulk:{bulk.rpartition('/')[2]}&format=ids")).text.split()
        died, completed = sent[:2]
        started: dict[str, JsonValue] = {"tries": 1}
        error: dict[str, JsonValue] = {"tries": 1, "error": "ValueError: no"}
        for job, kind, fields in (
            (died, EventType.DEAD, error),
            (completed, EventType.COMPLETED, started),
        ):
            ended = JobSeed(job, events=[(EventType.STARTED, 1.0, started), (kind, 2.0, fields)])
            await append_events(opened.console.connection, ended)
        await opened.catch_up()
        shown, again, refused, overview, dead, audit = [
            unescape((await browser.get(address)).text)
            for address in (bulk, f"{bulk}?o=again", f"{bulk}?o=refused", "/", "/dead", "/audit")
        ]

        store = BulkStore(opened.console.connection)
        await store.change(bulk.rpartition("/")[2], lambda record: replace(record, contract="otherwise"))
        await browser.post(f"{bulk}/go-on", data={"csrf": field(shown, "csrf")})
        went_on = (await browser.get(bulk)).text

    assert "It goes on in a process that knows contract otherwis" in went_on
    came_of_it = "10 of 25 sent: 1 completed, 1 dead again, 8 wait or run"
    assert f"{came_of_it}. 15 jobs are sent once an operator lets it go on." in shown
    assert came_of_it in dead
    assert "nothing is sent now" in shown
    assert "Jobs ended, by second" in shown
    assert f"/jobs/{died}" in again
    assert f"/jobs/{completed}" not in again
    assert "No job was refused." in refused
    assert "Replay of 25 jobs waits for “go on”" in overview
    assert '<span class="id wrap">state:dead</span>' in audit


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
