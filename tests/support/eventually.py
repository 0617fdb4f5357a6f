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


async def eventually(
    read: Callable[[], T | Awaitable[T]], wanted: object = bool, *, within: timedelta = _WITHIN
) -> T:
    """Read again and again until the value is the wanted one, and return it.

    `wanted` is a value or a predicate; by default any true value will do. `read` may be a coroutine function.

    Raises:
        AssertionError: it did not become so in time; the message has the last value.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + within.total_seconds()
    while True:
        given = read()
        value = cast("T", await given if inspect.isawaitable(given) else given)
        if wanted(value) if callable(wanted) else value == wanted:
            return value
        if loop.time() > due:
            raise AssertionError(f"not within {within.total_seconds():g} s; last value: {value!r}")
        await asyncio.sleep(_EVERY)
