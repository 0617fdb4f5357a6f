"""Whether jobs of one queue may begin in this process."""

from __future__ import annotations

import asyncio
from typing import Final

from trellis_nats._support.capacity import Permit
from trellis_nats.jobs.model.queue_pause import QueuePause

__all__ = ["Intake"]


class Intake:
    """What the parts of one queue's worker ask before a job begins: it is closed while the worker stops or is paused."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.stopping: Final = stopping
        """Set once the worker takes no more messages."""
        self.pause: QueuePause | None = None
        """Why the queue is paused; None while it is not."""
        self.is_unknown = False
        """Whether it is not known yet if the queue is paused: nothing begins before that."""

    @property
    def is_paused(self) -> bool:
        """Whether no job may begin, although the worker does not stop."""
        return self.is_unknown or self.pause is not None

    @property
    def is_open(self) -> bool:
        """Whether jobs may begin."""
        return not self.is_paused and not self.stopping.is_set()

    async def reacquire(self, permit: Permit) -> None:
        """Wait for the permit of a job that may begin; return at once while none may."""
        if self.is_open:
            await permit.reacquire()
