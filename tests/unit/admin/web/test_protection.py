"""What keeps other sites out of the console."""

from collections.abc import Mapping

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from trellis_admin.web.notices import NOTICE_COOKIE, Notice, read_notice, write_notice
from trellis_admin.web.protection import LOOPBACK, POLICY, SESSION_COOKIE, FormToken, Protection, read_form
from trellis_admin.web.signing import sign, unsign

TOKENS = FormToken()


async def show(request: Request) -> Response:
    if request.method == "POST":
        form = await read_form(request)
        return PlainTextResponse(f"{form.one('a')} {TOKENS.is_valid(request, form.one('csrf'))}")
    return PlainTextResponse("page")


def client(base: str = "http://127.0.0.1:8000") -> httpx.AsyncClient:
    app = Starlette(
        routes=[Route("/", show, methods=["GET", "POST", "PUT"])],
        middleware=[Middleware(Protection, hosts=LOOPBACK)],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


async def test_every_answer_has_the_policy() -> None:
    async with client() as browser:
        answer = await browser.get("/")
        missing = await browser.get("/nothing")

    for one in (answer, missing):
        assert one.headers["content-security-policy"] == POLICY
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["cache-control"] == "no-cache, private"
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://localhost:8000", 200),
        ("http://[::1]:8000", 200),
        ("http://attacker.example:8000", 403),
        ("http://127.0.0.1.attacker.example", 403),
    ],
)
async def test_only_names_of_this_machine_are_answered(base: str, status: int) -> None:
    async with client(base) as browser:
        assert (await browser.get("/")).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_change_comes_from_a_page_of_the_console(headers: Mapping[str, str], status: int) -> None:
    async with client() as browser:
        answer = await browser.post("/", data={"a": "1"}, headers=dict(headers))

    assert answer.status_code == status


async def test_other_methods_are_refused() -> None:
    async with client() as browser:
        assert (await browser.put("/", content=b"")).status_code == 403


async def test_a_token_belongs_to_one_browser() -> None:
    session = "a" * 32
    async with client() as browser:
        right = await browser.post(
            "/",
            data={"a": "1", "csrf": TOKENS.make(session)},
            headers={"Cookie": f"{SESSION_COOKIE}={session}"},
        )
        other = await browser.post(
            "/",
            data={"a": "1", "csrf": TOKENS.make(session)},
            headers={"Cookie": f"{SESSION_COOKIE}={'b' * 32}"},
        )
        without = await browser.post("/", data={"a": "1", "csrf": TOKENS.make("")})

    assert [answer.text for answer in (right, other, without)] == ["1 True", "1 False", "1 False"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a=" + b"x" * (2 * 1024 * 1024), "application/x-www-form-urlencoded", 413),
        (b"&".join([b"a=1"] * 3000), "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"a=1", "text/plain", 415),
    ],
)
async def test_a_form_is_bounded(content: bytes, kind: str, status: int) -> None:
    async with client() as browser:
        answer = await browser.post("/", content=content, headers={"Content-Type": kind})

    assert answer.status_code == status


def request_with(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})


def test_a_link_cannot_put_words_on_a_page() -> None:
    secret, other = b"s" * 32, b"o" * 32
    said = write_notice(Notice("good", "Replayed", "2,914 jobs"), secret)
    forged = write_notice(Notice("good", "Call this number", ""), other)

    assert read_notice(request_with(f"{NOTICE_COOKIE}={said}"), secret) == Notice(
        "good", "Replayed", "2,914 jobs"
    )
    assert read_notice(request_with(f"{NOTICE_COOKIE}={forged}"), secret) is None
    assert read_notice(request_with(f"{NOTICE_COOKIE}=nonsense"), secret) is None
    assert read_notice(request_with(""), secret) is None


def test_what_is_signed_for_one_purpose_is_not_valid_for_another() -> None:
    secret = b"s" * 32

    assert unsign("plan", sign("plan", {"at": 3}, secret), secret) == {"at": 3}
    assert unsign("said", sign("plan", {"at": 3}, secret), secret) is None
    assert unsign("plan", sign("plan", {"at": 3}, secret).replace(".", "x.", 1), secret) is None
