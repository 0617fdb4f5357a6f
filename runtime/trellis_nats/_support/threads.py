"""Runs a plain function in a thread of its own, with the caller's context variables."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["run_in_thread"]

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


async def run_in_thread(function: Callable[[ArgumentT], ResultT], argument: ArgumentT) -> ResultT:
    """Return what the function returns, and raise what it raises.

    The thread is a daemon: one that does not end keeps no process alive. asyncio's own pool would bound the number
    of handlers by the number of cores, and would be waited for at exit.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[ResultT] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(function, argument)
        except BaseException as error:  # noqa: BLE001 - handed to the awaiting task, whatever it is
            tell(done.set_exception, _raisable(error))
        else:
            tell(done.set_result, result)

    def tell(settle: Callable[..., None], value: object) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if done.done() else settle(value))
        except RuntimeError:
            return  # the loop is closed, and nobody waits any more

    threading.Thread(target=run, name=getattr(function, "__name__", "handler"), daemon=True).start()
    return await done


def _raisable(error: BaseException) -> BaseException:
    """A future refuses StopIteration, and a task that is given SystemExit would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
