"""Pages that follow what changes: many of them, ones that do not read, and ones that are closed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from trellis_admin.queries import ProjectionStatus, read_status
from trellis_admin.web import console as console_module
from trellis_admin.web import live
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import JobSeed, store_job
from tests.support.console_requests import browsing
from tests.support.eventually import eventually

PAGES = 100
SILENT = 20
"""How many of them do not read what they are sent."""


async def follow(url: str, *, reads: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(f"GET /live HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
    if reads:
        await reader.readuntil(b"event: moved")
    else:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    return reader, writer


async def test_many_pages_are_live_and_share_their_looks(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(db: sqlite3.Connection) -> ProjectionStatus:
        nonlocal looks
        looks += 1
        return read_status(db)

    async with browsing(nats_server, tmp_path) as (browser, opened):
        console = opened.console
        following = await asyncio.gather(
            *(follow(opened.url, reads=number >= SILENT) for number in range(PAGES))
        )
        await eventually(lambda: console.open_streams == PAGES)
        monkeypatch.setattr(console_module, "read_status", look)
        await store_job(console.connection, JobSeed("01M8KTNEW0000000000000000A"))
        await asyncio.gather(*(reader.readuntil(b'"changed": true') for reader, _ in following[SILENT:]))
        page = await browser.get("/workers")
        for _, writer in following:
            writer.transport.abort()
        await eventually(lambda: console.open_streams == 0)

    assert page.status_code == 200
    assert 0 < looks < PAGES / 2


async def test_pages_beyond_the_limit_are_refused_in_words(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAMS_MAX", 2)
    async with browsing(nats_server, tmp_path) as (browser, opened):
        first, second = [await follow(opened.url) for _ in range(2)]
        refused = await browser.get("/live")
        page = await browser.get("/")
        first[1].close()
        await eventually(lambda: opened.console.open_streams == 1)
        third = await follow(opened.url)
        for _, writer in (second, third):
            writer.close()

    assert refused.status_code == 503
    assert refused.text.startswith("2 pages of this console are open and live already.")
    assert refused.headers["Retry-After"] == "30"
    assert page.status_code == 200
