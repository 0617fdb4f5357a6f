"""Calls from threads, and from programs without an event loop, such as Django or a script."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from trellis_nats._support.forked_child import count_forks
from trellis_nats.errors import WrongEventLoop

__all__ = ["Blocking", "enter_in_thread"]

T = TypeVar("T")

_CHECK_EVERY: Final = 1.0
"""Seconds between checks that the event loop still runs: a call that it never began would not end."""


@dataclass(frozen=True, slots=True)
class _Exit:
    error: BaseException


class Blocking:
    """Runs coroutines on the event loop of a service or client, from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_forked: Callable[[], bool]) -> None:
        """Prepare calls on the given loop; `is_forked` returns whether it belongs to the parent of this process."""
        self._loop = loop
        self._is_forked = is_forked

    def run(self, awaitable: Awaitable[T]) -> T:
        """Await something on the event loop, for instance `queue.create(payload)`. Return its result, or raise its error.

        The calling thread waits until then. When it is interrupted (Ctrl-C), the awaitable is cancelled.

        Raises:
            WrongEventLoop: the caller runs on that event loop itself, which would wait for itself indefinitely; or the
                loop does not run, or belongs to the process from which this one was forked. Nothing was sent.
        """
        reason = self._why_not()
        if reason is not None:
            if inspect.iscoroutine(awaitable):
                awaitable.close()  # else Python warns that it was never awaited
            raise WrongEventLoop(reason)

        async def awaited() -> T | _Exit:
            try:
                return await awaitable
            except (SystemExit, KeyboardInterrupt) as error:  # in a task, they would end the event loop too
                return _Exit(error)

        result = self._wait(asyncio.run_coroutine_threadsafe(awaited(), self._loop))
        if isinstance(result, _Exit):
            raise result.error
        return result

    def _wait(self, running: Future[T]) -> T:
        try:
            while True:
                try:
                    return running.result(_CHECK_EVERY)
                except TimeoutError:
                    if running.done():
                        raise
                    if not self._loop.is_running():
                        raise WrongEventLoop(WrongEventLoop.ENDED) from None
        finally:
            running.cancel()

    def _why_not(self) -> str | None:
        if self._is_forked():
            return WrongEventLoop.FORKED
        if not self._loop.is_running():
            return WrongEventLoop.ENDED
        return WrongEventLoop.SAME if _running_loop() is self._loop else None


@contextmanager
def enter_in_thread(connecting: AbstractAsyncContextManager[T], *, name: str) -> Generator[T]:
    """Enter an `async with` block in a thread with an event loop of its own, for the length of a `with` block.

    Raises:
        Exception: what entering or leaving the block raises.
    """
    entered: Future[tuple[T, asyncio.AbstractEventLoop]] = Future()
    left: Future[None] = Future()
    leaving = asyncio.Event()

    async def stay() -> None:
        async with connecting as value:
            entered.set_result((value, asyncio.get_running_loop()))
            await leaving.wait()

    def run() -> None:
        try:
            asyncio.run(stay())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits, whatever it is
            (left if entered.done() else entered).set_exception(error)
        else:
            left.set_result(None)

    # A daemon: a program that does not leave the block can still end.
    threading.Thread(target=run, name=name, daemon=True).start()
    value, loop = entered.result()
    forks = count_forks()
    try:
        yield value
    finally:
        # The thread does not exist in a forked child, and has ended where a SystemExit ended its event loop.
        if forks == count_forks():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(leaving.set)
            left.result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
