"""The console in a real headless Chromium: width, theme, keyboard, accessibility, policy, live updates, no JavaScript."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import pytest_asyncio
from orders_participant import OrdersService
from playwright.async_api import Browser, Page, expect
from trellis_admin.audit_log import read_audit
from trellis_admin.web import Identity, LocalAccess, Role, frame
from trellis_nats.testing import NatsServer

from tests.support.console_jobs import DEAD_ID, RUNNING_ID, JobSeed, seed_jobs, store_job
from tests.support.console_pages import Look, OpenConsole, look, open_browser, open_console, read_axe
from tests.support.operating import operator_connection

VIEWER: Final = LocalAccess(Identity("support-reader", Role.VIEWER))
QUEUE: Final = "/queues/orders-service/sync-tickets"
PAGES: Final = (
    "/",
    "/jobs",
    "/jobs?q=state:dead&select=all",
    "/jobs?q=nothing-has-this-word",
    f"/jobs/{RUNNING_ID}",
    f"/jobs/{DEAD_ID}",
    "/dead",
    QUEUE,
    f"{QUEUE}/keys/{7:064x}",
    "/ask?q=state:dead&action=replay&all=1",
    f"/jobs/{DEAD_ID}/dismiss",
    "/bulk",
    "/workers",
    "/audit",
    "/keyboard",
    "/nothing",
)
SILENT_AFTER: Final = timedelta(seconds=3)
"""So that the test need not wait for the usual time."""
NOT_FOUND: Final = "status of 404"
"""What Chromium says about a page that does not exist: that is the point of one of them."""
WIDER: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
AXE: Final = """async (settings) => (await axe.run(document, {resultTypes: ["violations"], ...settings})).violations
    .filter(found => ["serious", "critical"].includes(found.impact))
    .map(found => `${found.id}: ${found.nodes.map(node => node.html.slice(0, 200)).slice(0, 3).join(" | ")}`)"""
EVERY_RULE: Final[dict[str, object]] = {}
BUT_CONTRAST: Final[dict[str, object]] = {"rules": {"color-contrast": {"enabled": False}}}
CONTRAST: Final[dict[str, object]] = {"runOnly": ["color-contrast", "link-in-text-block"]}
LOOKS: Final[tuple[tuple[int, Literal["light", "dark"], dict[str, object]], ...]] = (
    (390, "light", EVERY_RULE),
    (390, "dark", CONTRAST),
    (320, "light", BUT_CONTRAST),
    (1440, "light", EVERY_RULE),
    (1440, "dark", CONTRAST),
)
"""Width, colour scheme, rules. A scheme changes colours only; 320 and 390 px have the same style rules."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    """Return a browser for all tests of a worker: its start takes longer than most of them."""
    async with open_browser() as opened:
        yield opened


@asynccontextmanager
async def serving(server: NatsServer, tmp_path: Path, **settings: Any) -> AsyncGenerator[OpenConsole]:
    async with OrdersService.connect(server.url), operator_connection(server.url) as connection:
        await seed_jobs(connection)
    async with open_console(server.url, tmp_path / "jobs.sqlite", **settings) as opened:
        yield opened


def complaints(seen: Look) -> list[str]:
    return [problem for problem in seen.problems if NOT_FOUND not in problem]


@pytest.mark.timeout(400)
async def test_pages_fit_and_are_accessible(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    axe = read_axe()
    found: dict[str, list[str]] = {}
    async with (
        serving(nats_server, tmp_path) as opened,
        # Colours change at once then: in the middle of a transition no contrast is right.
        look(browser, f"{opened.url}/", reduced_motion="reduce") as seen,
    ):
        page = seen.page
        for address in PAGES:
            await page.goto(opened.url + address)
            await page.evaluate(f"() => {{ {axe}; return true; }}")
            for width, scheme, settings in LOOKS:
                await page.set_viewport_size({"width": width, "height": 900 if width > 600 else 844})
                await page.emulate_media(color_scheme=scheme)
                problems = await page.evaluate(AXE, settings)
                if await page.evaluate(WIDER) > 0:
                    problems.append("scrolls sideways")
                found[f"{address} {width} {scheme}"] = problems
        found["browser"] = complaints(seen)

    assert {look: problems for look, problems in found.items() if problems} == {}


async def test_the_keyboard_reaches_everything(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/") as seen,
    ):
        page, keys = seen.page, seen.page.keyboard
        for key, title in (
            ("j", "Jobs"),
            ("d", "Dead"),
            ("b", "Bulk"),
            ("w", "Workers"),
            ("a", "Audit"),
            ("o", "Over"),
        ):
            await keys.press("g")
            await keys.press(key)
            await expect(page.locator("h1")).to_contain_text(title)
            await page.wait_for_load_state()
        await keys.press("/")
        await expect(page.locator("#find")).to_be_focused()
        await keys.type("gj")
        await expect(page.locator("h1")).to_contain_text("Overview")
        await page.goto(f"{opened.url}/jobs?q=state:dead")
        await keys.press("j")
        await keys.press("j")
        await keys.press("Space")
        await expect(page.locator("[data-selected]")).to_have_text("1 job selected")
        await keys.press("x")
        await expect(page.locator("dialog h2")).to_have_text("Dismiss 1 job?")
        await keys.press("Escape")
        await expect(page.locator("dialog")).to_have_count(0)
        await keys.press("Shift+A")
        await expect(page.locator(".bulkbar")).to_contain_text("25 jobs selected")
        await page.wait_for_load_state()
        await keys.press("k")
        await keys.press("Enter")
        await expect(page.locator("h1")).to_contain_text("01M8K")
        await page.wait_for_load_state()
        await keys.press("?")
        await page.get_by_role("button", name="Turn keys off").click()
        await expect(page.locator("body")).to_have_attribute("data-shortcuts", "off")
        await keys.press("g")
        await keys.press("j")
        await expect(page.locator("h1")).to_contain_text("01M8K")
        assert complaints(seen) == []


async def test_the_theme_and_the_density_are_kept(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/jobs?q=state:dead", color_scheme="light") as seen,
    ):
        ground = "getComputedStyle(document.body).backgroundColor"
        light = await seen.page.evaluate(ground)
        await seen.page.keyboard.press("t")
        await expect(seen.page.locator("html")).to_have_attribute("data-theme", "dark")
        assert "q=state" in seen.page.url, "the page stays"
        assert await seen.page.evaluate(ground) != light
        await seen.page.keyboard.press("z")
        await expect(seen.page.locator("html")).to_have_attribute("data-density", "compact")
        await seen.page.goto(f"{opened.url}/")
        await expect(seen.page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_an_open_page_follows_the_stream_without_jumping(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/jobs?q=state:pending") as seen,
    ):
        page = seen.page
        await expect(page.locator("#live")).to_contain_text("Live")
        await expect(page.locator("#h-list")).to_have_text("7 jobs match")
        await page.evaluate("window.marked = document.querySelector('#q')")
        await store_job(opened.console.connection, JobSeed("01M8KTNEW0000000000000000A"))
        await expect(page.locator("#h-list")).to_have_text("8 jobs match")
        assert await page.evaluate("window.marked === document.querySelector('#q')"), (
            "fields are not replaced"
        )
        await page.locator("tbody input[name=id]").first.check()
        chosen = await page.locator("tbody tr").all_inner_texts()
        await store_job(opened.console.connection, JobSeed("01M8KTNEW0000000000000000B"))
        await expect(page.locator("#nav-pages")).to_contain_text("9")
        assert await page.locator("tbody tr").all_inner_texts() == chosen, "a list with a selection stays"
        assert complaints(seen) == []


async def test_an_open_page_says_when_it_is_not_live(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with serving(nats_server, tmp_path) as opened, look(browser, f"{opened.url}/") as seen:
        await expect(seen.page.locator("#live")).to_contain_text("Live")
        await seen.page.route("**/live*", lambda route: route.abort())
        await seen.page.reload()
        await expect(seen.page.locator("#live")).to_contain_text("Not live since", timeout=20_000)
        await expect(seen.page.locator("#numbers")).to_have_class("stats trend dims")
        await seen.page.unroute("**/live*")
        await expect(seen.page.locator("#live")).not_to_contain_text("Not live", timeout=30_000)


async def test_the_mark_says_not_live_while_the_server_is_gone(
    nats_server: NatsServer, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "_SILENT_AFTER", SILENT_AFTER)
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/jobs?q=state:dead") as seen,
    ):
        page = seen.page
        await expect(page.locator("#live")).to_contain_text("Live")
        nats_server.terminate()
        await expect(page.locator("#live")).to_contain_text("Not live", timeout=60_000)
        await expect(page.get_by_text("The NATS servers do not answer")).to_be_visible(timeout=30_000)
        await page.get_by_role("link", name=DEAD_ID).wait_for()
        nats_server.restart()
        await expect(page.locator("#live")).not_to_contain_text("Not live", timeout=60_000)


async def test_many_jobs_are_replayed_in_a_dialog(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/dead") as seen,
    ):
        page = seen.page
        await page.get_by_role("link", name="Replay…").first.click()
        dialog = page.locator("dialog")
        await expect(dialog.locator("h2")).to_have_text("Replay 9 jobs?")
        button = dialog.get_by_role("button", name="Replay 9 jobs")
        await expect(button).to_have_attribute("aria-disabled", "true")
        await dialog.get_by_label("Reason").fill("gateway is back")
        await dialog.locator("#count").fill("9")
        await expect(button).to_have_attribute("aria-disabled", "false")
        await button.click()
        await expect(page.locator("h1")).to_have_text("Replay of 9 jobs")
        await expect(page.locator("#bulk-badge")).to_have_text("Done")
        assert complaints(seen) == []


async def test_a_payload_is_revealed_and_hidden(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/jobs/{RUNNING_ID}") as seen,
    ):
        await seen.page.keyboard.press("p")
        await expect(seen.page.locator("pre[aria-label=Payload]")).to_contain_text("18446744073709551615")
        await seen.page.get_by_role("link", name="Hide").click()
        await expect(seen.page.get_by_role("button", name="Reveal payload")).to_be_visible()
        assert complaints(seen) == []


async def test_everything_works_without_javascript(
    nats_server: NatsServer, browser: Browser, tmp_path: Path
) -> None:
    async with (
        serving(nats_server, tmp_path) as opened,
        look(browser, f"{opened.url}/jobs?q=state:dead", java_script_enabled=False) as seen,
    ):
        page = seen.page
        await page.locator("tbody input[name=id]").first.check()
        await page.get_by_role("button", name="Dismiss…").click()
        await expect(page.locator("#dlg-title")).to_contain_text("Dismiss 1 job?")
        await page.get_by_label("Reason").fill("customers were asked")
        await page.get_by_role("button", name="Dismiss 1 job").click()
        await expect(page.locator("h1")).to_have_text("Dismissal of 1 job")
        await page.goto(f"{opened.url}/jobs/{RUNNING_ID}")
        await page.get_by_role("link", name="Cancel…").click()
        await page.get_by_label("Reason").fill("customer withdrew")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator("[role=alert]")).to_contain_text("The job is cancelled")
        await page.get_by_role("button", name="Change the theme").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await _pause_and_resume(page, opened)
        entries = (await read_audit(opened.console.connection)).entries

    assert [str(entry.record.action) for entry in entries][::-1] == ["dismiss", "cancel", "pause", "resume"]


async def _pause_and_resume(page: Page, opened: OpenConsole) -> None:
    await page.goto(opened.url + QUEUE)
    await page.get_by_role("link", name="Pause queue…").click()
    await page.get_by_label("Reason").fill("vendor answers 429")
    await page.get_by_role("button", name="Pause the queue").click()
    await expect(page.locator("#queue-badge")).to_have_text("Paused")
    await expect(page.locator(".strip")).to_contain_text("vendor answers 429")
    await page.get_by_role("link", name="Resume queue…").click()
    await page.get_by_role("button", name="Resume the queue").click()
    await expect(page.locator(".strip")).to_have_count(0)


async def test_a_viewer_has_no_buttons(nats_server: NatsServer, browser: Browser, tmp_path: Path) -> None:
    async with (
        serving(nats_server, tmp_path, access=VIEWER) as opened,
        look(browser, f"{opened.url}/jobs?q=state:dead") as seen,
    ):
        await expect(seen.page.locator("main input[type=checkbox]")).to_have_count(0)
        await expect(seen.page.locator("main button")).to_have_count(1)
        await seen.page.keyboard.press("j")
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator("h1")).to_contain_text("01M8K")
        await expect(seen.page.get_by_text("Hidden from viewers")).to_be_visible()
