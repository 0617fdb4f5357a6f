"""Reads every event of the jobs of one service, for tests."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM
from trellis_nats.jobs.store.event_stream import history_of

__all__ = ["JobHistory"]


class JobHistory:
    """The events that the stream holds, in order. `read` brings it up to date."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self.events: list[LifecycleEvent] = []
        """Every event that was read, oldest first."""
        self.writers: dict[str, str] = {}
        """The digests of the contracts that created the jobs, by job id."""
        self.sequence = 0
        """The sequence of the newest one."""
        self._connection = connection
        self._filter: Final = f"{EVENTS_PREFIX}.{namespace}.>"
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def read(self) -> list[LifecycleEvent]:
        """Read what is stored by now, and return all events."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="job history")
        newest = await get_last_message(self._connection, STREAM, self._filter)
        while newest is not None and self.sequence < newest.sequence and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        if self._task.done():
            self._task.result()
        return self.events

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _follow(self) -> None:
        try:
            async with aclosing(history_of(self._connection, self._filter)) as events:
                async for sequence, stored in events:
                    self.sequence = sequence
                    if stored is not None:
                        self.events.append(stored.event)
                        self.writers.setdefault(stored.event.job_id, stored.digest)
                    self._changed.set()
        finally:
            self._changed.set()
