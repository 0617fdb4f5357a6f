"""Pages about jobs whose events hold anything: each is there, and every job is found under its own address."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Final

import httpx
from markupsafe import escape
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.ids import is_token
from trellis_nats.testing import NatsServer

from tests.support.console_pages import open_console
from tests.support.operating import operator_connection

LONE: Final = "\ud800"
MARKUP: Final = "</title><script>alert(1)</script>'\">{{7*7}}{queue}"
NAMES: Final = ("", "a/b", "a?b#c", "..", "%2F", "\x1b[31m", MARKUP, "é/漢")
IDS: Final = ("a/b", "a?b", "a%2Fb", "a#b", "{queue}", 'a"b', "a,b", "a:b", "a&b")
REPORTS: Final[tuple[dict[str, JsonValue], ...]] = (
    {"current": 10**400, "total": 5},
    {"current": 5, "total": 10**400},
    {"current": 1e308, "total": 1e-300},
    {"current": float("inf"), "total": float("inf")},
)
PAGES: Final = ("/", "/jobs", "/jobs?q=state:dead&select=all", "/dead", "/workers", "/bulk", "/audit")


async def store(
    connection: Connection, prefix: str, job_id: str, kind: str, state: str, fields: Mapping[str, JsonValue]
) -> None:
    body: dict[str, JsonValue] = {
        "jobId": job_id,
        "service": "s",
        "jobType": "q",
        "eventType": kind,
        "state": state,
        "tries": 1,
        "maxTries": 3,
        "context": {"requestId": "r", "traceId": "t", "traceparent": "p"},
        "timestamp": "2026-11-30T06:00:00.000Z",
        **fields,
    }
    await publish_acked(connection, f"{prefix}.{job_id}.{kind}", json.dumps(body).encode())


async def store_hostile(connection: Connection) -> list[str]:
    """Store jobs with odd names and reports; return their ids."""
    ids: list[str] = []
    for number, name in enumerate(NAMES):
        ids.append(f"NAMED{number}")
        fields: dict[str, JsonValue] = {"service": name, "jobType": name}
        await store(
            connection,
            f"trellis.jobs.named.q{number}",
            ids[-1],
            "created",
            "pending",
            fields | {"payload": {}},
        )
    for number, report in enumerate(REPORTS):
        ids.append(f"REPORT{number}")
        await store(connection, "trellis.jobs.s.q", ids[-1], "created", "pending", {"payload": {}})
        await store(connection, "trellis.jobs.s.q", ids[-1], "started", "active", {})
        await store(connection, "trellis.jobs.s.q", ids[-1], "progress", "active", {"progress": report})
    for job_id in IDS:
        ids.append(job_id)
        await store(connection, "trellis.jobs.s.q", job_id, "created", "pending", {"payload": {"text": LONE}})
        dead: dict[str, JsonValue] = {
            "error": f"E: {MARKUP}",
            "errorDetail": {"type": MARKUP, "stack": f"{LONE}{MARKUP}"},
            "result": None,
        }
        await store(connection, "trellis.jobs.s.q", job_id, "dead", "dead", dead)
    return ids


async def test_no_event_keeps_a_page_from_being_made(nats_server: NatsServer, tmp_path: Path) -> None:
    async with OrdersService.connect(nats_server.url), operator_connection(nats_server.url) as connection:
        ids = await store_hostile(connection)
    async with (
        open_console(nats_server.url, tmp_path / "jobs.sqlite") as opened,
        httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
    ):
        for address in PAGES:
            page = await browser.get(address)
            assert page.status_code == 200, address
            assert "<script>alert" not in page.text, address
        listed = await browser.get("/jobs")
        links = [unescape(link) for link in re.findall(r'<a class="id" href="([^"]*)"', listed.text)]
        assert len(links) == len(ids)
        for link, job_id in zip(links, reversed(ids), strict=True):
            page = await browser.get(link)
            assert "<script>alert" not in page.text, job_id
            if not is_token(
                job_id
            ):  # no runtime creates such a job: it is listed, and nothing can be done with it
                assert page.status_code == 404, job_id
                assert f"There is no job {escape(job_id)}" in page.text
                continue
            assert page.status_code == 200, job_id
            shown = re.search(r'id="job-id">(.*?)</h1>', page.text)
            assert shown is not None
            assert unescape(shown[1]) == job_id
        queues = {unescape(link) for link in re.findall(r'href="(/queues/[^"]*)"', listed.text)}
        assert len(queues) == len(NAMES) + 1
        for link in queues:
            assert (await browser.get(link)).status_code == 200, link
