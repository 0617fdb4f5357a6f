"""A function that returns credentials: where it runs, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import cast

import pytest
from trellis_nats._nats.link.dial_failed import DialFailed
from trellis_nats._nats.link.login import Login
from trellis_nats.errors import CannotConnect, ConfigurationError
from trellis_nats.options import Credentials, CredentialsFunction

SECRET = "s3cret-value"  # noqa: S105 - none
LIMIT = timedelta(seconds=20)
FRESH, LATE = Credentials(token="fresh"), Credentials(token="late")  # noqa: S106 - none
BRIEF = timedelta(milliseconds=20)


def login(function: object) -> Login:
    return Login(cast("CredentialsFunction", function), asyncio.get_running_loop())


async def test_an_async_function_runs_on_the_loop_of_the_program_even_for_another_one() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def fetch() -> Credentials:
        loops.append(asyncio.get_running_loop())
        return FRESH

    source = login(fetch)
    here = await source.renew(LIMIT)
    there = await asyncio.to_thread(lambda: asyncio.run(source.renew(LIMIT)))

    assert here == there == FRESH
    assert loops == [asyncio.get_running_loop()] * 2


async def test_a_plain_function_does_not_run_on_the_event_loop_and_may_return_an_awaitable() -> None:
    threads: list[threading.Thread] = []

    async def fetch() -> Credentials:
        return Credentials(token="awaited")  # noqa: S106 - none

    def plain() -> Credentials | Awaitable[Credentials]:
        threads.append(threading.current_thread())
        return Credentials(token="plain") if len(threads) == 1 else fetch()  # noqa: S106 - none

    source = login(plain)

    assert [(await source.renew(LIMIT)).token for _ in range(2)] == ["plain", "awaited"]
    assert threading.current_thread() not in threads


def _raise(error: BaseException) -> Credentials:
    raise error


async def _raise_later(error: BaseException) -> Credentials:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("function", [_raise, _raise_later])
async def test_an_exception_is_named_with_its_place_and_without_its_text(
    function: Callable[[BaseException], object],
) -> None:
    with pytest.raises(DialFailed, match=r"raised KeyError \(_raise\w*, test_login\.py:\d+\)") as failed:
        await login(partial(function, KeyError(SECRET))).renew(LIMIT)

    assert not failed.value.final
    assert failed.value.__context__ is None
    with pytest.raises(DialFailed, match=r"was cancelled|raised CancelledError"):
        await login(partial(function, asyncio.CancelledError())).renew(LIMIT)
    with pytest.raises(DialFailed, match="failed: the platform is away"):
        await login(partial(function, CannotConnect("the platform is away"))).renew(LIMIT)
    with pytest.raises(ConfigurationError, match="no such key"):
        await login(partial(function, ConfigurationError("no such key"))).renew(LIMIT)


async def test_something_else_than_credentials_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="must return Credentials, got a str") as refused:
        await login(lambda: SECRET).renew(LIMIT)

    assert SECRET not in str(refused.value)


async def test_a_function_that_hangs_fails_and_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def hang() -> Credentials:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    with pytest.raises(DialFailed, match=r"did not return within 0\.02 s") as failed:
        await login(hang).renew(BRIEF)

    assert not failed.value.final
    await cancelled.wait()


async def test_a_plain_function_that_never_returns_takes_a_bounded_number_of_threads() -> None:
    returned = threading.Event()
    calls: list[None] = []

    def hang() -> Credentials:
        calls.append(None)
        returned.wait()
        return LATE

    source = login(hang)
    try:
        for _ in range(16):
            with pytest.raises(DialFailed, match="did not return"):
                await source.renew(timedelta(milliseconds=1))
        with pytest.raises(DialFailed, match=r"16 calls .* have not returned"):
            await source.renew(LIMIT)
        assert len(calls) == 16
    finally:
        returned.set()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await source.renew(LIMIT) == LATE
            except DialFailed:  # the threads are still ending
                await asyncio.sleep(0)
            else:
                break
