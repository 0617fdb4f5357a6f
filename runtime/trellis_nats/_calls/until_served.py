"""Sends a call until a process serves it: where none listens, a service may be starting, or moving to another server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from trellis_nats.errors import NoResponders, RequestTimeout

__all__ = ["until_served"]

T = TypeVar("T")

_PAUSES: Final = (timedelta(milliseconds=200), timedelta(milliseconds=400))
"""The waits before the second and the third attempt (reference, 5.4)."""


async def until_served(send: Callable[[timedelta], Awaitable[T]], limit: timedelta) -> T:
    """Call `send` with the time that is left, at most three times, all within the limit.

    Raises:
        RequestTimeout: the limit is not positive; nothing was sent.
        NoResponders: no process listened at the last attempt. What else `send` raises ends the attempts.
    """
    if limit <= timedelta(0):
        raise RequestTimeout(f"the timeout is {limit.total_seconds():g} s: nothing was sent")
    loop = asyncio.get_running_loop()
    due = loop.time() + limit.total_seconds()
    for pause in _PAUSES:
        try:
            return await send(limit)
        except NoResponders:
            if loop.time() + pause.total_seconds() > due:
                raise
        await asyncio.sleep(pause.total_seconds())
        limit = timedelta(seconds=due - loop.time())
    return await send(limit)
