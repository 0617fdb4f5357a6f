"""Cancels a call at the n-th moment at which it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from itertools import count
from typing import cast

__all__ = ["cancel_everywhere"]


async def cancel_everywhere(call: Callable[[], Awaitable[object]], *, when_done: bool) -> list[int]:
    """Run the call again and again, cancelled at its first wait, at its second one, and so on until it ends before.

    Args:
        call: begins the call.
        when_done: whether to cancel when what it waits for is done, just before it goes on; else as it begins to wait.

    Returns:
        The waits at which the cancellation was lost.
    """
    lost: list[int] = []
    for number in count(1):
        waits = _Waits(call(), number, when_done=when_done)
        task = asyncio.ensure_future(_run(waits))
        await asyncio.wait((task,))
        if not waits.has_cancelled:
            await task
            return lost
        if not task.cancelled():
            lost.append(number)
    raise AssertionError


async def _run(waits: _Waits) -> object:
    return await waits


class _Waits:
    def __init__(self, call: Awaitable[object], number: int, *, when_done: bool) -> None:
        self.has_cancelled = False
        self._call = call
        self._number = number
        self._when_done = when_done

    def __await__(self) -> Generator[object, object, object]:
        waiting, task = self._call.__await__(), asyncio.current_task()
        number, result = 0, None
        while True:
            try:
                pending = (
                    waiting.send(result) if not isinstance(result, BaseException) else waiting.throw(result)
                )
            except StopIteration as end:
                return end.value
            number += 1
            if number == self._number and task is not None:
                self.has_cancelled = True
                if self._when_done and isinstance(pending, asyncio.Future):
                    awaited = cast("asyncio.Future[object]", pending)
                    awaited.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                result = yield pending
            except BaseException as error:  # noqa: BLE001 - passed on, whatever it is
                result = error
