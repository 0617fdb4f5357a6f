"""A console that is served on loopback, and a browser that looks at it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Response, async_playwright
from trellis_admin.queries import read_status
from trellis_admin.web import Access, Identity, LocalAccess, Role, Settings, app
from trellis_admin.web.console import Console
from trellis_admin.web.protection import LOOPBACK
from trellis_admin.web.serving import listen, serve_application
from trellis_nats import Options
from trellis_nats._nats.jetstream.streams import get_stream_info

from tests.support.eventually import eventually

__all__ = ["Look", "OpenConsole", "find_chromium", "look", "open_browser", "open_console", "read_axe"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
OPERATOR: Final = LocalAccess(Identity("oncall-eu", Role.OPERATOR))


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """A console that answers."""

    url: str
    """Where it is, without a slash at its end."""
    console: Console
    serving: asyncio.Task[None]

    async def stop_serving(self) -> None:
        """Answer no request any more."""
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)

    async def catch_up(self) -> int:
        """Wait until the console has read everything that the stream has now; return that sequence."""
        info: Any = await get_stream_info(self.console.connection, "JOBS")
        last: int = info["state"]["last_seq"]

        async def has_read() -> bool:
            return (await self.console.query(read_status)).at >= last

        await eventually(has_read)
        self.console.forget_navigation()
        return last


@asynccontextmanager
async def open_console(
    server: str, database: Path, *, access: Access = OPERATOR, **settings: Any
) -> AsyncGenerator[OpenConsole]:
    """Serve a console, and wait until it has read the stream."""
    application = app(
        Settings(server=server, options=Options(open=True), database=database, access=access, **settings),
        hosts=LOOPBACK,
    )
    console: Console = application.state.console
    await console.start()
    with listen("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(serve_application(application, listening))
        opened = OpenConsole(f"http://127.0.0.1:{listening.getsockname()[1]}", console, serving)
        try:
            await opened.catch_up()
            yield opened
        finally:
            await opened.stop_serving()
            # A server that is cancelled leaves its socket with the loop, which outlives it where tests share a browser.
            asyncio.get_running_loop().remove_reader(listening)
            await console.stop()


def find_chromium() -> str:
    """Return the path of a Chromium, or skip the test."""
    found = next((path for name in _NAMES if (path := shutil.which(name)) is not None), None)
    if found is None:
        pytest.skip("no Chromium is installed: `make browser` installs it where apt-get may")
    return found


def read_axe() -> str:
    """Return the source of axe-core."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        raise RuntimeError("axe-playwright-python is not installed: `make setup` installs it")
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


@asynccontextmanager
async def open_browser() -> AsyncGenerator[Browser]:
    """Start a headless Chromium; skip the test where there is none."""
    chromium = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass  # without slots: Playwright keeps something on the object of a bound method
class Look:
    """A page, and what went wrong on it."""

    page: Page
    problems: list[str] = field(default_factory=list[str])
    """Messages of its console, errors of its script, and answers that were not found."""

    def note_message(self, message: ConsoleMessage) -> None:
        """Keep what the browser complains about: violations of the policy are among it."""
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text}")

    def note_answer(self, answer: Response) -> None:
        """Keep requests that go elsewhere."""
        if not answer.url.startswith("http://127.0.0.1"):
            self.problems.append(f"asked {answer.url}")


@asynccontextmanager
async def look(browser: Browser, url: str, *, width: int = 1440, **settings: Any) -> AsyncGenerator[Look]:
    """Open a page in a browser of its own."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": 900 if width > 600 else 844}, **settings
    )
    try:
        page = await context.new_page()
        seen = Look(page)
        page.on("console", seen.note_message)
        page.on("pageerror", lambda error: seen.problems.append(f"script: {error}"))
        page.on("response", seen.note_answer)
        await page.goto(url)
        yield seen
    finally:
        await context.close()
