"""Asks a function of the program for the credentials of a dial."""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

from trellis_nats._nats.link.dial_failed import LoginFailed
from trellis_nats._support import threads
from trellis_nats._support.callables import is_coroutine_function
from trellis_nats._support.threads import run_in_thread
from trellis_nats.errors import ConfigurationError, TrellisError
from trellis_nats.options import Credentials, CredentialsFunction

__all__ = ["Login"]

ResultT = TypeVar("ResultT")

_SOURCE: Final = "the function of Options.credentials"
_THREADS_MAX: Final = 16
"""A plain function that does not return keeps its thread. With so many of them, the next dials fail until one returns."""
_OWN_FILES: Final = (__file__, threads.__file__)


class Login:
    """Calls the function at each dial, in the event loop of any thread."""

    def __init__(self, function: CredentialsFunction, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare; `loop` is the program's event loop, on which an `async` function runs."""
        self._function = function
        self._loop = loop
        self._threads = threading.Semaphore(_THREADS_MAX)

    async def renew(self, limit: timedelta) -> Credentials:
        """Return the credentials that the function returns within `limit`.

        Raises:
            LoginFailed: it raised an exception, or took longer. The text of the exception is not shown: it may have a secret.
            ConfigurationError: it raised one, or returned something else.
        """
        call = asyncio.create_task(self._call())
        try:
            await asyncio.wait([call], timeout=limit.total_seconds())
        finally:
            call.cancel()  # not awaited: the function may swallow it
        if not call.done():
            raise LoginFailed(f"{_SOURCE} did not return within {limit.total_seconds():g} s")
        if call.cancelled():
            raise LoginFailed(f"{_SOURCE} was cancelled")
        match call.result():
            case Credentials() as credentials:
                return credentials
            case ConfigurationError() as error:
                raise error
            case BaseException() as error:
                raise LoginFailed(_explain(error))
            case other:
                raise ConfigurationError(f"{_SOURCE} must return Credentials, got a {type(other).__name__}")

    async def _call(self) -> object:
        """Return what the function returns, or the exception that it raises: asyncio would log one that comes too late."""
        if is_coroutine_function(self._function):
            return await self._run_on_loop(self._call_on_loop())
        if not self._threads.acquire(blocking=False):
            return LoginFailed(f"{_THREADS_MAX} calls of {_SOURCE} have not returned")
        result = await run_in_thread(Login._call_in_thread, self, name="trellis credentials")
        if inspect.isawaitable(result):
            return await self._run_on_loop(_await(result))
        return result

    def _call_in_thread(self) -> object:
        try:
            return self._function()
        except BaseException as error:  # noqa: BLE001 - explained by `renew`; a SystemExit ends no thread but this one
            return error
        finally:
            self._threads.release()

    async def _call_on_loop(self) -> object:
        return await _await(cast("Coroutine[object, object, object]", self._function()))

    async def _run_on_loop(self, call: Coroutine[object, object, ResultT]) -> ResultT:
        if asyncio.get_running_loop() is self._loop:
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


async def _await(result: Awaitable[object]) -> object:
    try:
        return await result
    except Exception as error:  # noqa: BLE001 - explained by `renew`
        return error


def _explain(error: BaseException) -> str:
    if isinstance(error, LoginFailed):
        return error.reason
    if isinstance(error, TrellisError):
        return f"{_SOURCE} failed: {error}"
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename not in _OWN_FILES:
            place = f"{code.co_name}, {Path(code.co_filename).name}:{line}"
            return f"{_SOURCE} raised {type(error).__name__} ({place})"
    return f"{_SOURCE} raised {type(error).__name__}"
