"""Follows the record that pauses a queue, for the worker of the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord, kv_subject
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import NoResponders, PermissionDenied, TransportError
from trellis_nats.jobs.model.queue_pause import QueuePause, pause_key

__all__ = ["PauseWatch"]

_log = logging.getLogger(__name__)

_POLL: Final = 15.0
"""Seconds between reads in any case: the message that announces a change may be lost."""
_STORED_WITHIN: Final = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds between reads after a change was announced: it arrives before it is stored, and replicas store it later."""
_READ_WITHIN: Final = timedelta(seconds=2)
_NO_BUCKET_AFTER: Final = 5
"""Where no server answers for the bucket, so many reads later it counts as missing: within a second."""
_READ_AGAIN_FIRST: Final = timedelta(milliseconds=50)
_READ_AGAIN_LAST: Final = timedelta(seconds=15)


class PauseWatch:
    """Knows whether one queue is paused.

    A change is announced on the subject of the record, and then read: the stream may still refuse a write that was received
    (decision 2). It is read again after every reconnect, and every 15 s. What cannot be read leaves the state as it is.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        bucket: str,
        queue: str,
        on_change: Callable[[QueuePause | None], None],
    ) -> None:
        """Prepare.

        Args:
            connection: the service's connection.
            bucket: the bucket with the record.
            queue: the queue's name.
            on_change: called once the state is known, and at each change: with the record, or None.
        """
        self._connection = connection
        self._bucket = KvBucket(connection, bucket, timeout=_READ_WITHIN)
        self._queue = queue
        self._key = pause_key(queue)
        self._on_change = on_change
        self._is_known = False
        self._absent = 0
        """How often in a row no server answered for the bucket."""
        self._backoff = Backoff(_READ_AGAIN_FIRST, _READ_AGAIN_LAST)
        self._pause: QueuePause | None = None
        self._revision = 0
        self._older: int | None = None
        """A lower revision that the last regular read returned: twice in a row, the bucket was made again."""
        self._announced: bytes | None = None
        """The value that was announced last and is not read yet; empty for a deletion."""
        self._wakeup = asyncio.Event()
        self._subscription: Subscription | None = None
        self._remove: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe, read the record, and follow it. If it cannot be read yet, that is tried again in the background."""
        self._subscription = self._connection.subscribe(
            kv_subject(self._bucket.name, self._key), self._on_announcement
        )
        self._remove = self._connection.on_reconnect(self._wakeup.set)
        wait = await self._read_safely(None)
        self._task = asyncio.create_task(self._follow(wait), name=f"pause of {self._queue}")

    async def stop(self) -> None:
        """Stop following. Safe to call twice."""
        task, self._task = self._task, None
        if self._subscription is not None:
            self._subscription.cancel()
        if self._remove is not None:
            self._remove()
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def _on_announcement(self, message: Message) -> None:
        self._announced = message.data
        self._wakeup.set()

    async def _follow(self, wait: float) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wakeup.wait()
            self._wakeup.clear()
            announced, self._announced = self._announced, None
            wait = await self._read_safely(announced)

    async def _read_safely(self, announced: bytes | None) -> float:
        """Read the record, and return the seconds until it is read again."""
        try:
            await self._read(announced)
        except PermissionDenied as denial:
            self._accept_absence(denial)
            return _POLL
        except TransportError as error:
            self._absent += isinstance(error, NoResponders)
            if self._absent >= _NO_BUCKET_AFTER:
                self._accept_absence(error)
            else:
                self._log_failure(error)
            if self._announced is None:
                self._announced = announced
            return self._backoff.next().total_seconds()
        self._absent = 0
        self._backoff.reset()
        return _POLL

    async def _read(self, announced: bytes | None) -> None:
        if announced is None:
            self._accept(await self._bucket.get(self._key), is_regular=True)
        else:
            await self._await_stored(announced)

    async def _await_stored(self, announced: bytes) -> None:
        """Read the record until it is what was announced, for as long as the write may take."""
        for pause in _STORED_WITHIN:
            await asyncio.sleep(pause)
            record = await self._bucket.get(self._key)
            self._accept(record, is_regular=False)
            if record is not None and record.value == announced and record.revision == self._revision:
                return

    def _accept(self, record: KvRecord | None, *, is_regular: bool) -> None:
        """Take what was read, unless it is older than what is known: a replica may answer late."""
        revision = 0 if record is None else record.revision
        if revision < self._revision and not (is_regular and self._older == revision):
            self._older = revision if is_regular else self._older
            return
        self._revision, self._older = revision, None
        is_paused = record is not None and record.operation == "PUT"
        pause = QueuePause.parse(record.value, stored_at=record.time) if record and is_paused else None
        if self._is_known and pause == self._pause:
            return
        self._is_known, self._pause = True, pause
        self._on_change(pause)

    def _accept_absence(self, error: TransportError) -> None:
        """Take a queue as not paused whose record cannot be read, unless it is known whether it is."""
        fields = log_fields(LogEvent.PAUSE_NOT_FOLLOWED, queue=self._queue)
        if self._is_known:
            self._log_failure(error)
            if (
                self._pause is not None and self._absent == _NO_BUCKET_AFTER
            ):  # once: operators see no pause there
                _log.warning(
                    "queue %s stays paused: its record cannot be read any longer: %s; if bucket %s was deleted, run "
                    "`trellis provision apply` or start a worker of the service: both create it",
                    *(self._queue, error, self._bucket.name),
                    extra=fields,
                )
            return
        _log.info("queue %s: this process does not notice a pause: %s", self._queue, error, extra=fields)
        self._accept(None, is_regular=True)

    def _log_failure(self, error: TransportError) -> None:
        fields = log_fields(LogEvent.READ_FAILED, queue=self._queue)
        _log.debug("queue %s: cannot read whether it is paused: %s", self._queue, error, extra=fields)
