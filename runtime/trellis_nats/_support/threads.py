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


async def run_in_thread(
    function: Callable[[ArgumentT], ResultT], argument: ArgumentT, *, name: str
) -> ResultT:
    """Return what the function returns, and raise what it raises. The thread gets the given name.

    The thread is a daemon, so that a function that does not return cannot keep the process alive. asyncio's own pool
    would limit the number of handlers by the number of cores, and would be joined at exit.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[ResultT] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(function, argument)
        except BaseException as error:  # noqa: BLE001 - handed to the awaiting task, whatever it is
            set_outcome(done.set_exception, _raisable(error))
        else:
            set_outcome(done.set_result, result)

    def set_outcome(setter: Callable[..., None], value: object) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if done.done() else setter(value))
        except RuntimeError:
            return  # the loop is closed: no task awaits the outcome

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


def _raisable(error: BaseException) -> BaseException:
    """Return an error that a future accepts: not StopIteration, nor a SystemExit that would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - without an outcome, the task would wait indefinitely
        text = "the error's text cannot be read"
    return RuntimeError(f"{type(error).__name__}: {text}")
