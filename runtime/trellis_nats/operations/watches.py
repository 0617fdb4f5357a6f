"""Sends the changes of operations to the callers that watch them, whichever process runs the operations."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.presence import PresenceChecks
from trellis_nats._calls.replies import Reply
from trellis_nats._nats.connection import Connection
from trellis_nats.errors import NotConnected, TransportError
from trellis_nats.ids import new_id
from trellis_nats.operations.frames import (
    KEEPALIVE,
    KEEPALIVE_EVERY,
    write_event,
    write_interruption,
    write_snapshot,
)
from trellis_nats.operations.model.changes import derive_type
from trellis_nats.operations.record_feed import RecordFeed
from trellis_nats.operations.store import OperationStore, Stored

__all__ = ["Watch", "wait_ended"]

_BEHIND_MAX: Final = 1000
"""How many changes wait for a slow watcher. One that is further behind has to watch again."""


class Watch:
    """One caller that watches one operation."""

    def __init__(
        self,
        connection: Connection,
        store: OperationStore,
        feed: RecordFeed,
        checks: PresenceChecks,
        call: IncomingCall,
        *,
        header_line: bytes,
    ) -> None:
        """Prepare; `header_line` says which version of the contract writes the frames."""
        self._header_line = header_line
        self._connection = connection
        self._store = store
        self._feed = feed
        self._checks = checks
        self._call = call

    async def run(self, stored: Stored, *, after: int | None) -> None:
        """Send how the operation stands, then each event, until it ends or the caller is gone.

        Args:
            stored: the operation.
            after: the sequence of the last event that the caller has seen, if it asks for those since.
        """
        changes = _Changes(self._feed, stored.record.id)
        presence = self._checks.watch(
            self._call.reply_subject, alive=KEEPALIVE, on_gone=partial(_cancel, asyncio.current_task())
        )
        try:
            history = [] if after is None else await self._store.read_history(stored.record.id)
            newest = history[-1] if history else await self._store.require(stored.record.id)
            missed = _missed(history, after)
            await self._send(
                write_snapshot(newest.record.snapshot, missed=len(missed), keepalive_every=KEEPALIVE_EVERY),
                presence.inbox,
            )
            for frame in missed:
                await self._send(frame, presence.inbox)
            while not newest.record.has_ended:
                following = await changes.take(newest.revision)
                if following.record.snapshot.revision > newest.record.snapshot.revision:
                    await self._send(_event(newest, following), presence.inbox)
                    presence.on_frame()
                newest = following
        except (_TooSlow, TransportError, asyncio.CancelledError) as error:
            reason = str(error) or "the service stopped"
            self._send_now(write_interruption(new_id(), reason))
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            presence.stop()
            changes.close()

    async def _send(self, frame: Reply, inbox: str) -> None:
        """Send a frame; wait for the connection, and for space in its socket, first."""
        while True:
            await self._connection.wait_connected()
            await self._connection.wait_writable()
            try:
                self._connection.send(
                    self._call.reply_subject, frame.data, headers=self._header_line, reply=inbox
                )
            except NotConnected:
                continue
            return

    def _send_now(self, frame: Reply) -> None:
        if self._connection.is_connected:
            self._connection.send(self._call.reply_subject, frame.data, headers=self._header_line)


async def wait_ended(store: OperationStore, feed: RecordFeed, operation_id: str) -> Stored:
    """Return an operation when it has ended.

    Raises:
        OperationNotFound: there is none.
    """
    changes = _Changes(feed, operation_id)
    try:
        newest = await store.require(operation_id)
        while not newest.record.has_ended:
            newest = await changes.take(newest.revision)
        return newest
    finally:
        changes.close()


class _TooSlow(Exception):
    """The watcher is too far behind."""


class _Changes:
    """The changes of one operation from now on, in order."""

    def __init__(self, feed: RecordFeed, operation_id: str) -> None:
        self._queue = asyncio.Queue[Stored | None](_BEHIND_MAX + 1)
        self.close = feed.listen(operation_id, self._put)

    async def take(self, after: int) -> Stored:
        """Return the next change after a revision of the bucket; wait for it.

        Raises:
            _TooSlow: too many have arrived that were not taken.
        """
        while True:
            stored = await self._queue.get()
            if stored is None:
                raise _TooSlow("the watcher is too slow")
            if stored.revision > after:
                return stored

    def _put(self, stored: Stored) -> None:
        if self._queue.qsize() < _BEHIND_MAX:
            self._queue.put_nowait(stored)
        elif not self._queue.full():
            self._queue.put_nowait(None)


def _cancel(task: asyncio.Task[object] | None) -> None:
    if task is not None:
        task.cancel()


def _missed(history: list[Stored], after: int | None) -> list[Reply]:
    """Return the events after a sequence that the history still has."""
    frames: list[Reply] = []
    before: Stored | None = None
    for stored in history:
        is_event = before is None or stored.record.sequence > before.record.sequence
        if after is not None and is_event and stored.record.sequence > after:
            frames.append(_event(before, stored))
        before = stored
    return frames


def _event(before: Stored | None, after: Stored) -> Reply:
    record = after.record
    event_type = derive_type(None if before is None else before.record, record)
    return write_event(record.sequence, event_type, record.snapshot)
