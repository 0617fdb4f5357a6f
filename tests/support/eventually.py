"""Waiting for a moment instead of sleeping past it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar, cast

T = TypeVar("T")

_EVERY: Final = 0.005
_WITHIN: Final = timedelta(seconds=5)


async def eventually(condition: Callable[[], T | Awaitable[T]], *, within: timedelta = _WITHIN) -> T:
    """Return the first true value of the condition, which may be a coroutine function.

    Raises:
        AssertionError: it did not become true in time; the message has its last value.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + within.total_seconds()
    while True:
        value = condition()
        settled = cast("T", await value if inspect.isawaitable(value) else value)
        if settled:
            return settled
        if loop.time() > due:
            raise AssertionError(f"not within {within.total_seconds():g} s; last value: {settled!r}")
        await asyncio.sleep(_EVERY)
