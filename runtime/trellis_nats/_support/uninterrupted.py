"""Cleanup that a cancellation must not leave half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

__all__ = ["run_to_end"]


async def run_to_end(
    cleanup: Coroutine[object, object, None], *, on_cancel: Callable[[], None] | None = None
) -> None:
    """Run the coroutine to its end, in a task of its own. A cancellation is raised after that.

    anyio cancels again at each `await`, so that no order of `finally` blocks would do.

    Args:
        cleanup: what runs. It must end within a time.
        on_cancel: called at each cancellation, to make that time shorter.
    """
    running = asyncio.create_task(cleanup)
    cancellation: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as error:
            cancellation = error
            if on_cancel is not None:
                on_cancel()
    running.result()
    if cancellation is not None:
        raise cancellation
