"""Receives the calls that open a feed, and keeps one session for each."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.presence import PresenceChecks
from trellis_nats._calls.receiver import CallReceiver
from trellis_nats._nats.connection import Connection
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.feeds.grants import trace_subject
from trellis_nats.feeds.session import ServedFeed, Session

__all__ = ["FeedServer"]

_OPEN_MAX: Final = 10_000
_OPEN_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the calls that opened them, which stay in memory."""


class FeedServer:
    """Serves one feed in this process."""

    def __init__(
        self,
        connection: Connection,
        feed: ServedFeed[Any, Any],  # Any: whatever the handler takes and yields
        *,
        service: str,
        instance: str,
    ) -> None:
        self._connection = connection
        self._feed = feed
        self._service, self._instance = service, instance
        self._sessions: set[Session[Any, Any]] = set()  # Any: likewise
        self._checks: PresenceChecks | None = None
        self._calls = CallReceiver(connection, feed.spec.subject, feed.errors, self._accept)
        self._remove_callback = connection.on_reconnect(self._on_reconnect)

    async def start(self) -> None:
        """Begin to receive calls, which replicas share. Raises as `CallReceiver.start`."""
        self._checks = PresenceChecks(
            self._connection, trace_subject=partial(trace_subject, self._service, self._instance)
        )
        await self._calls.start()

    async def stop(self, grace: GracePeriod) -> None:
        """Open no more feeds, and end those that are open: a feed has no end of its own to wait for."""
        self._remove_callback()
        await self._calls.withdraw()
        for session in list(self._sessions):
            session.interrupt("the service stopped")
        await self._calls.settle(grace)
        if self._checks is not None:
            await self._checks.stop()

    def _accept(self, call: IncomingCall) -> None:
        is_full = len(self._sessions) >= _OPEN_MAX or self._calls.memory_bytes > _OPEN_BYTES_MAX
        if self._checks is None or is_full:
            self._calls.reply_now(call, self._feed.errors.refuse(call, "too many feeds are open"))
            return
        session = Session(self._connection, self._feed, call, self._checks)
        self._sessions.add(session)
        self._calls.keep(call, session.task)
        session.task.add_done_callback(lambda _: self._sessions.discard(session))

    def _on_reconnect(self) -> None:
        """End the feeds of the link that ended: events that were on their way may be lost, and callers must know."""
        for session in list(self._sessions):
            session.interrupt("the service lost its connection; events may be missing")
