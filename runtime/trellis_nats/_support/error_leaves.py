"""What is inside an exception group. A task group wraps what its tasks raise, however deeply they are nested."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

__all__ = ["error_leaves"]


def error_leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, without the cancellations of its other tasks; of any other error, itself."""
    found = list(_walk(error))
    return [leaf for leaf in found if not isinstance(leaf, asyncio.CancelledError)] or found


def _walk(error: BaseException) -> Iterator[BaseException]:
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", one)
            waiting.extend(reversed(group.exceptions))
        else:
            yield one
