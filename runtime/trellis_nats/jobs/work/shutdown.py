"""What the parts of the workers of one process know about their stop."""

from __future__ import annotations

import asyncio
from typing import Final

from trellis_nats._support.plural import plural

__all__ = ["Shutdown"]

_SHOWN_MAX: Final = 10


class Shutdown:
    """The steps of a stop, and the jobs that it gives back."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        """Set once the workers take no more messages."""
        self.grace_over = asyncio.Event()
        """Set once handlers must end."""
        self.changed = asyncio.Event()
        """Set whenever a message is done, or a handler turns out to outlast the stop."""
        self.released: list[str] = []
        """The jobs that went back to their queues, as `<queue> <job id>`."""
        self.outlasting: list[str] = []
        """Those of them whose handlers still run."""

    def summary(self) -> str:
        """Return in words which jobs the stop gave back."""
        if not self.released:
            return "no job was released"
        text = f"released {plural(len(self.released), 'job')} ({_list(self.released)})"
        if self.outlasting:
            text += f"; still in their handlers: {_list(self.outlasting)}"
        return text


def _list(jobs: list[str]) -> str:
    more = len(jobs) - _SHOWN_MAX
    return ", ".join(jobs[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
