"""What the console answers to filters, formats, strangers and wrong addresses; and its stream of events."""

from __future__ import annotations

import csv
import json
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from trellis_admin.web import Role, TokenAccess
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import DEAD_ID, RUNNING_ID, JobSeed, store_job
from tests.support.console_requests import browsing, field

QUEUE: Final = "/queues/orders-service/charge-payment"


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


async def test_the_stack_of_a_job_that_no_process_runs_is_said(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with browsing(nats_server, tmp_path) as (browser, _):
        page = await browser.get(f"/jobs/{RUNNING_ID}")
        stack = await browser.get(f"/jobs/{RUNNING_ID}/stack")

    assert f"/jobs/{RUNNING_ID}/stack" in page.text
    assert "No process answered that it runs the job." in stack.text


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
