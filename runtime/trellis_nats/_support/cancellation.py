"""Tells a cancellation of the running task from a `CancelledError` that user code raises."""

from __future__ import annotations

import asyncio

__all__ = ["is_cancelled"]


def is_cancelled() -> bool:
    """Return whether the running task was cancelled; a handler may also raise a `CancelledError` of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
