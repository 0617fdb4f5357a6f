"""What the console says while something is missing: the servers, a part of the stream; and the stack of a job that really runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from orders_participant import (
    OrdersService,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryResult,
)
from trellis_admin.projection import follow
from trellis_admin.web import Identity, LocalAccess, Role, Settings, app, background, frame
from trellis_nats import Options
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import DEAD_ID, seed_jobs
from tests.support.console_pages import open_console
from tests.support.console_requests import browsing
from tests.support.eventually import eventually
from tests.support.operating import operator_connection

OPERATOR = LocalAccess(Identity("oncall-eu", Role.OPERATOR))
SILENT_AFTER = timedelta(seconds=3)
"""So that the test need not wait for the usual time."""
PAGES = ("/", "/jobs?q=state:dead", "/dead", "/queues/orders-service/charge-payment", "/workers", "/keyboard")


async def test_pages_stay_usable_while_the_server_is_gone(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "_SILENT_AFTER", SILENT_AFTER)
    async with browsing(nats_server, tmp_path) as (browser, _):
        nats_server.terminate()

        async def is_not_live() -> bool:
            return "The NATS servers do not answer" in (await browser.get("/jobs?q=state:dead")).text

        await eventually(is_not_live, within=timedelta(seconds=120))
        pages = {address: await browser.get(address) for address in PAGES}
        job = await browser.get(f"/jobs/{DEAD_ID}")
        nats_server.restart()

        async def is_live() -> bool:
            return "The NATS servers do not answer" not in (await browser.get("/jobs")).text

        await eventually(is_live, within=timedelta(seconds=120))
        back = await browser.get(f"/jobs/{DEAD_ID}")

    for address, page in pages.items():
        assert page.status_code == 200, address
        assert "The NATS servers do not answer" in page.text, address
    assert DEAD_ID in pages["/jobs?q=state:dead"].text
    assert (job.status_code, back.status_code) == (503, 200)
    assert "The NATS servers do not answer" in job.text


async def test_a_first_reading_says_how_far_it_is(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = asyncio.Event()

    async def follow_later(*arguments: Any) -> None:
        await may_read.wait()
        await follow(*arguments)

    monkeypatch.setattr(background, "follow", follow_later)
    async with OrdersService.connect(nats_server.url), operator_connection(nats_server.url) as connection:
        await seed_jobs(connection)
    settings = Settings(
        server=nats_server.url, options=Options(open=True), database=tmp_path / "jobs.sqlite", access=OPERATOR
    )
    console = app(settings)
    transport = httpx.ASGITransport(console)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as browser:

            async def says_how_far() -> bool:
                return "First reading of the stream: 0 %" in (await browser.get("/jobs")).text

            await eventually(says_how_far, within=timedelta(seconds=30))
            before = await browser.get("/jobs?q=state:dead")
            may_read.set()

            async def has_read() -> bool:
                page = (await browser.get("/jobs?q=state:dead")).text
                return DEAD_ID in page and "First reading" not in page

            await eventually(has_read, within=timedelta(seconds=30))
    finally:
        await console.state.console.stop()

    assert before.status_code == 200
    assert DEAD_ID not in before.text


async def test_the_stack_of_a_running_job_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    runs, may_end = asyncio.Event(), asyncio.Event()
    async with OrdersService.connect(nats_server.url) as service:

        @service.jobs.reserve_inventory.handle
        async def reserve_slowly(_job: ReserveInventoryJob) -> ReserveInventoryResult:
            runs.set()
            await may_end.wait()
            return ReserveInventoryResult(reserved=True)

        service.consumers.shipped_audit.leave_to_others()
        await service.start()
        ref = await service.jobs.reserve_inventory.create(ReserveInventoryPayload(order_id="o-1", items=[]))
        await runs.wait()
        async with (
            open_console(nats_server.url, tmp_path / "jobs.sqlite") as opened,
            httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
        ):
            page = await browser.get(f"/jobs/{ref.id}/stack")
        may_end.set()
        await ref.wait()

    assert page.status_code == 200
    shown = unescape(page.text.partition('aria-label="Stack">')[2].partition("</pre>")[0])
    assert "test_states.py" in shown
    assert "reserve_slowly" in shown
    assert "attempt 1 on" in page.text


async def test_the_page_of_a_job_that_is_due_and_not_begun_says_why(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        open_console(nats_server.url, tmp_path / "jobs.sqlite") as opened,
        httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
    ):
        waits = await orders.jobs.reserve_inventory.create(ReserveInventoryPayload(order_id="o-1", items=[]))
        await opened.catch_up()
        unworked = unescape((await browser.get(f"/jobs/{waits.id}")).text)
        await orders.jobs.reserve_inventory.pause(reason="stock is counted")
        paused = unescape((await browser.get(f"/jobs/{waits.id}")).text)

    assert "It is due and waits</h2><p>no worker of its queue is alive" in unworked
    assert "It is due and waits</h2><p>orders-service/reserve-inventory was paused" in paused
