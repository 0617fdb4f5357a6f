"""Waiting for a moment instead of sleeping past it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar, cast, overload

__all__ = ["eventually"]

T = TypeVar("T")

_EVERY: Final = 0.005
_EVERY_MAX: Final = 0.025
_OF_THE_WAIT: Final = 0.05
"""What takes long is looked at less often: looking is work too, for this process and often for the server."""
_WITHIN: Final = timedelta(seconds=10)


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, within: timedelta = _WITHIN) -> T: ...


@overload
async def eventually(condition: Callable[[], T], *, within: timedelta = _WITHIN) -> T: ...


async def eventually(condition: Callable[[], object], *, within: timedelta = _WITHIN) -> object:
    """Return the first true value of the condition, which may be a coroutine function.

    Raises:
        AssertionError: it did not become true in time; the message has its last value.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    due = began + within.total_seconds()
    while True:
        value = condition()
        settled = cast("object", await value if inspect.isawaitable(value) else value)
        if settled:
            return settled
        if loop.time() > due:
            raise AssertionError(f"not within {within.total_seconds():g} s; last value: {settled!r}")
        waited = loop.time() - began
        await asyncio.sleep(min(max(_EVERY, waited * _OF_THE_WAIT), _EVERY_MAX))
