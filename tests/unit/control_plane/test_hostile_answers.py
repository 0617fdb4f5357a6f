"""What pretends to be a control plane: whatever it answers is an error with a name, within the time, and of bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import RUNTIME_API, BootstrapFailed, Contract, RemoteError
from trellis_nats.auth import SessionKey
from trellis_nats.control_plane.answers import Ready, WrongTime, read_answer
from trellis_nats.control_plane.claims import connect_token
from trellis_nats.control_plane.clock import PlatformClock
from trellis_nats.control_plane.http_post import HttpAnswer, Unreachable, parse_endpoint, post_json
from trellis_nats.control_plane.validation import read_verdict

from tests.support.control_plane import ControlPlane
from tests.support.listening import listening

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
CONTRACT: Final = Contract(id="orders@v1", digest="d" * 43, generator="0", runtime_api=RUNTIME_API)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
CONTROL: Final = frozenset(map(chr, (*range(32), *range(127, 160), 0x2028, 0x2029)))
OK: Final = b"HTTP/1.1 200 OK\r\n"
SOON: Final = timedelta(milliseconds=300)


async def post(answer: bytes, *, limit: timedelta = timedelta(seconds=5), more: bytes = b"") -> HttpAnswer:
    """Send a request to a server that answers with these bytes, and then with `more` without an end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        while more:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)

    async with listening(serve) as port:
        return await post_json(parse_endpoint(f"http://127.0.0.1:{port}", "/x"), b"{}", limit=limit)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 100 + b"\r\n\r\n",
        OK + b"X: y\r\n" * 500 + b"\r\n",
        OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"\x00" * 1000,
    ],
)  # fmt: skip
async def test_what_is_not_http_is_an_error(answer: bytes) -> None:
    with pytest.raises(BootstrapFailed, match="does not answer with HTTP"):
        await post(answer)


@pytest.mark.parametrize("more", [b"X: y\r\n" * 1000, b"a" * 65_536])
async def test_an_answer_without_an_end_is_cut_off(more: bytes) -> None:
    with pytest.raises(BootstrapFailed, match="more than 1048576 bytes"):
        await post(OK, more=more)


async def test_an_answer_that_trickles_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            writer.write(b"H")

    async with listening(serve) as port:
        with pytest.raises(Unreachable, match="no answer within"):
            await post_json(parse_endpoint(f"http://127.0.0.1:{port}", "/x"), b"{}", limit=SOON)


@pytest.mark.parametrize(
    "text",
    ["1 Jan 99999999999999999999 00:00:00", "Mon, 01 Jan 2020 00:00:00 +99999999999999999", "Mon, 31 Dec 9999 23:59:59 -2359"],
)  # fmt: skip
async def test_an_impossible_time_to_wait_is_read_all_the_same(text: str) -> None:
    answer = await post(b"HTTP/1.1 503 No\r\nRetry-After: " + text.encode() + b"\r\n\r\n")
    assert answer.retry_after is None or answer.retry_after > timedelta(days=1)


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [b"", OK, b"HTTP/1.1 202 A\r\nRetry-After: ", OK + b"Transfer-Encoding: chunked\r\n\r\n"]
    ),
)
def test_any_bytes_are_an_answer_or_an_error(data: bytes, begin: bytes) -> None:
    with contextlib.suppress(BootstrapFailed, Unreachable):
        asyncio.run(_read(begin + data))


async def _read(data: bytes) -> HttpAnswer:
    return await post(data)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 12, "-5", "1e300", "null", '"1"'])
def test_an_impossible_time_of_the_server_is_not_taken(text: str) -> None:
    wrong = f'{{"reason":"iat_out_of_range","serverNow":{text}}}'.encode()
    with pytest.raises(BootstrapFailed, match="iat_out_of_range"):
        read_answer(HttpAnswer(400, "", None, None, wrong), CONTRACT, KEY.public)


@pytest.mark.parametrize("server_now", [10**400, -5, 10**12])
def test_a_ready_answer_with_an_impossible_time_is_not_taken(server_now: int) -> None:
    plane = ControlPlane()
    body = plane.ready(KEY.public, CONTRACT.id, CONTRACT.digest) | {"serverNow": server_now}
    with pytest.raises(BootstrapFailed, match="not as expected"):
        read_answer(
            HttpAnswer(200, "application/json", None, None, json.dumps(body).encode()), CONTRACT, KEY.public
        )


@pytest.mark.parametrize("server_now", [1, 10**11 - 1])
def test_the_earliest_and_the_latest_time_can_be_signed(server_now: int) -> None:
    clock = PlatformClock()
    clock.set(server_now)
    token = json.loads(connect_token(KEY, CONTRACT, int(clock.now())))
    assert abs(token["iat"] - server_now) <= 1


@given(
    st.integers(200, 599),
    JSON | st.fixed_dictionaries({"reason": JSON, "message": JSON, "serverNow": JSON, "planId": JSON}),
)
def test_any_json_is_an_answer_or_an_error(status: int, body: object) -> None:
    _take(status, json.dumps(body).encode())


@given(st.sampled_from(["serverNow", "connectInfo", "binding"]), JSON)
def test_any_change_of_a_ready_answer_is_an_answer_or_an_error(member: str, value: object) -> None:
    ready = ControlPlane().ready(KEY.public, CONTRACT.id, CONTRACT.digest)
    _take(200, json.dumps(ready | {member: value}).encode())


def _take(status: int, body: bytes) -> None:
    answer: object
    try:
        answer = read_answer(HttpAnswer(status, "", None, None, body), CONTRACT, KEY.public)
    except BootstrapFailed as error:
        answer = error
    text = str(answer)
    assert not CONTROL.intersection(text)
    assert len(text) < 20_000
    if isinstance(answer, Ready | WrongTime) and answer.server_now is not None:
        PlatformClock().set(answer.server_now)


CALLER: Final[dict[str, object]] = {"type": "service", "id": "i", "name": "n", "capabilities": ["c"]}
VERDICT: Final[dict[str, object]] = {"allowed": True, "inboxPrefix": "_INBOX.x", "caller": CALLER}


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())), st.booleans())
def test_any_answer_about_a_request_is_an_error(data: bytes, is_error: bool) -> None:
    with pytest.raises(RemoteError):
        read_verdict(data, KEY.public, is_error=is_error)


@given(st.sampled_from([*VERDICT, *CALLER]), JSON)
def test_any_change_of_a_verdict_is_read_strictly(member: str, value: object) -> None:
    is_of_caller = member in CALLER
    changed = VERDICT | ({"caller": CALLER | {member: value}} if is_of_caller else {member: value})
    try:
        admitted = read_verdict(json.dumps(changed).encode(), KEY.public)
    except RemoteError:
        return
    assert admitted.is_allowed == (value if member == "allowed" else True)
    assert admitted.inbox_prefix
    assert admitted.caller.session_key == KEY.public
