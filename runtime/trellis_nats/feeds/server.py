"""Receives the calls that open a feed, and keeps one session for each."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Any, Final

from trellis_nats._calls.headers import is_reply_subject
from trellis_nats._calls.incoming import IncomingCall, read_call
from trellis_nats._calls.replies import Reply
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import NotConnected
from trellis_nats.feeds.presence import PresenceChecks
from trellis_nats.feeds.session import ServedFeed, Session

__all__ = ["FeedServer"]

_log = logging.getLogger(__name__)

_OPEN_MAX: Final = 10_000
_WITHDRAWAL: Final = timedelta(seconds=2)
"""How long the server may take to confirm that it sends no more calls."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""


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
        self._sessions: dict[asyncio.Task[Reply | None], Session[Any, Any]] = {}  # Any: likewise
        self._checks: PresenceChecks | None = None
        self._subscription: Subscription | None = None
        self._remove_callback = connection.on_reconnect(self._on_reconnect)

    async def start(self) -> None:
        """Begin to receive calls, which replicas share.

        Raises:
            PermissionDenied: the account may not subscribe to the subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        subject = self._feed.spec.subject
        self._checks = PresenceChecks(self._connection, service=self._service, instance=self._instance)
        self._subscription = self._connection.subscribe(subject, self._receive, queue=subject)
        await self._connection.flush()

    async def stop(self, grace: GracePeriod) -> None:
        """Open no more feeds, and end those that are open: a feed has no end of its own to wait for."""
        self._remove_callback()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await asyncio.wait((subscription.drain(),), timeout=_WITHDRAWAL.total_seconds())
        for session in list(self._sessions.values()):
            session.interrupt("the service stopped")
        await grace.settle(self._sessions, _UNWIND)
        if self._sessions:
            _log.error(
                'feed "%s": %d handlers did not end within %s after they were cancelled',
                self._feed.spec.name,
                len(self._sessions),
                _UNWIND,
                extra=log_fields(LogEvent.HANDLER_STUCK, feed=self._feed.spec.name),
            )
        if self._checks is not None:
            await self._checks.stop()

    def _receive(self, message: Message) -> None:
        if not is_reply_subject(message.reply):
            _log.warning(
                'feed "%s": ignored a call whose reply subject "%s" is not allowed',
                self._feed.spec.name,
                message.reply,
                extra=log_fields(LogEvent.CALL_REFUSED, feed=self._feed.spec.name, subject=message.reply),
            )
            return
        call = read_call(message, at=now())
        if self._checks is None or len(self._sessions) >= _OPEN_MAX:
            self._refuse(call, f"{_OPEN_MAX} feeds are open in this process")
            return
        session = Session(self._connection, self._feed, call, self._checks)
        self._sessions[session.task] = session
        session.task.add_done_callback(partial(self._on_ended, call))

    def _refuse(self, call: IncomingCall, reason: str) -> None:
        reply = self._feed.errors.refuse(call, reason)
        try:
            self._connection.send(call.reply_subject, reply.data, headers=reply.headers)
        except NotConnected:
            _log.debug(
                'feed "%s": not connected',
                self._feed.spec.name,
                extra=self._log_fields(LogEvent.REPLY_LOST, call),
            )

    def _on_reconnect(self) -> None:
        """End the feeds of the link that ended: events that were on their way may be lost, and callers must know."""
        for session in list(self._sessions.values()):
            session.interrupt("the service lost its connection; events may be missing")

    def _log_fields(self, event: LogEvent, call: IncomingCall) -> dict[str, object]:
        return log_fields(event, feed=self._feed.spec.name, request_id=call.request_id)

    def _on_ended(self, call: IncomingCall, task: asyncio.Task[Reply | None]) -> None:
        self._sessions.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(
                'feed "%s": internal error while serving request %s',
                self._feed.spec.name,
                call.request_id,
                exc_info=error,
                extra=self._log_fields(LogEvent.INTERNAL_ERROR, call),
            )
