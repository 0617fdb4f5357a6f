"""Requests to a console, as a browser without JavaScript sends them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from orders_participant import OrdersService
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import seed_jobs
from tests.support.console_pages import OpenConsole, open_console
from tests.support.operating import operator_connection

__all__ = ["browsing", "field", "heading", "links_of", "submit"]


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
