"""Follows every change of the stored operations, for all that wait for one in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack

from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.operations.store import Stored, read_stored

__all__ = ["RecordFeed"]

_log = logging.getLogger(__name__)

Listener = Callable[[Stored], None]


class RecordFeed:
    """One consumer for the whole bucket; each record goes to those who listen for its operation, in order."""

    def __init__(self, bucket: KvBucket, on_record: Callable[[KvRecord, Stored | None], None]) -> None:
        """Prepare; `on_record` gets every change before the listeners do."""
        self._bucket = bucket
        self._on_record = on_record
        self._listeners: dict[str, set[Listener]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Begin; every change from now on is received.

        Raises:
            PermissionDenied: the account may not create a consumer on the bucket.
            ApiError: JetStream refused the consumer.
        """
        changes = await self._stack.enter_async_context(self._bucket.follow(">"))
        self._task = asyncio.create_task(self._run(changes), name=f"follow bucket {self._bucket.name}")

    async def stop(self) -> None:
        """End. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        await self._stack.aclose()

    def listen(self, operation_id: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` for each change of one operation. Return the function that removes it."""
        self._listeners.setdefault(operation_id, set()).add(listener)

        def remove() -> None:
            listeners = self._listeners.get(operation_id, set())
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(operation_id, None)

        return remove

    async def _run(self, changes: AsyncGenerator[KvRecord, None]) -> None:
        async for record in changes:
            try:
                self._dispatch(record)
            except Exception:  # noqa: BLE001 - the feed must go on for all others
                _log.exception(
                    "internal error while reading the change of an operation",
                    extra=log_fields(LogEvent.INTERNAL_ERROR, operation_id=record.key),
                )

    def _dispatch(self, record: KvRecord) -> None:
        stored = read_stored(record)
        self._on_record(record, stored)
        if stored is not None:
            for listener in list(self._listeners.get(record.key, ())):
                listener(stored)
