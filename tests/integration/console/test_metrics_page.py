"""The console serves the numbers of the fleet to Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families
from trellis_admin.web import Identity, LocalAccess, Role
from trellis_nats.testing import NatsServer

from tests.support.console_pages import open_console
from tests.support.eventually import eventually
from tests.support.shop import Parcel, Shop

VIEWER: Final = LocalAccess(Identity("prometheus", Role.VIEWER))


async def test_a_viewer_reads_the_numbers(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        Shop.connect(nats_server.url) as shop,
        open_console(nats_server.url, tmp_path / "jobs.sqlite", access=VIEWER) as opened,
        httpx.AsyncClient(base_url=opened.url, timeout=30) as browser,
    ):
        await shop.jobs.pack.create(Parcel(number=1))

        async def is_counted() -> httpx.Response | None:
            answer = await browser.get("/metrics")
            expected = 'trellis_fleet_jobs{service="shop",queue="pack",state="pending"} 1\n'
            return answer if expected in answer.text else None

        answer = await eventually(is_counted)

    assert answer is not None
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert len(list(text_string_to_metric_families(answer.text))) > 10
